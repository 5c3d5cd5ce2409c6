"""The sum tree behind prioritized replay."""

from __future__ import annotations

from typing import Any

from metarl_core import _core
from metarl_core._cuda_module import cuda_module, device_number

__all__ = ["SumTree"]


class SumTree(_core.SumTree):
    """Priorities that can be summed, searched and sampled in O(log capacity), without rounding errors in the sums.

    A priority is stored in fixed point, as an integer multiple of a power of two (the unit), and all sums are exact
    integers: there is no drift, ``total`` is the exact sum of what ``get`` returns, and a leaf of priority zero or one
    that was never set is unreachable. The stored value is the nearest multiple, at least one unit for a positive
    priority. The unit is at most 2^-27 of the largest priority, so that a stored value is off by at most 2^-28 of it.
    When a priority outgrows the 32 bits, the unit grows and the stored values are rounded again. When the largest
    priority has shrunk below 2^20 units, the unit shrinks after at least capacity / 4 further updates; what was rounded
    by then stays so. Priorities thus span up to 2^32 : 1; smaller ones count as one unit.

    If all priorities are zero, ``sample`` is uniform over the leaves that were set; ``len`` is their number.

    Methods may be called from any thread.

    Args:
        capacity: Number of leaves, 1 ... 2**31 - 1. Memory: 5.1 bytes a leaf.
        seed: Key of the random numbers, in [0, 2**64). Equal seeds and calls give equal bits on every machine.
        device: "cpu", or "cuda", "cuda:1", ...: the tree then lies in the memory of that GPU, and the object is a
            ``metarl_core._cuda.SumTree``, whose methods take and return arrays there (docs/cuda.md).

    Raises:
        ValueError: ``capacity`` is below 1, ``seed`` out of range or ``device`` unknown.
        MemoryError: The tree does not fit; the message states its bytes.
        RuntimeError: The device cannot be used: CUDA is not in this build, or there is no driver or no such GPU.
    """

    def __new__(cls, capacity: int, seed: int = 0, *, device: Any = "cpu") -> Any:
        """Make the tree of the device."""
        number = None if device == "cpu" else device_number(device)
        if number is None:
            return super().__new__(cls)
        return cuda_module(device).SumTree(capacity, seed, number)

    def __init__(self, capacity: int, seed: int = 0, *, device: Any = "cpu") -> None:  # noqa: ARG002
        super().__init__(capacity, seed)
