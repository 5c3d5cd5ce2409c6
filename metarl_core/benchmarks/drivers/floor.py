"""What memory alone allows: the cache lines that the work must touch, and nothing else, in one call from Python.

At random places that are known in advance, so that all misses overlap; images are copied by NumPy's ``take``, which is
one ``memcpy`` a block. A figure near its floor is bound by memory; the rest is arithmetic and Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl_core import _core

from .base import Array, Contestant, Factory, Operation, UnsupportedError, checksum, require, time_operation
from .data import IMAGE_SHAPE, update_batches
from .ours_streams import SEQUENCE_LENGTH
from .replay_base import cycle

NAME = "floor"

ROW = 48  # of a small transition, padded
LEAF = 4
RAW = 4  # the priority as it was given
NODE, NODE_SHIFT = 128, 8  # the sums of 256 leaves; what lies above stays near the core
HUGE_PAGE = 1 << 21
FRAME = IMAGE_SHAPE[1] * IMAGE_SHAPE[2]
STACK = IMAGE_SHAPE[0] * FRAME


class Floor(Contestant):
    """The memory of one workload."""

    def __init__(self, workload: str, params: dict[str, Any]) -> None:
        self.workload = workload
        self.capacity = int(params["capacity"])
        rows, leaves, nodes = (self._lines(size, shift) for size, shift in ((ROW, 0), (LEAF, 0), (NODE, NODE_SHIFT)))
        self.tree = _core.LineToucher([leaves, nodes])
        self.sampled = _core.LineToucher([leaves, nodes, rows])
        self.updated = _core.LineToucher([leaves, nodes, self._lines(RAW, 0)])
        self.added = _core.LineToucher([rows, leaves])

    def _lines(self, size: int, shift: int) -> tuple[Array, int, int]:
        total = ((self.capacity - 1 >> shift) + 1) * size
        memory = np.empty(total + HUGE_PAGE, np.uint8)
        memory = memory[-memory.ctypes.data % HUGE_PAGE :][:total]
        memory[:] = 1
        return memory, size, shift

    def check(self) -> str:
        """Every line is read once."""
        everything = np.arange(self.capacity)
        read = self.tree.touch(everything, False)
        require(read == self.capacity * (1 + NODE // 64), f"{read} lines were read")
        return checksum(np.array([read]))

    def measure(self, case: str, params: dict[str, Any], seconds: float) -> float:
        """Time the lines of one case; return seconds per item."""
        if case == "bytes":
            raise UnsupportedError("a floor of time")
        batch = int(params["batch"])
        return time_operation(self._operation(case, batch), seconds)[0] / batch

    def _operation(self, case: str, batch: int) -> Operation:
        if self.workload in ("images", "pixels", "sequences") and case != "add":
            return self._copies(batch)
        pieces, _ = update_batches(self.capacity, batch)
        if case == "add":
            return self._additions(batch)
        if case == "sample":  # a stratified batch ascends
            following = cycle([np.sort(piece) for piece in pieces])
            lines = self.tree if self.workload == "tree" else self.sampled
            return lambda: lines.touch(following(), False)
        following = cycle([np.ascontiguousarray(piece) for piece in pieces])
        lines = self.tree if self.workload == "tree" else self.updated
        if case == "update":
            return lambda: lines.touch(following(), True)

        def loop() -> None:
            indices = following()
            self.sampled.touch(indices, False)
            lines.touch(indices, True)

        return loop

    def _additions(self, batch: int) -> Operation:
        if self.workload != "images":
            starts = range(0, self.capacity - batch + 1, batch)
            following = cycle([np.arange(start, start + batch) for start in starts[:4096]])
            return lambda: self.added.touch(following(), True)
        source = np.ones((2, batch, STACK), np.uint8)
        stored = np.ones((2, min(self.capacity, 4096), STACK), np.uint8)
        places = cycle(list(range(0, stored.shape[1] - batch + 1, batch)))

        def add() -> None:
            first = places()
            stored[:, first : first + batch] = source

        return add

    def _copies(self, batch: int) -> Operation:
        """Copy blocks at random places to arrays that are used again: what a batch consists of."""
        block, count = {
            "images": (STACK, 2),
            "pixels": (FRAME, 2 * IMAGE_SHAPE[0]),
            "sequences": (SEQUENCE_LENGTH * ROW, 1),
        }[self.workload]
        blocks = max(1, min(self.capacity * (2 if self.workload == "images" else 1), (1 << 30) // block))
        stored = np.ones((blocks, block), np.uint8)
        rng = np.random.default_rng(0)
        following = cycle([rng.integers(0, blocks, batch * count) for _ in range(256)])
        out = np.empty((batch * count, block), np.uint8)
        return lambda: np.take(stored, following(), axis=0, out=out, mode="clip")


def contestants(workload: str, params: dict[str, Any]) -> dict[str, Factory]:
    """Return the floor of a replay workload, if memory is what sets it."""
    if workload in ("weights", "env"):
        return {}
    return {NAME: lambda: Floor(workload, params)}
