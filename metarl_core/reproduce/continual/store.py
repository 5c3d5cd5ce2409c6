"""The results of continual runs: one CSV, one row for each method, sequence and seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metarl_core.errors import RunError
from metarl_core.reproduce.continual.spec import ContinualCell
from metarl_core.reproduce.store import ResultStore, Row, read_rows
from metarl_core.runs import versions

if TYPE_CHECKING:
    from metarl_core.agents.continual import ContinualResult

__all__ = ["CONTINUAL_COLUMNS", "ContinualStore", "continual_row", "read_continual_rows", "stored_result"]

CONTINUAL_COLUMNS = (
    "method",
    "algorithm",
    "sequence",
    "seed",
    "config",
    "identity",
    "simultaneous",
    "steps",
    "phase_ends",
    "returns",
    "learned",
    "random_returns",
    "held_out_returns",
    "held_out_random",
    "unnamed_returns",
    "adaptation_steps",
    "parameters",
    "stored_bytes",
    "updates",
    "environment_steps",
    "seconds",
    "metarl_core",
    "python",
    "numpy",
    "torch",
    "commit",
)
"""Columns of the CSV; docs/result-schema.md describes them."""

_WHOLE = ("steps", "phase_ends")
_TABLES = ("returns", "learned")
_VECTORS = ("random_returns", "held_out_returns", "held_out_random", "unnamed_returns")
_FLAGS = ("identity", "simultaneous")
_NUMBERS = ("adaptation_steps", "parameters", "stored_bytes", "updates", "environment_steps")


class ContinualStore(ResultStore):
    """A :class:`ResultStore` of continual runs."""

    columns = CONTINUAL_COLUMNS

    @staticmethod
    def key_of(row: Mapping[str, Any], path: Path) -> tuple[str, str, int]:
        """The key of a row's cell."""
        try:
            return str(row["method"]), str(row["sequence"]), int(row["seed"])
        except ValueError:
            raise RunError(f"{path}: seed {row['seed']!r} is no integer") from None


def read_continual_rows(path: Path) -> list[Row]:
    """Rows of a result file; none if it is missing.

    Raises:
        RunError: it has other columns, or a row with another number of cells.
    """
    return read_rows(path, CONTINUAL_COLUMNS)


def continual_row(cell: ContinualCell, result: ContinualResult, commit: str) -> dict[str, Any]:
    """The row of a run: returns with eight significant digits, rows of a table divided by ``;``."""
    found = versions()
    return {
        "method": cell.method.name,
        "algorithm": cell.method.algorithm,
        "sequence": cell.sequence.name,
        "seed": cell.seed,
        "config": cell.digest,
        "identity": result.identity,
        "simultaneous": result.simultaneous,
        **{name: " ".join(map(str, getattr(result, name).tolist())) for name in _WHOLE},
        **{name: ";".join(map(_vector_text, getattr(result, name))) for name in _TABLES},
        **{name: _vector_text(getattr(result, name)) for name in _VECTORS},
        **{name: getattr(result, name) for name in _NUMBERS},
        "seconds": round(result.seconds, 2),
        **{name: found[name] for name in ("metarl_core", "python", "numpy", "torch")},
        "commit": commit,
    }


def _vector_text(values: Any) -> str:
    return " ".join(f"{value:.8g}" for value in values)


def stored_result(cell: ContinualCell, row: Mapping[str, Any], path: Path) -> ContinualResult:
    """The result that a row was made of.

    Args:
        cell: Of the row.
        row: Of :func:`read_continual_rows`.
        path: Of the file, for messages.

    Raises:
        RunError: the row is damaged, or of other tasks.
    """
    from metarl_core.agents.continual import ContinualResult

    sequence = cell.sequence.make(cell.seed)
    tasks, unseen, phases = len(sequence.tasks), len(sequence.held_out), len(sequence.flat)
    try:
        found: dict[str, Any] = {name: np.array(row[name].split(), dtype=np.int64) for name in _WHOLE}
        for name in _TABLES:
            found[name] = np.array([line.split() for line in row[name].split(";")], dtype=np.float64)
        found |= {name: np.array(row[name].split(), dtype=np.float64) for name in _VECTORS}
        found |= {name: int(row[name]) for name in _NUMBERS}
        found |= {name: {"0": False, "1": True}[row[name]] for name in _FLAGS}
        found["seconds"] = float(row["seconds"])
    except (KeyError, ValueError) as error:
        raise RunError(f"{path}: row of {cell.label} is damaged: {error}") from None
    points = len(found["steps"])
    shapes = {"returns": (points, tasks), "learned": (phases, tasks), "phase_ends": (phases,)}
    shapes |= {"random_returns": (tasks,), "unnamed_returns": (tasks,)}
    shapes |= {"held_out_returns": (unseen,), "held_out_random": (unseen,)}
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise RunError(f"{path}: row of {cell.label}: {name} has shape {found[name].shape}; expected {shape}")
    if found["phase_ends"].min() < 0 or found["phase_ends"].max() >= points:
        raise RunError(f"{path}: row of {cell.label}: phase_ends are out of range")
    return ContinualResult(
        method=cell.method.algorithm,
        seed=cell.seed,
        task_names=tuple(task.name for task in sequence.tasks),
        held_out_names=tuple(task.name for task in sequence.held_out),
        **found,
    )
