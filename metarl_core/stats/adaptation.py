"""Performance on new tasks after 0, 1, 2, ... episodes of adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metarl_core.stats.aggregates import mean
from metarl_core.stats.bootstrap import bootstrap_interval, resampling_indices
from metarl_core.stats.scores import Array, Scores, as_tasks

__all__ = ["AdaptationCurve", "adaptation_curve", "worst_task"]


class AdaptationCurve(NamedTuple):
    """Performance by number of adaptation episodes, with its interval; float64 [points] each.

    Entry 0 is zero-shot, entry k is k-shot.
    """

    value: Array
    low: Array
    high: Array


def worst_task(scores: Scores) -> Array:
    """Mean over the runs of the task where it is lowest, float64 [...]."""
    return np.asarray(np.min([task.mean(axis=-1) for task in as_tasks(scores)], axis=0))


def adaptation_curve(
    scores: ArrayLike | Sequence[ArrayLike],
    statistic: Callable[..., Array] = mean,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> AdaptationCurve:
    """Zero-shot and k-shot performance over the tasks, with stratified bootstrap intervals.

    Meta-reinforcement learning's adaptation curve (Duan et al. 2016, RL^2; Finn et al. 2017, MAML). A resample takes
    the same runs at every number of episodes, as a run's points belong together.

    Args:
        scores: float64 [runs, tasks, points], where point k is the performance after k episodes of adaptation; or a
            list with one array [runs, points] for each task, where numbers of runs differ.
        statistic: Over the runs and tasks of one point: :func:`mean`, :func:`iqm`, :func:`worst_task` or another that
            :func:`bootstrap_interval` takes.
        resamples: As of :func:`bootstrap_interval`, and so are the following.
        confidence: As there.
        seed: As there.

    Returns:
        :class:`AdaptationCurve`.

    Raises:
        ValueError: ``scores`` has the wrong shape, no run, task or point, numbers of points that differ, or NaN; or an
            argument is out of range.
    """
    tasks = _by_task(scores)
    points = tasks[0].shape[-1]
    columns = [[task[:, point] for task in tasks] for point in range(points)]
    for number, column in enumerate(columns):
        try:
            as_tasks(column)
        except ValueError as error:
            raise ValueError(f"{error} (after {number} episodes)") from None
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; must be >= 1")
    draws = [resampling_indices(columns[0], resamples, np.random.default_rng(seed))]
    intervals = [bootstrap_interval(statistic, column, confidence=confidence, indices=draws) for column in columns]
    return AdaptationCurve(
        np.array([statistic(column) for column in columns]),
        np.array([interval.low for interval in intervals]),
        np.array([interval.high for interval in intervals]),
    )


def _by_task(scores: Any) -> list[Array]:
    if isinstance(scores, (list, tuple)) and all(np.ndim(task) == 2 for task in scores) and scores:
        tasks = [np.asarray(task, dtype=np.float64) for task in scores]
    else:
        array = np.asarray(scores, dtype=np.float64)
        if array.ndim != 3:
            raise ValueError(f"scores has shape {array.shape}; expected [runs, tasks, points]")
        tasks = list(array.transpose(1, 0, 2))
    points = {task.shape[-1] for task in tasks}
    if not tasks or len(points) != 1 or 0 in points:
        raise ValueError(f"scores has {len(tasks)} tasks with {sorted(points)} points; expected one number, at least 1")
    return tasks
