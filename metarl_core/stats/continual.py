"""Forgetting and transfer between tasks that are learned one after another.

All measures start from the performance p_i(t) on task i after phase t of training, in [0, 1] (the success rate, or a
normalised return): ``performance``, float64 [..., times, tasks], whose leading axes are seeds or whatever else. Without
``task_ends`` phase i trains task i; with it, tasks come in any order, also several times.

Measures for each task, float64 [..., tasks], are ``scores`` of :func:`metarl_core.stats.bootstrap_interval` if the one
leading axis is seeds: ``bootstrap_interval(mean, forgetting(performance))``. Only what a measure reads must be a
number; what was not measured may be NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_core.stats.scores import Array

__all__ = [
    "average_forgetting",
    "average_forgetting_from_best",
    "average_performance",
    "backward_transfer",
    "forgetting",
    "forgetting_from_best",
    "forward_transfer",
]

# An area of 1 that comes out of a sum may miss it by rounding.
_ROUNDING = 1e-9


def average_performance(performance: ArrayLike) -> Array:
    """Performance at the end, averaged over the tasks: P(T) = mean_i p_i(T).

    Continual World's (Wolczyk et al. 2021, arXiv:2105.10919, "Metrics"); ACC of GEM (Lopez-Paz and Ranzato 2017,
    arXiv:1706.08840, section 2).

    Args:
        performance: float64 [..., times, tasks].

    Returns:
        float64 [...].

    Raises:
        ValueError: ``performance`` has no time, no task, fewer than two axes, or the last time holds NaN.
    """
    last = _last(_matrix(performance))
    return np.asarray(last.mean(axis=-1))


def forgetting(performance: ArrayLike, task_ends: ArrayLike | None = None) -> Array:
    """How much each task lost since its training ended: F_i = p_i(end of task i) - p_i(T).

    Continual World's (Wolczyk et al. 2021, arXiv:2105.10919, "Metrics"). Negative where later tasks helped; 0 for a
    task that ended last.

    Args:
        performance: float64 [..., times, tasks].
        task_ends: int [tasks]: the time, in [0, times), at which training of each task had ended. Of tasks that come
            several times this is a choice, to be told with the result: the first time, or the last. None: i for task
            i, for as many times as tasks.

    Returns:
        float64 [..., tasks].

    Raises:
        ValueError: As of :func:`average_performance`; ``task_ends`` is missing, of the wrong shape or out of range; or
            the performance at a task's end is NaN.
        TypeError: ``task_ends`` are no integers.
    """
    matrix = _matrix(performance)
    at_end = _at_end(matrix, _ends(matrix, task_ends))
    return np.asarray(at_end - _last(matrix))


def average_forgetting(performance: ArrayLike, task_ends: ArrayLike | None = None) -> Array:
    """Forgetting averaged over all tasks: F = mean_i F_i, Continual World's.

    The task that ended last counts, with 0; :func:`backward_transfer` leaves it out.

    Args:
        performance: float64 [..., times, tasks].
        task_ends: As of :func:`forgetting`.

    Returns:
        float64 [...].

    Raises:
        ValueError, TypeError: As of :func:`forgetting`.
    """
    return np.asarray(forgetting(performance, task_ends).mean(axis=-1))


def forgetting_from_best(performance: ArrayLike, task_ends: ArrayLike | None = None) -> Array:
    """How far each task is below the best it ever was: f_i = max_{t < T} p_i(t) - p_i(T).

    Chaudhry et al. 2018 (Riemannian walk, arXiv:1801.10112, "Forgetting and intransigence"). The maximum is over all
    times but the last, also those before the task's own training. Of tasks that were in training until the last time
    nothing can be forgotten yet: NaN.

    Args:
        performance: float64 [..., times, tasks]; NaN where it was not measured, which the maximum leaves out.
        task_ends: As of :func:`forgetting`.

    Returns:
        float64 [..., tasks].

    Raises:
        ValueError, TypeError: As of :func:`forgetting`.
    """
    matrix = _matrix(performance)
    ends = _ends(matrix, task_ends)
    _at_end(matrix, ends)
    last = _last(matrix)
    if matrix.shape[-2] == 1:
        return np.full(last.shape, np.nan)
    best = np.where(np.isnan(matrix[..., :-1, :]), -np.inf, matrix[..., :-1, :]).max(axis=-2)
    return np.where(ends < matrix.shape[-2] - 1, best - last, np.nan)


def average_forgetting_from_best(performance: ArrayLike, task_ends: ArrayLike | None = None) -> Array:
    """Forgetting from the best, averaged over the tasks that ended before the last time (Chaudhry et al. 2018).

    Args:
        performance: float64 [..., times, tasks].
        task_ends: As of :func:`forgetting`.

    Returns:
        float64 [...].

    Raises:
        ValueError, TypeError: As of :func:`forgetting`; also, no task ended before the last time.
    """
    earlier = _ended_earlier(_matrix(performance), task_ends)
    return np.asarray(forgetting_from_best(performance, task_ends)[..., earlier].mean(axis=-1))


def backward_transfer(performance: ArrayLike, task_ends: ArrayLike | None = None) -> Array:
    """What later training did to earlier tasks: BWT = mean of p_i(T) - p_i(end of task i), over i < T.

    Lopez-Paz and Ranzato 2017 (GEM, arXiv:1706.08840, section 2). With ``task_ends``, over the tasks that ended before
    the last time. Negative means forgetting: BWT is minus the mean of :func:`forgetting` over these tasks.

    Args:
        performance: float64 [..., times, tasks].
        task_ends: As of :func:`forgetting`.

    Returns:
        float64 [...].

    Raises:
        ValueError, TypeError: As of :func:`forgetting`; also, no task ended before the last time.
    """
    earlier = _ended_earlier(_matrix(performance), task_ends)
    return np.asarray(0.0 - forgetting(performance, task_ends)[..., earlier].mean(axis=-1))


def forward_transfer(auc: ArrayLike, baseline_auc: ArrayLike) -> Array:
    """How much better a task was learned than alone: FT_i = (AUC_i - AUC_i^b) / (1 - AUC_i^b).

    Continual World's (Wolczyk et al. 2021, arXiv:2105.10919, "Metrics"). AUC_i is the area under task i's learning
    curve while it was trained, :func:`metarl_core.stats.area_under_curve`, and AUC_i^b the same of training on it alone
    from scratch. 1 is learning it at once, 0 no better than from scratch, and below it is worse.

    NaN where the baseline's area is 1 (within 1e-9): nothing could be gained. Average the others with
    ``numpy.nanmean`` and say how many they are. Just below 1 the quotient is finite but says little.

    Args:
        auc: float64 [..., tasks], <= 1.
        baseline_auc: float64, broadcast against ``auc``: of the same seeds, or the mean of others.

    Returns:
        float64 [..., tasks].

    Raises:
        ValueError: An area is not finite or above 1, or the shapes do not broadcast.
    """
    own, alone = _areas("auc", auc), _areas("baseline_auc", baseline_auc)
    try:
        own, alone = np.broadcast_arrays(own, alone)
    except ValueError:
        raise ValueError(f"baseline_auc has shape {alone.shape}; must broadcast with auc, {own.shape}") from None
    room = 1 - alone
    defined = room > _ROUNDING
    return np.where(defined, (own - alone) / np.where(defined, room, 1.0), np.nan)


def _matrix(performance: ArrayLike) -> Array:
    matrix = np.asarray(performance, dtype=np.float64)
    if matrix.ndim < 2 or 0 in matrix.shape[-2:]:
        raise ValueError(f"performance has shape {matrix.shape}; expected [..., times, tasks], at least one of each")
    return matrix


def _ends(matrix: Array, task_ends: ArrayLike | None) -> NDArray[np.int64]:
    times, tasks = matrix.shape[-2:]
    if task_ends is None:
        if times != tasks:
            raise ValueError(
                f"task_ends is None, but performance has {times} times and {tasks} tasks; give the time at which "
                "training of each task had ended"
            )
        return np.arange(tasks)
    ends: NDArray[Any] = np.asarray(task_ends)
    if ends.dtype.kind not in "iu":
        raise TypeError(f"task_ends must be integers, got {ends.dtype}")
    if ends.shape != (tasks,):
        raise ValueError(f"task_ends has shape {ends.shape}; expected ({tasks},), one for each task")
    bad = (ends < 0) | (ends >= times)
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(f"task_ends[{i}] is {int(ends[i])}; must be in [0, {times}), the times of performance")
    return ends.astype(np.int64)


def _ended_earlier(matrix: Array, task_ends: ArrayLike | None) -> NDArray[np.bool_]:
    earlier: NDArray[np.bool_] = _ends(matrix, task_ends) < matrix.shape[-2] - 1
    if not earlier.any():
        raise ValueError("performance has no task that ended before the last time; measure again after another task")
    return earlier


def _measured(values: Array, when: str) -> Array:
    bad = np.isnan(values)
    if bad.any():
        place = np.unravel_index(int(bad.argmax()), bad.shape)
        where = str([int(i) for i in place[:-1]]) if len(place) > 1 else ""
        raise ValueError(f"performance{where} of task {int(place[-1])} {when} is nan; it must be measured there")
    return values


def _last(matrix: Array) -> Array:
    return _measured(matrix[..., -1, :], "at the last time")


def _at_end(matrix: Array, ends: NDArray[np.int64]) -> Array:
    return _measured(matrix[..., ends, np.arange(len(ends))], "at its end")


def _areas(name: str, values: ArrayLike) -> Array:
    areas = np.asarray(values, dtype=np.float64)
    bad = ~(np.isfinite(areas) & (areas <= 1 + _ROUNDING))
    if bad.any():
        raise ValueError(
            f"{name} holds {float(areas[bad][0])}; must be finite and <= 1: performance in [0, 1], averaged"
        )
    return areas
