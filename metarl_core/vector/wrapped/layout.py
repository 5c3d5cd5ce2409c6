"""Batches of a Gymnasium space as arrays: which parts of it have a fixed size, and where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

__all__ = ["ArraySpec", "Column", "Leaf", "SpaceLayout"]

# The values of all rows at one leaf: an array, or where they have no fixed size a list.
Column: TypeAlias = "npt.NDArray[Any] | list[Any]"
ArraySpec: TypeAlias = tuple[tuple[int, ...], np.dtype[Any]]


class Leaf(NamedTuple):
    """A part of a space that is neither Dict nor Tuple.

    Attributes:
        path: Keys and positions that lead to it.
        space: The space.
        fixed: Whether its elements are arrays of one shape and dtype.
    """

    path: tuple[str | int, ...]
    space: spaces.Space[Any]
    fixed: bool


def _leaves(space: spaces.Space[Any], path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for i, part in enumerate(space.spaces):
            yield from _leaves(part, (*path, i))
    else:
        known = isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))
        yield Leaf(path, space, known and space.dtype is not None and not space.dtype.hasobject)


def _pick(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value


def _build(space: spaces.Space[Any], values: Iterator[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _build(part, values) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_build(part, values) for part in space.spaces)
    return next(values)


class SpaceLayout:
    """How the elements of a space lie in columns, one for each leaf.

    Args:
        space: The space of one environment.
        what: ``"obs"`` or ``"actions"``, for messages.
    """

    def __init__(self, space: spaces.Space[Any], what: str) -> None:
        self.space = space
        self.what = what
        self.leaves = tuple(_leaves(space))
        self.fixed = all(leaf.fixed for leaf in self.leaves)
        self._plain = self.fixed and len(self.leaves) == 1 and self.leaves[0].path == ()

    def array_specs(self, n: int) -> list[ArraySpec]:
        """Return shape and dtype of the columns of ``n`` rows, of the fixed leaves only."""
        specs: list[ArraySpec] = []
        for leaf in self.leaves:
            if leaf.fixed:
                assert leaf.space.shape is not None
                assert leaf.space.dtype is not None
                specs.append(((n, *leaf.space.shape), leaf.space.dtype))
        return specs

    def columns(self, arrays: Sequence[npt.NDArray[Any]], n: int) -> list[Column]:
        """Return all columns: the given arrays, and lists where the size is not fixed."""
        remaining = iter(arrays)
        return [next(remaining) if leaf.fixed else [None] * n for leaf in self.leaves]

    def name(self, leaf: Leaf) -> str:
        """Return how a leaf is called in messages, such as ``obs['image']``."""
        return self.what + "".join(f"[{step!r}]" for step in leaf.path)

    def write_row(self, columns: Sequence[Column], row: int, value: Any) -> list[tuple[int, Any]]:
        """Write one element.

        Returns:
            The leaves without a fixed size whose value may have changed, by number.

        Raises:
            ValueError: It has another shape than the space.
            TypeError: It has a dtype that does not fit the space's.
        """
        if self._plain and isinstance(value, np.ndarray):  # most: without the search
            column = columns[0]
            if value.dtype == column.dtype and value.shape == column.shape[1:]:  # type: ignore[union-attr]
                column[row] = value
                return []
        changed: list[tuple[int, Any]] = []
        for k, leaf in enumerate(self.leaves):
            part = _pick(value, leaf.path) if leaf.path else value
            column = columns[k]
            if isinstance(column, list):
                # Objects may be changed in place: only text is sure to be what it was.
                if not (isinstance(part, str) and column[row] == part):
                    column[row] = part
                    changed.append((k, part))
                continue
            if np.shape(part) != column.shape[1:]:
                raise ValueError(f"{self.name(leaf)} has shape {np.shape(part)}; the space says {column.shape[1:]}")
            np.copyto(column[row, ...], part, casting="same_kind")
        return changed

    def read_row(self, columns: Sequence[Column], row: int) -> Any:
        """Return one element, as an environment gets it: numbers and arrays of its own."""
        if self._plain:
            column = columns[0]
            return column[row] if column.ndim == 1 else column[row].copy()  # type: ignore[union-attr]
        values = (c[row] if isinstance(c, list) or c.ndim == 1 else c[row].copy() for c in columns)
        return _build(self.space, values)

    def batch(self, columns: Sequence[Column]) -> Any:
        """Return the columns in the space's structure, as Gymnasium batches it: arrays as they are, lists as tuples."""
        return _build(self.space, (tuple(c) if isinstance(c, list) else c for c in columns))

    def split(self, batch: Any) -> list[Any]:
        """Return the columns of a batch.

        Raises:
            TypeError, KeyError, IndexError: It has not the space's structure.
        """
        return [_pick(batch, leaf.path) for leaf in self.leaves]
