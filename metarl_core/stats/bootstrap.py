"""Stratified bootstrap: runs are resampled within each task, and independently for each method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_core.stats.scores import Array, Scores, as_tasks

__all__ = ["Interval", "bootstrap_interval", "resampling_indices"]

Indices = Sequence[NDArray[np.int64]]
"""For each task the runs that make up each resample, int64 [resamples, runs]."""

_BLOCK = 1000
"""Resamples computed together: bounds the memory, whatever their number."""


class Interval(NamedTuple):
    """Both ends of a confidence interval, float64 [...] each, of the statistic's own shape."""

    low: Array
    high: Array


def resampling_indices(scores: Scores, resamples: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Draw runs with replacement, for each task on its own.

    Args:
        scores: see ``Scores``.
        resamples: how many bootstrap samples.
        rng: source of the draws.

    Returns:
        For each task int64 [resamples, runs].
    """
    return [rng.integers(task.shape[-1], size=(resamples, task.shape[-1])) for task in as_tasks(scores)]


def bootstrap_interval(
    statistic: Callable[..., Array],
    *scores: Scores,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
    indices: Sequence[Indices] | None = None,
) -> Interval:
    """Percentile bootstrap interval of a statistic of one or more sets of scores.

    Args:
        statistic: takes as many sets of scores as are given here, each a list of float64 [block, runs] for the tasks,
            and returns float64 [block] or [block, ...]; the functions of ``metarl_core.stats`` do.
        *scores: see ``Scores``; one set for ``iqm``, two for ``probability_of_improvement``.
        resamples: how many bootstrap samples.
        confidence: coverage, in (0, 1).
        seed: of the draws; the same seed gives the same interval.
        indices: draws to use instead, one item for each set of scores as ``resampling_indices`` returns it.

    Returns:
        The quantiles (1 - confidence) / 2 and (1 + confidence) / 2 of the statistic over the resamples.

    Raises:
        ValueError: ``confidence`` or ``resamples`` is out of range, or ``indices`` does not fit the scores.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number in (0, 1)")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; must be >= 1")
    sets = [as_tasks(item) for item in scores]
    if indices is None:
        rng = np.random.default_rng(seed)
        indices = [resampling_indices(tasks, resamples, rng) for tasks in sets]
    _check_indices(indices, sets)
    total = len(indices[0][0])
    values = np.concatenate(
        [
            statistic(*(_pick(tasks, draws, start) for tasks, draws in zip(sets, indices, strict=True)))
            for start in range(0, total, _BLOCK)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.percentile(values, [100 * tail, 100 * (1 - tail)], axis=0)
    return Interval(np.asarray(low), np.asarray(high))


def _pick(tasks: list[Array], draws: Indices, start: int) -> list[Array]:
    return [task[draw[start : start + _BLOCK]] for task, draw in zip(tasks, draws, strict=True)]


def _check_indices(indices: Sequence[Indices], sets: Sequence[list[Array]]) -> None:
    shapes = [[task.shape[-1] for task in tasks] for tasks in sets]
    given = [[np.shape(draw)[-1] for draw in draws] for draws in indices]
    if given != shapes or len({np.shape(draw)[0] for draws in indices for draw in draws}) != 1:
        raise ValueError(f"indices are for {given} runs; expected {shapes}, all with the same number of resamples")
