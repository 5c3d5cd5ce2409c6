"""Whether two spaces are equal, and else how they differ; of Gymnasium's classes and of those without it."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["space_difference"]


def space_difference(first: Any, second: Any) -> str | None:
    """Say how two spaces differ, such as ``"shape (4,) against (6,)"``; None: they are equal."""
    kinds = type(first).__name__, type(second).__name__
    if kinds[0] != kinds[1]:
        return f"{kinds[0]} against {kinds[1]}"
    children = getattr(first, "spaces", None)
    if children is not None:
        return _of_children(children, second.spaces)
    known = False
    for name in ("shape", "dtype", "n", "start", "nvec", "low", "high"):
        if not hasattr(first, name):
            continue
        known = known or name in ("n", "nvec", "low")
        mine, other = getattr(first, name), getattr(second, name)
        if not _equal(mine, other):
            return f"{name} {_shown(mine)} against {_shown(other)}"
    return None if known or first == second else f"{first} against {second}"


def _of_children(mine: Any, other: Any) -> str | None:
    """Of the spaces that make up a Tuple or a Dict."""
    if isinstance(mine, (tuple, list)):
        mine, other = dict(enumerate(mine)), dict(enumerate(other))
    if set(mine) != set(other):
        return f"parts {sorted(mine)} against {sorted(other)}"
    for key in mine:
        difference = space_difference(mine[key], other[key])
        if difference is not None:
            return f"part {key!r}: {difference}"
    return None


def _equal(mine: Any, other: Any) -> bool:
    if isinstance(mine, np.ndarray):
        return mine.shape == np.shape(other) and bool(np.array_equal(mine, other))
    return bool(mine == other)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size and (value == value.flat[0]).all():
        return f"{value.flat[0]} everywhere"
    return str(value).replace("\n", "")
