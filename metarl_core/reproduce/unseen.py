"""What runs that are measured on held-out tasks came to there: one CSV, one row for each way to act."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl_core.errors import RunError
from metarl_core.reproduce.spec import Cell, Experiment
from metarl_core.reproduce.store import readable_table
from metarl_core.runs import RunReader
from metarl_core.runs._files import atomic_writer
from metarl_core.runs._tables import csv_line

__all__ = ["UNSEEN_COLUMNS", "Unseen", "read_unseen", "unseen_path", "unseen_rows", "write_unseen"]

UNSEEN_COLUMNS = (
    "method",
    "environment",
    "params",
    "seed",
    "config",
    "policy",
    "mean_return",
    "returns",
    "commit",
)
"""Columns of the CSV; docs/result-schema.md describes them."""

Key = tuple[str, str, str, int, str]


def unseen_path(results: Path) -> Path:
    """The CSV that belongs to a results.csv (unseen.csv) or a tuning.csv (tuning-unseen.csv)."""
    return results.with_name("unseen.csv" if results.stem == "results" else f"{results.stem}-unseen.csv")


def unseen_rows(cell: Cell, run_dir: Path, commit: str) -> list[dict[str, Any]]:
    """Rows of a finished run: mean return over the held-out tasks and of each of them, for every way to act.

    Returns:
        The rows; none of a run that was not measured on held-out tasks.

    Raises:
        RunError: its files are damaged.
    """
    tasks = RunReader(run_dir).arrays("imt_tasks")
    if tasks is None:
        return []
    shared = {
        "method": cell.method.name,
        "environment": cell.environment,
        "params": cell.params_text,
        "seed": cell.seed,
        "config": cell.digest,
        "commit": commit,
    }
    policies = [*map(str, tasks["methods"]), "own"]
    returns = [*tasks["returns"], np.diag(tasks["submodels_on_train"])]
    return [
        {
            **shared,
            "policy": policy,
            "mean_return": float(np.mean(values)),
            "returns": " ".join(f"{value:.6g}" for value in values),
        }
        for policy, values in zip(policies, returns, strict=True)
    ]


def read_unseen(path: Path) -> dict[Key, Mapping[str, Any]]:
    """Rows of a file by their keys; none if it is missing.

    Raises:
        RunError: it has other columns, or is no CSV file in UTF-8.
    """
    if not path.exists():
        return {}
    with readable_table(path) as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != UNSEEN_COLUMNS:
            raise RunError(f"{path}: expected the columns {', '.join(UNSEEN_COLUMNS)}; found {reader.fieldnames}")
        return {_key(row): row for row in reader}


def write_unseen(path: Path, rows: Sequence[Mapping[str, Any]], cells: Iterable[Cell]) -> None:
    """Put the rows of a run in place of those it has in the file, in the order of the experiment's cells."""
    if not rows:
        return
    found = read_unseen(path)
    run = _key(rows[0])[:4]
    kept = {key: row for key, row in found.items() if key[:4] != run} | {_key(row): row for row in rows}
    order = {cell.key: number for number, cell in enumerate(cells)}
    with atomic_writer(path) as file:
        file.write(csv_line(UNSEEN_COLUMNS).encode())
        for _, values in sorted(kept.items(), key=lambda item: order.get(item[0][:4], len(order))):
            file.write(csv_line([values.get(name) for name in UNSEEN_COLUMNS]).encode())


@dataclasses.dataclass(frozen=True)
class Unseen:
    """Mean returns on held-out tasks, for every cell and way to act.

    Args:
        experiment: whose cells count; rows of others are left out.
        path: the CSV.
        configs: settings of the runs that have a row of results, by the keys of their cells.

    Raises:
        RunError: the CSV is damaged.
    """

    experiment: Experiment
    path: Path
    configs: Mapping[tuple[str, str, str, int], str]

    def __post_init__(self) -> None:
        """Read the file."""
        object.__setattr__(self, "_rows", read_unseen(self.path))

    _rows: dict[Key, Mapping[str, Any]] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def values(self, method: str, task: tuple[str, str], policy: str) -> dict[int, float]:
        """Mean return of a way to act, by seed, in the runs that have a row of results made with the same settings."""
        return {seed: float(row["mean_return"]) for seed, row in self._of(method, task, policy).items()}

    def returns(self, method: str, task: tuple[str, str], policy: str) -> dict[int, tuple[float, ...]]:
        """The same of every one of the tasks that it acted on."""
        rows = self._of(method, task, policy)
        return {seed: tuple(map(float, row["returns"].split())) for seed, row in rows.items()}

    def _of(self, method: str, task: tuple[str, str], policy: str) -> dict[int, Mapping[str, Any]]:
        found = {}
        for cell in self.experiment.cells:
            row = self._rows.get((*cell.key, policy))
            if row is None or row["config"] != self.configs.get(cell.key):
                continue
            if (cell.method.name, cell.key[1:3]) == (method, task):
                found[cell.seed] = row
        return found

    def measured(self, task: tuple[str, str]) -> bool:
        """Whether there is a row of a task."""
        return any(key[1:3] == task for key in self._rows)

    def policies(self, method: str, task: tuple[str, str]) -> list[str]:
        """Ways to act that a method has rows of, in the order in which they were measured."""
        keys = (key for key in self._rows if (key[0], key[1:3]) == (method, task))
        return list(dict.fromkeys(key[4] for key in keys))


def _key(row: Mapping[str, Any]) -> Key:
    try:
        seed = int(row["seed"])
    except (TypeError, ValueError):
        raise RunError(f"unseen tasks: seed {row['seed']!r} is no integer") from None
    return str(row["method"]), str(row["environment"]), str(row["params"]), seed, str(row["policy"])
