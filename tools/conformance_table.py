"""Print the conformance table of the lines that ``metarl_core.testing.Comparison.check`` recorded.

    METARL_CONFORMANCE_RECORDS=records.jsonl pytest tests/conformance -m "slow or not slow"
    python tools/conformance_table.py records.jsonl

``make conformance`` does both.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

COLUMNS = ("environment", "precision", "steps compared", "state", "observation", "reward", "terminated", "truncated")


def rows_of(lines: Iterable[str]) -> dict[tuple[str, str], dict[str, float]]:
    """Add up what was recorded of each environment and precision, whatever its other parameters were."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for line in lines:
        record = json.loads(line)
        name = re.match(r"[^ ,]+", record["name"])[0]  # type: ignore[index]
        family = re.match(r"MiniGrid-[A-Z][a-z]+[A-Z]?[a-z]*", name)  # all sizes in one row
        name = family[0].removesuffix("S") if family else name
        precision = next((p for p in ("float32", "float64") if p in record["name"]), "float64")
        row = rows.setdefault((name, precision), dict.fromkeys(("states", "terminated", "truncated"), 0.0))
        for key in ("states", "terminated", "truncated"):
            row[key] += record[key]
        for key in ("state", "obs", "reward"):
            row[key] = max(row.get(key, 0.0), record[key])
    return rows


def shown(difference: float) -> str:
    """Return a difference as the table has it."""
    return "0" if difference == 0 else f"{difference:.1e}"


def main() -> int:
    """Print the table in Markdown."""
    lines = [line for path in sys.argv[1:] for line in Path(path).read_text(encoding="utf-8").splitlines()]
    print("| " + " | ".join(COLUMNS) + " |")
    print("| --- | --- |" + " ---: |" * (len(COLUMNS) - 2))
    for (name, precision), row in sorted(rows_of(lines).items()):
        differences = [shown(row[key]) for key in ("state", "obs", "reward")]
        counts = [f"{int(row[key]):,}" for key in ("terminated", "truncated")]
        print(f"| {name} | {precision} | {int(row['states']):,} | " + " | ".join([*differences, *counts]) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
