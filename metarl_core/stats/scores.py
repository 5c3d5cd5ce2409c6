"""How the scores of several runs on several tasks are passed around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "Scores", "as_tasks"]

Array = NDArray[np.float64]

Scores = ArrayLike | Sequence[ArrayLike]
"""A matrix float64 [runs, tasks], one vector [runs] for one task, or a list with one array [..., runs] for each task.

The list allows a different number of runs for each task, and leading axes, along which the statistics are computed one
by one.
"""


def as_tasks(scores: Any, name: str = "scores") -> list[Array]:
    """Bring scores to a list with one float64 [..., runs] for each task.

    Args:
        scores: see ``Scores``.
        name: of the argument, for messages.

    Raises:
        ValueError: no task, a task without runs, leading axes that differ, an array with more than two axes, or a value
            that is NaN.
    """
    if isinstance(scores, (list, tuple)) and any(np.ndim(task) > 0 for task in scores):
        tasks = [np.asarray(task, dtype=np.float64) for task in scores]
    else:
        matrix = np.asarray(scores, dtype=np.float64)
        if matrix.ndim not in (1, 2):
            raise ValueError(f"{name} has shape {matrix.shape}; expected [runs, tasks] or [runs]")
        tasks = list(matrix.T) if matrix.ndim == 2 else [matrix]
    if not tasks or any(task.ndim == 0 or task.shape[-1] == 0 for task in tasks):
        raise ValueError(f"{name} holds {len(tasks)} tasks; expected at least one, each with at least one run")
    if len({task.shape[:-1] for task in tasks}) > 1:
        raise ValueError(f"{name}: the leading axes differ: {sorted({task.shape[:-1] for task in tasks})}")
    for number, task in enumerate(tasks):
        if np.isnan(task).any():
            raise ValueError(f"{name}: task {number} holds nan; give such a run the worst score or leave it out")
    return tasks
