"""A small anti-aliased rasteriser on NumPy alone: every shape is a polygon, filled by its exact area in every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from metarl_core.vector.render.lettering import advance, strokes_of, width_of

__all__ = ["Canvas", "Colour", "Points"]

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = npt.ArrayLike  # (n, 2): x to the right and y down, pixels
_Array: TypeAlias = npt.NDArray[np.float64]
_FAR = 1e7  # pixels: what lies beyond is drawn here, out of sight
_INVISIBLE = 1 / 512  # less of a pixel than changes any colour by one


def _clipped(points: _Array, axis: int, bound: float, sign: float) -> _Array:
    """Cut off what has ``sign * (coordinate - bound) > 0`` (Sutherland and Hodgman, 1974)."""
    inside = sign * (points[:, axis] - bound) <= 0
    if inside.all():
        return points
    if not inside.any():
        return points[:0]
    kept = []
    for i in range(len(points)):
        start, end = points[i - 1], points[i]
        if inside[i - 1] != inside[i]:
            kept.append(start + (end - start) * ((bound - start[axis]) / (end[axis] - start[axis])))
        if inside[i]:
            kept.append(end)
    return np.array(kept)


def _crossings(low: _Array, high: _Array) -> tuple[npt.NDArray[np.int64], _Array]:
    """Return the integers within each ``(low, high)``: the interval's number and the integer, one row each."""
    first = np.floor(low) + 1
    count = np.maximum(np.ceil(high) - first, 0).astype(np.int64)
    owner = np.repeat(np.arange(len(low)), count)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return owner, first[owner] + rank


def _coverage(contours: Sequence[_Array], height: int, width: int) -> _Array:
    """Return the area that the contours cover in every pixel, by winding number.

    Every edge is cut at the pixels' borders. A piece within one pixel covers what is right of it there, and all of the
    row's further pixels by its height, which a running sum along the row adds up.
    """
    start = np.concatenate(contours)
    end = np.concatenate([np.roll(contour, -1, axis=0) for contour in contours])
    step = end - start
    cuts = [np.zeros(len(start)), np.ones(len(start))]
    owners = [np.arange(len(start))] * 2
    for axis in (0, 1):
        a, b = start[:, axis], end[:, axis]
        owner, integer = _crossings(np.minimum(a, b), np.maximum(a, b))
        cuts.append((integer - a[owner]) / step[owner, axis])
        owners.append(owner)
    owner, cut = np.concatenate(owners), np.concatenate(cuts)
    order = np.lexsort((cut, owner))
    owner, cut = owner[order], cut[order]
    same = owner[:-1] == owner[1:]
    owner, begin, until = owner[:-1][same], cut[:-1][same], cut[1:][same]
    middle = start[owner] + step[owner] * ((begin + until) / 2)[:, None]
    fall = step[owner, 1] * (until - begin)
    column = np.clip(np.floor(middle[:, 0]).astype(np.int64), 0, width)
    row = np.floor(middle[:, 1]).astype(np.int64)
    # The part left of the pixel's own column is 0 where the piece lies left of the picture.
    left = np.clip(middle[:, 0] - column, 0.0, 1.0)
    there = (row >= 0) & (row < height)
    place = (row * (width + 2) + column)[there]
    size = height * (width + 2)
    area = np.bincount(place, (fall * (1 - left))[there], size)
    area += np.bincount(place + 1, (fall * left)[there], size)
    total = np.cumsum(area.reshape(height, width + 2), axis=1)[:, :width]
    return np.minimum(np.abs(total), 1.0)


class Canvas:
    """A picture to draw on, ``height`` x ``width`` pixels; the origin is the upper left corner.

    Coordinates are real numbers: pixel (row, column) is the square from (column, row) to (column + 1, row + 1). What
    lies outside is cut off, and a shape with a coordinate that is not finite is left out. Colours are (red, green,
    blue) of 0 to 255; ``alpha`` in [0, 1] is the opacity.

    Attributes:
        pixels: uint8 ``(height, width, 3)``, the picture so far.
    """

    def __init__(self, height: int, width: int, colour: Colour = (255, 255, 255)) -> None:
        """Make a picture of one colour."""
        self.height, self.width = height, width
        self.pixels: npt.NDArray[np.uint8] = np.empty((height, width, 3), np.uint8)
        self.rectangle(0, 0, width, height, colour)

    def fill(self, contours: Iterable[Points], colour: Colour, alpha: float = 1.0) -> None:
        """Fill the inside of closed contours, ``(n, 2)`` points each.

        What a contour goes around twice in the same sense is filled once; contours of opposite sense cut holes.
        """
        shapes = []
        for contour in contours:
            points = np.asarray(contour, np.float64)
            if len(points) < 3 or not np.isfinite(points).all():
                continue
            points = np.clip(points, -_FAR, _FAR)
            # A margin of a pixel, so that what is cut off leaves no edge in the picture.
            for axis, size in ((0, self.width), (1, self.height)):
                points = _clipped(_clipped(points, axis, -1.0, -1.0), axis, size + 1.0, 1.0)
            if len(points) >= 3:
                shapes.append(points)
        if not shapes:
            return
        low = np.floor(np.min([shape.min(axis=0) for shape in shapes], axis=0)).astype(int)
        high = np.ceil(np.max([shape.max(axis=0) for shape in shapes], axis=0)).astype(int)
        left, top = max(int(low[0]), 0), max(int(low[1]), 0)
        right, bottom = min(int(high[0]), self.width), min(int(high[1]), self.height)
        if left >= right or top >= bottom:
            return
        coverage = _coverage([shape - (left, top) for shape in shapes], bottom - top, right - left)
        self._blend(slice(top, bottom), slice(left, right), coverage, colour, alpha)

    def _blend(self, rows: slice, columns: slice, coverage: _Array, colour: Colour, alpha: float) -> None:
        # Most pixels are covered as a whole or not at all: mixing colours is left to the few at the edges.
        region = self.pixels[rows, columns]
        whole = coverage > 1 - _INVISIBLE
        if alpha == 1.0:
            region[whole] = colour
            there = np.nonzero((coverage > _INVISIBLE) & ~whole)
        else:
            there = np.nonzero(coverage > _INVISIBLE)
        opacity = (coverage[there] * alpha).astype(np.float32)[:, None]
        below = region[there].astype(np.float32)
        region[there] = below + (np.asarray(colour, np.float32) - below) * opacity + np.float32(0.5)

    def polygon(self, points: Points, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a polygon."""
        self.fill([points], colour, alpha)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill the rectangle with the upper left corner ``(x, y)``."""
        if alpha == 1.0 and all(float(number).is_integer() for number in (x, y, width, height)):
            left, top = max(int(x), 0), max(int(y), 0)
            region = self.pixels[top : max(int(y + height), top), left : max(int(x + width), left)]
            # Line by line: pixel by pixel takes NumPy several times as long.
            line = np.empty(region.shape[1:], np.uint8)
            line[:] = colour
            region[:] = line
            return
        self.fill([self.box(x, y, width, height)], colour, alpha)

    def rectangles(self, corners: Points, width: float, height: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill rectangles of one size, with the upper left corners ``(n, 2)``."""
        self.fill([self.box(x, y, width, height) for x, y in np.asarray(corners, np.float64)], colour, alpha)

    def rounded(
        self, x: float, y: float, width: float, height: float, radius: float, colour: Colour, alpha: float = 1.0
    ) -> None:
        """Fill a rectangle with round corners."""
        radius = min(radius, width / 2, height / 2)
        centres = np.array([(1, 1), (0, 1), (0, 0), (1, 0)]) * (width - 2 * radius, height - 2 * radius)
        corners = []
        for quarter, centre in enumerate(centres):
            angle = np.linspace(quarter, quarter + 1, 6) * (math.pi / 2)
            corners.append(centre + radius + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
        self.fill([np.concatenate(corners) + np.array([x, y])], colour, alpha)

    def disc(self, x: float, y: float, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a disc around ``(x, y)``."""
        self.fill([self.circle(x, y, radius)], colour, alpha)

    def ring(self, x: float, y: float, outer: float, inner: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill what lies between two circles."""
        self.fill([self.circle(x, y, outer), self.circle(x, y, inner)[::-1]], colour, alpha)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill an ellipse whose axes are the picture's."""
        unit = self.circle(0.0, 0.0, 1.0, max(radius_x, radius_y))
        self.fill([unit * (radius_x, radius_y) + (x, y)], colour, alpha)

    def line(
        self, points: Points, width: float, colour: Colour, alpha: float = 1.0, *, round_ends: bool = True
    ) -> None:
        """Draw the line through points, with round corners and, if wished, round ends."""
        self.lines([points], width, colour, alpha, round_ends=round_ends)

    def lines(
        self, paths: Iterable[Points], width: float, colour: Colour, alpha: float = 1.0, *, round_ends: bool = True
    ) -> None:
        """Draw several lines of one width at once."""
        self.fill(_thick(paths, width, round_ends=round_ends), colour, alpha)

    def arrow(self, start: Points, end: Points, width: float, colour: Colour, alpha: float = 1.0) -> None:
        """Draw an arrow with its point at ``end``."""
        a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
        length = float(np.hypot(*(b - a)))
        if not 0 < length < math.inf:
            return
        along = (b - a) / length
        across = np.array([-along[1], along[0]])
        neck = b - along * min(3.0 * width, length)
        wide, narrow = across * 1.8 * width, across * 0.5 * width
        outline = [a + narrow, a - narrow, neck - narrow, neck - wide, b, neck + wide, neck + narrow]
        self.fill([outline], colour, alpha)

    def text(
        self, x: float, y: float, text: str, size: float, colour: Colour, *, align: str = "left", weight: float = 0.13
    ) -> None:
        """Write a line of capitals, digits and a few signs; small letters become capitals.

        Args:
            x: Its left end, middle or right end, by ``align``.
            y: Its top.
            text: What to write; a sign that the lettering lacks becomes a space.
            size: Height of a capital.
            colour: Of the letters.
            align: ``"left"``, ``"centre"`` or ``"right"``.
            weight: Width of a stroke by ``size``.
        """
        x -= width_of(text, size) * {"left": 0.0, "centre": 0.5, "right": 1.0}[align]
        width = max(size * weight, 1.0)
        margin = math.ceil(width)
        for place, sign in enumerate(text):
            # To a quarter of a pixel, so that few pictures of each sign are kept.
            left, top = round((x + advance(size) * place) * 4) / 4, round(y * 4) / 4
            column, row = math.floor(left), math.floor(top)
            coverage = _sign(sign, size, width, left - column, top - row)
            if coverage is not None:
                self._blend_at(row - margin, column - margin, coverage, colour)

    def _blend_at(self, top: int, left: int, coverage: _Array, colour: Colour) -> None:
        rows, columns = (
            slice(max(first, 0), max(first + n, 0)) for first, n in zip((top, left), coverage.shape, strict=True)
        )
        there = coverage[rows.start - top :, columns.start - left :]
        there = there[: max(self.height - rows.start, 0), : max(self.width - columns.start, 0)]
        self._blend(rows, columns, there, colour, 1.0)

    def paste(self, x: int, y: int, picture: Canvas) -> None:
        """Copy another picture, with its upper left corner at ``(x, y)``; what does not fit is cut off."""
        left, top = max(x, 0), max(y, 0)
        region = self.pixels[top : max(y + picture.height, 0), left : max(x + picture.width, 0)]
        region[:] = picture.pixels[top - y :, left - x :][: region.shape[0], : region.shape[1]]

    @staticmethod
    def box(x: float, y: float, width: float, height: float) -> _Array:
        """Return the corners of a rectangle, a contour for :meth:`fill`."""
        return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])

    @staticmethod
    def circle(x: float, y: float, radius: float, size: float | None = None) -> _Array:
        """Return a polygon of a circle's area, a contour for :meth:`fill`; as fine as a radius of ``size`` needs."""
        seen = radius if size is None else size
        n = 8 + 4 * int(min(math.sqrt(seen), 12.0)) if 0 < seen < math.inf else 8
        angle = np.arange(n) * (2 * math.pi / n)
        equal_area = radius * math.sqrt(2 * math.pi / (n * math.sin(2 * math.pi / n)))
        return np.stack([x + equal_area * np.cos(angle), y + equal_area * np.sin(angle)], axis=1)


@lru_cache(maxsize=2048)
def _sign(sign: str, size: float, width: float, right: float, down: float) -> _Array | None:
    """Return what a sign covers, with a margin of ``width`` around its place; None for a space."""
    strokes = strokes_of(sign, size)
    if not strokes:
        return None
    margin = math.ceil(width)
    contours = _thick(
        [stroke + np.array([margin + right, margin + down]) for stroke in strokes], width, round_ends=True
    )
    return _coverage(contours, math.ceil(size) + 2 * margin + 1, math.ceil(width_of(sign, size)) + 2 * margin + 1)


def _thick(paths: Iterable[Points], width: float, *, round_ends: bool) -> list[_Array]:
    contours = []
    for path in paths:
        points = np.asarray(path, np.float64)
        if not np.isfinite(points).all():
            continue
        contours += [_bar(a, b, width / 2) for a, b in pairwise(points) if (a != b).any()]
        joints = points if round_ends else points[1:-1]
        contours += [Canvas.circle(x, y, width / 2) for x, y in joints] if width > 1 else []
    return contours


def _bar(a: Any, b: Any, half: float) -> _Array:
    # The sense of Canvas.circle, so that bars and their round ends do not cut holes into each other.
    along = (b - a) / np.hypot(*(b - a)) * half
    across = np.array([-along[1], along[0]])
    return np.array([a - across, b - across, b + across, a + across])
