"""Print every library's median of a benchmark report as Markdown tables.

    python bench/full_table.py bench/results/replay.json bench/results/env.json

bench/results/all_libraries.md is its output for the files there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(report: dict[str, Any]) -> str:
    """One row a measurement, one column a library."""
    rows = report["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["contestants"]))
    lines = ["| work | size | " + " | ".join(names) + " |", "|---|---" + "|---" * len(names) + "|"]
    for row in rows:
        medians = [row["contestants"].get(name, {}).get("median") for name in names]
        cells = ["-" if median is None else number(median) for median in medians]
        lines.append(f"| {row['work']} | {row['size'] or ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print the tables of the reports named as arguments."""
    for name in sys.argv[1:]:
        reports = json.loads(Path(name).read_text(encoding="utf-8"))
        for suite in ("replay", "env"):
            if suite in reports:
                print(f"## {suite.capitalize()}\n\nMedians; a dash: no such operation, or not measured.\n")
                print(table(reports[suite]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
