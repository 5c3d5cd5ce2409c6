"""What memory alone allows: what the work must read and write, and nothing else, in one call from Python.

Replay touches cache lines at random places that are known in advance, so that all misses overlap; images are copied by
NumPy's ``take``, which is one ``memcpy`` a block. A step of environments reads actions and states, and writes states
and what it returns, from end to end. A figure near its floor is bound by memory; the rest is arithmetic and Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import metarl_core
from metarl_core import _core

from .base import Array, Contestant, Factory, Operation, UnsupportedError, checksum, require, time_operation
from .data import IMAGE_SHAPE, update_batches
from .env_base import BSUITE
from .ours_streams import SEQUENCE_LENGTH
from .replay_base import cycle

NAME = "floor"

ROW = 48  # of a small transition, padded
LEAF = 4
RAW = 4  # the priority as it was given
NODE, NODE_SHIFT = 128, 8  # the sums of 256 leaves; what lies above stays near the core
STATE_NUMBER = 4  # bytes of a number of an environment's state
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


class EnvFloor(Contestant):
    """What a step of a batch reads and writes."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.num_envs = n = int(params["num_envs"])
        extra = {"size": params["size"]} if "size" in params else {}
        if "precision" in metarl_core.env_spec(params["env_id"]).parameters:
            extra["precision"] = "float32"  # the least
        envs = metarl_core.make_vec(params["env_id"], 1, **extra)
        buffers = envs.make_buffers()
        # DeepSea and Catch change the cells that differ: two of a line each at least.
        obs = buffers.obs.nbytes if params["env_id"] not in BSUITE else min(buffers.obs.nbytes, 8)
        number = 8 if hasattr(envs.single_action_space, "n") else 4  # bytes of an action, as the contestants get it
        state = STATE_NUMBER * len(envs.field_names) + 4 + 1  # and the count of steps, and whether it ended
        tasks = STATE_NUMBER * len(envs.task_parameters) if params.get("tasks") else 0
        outputs = obs + sum(a.nbytes for a in (buffers.reward, buffers.terminated, buffers.truncated))

        def memory(row: int) -> Array:
            return np.ones(-(-row * n // 8), np.uint64)

        kept = memory(state)
        self.arrays = _core.ArrayToucher([memory(number), kept, memory(tasks)], [kept, memory(outputs)])
        self.expected = sum(-(-row * n // 8) for row in (number, state, tasks))

    def check(self) -> str:
        """Every element is read once."""
        read = self.arrays.touch()
        require(read == self.expected, f"{read} elements were read instead of {self.expected}")
        return checksum(np.array([read]))

    def measure(self, case: str, params: dict[str, Any], seconds: float) -> float:
        """Time one pass; return seconds a row."""
        del case, params
        return time_operation(self.arrays.touch, seconds)[0] / self.num_envs


def contestants(workload: str, params: dict[str, Any]) -> dict[str, Factory]:
    """Return the floor of a workload, if memory is what sets it."""
    if workload == "weights":
        return {}
    if workload == "env":
        return {NAME: lambda: EnvFloor(params)}
    return {NAME: lambda: Floor(workload, params)}
