"""One number for the scores of several runs on several tasks."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl_core.stats.scores import Array, Scores, as_tasks

__all__ = [
    "interquartile_mean",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "probability_of_improvement",
]


def interquartile_mean(values: Any, axis: int = 0) -> Array:
    """Mean of the middle half: floor(n / 4) values are left out at each end (Agarwal et al. 2021, arXiv:2108.13264)."""
    ordered = np.sort(values, axis=axis)
    count = ordered.shape[axis]
    cut = count // 4
    middle: Array = np.mean(np.take(ordered, np.arange(cut, count - cut), axis=axis), axis=axis)
    return middle


def iqm(scores: Scores) -> Array:
    """Interquartile mean over all runs of all tasks together; float64 [...] (a scalar for a matrix).

    Where tasks have different numbers of runs, each run counts the same.
    """
    return interquartile_mean(np.concatenate(as_tasks(scores), axis=-1), axis=-1)


def mean(scores: Scores) -> Array:
    """Mean over the tasks of the mean over the runs, float64 [...]."""
    return np.asarray(np.mean(_task_means(scores), axis=0))


def median(scores: Scores) -> Array:
    """Median over the tasks of the mean over the runs, float64 [...]."""
    return np.asarray(np.median(_task_means(scores), axis=0))


def optimality_gap(scores: Scores, threshold: float = 1.0) -> Array:
    """How far scores stay below ``threshold`` on average; those beyond it count as the threshold; float64 [...]."""
    return np.asarray(threshold - mean([np.minimum(task, threshold) for task in as_tasks(scores)]))


def probability_of_improvement(scores: Scores, other: Scores) -> Array:
    """P(a run of ``scores`` beats a run of ``other``), averaged over the tasks; ties count one half; float64 [...].

    For each task this is the Mann-Whitney U statistic divided by the number of pairs.

    Raises:
        ValueError: the two have different numbers of tasks.
    """
    tasks, others = as_tasks(scores), as_tasks(other, "other")
    if len(tasks) != len(others):
        raise ValueError(f"other has {len(others)} tasks; expected {len(tasks)}, as scores has")
    shares = []
    for mine, theirs in zip(tasks, others, strict=True):
        difference = mine[..., :, None] - theirs[..., None, :]
        shares.append(((np.sign(difference) + 1) / 2).mean(axis=(-2, -1)))
    return np.asarray(np.mean(shares, axis=0))


def _task_means(scores: Scores) -> Array:
    return np.stack([task.mean(axis=-1) for task in as_tasks(scores)])
