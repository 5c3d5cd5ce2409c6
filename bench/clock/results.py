"""Rows of results: reading and writing them, and the table."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    "contestant",
    "seed",
    "solved",
    "steps",
    "cpu_seconds",
    "seconds",
    "return",
    "return_again",
    "evaluations",
    "repeated",
    "every",
    "max_steps",
    "environment",
    "versions",
)
MEASURES = {"cpu_seconds": "CPU s", "seconds": "wall s", "steps": "env steps"}


def parse_seeds(text: str) -> list[int]:
    """Turn ``0-4`` or ``0,2,7-9`` into seeds.

    Raises:
        ValueError: it is neither, or a seed comes twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"seeds is {text!r}; expected numbers or ranges of them, such as 0-4 or 0,2,7-9")
        if dash and int(last) < int(first):
            raise ValueError(f"seeds is {text!r}; the range {part.strip()} ends before it begins")
        seeds += range(int(first), int(last or first) + 1)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {text!r}; a seed comes twice")
    return seeds


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with the columns ``COLUMNS``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Read what :func:`write_csv` wrote.

    Raises:
        ValueError: a column is missing.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        absent = [name for name in COLUMNS if row.get(name) is None]
        if absent:
            raise ValueError(f"{path}: no column {absent[0]!r}; expected a file of cartpole_clock.py --csv")
        row["solved"] = row["solved"] == "True"
        for name in ("seed", "steps", "evaluations", "repeated", "every", "max_steps"):
            row[name] = int(row[name])
        for name in ("cpu_seconds", "seconds"):
            row[name] = float(row[name])
    return rows


def check_environments(rows: Iterable[Mapping[str, Any]]) -> None:
    """Check that all were judged by the same CartPole.

    Raises:
        ValueError: two environments differ.
    """
    seen: dict[str, str] = {}
    for row in rows:
        seen.setdefault(row["environment"], row["contestant"])
    if len(seen) > 1:
        raise ValueError(f"the environments differ: {'; '.join(f'{who}: {what}' for what, who in seen.items())}")


def median(rows: Sequence[Mapping[str, Any]], measure: str) -> float:
    """Median of a measure over runs; a run that did not solve it takes longer than every one that did.

    Returns:
        The median; infinity where half of the runs or more did not solve it (for an even number: one of the two in the
        middle).
    """
    return statistics.median(row[measure] if row["solved"] else math.inf for row in rows)


def _number(value: float, measure: str) -> str:
    if math.isinf(value):
        return "not solved"
    return f"{value:,.0f}" if measure == "steps" else f"{value:.1f}"


def _cell(rows: Sequence[Mapping[str, Any]], measure: str) -> str:
    each = [_number(row[measure], measure) if row["solved"] else "-" for row in rows]
    return f"**{_number(median(rows, measure), measure)}** ({' / '.join(each)})"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown table, a line for each contestant in the order of ``rows``: medians, then each seed's, in order."""
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    lines = [f"| contestant | seeds | solved | {' | '.join(MEASURES.values())} |", "|---|---|---|---|---|---|"]
    for name in names:
        own = sorted((row for row in rows if row["contestant"] == name), key=lambda row: row["seed"])
        solved = sum(row["solved"] for row in own)
        seeds = ", ".join(str(row["seed"]) for row in own)
        cells = " | ".join(_cell(own, measure) for measure in MEASURES)
        lines.append(f"| {name} | {seeds} | {solved} of {len(own)} | {cells} |")
    return "\n".join(lines)
