"""A sum tree for samplers whose library brings the random numbers and saves what it has by pickling."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_core.errors import BufferEmptyError
from metarl_core.replay import SumTree

__all__ = ["MassTree", "stratified"]


class MassTree:
    """Masses p^alpha of ``capacity`` slots, found by uniform numbers of the caller; may be pickled and copied.

    What is loaded has the same masses, bit for bit, and rounds new ones as the original does (see
    :class:`metarl_core.SumTree` for the fixed point numbers). Methods may be called from any thread.

    Args:
        capacity: number of slots, >= 1.

    Raises:
        ValueError: capacity is below 1.
        MemoryError: the tree does not fit.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; must be >= 1")
        self._capacity = capacity
        self._tree = SumTree(capacity + 1)  # the last leaf is for _unit
        self._lock = threading.Lock()  # nobody is to find that leaf

    def __len__(self) -> int:
        """Return the number of slots."""
        return self._capacity

    @property
    def total(self) -> float:
        """Sum of all masses."""
        return self._tree.total

    @property
    def smallest(self) -> float:
        """Smallest positive mass, 0 if there is none."""
        return self._tree.min

    def set(self, slots: NDArray[np.int64], masses: NDArray[np.float64]) -> None:
        """Set masses, >= 0; of equal slots the last wins.

        Raises:
            ValueError: a mass is negative or not finite. Nothing was changed.
            IndexError: a slot is out of range. Nothing was changed.
        """
        self._check(slots)
        with self._lock:
            self._tree.set(slots, masses)

    def get(self, slots: ArrayLike) -> NDArray[np.float64]:
        """Masses of slots, 0 where none was set.

        Raises:
            IndexError: a slot is out of range.
        """
        self._check(np.asarray(slots))
        return self._tree.get(slots)

    def _check(self, slots: NDArray[Any]) -> None:
        bad = np.flatnonzero((slots < 0) | (slots >= self._capacity))
        if bad.size:
            raise IndexError(f"index {slots.flat[bad[0]]} at position {bad[0]} out of range for size {self._capacity}")

    def find(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Slots where the cumulative masses reach ``uniforms`` of the total: slot i with probability m_i / total.

        Args:
            uniforms: float64 [B] in [0, 1].

        Raises:
            BufferEmptyError: all masses are 0.
        """
        with self._lock:
            total = self._tree.total
            if total == 0:
                raise BufferEmptyError("cannot sample: all priorities are zero, or none was set")
            # A product may round up to the total, which belongs to no slot.
            return self._tree.find(np.minimum(uniforms * total, np.nextafter(total, 0)))

    def state(self) -> tuple[NDArray[np.float64], float]:
        """Return the masses of all slots, and the unit that they are multiples of."""
        with self._lock:
            return self.get(np.arange(self._capacity)), self._unit()

    def _unit(self) -> float:
        largest = self._tree.max
        if largest == 0:
            return 0.0
        # What is positive has at least one unit.
        self._tree.set([self._capacity], [math.ldexp(largest, -60) or largest])
        unit = float(self._tree.get([self._capacity])[0])
        self._tree.set([self._capacity], [0.0])
        return unit

    @classmethod
    def of(cls, masses: NDArray[np.float64], unit: float) -> MassTree:
        """Make a tree from what :meth:`state` returned."""
        made = cls(len(masses))
        slots = np.flatnonzero(masses)
        if slots.size == 0:
            return made
        # A first priority of 2^27 units makes that the unit.
        made._tree.set([len(masses)], [math.ldexp(unit, 27)])
        made._tree.set(slots, masses[slots])
        made._tree.set([len(masses)], [0.0])
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, self.state()


def stratified(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move B uniform numbers into the B equal parts of [0, 1], one each."""
    return (np.arange(len(uniforms)) + uniforms) / len(uniforms)
