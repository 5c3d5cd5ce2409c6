"""Learning curves in a few numbers, and what transfer did to one (Taylor and Stone, JMLR 10, 2009, section 2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metarl_core.stats.scores import Array

__all__ = ["TransferReport", "area_under_curve", "time_to_threshold", "transfer_report"]


class TransferReport(NamedTuple):
    """What a learner gained over one that started from scratch; float64 [...] each.

    Attributes:
        jump_start: First point, minus that from scratch.
        asymptotic_gain: Mean of the last points, minus that from scratch.
        auc_gain: Area under the curve, minus that from scratch.
        transfer_ratio: ``auc_gain`` divided by the area from scratch; NaN where that is not positive.
        time_to_threshold: First x at which the curve is at the threshold or above; inf if never.
        scratch_time_to_threshold: The same from scratch.
    """

    jump_start: Array
    asymptotic_gain: Array
    auc_gain: Array
    transfer_ratio: Array
    time_to_threshold: Array
    scratch_time_to_threshold: Array


def area_under_curve(curves: ArrayLike, x: ArrayLike | None = None) -> Array:
    """Mean height of curves: the area by the trapezoidal rule, divided by the range of x.

    So a performance in [0, 1] gives an area in [0, 1], as in Continual World's AUC_i (Wolczyk et al. 2021,
    arXiv:2105.10919).

    Args:
        curves: float64 [..., points].
        x: Where the points are, such as environment steps: float64 [points], rising; None: at equal distances.

    Returns:
        float64 [...]; of a single point, its height.

    Raises:
        ValueError: There is no point, a point is NaN, or ``x`` has the wrong length or does not rise.
    """
    heights = _curves("curves", curves)
    places = _places(x, heights.shape[-1])
    if len(places) == 1:
        return heights[..., 0]
    pieces = (heights[..., 1:] + heights[..., :-1]) / 2 * np.diff(places)
    return np.asarray(pieces.sum(axis=-1) / (places[-1] - places[0]))


def time_to_threshold(curves: ArrayLike, threshold: float, x: ArrayLike | None = None) -> Array:
    """First x at which each curve is at the threshold or above; inf if it never is.

    Points are not interpolated: a curve is where it was measured.

    Args:
        curves: float64 [..., points].
        threshold: Height to reach.
        x: As of :func:`area_under_curve`; None: 0, 1, ...

    Returns:
        float64 [...].

    Raises:
        ValueError: As of :func:`area_under_curve`; also, ``threshold`` is not finite.
    """
    heights = _curves("curves", curves)
    places = _places(x, heights.shape[-1])
    if not np.isfinite(threshold):
        raise ValueError(f"threshold is {threshold}; must be finite")
    above = heights >= threshold
    return np.where(above.any(axis=-1), places[above.argmax(axis=-1)], np.inf)


def transfer_report(
    curves: ArrayLike, scratch: ArrayLike, x: ArrayLike | None = None, *, threshold: float, last: int = 1
) -> TransferReport:
    """Compare learning after transfer with learning from scratch, by Taylor and Stone's five measures.

    Args:
        curves: float64 [..., points]: performance on the target task, of a learner that was given something.
        scratch: float64 [..., points]: of one that was not; broadcast against ``curves``, so that it may be the mean
            curve of other seeds. An interval of the differences then leaves out how much scratch itself varies.
        x: Where the points of both are, such as environment steps on the target task (to count the source's too, shift
            ``time_to_threshold`` by them): float64 [points], rising; None: 0, 1, ...
        threshold: Performance whose time is asked for.
        last: Number of last points that are averaged as the asymptotic performance.

    Returns:
        :class:`TransferReport`.

    Raises:
        ValueError: As of :func:`time_to_threshold`; also, the numbers of points differ, the shapes do not broadcast, or
            ``last`` is not in [1, points].
    """
    own, alone = _curves("curves", curves), _curves("scratch", scratch)
    points = own.shape[-1]
    if alone.shape[-1] != points:
        raise ValueError(f"scratch has {alone.shape[-1]} points; expected {points}, as curves has")
    try:
        np.broadcast_shapes(own.shape, alone.shape)
    except ValueError:
        raise ValueError(f"scratch has shape {alone.shape}; must broadcast with curves, {own.shape}") from None
    if not 1 <= last <= points:
        raise ValueError(f"last is {last}; must be in [1, {points}], the number of points")
    area, area_alone = area_under_curve(own, x), area_under_curve(alone, x)
    gain = np.asarray(area - area_alone)
    positive = area_alone > 0
    return TransferReport(
        jump_start=np.asarray(own[..., 0] - alone[..., 0]),
        asymptotic_gain=np.asarray(own[..., -last:].mean(axis=-1) - alone[..., -last:].mean(axis=-1)),
        auc_gain=gain,
        transfer_ratio=np.where(positive, gain / np.where(positive, area_alone, 1.0), np.nan),
        time_to_threshold=time_to_threshold(own, threshold, x),
        scratch_time_to_threshold=time_to_threshold(alone, threshold, x),
    )


def _curves(name: str, values: ArrayLike) -> Array:
    curves = np.asarray(values, dtype=np.float64)
    if curves.ndim < 1 or curves.shape[-1] == 0:
        raise ValueError(f"{name} has shape {curves.shape}; expected [..., points], at least one point")
    if np.isnan(curves).any():
        place = tuple(int(i) for i in np.argwhere(np.isnan(curves))[0])
        raise ValueError(f"{name}{list(place)} is nan; every point must be measured")
    return curves


def _places(x: ArrayLike | None, points: int) -> Array:
    if x is None:
        return np.arange(points, dtype=np.float64)
    places = np.asarray(x, dtype=np.float64)
    if places.shape != (points,):
        raise ValueError(f"x has shape {places.shape}; expected ({points},), one for each point")
    if not np.isfinite(places).all() or (np.diff(places) <= 0).any():
        raise ValueError("x must be finite and rise from point to point")
    return places
