"""Measures over seeds with bootstrap intervals, which need two seeds or more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metarl_core import stats
from metarl_core.report.meta._arrays import Array

__all__ = ["FEW_SEEDS", "Band", "Estimate", "Statistic", "band", "difference", "estimate", "improvement", "measured"]

FEW_SEEDS = 4
"""Seeds below which nothing is concluded: of three against three, even full separation has a chance of 1 in 10."""

_RESAMPLES = 10_000
_CURVE_RESAMPLES = 2000
_BLOCKS = 20  # bound the memory of resampled curves

Statistic = Callable[..., Array]


class Estimate(NamedTuple):
    """A number over seeds, its 95 % interval (NaN where there is none), the seeds behind it, and what these are."""

    value: float
    low: float
    high: float
    seeds: int
    left_out: int = 0
    unit: str = "seed"

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)


class Band(NamedTuple):
    """A curve [points] over seeds with its interval, NaN where there is none."""

    center: Array
    low: Array
    high: Array
    seeds: int


def measured(values: Array) -> Array:
    """Leave out the seeds (axis 0) that hold a NaN."""
    return values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)]


def estimate(values: Array, statistic: Statistic) -> Estimate | None:
    """Estimate a statistic of float64 [seeds, tasks].

    Whole seeds are resampled, not runs within each task: what one agent scores on several tasks belongs together.

    Returns:
        None if no seed has all of its tasks.
    """
    kept = measured(values)
    left_out = len(values) - len(kept)
    if not len(kept):
        return None
    center = float(statistic(kept))
    if len(kept) < 2:
        return Estimate(center, math.nan, math.nan, len(kept), left_out)
    low, high = stats.bootstrap_interval(statistic, kept, indices=[_draws(kept, 0)])
    return Estimate(center, float(low), float(high), len(kept), left_out)


def difference(mine: Array, other: Array, statistic: Statistic, paired: bool) -> Estimate | None:
    """Estimate the difference of a statistic of two sets float64 [seeds, tasks]; paired: by the same seeds."""
    return _of_two(mine, other, lambda a, b: statistic(a) - statistic(b), paired)


def improvement(mine: Array, other: Array) -> Estimate | None:
    """Estimate the probability that a run of ``mine`` has a higher score than one of ``other``."""
    return _of_two(mine, other, stats.probability_of_improvement, paired=False)


def _of_two(mine: Array, other: Array, statistic: Statistic, paired: bool) -> Estimate | None:
    if paired:
        both = measured(np.stack([mine, other], axis=1))
        kept, against = both[:, 0], both[:, 1]
    else:
        kept, against = measured(mine), measured(other)
    left_out = len(mine) - len(kept) + len(other) - len(against)
    seeds = min(len(kept), len(against))
    if not seeds:
        return None
    center = float(statistic(list(kept.T), list(against.T)))
    if seeds < 2:
        return Estimate(center, math.nan, math.nan, seeds, left_out)
    draws = [_draws(kept, 0), _draws(against, 0 if paired else 1)]
    low, high = stats.bootstrap_interval(statistic, kept, against, indices=draws)
    return Estimate(center, float(low), float(high), seeds, left_out)


def _draws(values: Array, stream: int) -> list[Any]:
    """The same seeds for all tasks."""
    rng = np.random.default_rng([0, stream])
    return [rng.integers(len(values), size=(_RESAMPLES, len(values)))] * values.shape[1]


def band(curves: Array, average: Statistic = stats.interquartile_mean) -> Band | None:
    """Average curves float64 [seeds, tasks, points] at each point, over seeds and tasks.

    Seeds without any value are left out. A point that one of the others lacks is NaN.

    Returns:
        None if there is no value.
    """
    kept = curves[~np.isnan(curves).all(axis=(1, 2))]
    whole: npt.NDArray[np.bool_] = np.asarray(~np.isnan(kept).any(axis=(0, 1)))
    if not len(kept) or not whole.any():
        return None
    center, low, high = (np.full(len(whole), np.nan) for _ in range(3))
    flat = kept[:, :, whole].reshape(-1, int(whole.sum()))
    center[whole] = average(flat, axis=0)
    if len(kept) >= 2:
        rng = np.random.default_rng(0)
        picks = rng.integers(len(kept), size=(_CURVE_RESAMPLES, len(kept)))
        runs = kept[:, :, whole]
        means = np.concatenate(
            [
                average(runs[block].reshape(len(block), -1, runs.shape[-1]), axis=1)
                for block in np.array_split(picks, _BLOCKS)
            ]
        )
        low[whole], high[whole] = np.percentile(means, [2.5, 97.5], axis=0)
    return Band(center, low, high, len(kept))
