"""Statistics over seeds and episodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metarl_core.stats import interquartile_mean

__all__ = ["BAND_NAMES", "Band", "aggregate", "interquartile_mean", "running_mean", "window_for"]

Array = npt.NDArray[Any]

GRID_POINTS = 300
MIN_SEEDS_FOR_IQM = 4
_RESAMPLES = 1000

BAND_NAMES = {
    "single": "one seed",
    "range": "median, minimum and maximum over the seeds",
    "iqm": "interquartile mean over the seeds, bootstrap 95 % interval",
}


class Band(NamedTuple):
    """A curve with an interval around it."""

    x: Array
    center: Array
    low: Array
    high: Array
    kind: str


def window_for(count: int) -> int:
    """Episodes to average over: 100, or less in short runs."""
    return int(np.clip(count // 10, 1, 100))


def running_mean(values: Array, window: int) -> Array:
    """Mean of the last ``window`` values at each position (of fewer at the start); float64[n]."""
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    mean: Array = (total[end] - total[start]) / (end - start)
    return mean


def aggregate(curves: list[tuple[Array, Array]]) -> Band | None:
    """Put the curves of several seeds on one grid and summarise them.

    One curve is returned as it is (thinned), two or three as median with range, more as interquartile mean with a
    bootstrap interval over the seeds. The grid ends where the shortest curve ends.

    Args:
        curves: pairs (x, y), x ascending; values that are not finite are left out.

    Returns:
        The band, or None if no curve has a finite point.
    """
    finite = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in curves]
    finite = [(x, y) for x, y in finite if len(x)]
    if not finite:
        return None
    first, last = max(x[0] for x, _ in finite), min(x[-1] for x, _ in finite)
    if len(finite) == 1:
        x, y = finite[0]
        keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), 4 * GRID_POINTS)).astype(np.int64))
        return Band(x[keep], y[keep], y[keep], y[keep], "single")
    grid = np.linspace(first, max(first, last), GRID_POINTS)
    rows = np.array([np.interp(grid, x, y) for x, y in finite])
    if len(rows) < MIN_SEEDS_FOR_IQM:
        return Band(grid, np.median(rows, axis=0), rows.min(axis=0), rows.max(axis=0), "range")
    picks = np.random.default_rng(0).integers(len(rows), size=(_RESAMPLES, len(rows)))
    means = np.array([interquartile_mean(rows[pick]) for pick in picks])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return Band(grid, interquartile_mean(rows), low, high, "iqm")
