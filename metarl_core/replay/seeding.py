"""Buffers whose user gave no seed: their random numbers are drawn, and still follow what they are restored from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metarl_core._cuda_module import device_number

__all__ = ["drawn_stream", "make_seeded"]


def drawn_stream() -> int:
    """Return a random stream for a buffer without a seed: NumPy's global generator, which scripts seed, draws it."""
    return 1 + int(np.random.randint(2**31))  # noqa: NPY002


def make_seeded(cls: Callable[..., Any], *arguments: Any, seed: int | None, drawn: int, **options: Any) -> Any:
    """Make a buffer with the user's seed or, without one, with random numbers that ``drawn`` decides.

    A seed is an argument, which a file, or a folder of mapped columns, has to agree with; one that is drawn anew in
    every process never would. So what is drawn is the random stream, which is state: it comes back with the rest.

    Args:
        cls: ReplayBuffer or PrioritizedReplayBuffer.
        *arguments: its capacity and fields.
        seed: in [0, 2^64), or None.
        drawn: in [1, 2^62).
        **options: its other arguments.

    Raises:
        ValueError, TypeError: as of ``cls``.
        MetarlError, OSError: as of ``cls`` with a folder.
    """
    if seed is not None:
        return cls(*arguments, seed=seed, **options)
    if device_number(options.get("device", "cpu")) is not None:
        return cls(*arguments, seed=drawn, **options)  # there are no streams on a GPU
    buffer = cls(*arguments, **options)
    if len(buffer) > 0:  # of a folder
        return buffer
    try:
        state = buffer.state_dict()
        if state.get("random_stream", 0) == 0:
            buffer.load_state_dict({**state, "random_stream": drawn})
    except BaseException:
        buffer.close()  # or the traceback would keep a folder locked
        raise
    return buffer
