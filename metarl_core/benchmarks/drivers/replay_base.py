"""The replay work: what a tree, a buffer and importance weights have to do, how it is checked and timed."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .base import Array, Contestant, Operation, UnsupportedError, checksum, require, time_operation
from .check_replay import check_frequencies, check_rows, check_weights
from .data import ALPHA, BETA, columns, masses, numbers_of, td_errors, update_batches

CHUNK = 8192
CHECKED_DRAWS = 1 << 17
NEXT = Callable[[], Any]


def cycle(items: list[Any]) -> NEXT:
    """Return a function that gives the items one after the other, round and round."""
    position = -1
    last = len(items) - 1

    def following() -> Any:
        nonlocal position
        position = position + 1 if position < last else 0
        return items[position]

    return following


def resident_bytes() -> float:
    """Return the resident memory of this process, without what the C library keeps for later; NaN without Linux."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return float("nan")
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class TreeContestant(Contestant):
    """A sum tree: draw indices in proportion to a mass per leaf, set masses.

    Drawing includes drawing the random numbers. Peers need only return indices; ours also returns their probabilities.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self.capacity = int(params["capacity"])

    def sampler(self, batch: int) -> Operation:
        """Return an operation that draws ``batch`` indices."""
        raise NotImplementedError

    def indices(self, result: Any) -> Array:
        """Return the indices in a result of :meth:`sampler` as int64[batch]."""
        return np.asarray(result).reshape(-1).astype(np.int64)

    def inputs(self, indices: Array, values: Array) -> tuple[Any, Any]:
        """Return index and value arrays in the library's own type (not timed)."""
        return indices, values

    def set(self, indices: Any, values: Any) -> None:
        """Set the masses of leaves (the operation that is timed as an update)."""
        raise NotImplementedError

    def check(self) -> str:
        """Assert draw frequencies for two sets of masses, the second one written over the first."""
        everything = []
        for seed in (0, 1):
            mass = masses(td_errors(self.capacity, seed))
            for start in range(0, self.capacity, CHUNK):
                chunk = np.arange(start, min(start + CHUNK, self.capacity))
                self.set(*self.inputs(chunk, mass[chunk].astype(np.float32)))
            batch = min(CHUNK, CHECKED_DRAWS)
            draw = self.sampler(batch)
            drawn = np.concatenate([self.indices(draw()) for _ in range(CHECKED_DRAWS // batch)])
            check_frequencies(drawn, mass, f"masses {seed}")
            everything.append(drawn)
        return checksum(*everything)

    def measure(self, case: str, params: dict[str, Any], seconds: float) -> float:
        """Time ``sample`` or ``update``; return seconds per index."""
        batch = int(params["batch"])
        if case == "sample":
            time, result = time_operation(self.sampler(batch), seconds)
            drawn = self.indices(result)
            require(drawn.shape == (batch,), f"sample returned {drawn.shape} indices instead of {batch}")
            require(bool((drawn >= 0).all() and (drawn < self.capacity).all()), "an index is out of range")
            return time / batch
        if case != "update":
            raise UnsupportedError(f"no case {case!r} for a tree")
        indices, values = update_batches(self.capacity, batch)
        pairs = [
            self.inputs(i, (v.astype(np.float64) ** ALPHA).astype(np.float32))
            for i, v in zip(indices, values, strict=True)
        ]
        following = cycle(pairs)

        def update() -> None:
            pair = following()
            self.set(pair[0], pair[1])

        return time_operation(update, seconds)[0] / batch


class BufferContestant(Contestant):
    """A replay buffer: add transitions, draw batches with importance weights, set priorities from TD errors."""

    prioritized = True

    def __init__(self, workload: str, params: dict[str, Any]) -> None:
        self.workload = workload
        self.capacity = int(params["capacity"])
        self.bytes_per_transition = float("nan")

    def create(self) -> None:
        """Make an empty buffer."""
        raise NotImplementedError

    def fill(self, data: dict[str, Array]) -> None:
        """Append transitions, by whatever way is quick (not timed)."""
        raise NotImplementedError

    def sampler(self, batch: int) -> Operation:
        """Return an operation that draws a batch with its importance weights."""
        raise NotImplementedError

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """Return the indices, the weights (each None if there are none) and the columns of a drawn batch."""
        raise NotImplementedError

    def inputs(self, indices: Array, errors: Array) -> tuple[Any, Any]:
        """Return indices and positive TD errors in the library's own type (not timed)."""
        return indices, errors

    def update(self, indices: Any, errors: Any) -> None:
        """Set priorities from TD errors (the operation that is timed)."""
        raise NotImplementedError

    def looper(self, batch: int, errors: NEXT) -> Operation:
        """Return an operation that draws a batch and sets the priorities of what was drawn."""
        raise NotImplementedError

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """Return an operation that adds the next entry of the pool (leading axis batch; none if batch is 1)."""
        raise NotImplementedError

    def check(self) -> str:
        """Fill the buffer, then assert frequencies, weights and rows under two sets of priorities."""
        chunk = min(CHUNK if self.workload != "images" else 256, self.capacity)
        # Once for nothing, so that what the library loads and compiles is not counted as the buffer's memory.
        empty = dict(self.__dict__)
        self.create()
        self.fill(columns(self.workload, np.arange(chunk)))
        self.__dict__.clear()
        self.__dict__.update(empty)
        before = resident_bytes()
        self.create()
        for start in range(0, self.capacity, chunk):
            self.fill(columns(self.workload, np.arange(start, min(start + chunk, self.capacity))))
        self.bytes_per_transition = (resident_bytes() - before) / self.capacity
        sums = [self._check_draws(td_errors(self.capacity, seed)) for seed in (0, 1)]
        return checksum(*sums)

    def _check_draws(self, errors: Array) -> Array:
        mass = masses(errors)
        if self.prioritized:
            for start in range(0, self.capacity, CHUNK):
                part = np.arange(start, min(start + CHUNK, self.capacity))
                self.update(*self.inputs(part, errors[part]))
        else:
            mass = np.ones(self.capacity)
        batch = 1024 if self.workload != "images" else 256
        draw = self.sampler(batch)
        seen = []
        for step in range(CHECKED_DRAWS // batch if self.workload != "images" else 64):
            indices, weights, drawn = self.unpack(draw())
            numbers = numbers_of(self.workload, drawn["obs"])
            seen.append(numbers)
            if step < 4:
                check_rows(self.workload, drawn, numbers if indices is None else indices, "sample")
                if weights is not None:
                    check_weights(weights, numbers, mass, "sample")
        check_frequencies(np.concatenate(seen), mass, "sample")
        return np.concatenate(seen)

    def _verify(self, result: Any, batch: int) -> None:
        """Assert that the last timed batch is complete and consistent with itself."""
        _, weights, drawn = self.unpack(result)
        numbers = numbers_of(self.workload, drawn["obs"])
        require(len(numbers) == batch, f"a batch of {len(numbers)} instead of {batch}")
        check_rows(self.workload, drawn, numbers, "the last batch")
        if weights is not None:
            require(bool(np.isfinite(np.asarray(weights, np.float64)).all()), "a weight is not finite")

    def measure(self, case: str, params: dict[str, Any], seconds: float) -> float:
        """Time ``sample``, ``update``, ``loop`` or ``add``; return seconds (or resident ``bytes``) per transition."""
        if case == "bytes":
            if np.isnan(self.bytes_per_transition):
                raise UnsupportedError("resident memory is read from /proc, which only Linux has")
            return self.bytes_per_transition
        batch = int(params["batch"])
        if case == "sample":
            time, result = time_operation(self.sampler(batch), seconds)
            self._verify(result, batch)
            return time / batch
        if case == "add":
            count = max(8, min(1024, CHUNK // batch)) if self.workload != "images" else 8
            pool = [columns(self.workload, np.arange(batch) + k * batch) for k in range(count)]
            if batch == 1:
                pool = [{key: value[0] for key, value in entry.items()} for entry in pool]
            return time_operation(self.adder(batch, pool), seconds)[0] / batch
        if not self.prioritized:
            raise UnsupportedError("uniform only")
        indices, values = update_batches(self.capacity, batch)
        pairs = [self.inputs(i, v) for i, v in zip(indices, values, strict=True)]
        if case == "update":
            following = cycle(pairs)

            def update() -> None:
                pair = following()
                self.update(pair[0], pair[1])

            return time_operation(update, seconds)[0] / batch
        if case != "loop":
            raise UnsupportedError(f"no case {case!r} for a buffer")
        time, result = time_operation(self.looper(batch, cycle([pair[1] for pair in pairs])), seconds)
        self._verify(result, batch)
        return time / batch


class WeightsContestant(Contestant):
    """Importance weights alone: ``(size * probability) ** -beta`` divided by the largest one of the batch."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.size = int(params["capacity"])
        self.dtype = np.dtype(params["dtype"])

    def inputs(self, probabilities: Array) -> Any:
        """Return the probabilities in the library's own type and the asked precision (not timed)."""
        return probabilities.astype(self.dtype)

    def compute(self, probabilities: Any) -> Any:
        """Return the weights."""
        raise NotImplementedError

    def _probabilities(self, batch: int) -> Array:
        mass = masses(td_errors(batch, batch))
        return np.asarray(mass / (mass.sum() * (self.size / batch)))

    def _verify(self, weights: Any, probabilities: Array) -> None:
        got = np.asarray(weights, np.float64).reshape(-1)
        wanted = (self.size * probabilities) ** -BETA
        wanted /= wanted.max()
        require(got.shape == wanted.shape, f"{got.shape} weights for {wanted.shape} probabilities")
        require(np.asarray(weights).dtype == self.dtype, f"weights of {np.asarray(weights).dtype}, not {self.dtype}")
        error = float(np.abs(got / wanted - 1).max())
        require(error < (1e-5 if self.dtype == np.float32 else 1e-14), f"the weights are off by {error:.1e}")

    def check(self) -> str:
        """Compare with the formula in float64."""
        results = []
        for batch in (1, 32, 1000):
            probabilities = self._probabilities(batch)
            results.append(np.asarray(self.compute(self.inputs(probabilities))))
            self._verify(results[-1], probabilities)
        return checksum(*results)

    def measure(self, case: str, params: dict[str, Any], seconds: float) -> float:
        """Time the weights of one batch; return seconds per weight."""
        if case != "weights":
            raise UnsupportedError(f"no case {case!r} for weights")
        batch = int(params["batch"])
        probabilities = self._probabilities(batch)
        given = self.inputs(probabilities)
        time, result = time_operation(lambda: self.compute(given), seconds)
        self._verify(result, probabilities)
        return time / batch
