"""Performance profiles: how many runs reach a score, for every score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metarl_core.stats.scores import Array, Scores, as_tasks

__all__ = ["performance_profile"]


def performance_profile(scores: Scores, thresholds: ArrayLike, of: str = "runs") -> Array:
    """Share of the scores that lie above each threshold (Agarwal et al. 2021, section 4.3).

    Args:
        scores: see ``Scores``.
        thresholds: float64 [K].
        of: ``runs``: score distribution, the share of runs, averaged over the tasks; ``tasks``: the share of tasks
            whose mean over the runs lies above the threshold.

    Returns:
        float64 [..., K].

    Raises:
        ValueError: ``of`` is neither.
    """
    tasks = as_tasks(scores)
    limits: Any = np.asarray(thresholds, dtype=np.float64)
    if of == "runs":
        shares = [(task[..., :, None] > limits).mean(axis=-2) for task in tasks]
    elif of == "tasks":
        shares = [np.asarray(task.mean(axis=-1)[..., None] > limits, dtype=np.float64) for task in tasks]
    else:
        raise ValueError(f"of is {of!r}; expected 'runs' or 'tasks'")
    return np.asarray(np.mean(shares, axis=0))
