"""What every driver offers: contestants that are checked, then measured case by case."""

from __future__ import annotations

import gc
import importlib
import sys
import time
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Operation = Callable[[], Any]


class UnsupportedError(Exception):
    """The library cannot do this work; the text says why."""


class WrongResultError(AssertionError):
    """The library returned something else than the work asks for; the text says what."""


class Contestant:
    """One way of one library to do a piece of work (``workload``); subclasses name the work they can do."""

    notes: str = ""

    def check(self) -> str:
        """Assert that the results are right, before anything is timed.

        Returns:
            A checksum of the results.

        Raises:
            WrongResultError: If a result is wrong.
        """
        raise NotImplementedError

    def measure(self, case: str, params: dict[str, Any], seconds: float) -> float:
        """Time one case and check its last result.

        Args:
            case: Name of the case, such as ``"sample"``.
            params: Its parameters, such as ``{"batch": 32}``.
            seconds: How long to time at least.

        Returns:
            Seconds for one item (a transition, an index, an environment step), or bytes for the case ``"bytes"``.

        Raises:
            UnsupportedError: If the library has no such operation.
            WrongResultError: If the last result is wrong.
        """
        raise NotImplementedError


Factory = Callable[[], Contestant]


class Driver:
    """A library under test."""

    name: str = ""
    packages: tuple[str, ...] = ()

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that matter for the figures."""
        found = {}
        for package in self.packages:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                found[package] = "?"
        return found

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Return the contestants of this library for a workload by name; none if it has nothing to do with it."""
        raise NotImplementedError


def time_operation(operation: Operation, seconds: float) -> tuple[float, Any]:
    """Call an operation until at least ``seconds`` have passed.

    The garbage collector rests meanwhile, as in :mod:`timeit`. The clock is read once per block of calls, whose
    length grows until a block takes the asked time.

    Returns:
        Seconds for one call, and the last result.
    """
    calls = 1
    result = operation()
    enabled = gc.isenabled()
    gc.disable()
    try:
        while True:
            repeat = range(calls)
            start = time.perf_counter()
            for _ in repeat:
                result = operation()
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return elapsed / calls, result
            # Aim a little above the asked time; at most 10 times more, since the first blocks are the slowest.
            calls = max(calls + 1, min(calls * 10, int(calls * seconds * 1.15 / max(elapsed, 1e-9))))
    finally:
        if enabled:
            gc.enable()


def checksum(*arrays: Any) -> str:
    """Return the CRC-32 of the bytes of arrays, as eight hexadecimal digits."""
    value = 0
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array).tobytes(), value)
    return f"{value:08x}"


def require(condition: bool, message: str) -> None:
    """Raise :class:`WrongResultError` unless the condition holds (unlike ``assert``, also under ``python -O``)."""
    if not condition:
        raise WrongResultError(message)


def import_jax() -> Any:
    """Import JAX with a cache of compiled functions in its environment, so that later runs start sooner."""
    jax = importlib.import_module("jax")
    jax.config.update("jax_compilation_cache_dir", str(Path(sys.prefix) / "jax_cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return jax
