"""Turn the CSV file of mountaincar.py into the table of the documentation.

    python experiments/summarise.py docs/results > docs/results/mountaincar.md

The interval is a bootstrap over the seeds (10,000 resamples, fixed seed) of the interquartile mean (Agarwal et al.,
"Deep reinforcement learning at the edge of the statistical precipice", 2021). An unsolved run
counts as its whole budget.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from metarl_core.report import interquartile_mean

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """Rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def groups(rows: Iterable[Row], keys: tuple[str, ...]) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the values of some columns, in order of appearance."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def iqm_with_interval(values: list[float]) -> str:
    """``IQM [low, high]`` over the seeds."""
    array = np.asarray(values)
    resampled = np.random.default_rng(0).choice(array, size=(10_000, len(array)))
    low, high = np.percentile(interquartile_mean(resampled, axis=1), (2.5, 97.5))
    return f"{float(interquartile_mean(array)):.1f} [{low:.1f}, {high:.1f}]"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ("---",) * len(header), *rows)]
    return "\n".join(lines)


def per_seed(rows: list[Row], value: Callable[[Row], str]) -> str:
    """One value a seed, in the order of the seeds."""
    return ", ".join(value(row) for row in sorted(rows, key=lambda row: int(row["seed"])))


def mountaincar(rows: list[Row]) -> str:
    """Evaluation return, by algorithm."""

    def line(key: tuple[str, ...], cell: list[Row]) -> tuple[str, ...]:
        returns = [float(row["evaluation_return"]) for row in cell]
        seconds = float(np.median([float(row["wall_time_seconds"]) for row in cell]))
        reached = f"{sum(value >= -130 for value in returns)} / {len(cell)}"
        by_seed = per_seed(cell, lambda row: f"{float(row['evaluation_return']):.1f}")
        return (*key, cell[0]["environment_steps"], reached, iqm_with_interval(returns), by_seed, f"{seconds:.0f}")

    header = ("algorithm", "steps", "return >= -130", "IQM return [95 %]", "by seed", "median seconds")
    return table(header, (line(key, cell) for key, cell in groups(rows, ("algorithm",)).items()))


def main() -> int:
    """Print the tables of the folder given as the argument."""
    folder = Path(sys.argv[1])
    print(mountaincar(read(folder / "mountaincar.csv")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
