"""Observation and action spaces for installations without Gymnasium: the attributes and methods loops use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Box", "Discrete", "MultiDiscrete", "Tuple"]


class _Space:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self) -> None:
        self._random = np.random.default_rng()

    def seed(self, seed: int | None = None) -> None:
        """Seed :meth:`sample`."""
        self._random = np.random.default_rng(seed)


class Box(_Space):
    """Real arrays within bounds; ``low`` and ``high`` are arrays of the space's shape."""

    def __init__(self, low: npt.ArrayLike, high: npt.ArrayLike, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Make the space; the bounds are broadcast to ``shape``."""
        super().__init__()
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.low = np.broadcast_to(np.asarray(low, self.dtype), shape).copy()
        self.high = np.broadcast_to(np.asarray(high, self.dtype), shape).copy()

    def sample(self) -> npt.NDArray[Any]:
        """Draw uniformly, of integers with both bounds; unbounded real ones from a standard normal distribution."""
        if self.dtype == np.bool_:
            drawn: npt.NDArray[Any] = ((self._random.integers(2, size=self.shape) > 0) & self.high) | self.low
            return drawn
        if self.dtype.kind in "iu":
            low, high = self.low.astype(np.int64), self.high.astype(np.int64)
            whole: npt.NDArray[Any] = self._random.integers(low, high, endpoint=True).astype(self.dtype)
            return whole
        bounded = np.isfinite(self.low) & np.isfinite(self.high)
        low, high = np.where(bounded, self.low, 0.0), np.where(bounded, self.high, 1.0)
        uniform = self._random.uniform(low, high)
        normal = self._random.standard_normal(self.shape)
        return np.clip(np.where(bounded, uniform, normal), self.low, self.high).astype(self.dtype)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` has the shape and lies within the bounds."""
        x = np.asarray(x)
        return x.shape == self.shape and bool(np.all((x >= self.low) & (x <= self.high)))

    def __repr__(self) -> str:
        return f"Box({self.low.min()}, {self.high.max()}, {self.shape}, {self.dtype})"


class Discrete(_Space):
    """Integers 0 ... n - 1."""

    def __init__(self, n: int) -> None:
        """Make the space of ``n`` integers."""
        super().__init__()
        self.n = n
        self.start = 0
        self.shape = ()
        self.dtype = np.dtype(np.int64)

    def sample(self) -> np.int64:
        """Draw uniformly."""
        drawn: np.int64 = self._random.integers(self.n)
        return drawn

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is an integer of the space."""
        x = np.asarray(x)
        return x.shape == () and x.dtype.kind in "iu" and 0 <= int(x) < self.n

    def __repr__(self) -> str:
        return f"Discrete({self.n})"


class MultiDiscrete(_Space):
    """Integer vectors with element i in 0 ... nvec[i] - 1."""

    def __init__(self, nvec: npt.ArrayLike) -> None:
        """Make the space; ``nvec`` is an integer array."""
        super().__init__()
        self.nvec = np.asarray(nvec, np.int64)
        self.shape = self.nvec.shape
        self.dtype = np.dtype(np.int64)

    def sample(self) -> npt.NDArray[np.int64]:
        """Draw uniformly."""
        drawn: npt.NDArray[np.int64] = self._random.integers(self.nvec)
        return drawn

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is an integer array of the space."""
        x = np.asarray(x)
        return x.shape == self.shape and x.dtype.kind in "iu" and bool(np.all((x >= 0) & (x < self.nvec)))

    def __repr__(self) -> str:
        return f"MultiDiscrete({self.nvec})"


class Tuple(_Space):
    """Tuples with one element of each space."""

    def __init__(self, spaces: Sequence[Any]) -> None:
        """Make the space of these spaces; its ``shape`` and ``dtype`` are None, as Gymnasium's."""
        super().__init__()
        self.spaces = tuple(spaces)
        self.shape = None  # type: ignore[assignment]
        self.dtype = None  # type: ignore[assignment]

    def seed(self, seed: int | None = None) -> None:
        """Seed :meth:`sample`."""
        for i, space in enumerate(self.spaces):
            space.seed(None if seed is None else seed + i)

    def sample(self) -> tuple[Any, ...]:
        """Draw from every space."""
        return tuple(space.sample() for space in self.spaces)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a tuple of elements of the spaces."""
        return (
            isinstance(x, tuple)
            and len(x) == len(self.spaces)
            and all(space.contains(element) for space, element in zip(self.spaces, x, strict=True))
        )

    def __repr__(self) -> str:
        return f"Tuple({', '.join(map(repr, self.spaces))})"
