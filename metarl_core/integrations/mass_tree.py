"""A sum tree for samplers whose library brings the random numbers and saves what it has by pickling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_core.errors import BufferEmptyError
from metarl_core.replay import SumTree

__all__ = ["MassTree"]


class MassTree:
    """Masses p^alpha of ``capacity`` slots, found by uniform numbers of the caller; may be pickled and copied.

    A copy finds the same slots, unless masses differ by more than a factor of 2^27: the copy rounds to its own unit,
    see :class:`metarl_core.SumTree`.

    Args:
        capacity: number of slots, >= 1.
    """

    def __init__(self, capacity: int) -> None:
        self._tree = SumTree(capacity)

    def __len__(self) -> int:
        """Return the number of slots."""
        return self._tree.capacity

    @property
    def total(self) -> float:
        """Sum of all masses."""
        return self._tree.total

    @property
    def smallest(self) -> float:
        """Smallest positive mass, 0 if there is none."""
        return self._tree.min

    @property
    def num_set(self) -> int:
        """Number of slots whose mass was ever set."""
        return len(self._tree)

    def set(self, slots: ArrayLike, masses: ArrayLike) -> None:
        """Set masses, >= 0; of equal slots the last wins.

        Raises:
            ValueError: a mass is negative or not finite. Nothing was changed.
            IndexError: a slot is out of range. Nothing was changed.
        """
        self._tree.set(slots, masses)

    def get(self, slots: ArrayLike) -> NDArray[np.float64]:
        """Masses of slots, 0 where none was set."""
        return self._tree.get(slots)

    def find(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Slots where the cumulative masses reach ``uniforms`` of the total: slot i with probability m_i / total.

        Args:
            uniforms: float64 [B] in [0, 1].

        Raises:
            BufferEmptyError: all masses are 0.
        """
        total = self._tree.total
        if total == 0:
            raise BufferEmptyError("cannot sample: all priorities are zero, or none was set")
        # A product may round up to the total, which belongs to no slot.
        return self._tree.find(np.minimum(uniforms * total, np.nextafter(total, 0)))

    def __getstate__(self) -> dict[str, Any]:
        """Masses of all slots."""
        return {"masses": self.get(np.arange(len(self)))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the masses."""
        masses = state["masses"]
        self._tree = SumTree(len(masses))
        slots = np.flatnonzero(masses)
        self._tree.set(slots, masses[slots])


def stratified(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move B uniform numbers into the B equal parts of [0, 1], one each."""
    return (np.arange(len(uniforms)) + uniforms) / len(uniforms)
