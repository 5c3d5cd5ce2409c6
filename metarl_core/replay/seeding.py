"""Buffers whose user gave no seed: their random numbers are drawn, and still follow what they are restored from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metarl_core._cuda_module import device_number

__all__ = ["make_seeded"]


def make_seeded(
    cls: Callable[..., Any], *arguments: Any, seed: int | None, drawn: int | None = None, **options: Any
) -> Any:
    """Make a buffer with the user's seed or, without one, with a random stream that is drawn.

    A seed is an argument, which a file, or a folder of mapped columns, has to agree with; one that is drawn anew in
    every process never would. So what is drawn is the random stream, which is state: it comes back with the rest.

    Args:
        cls: ReplayBuffer or PrioritizedReplayBuffer.
        *arguments: its capacity and fields.
        seed: in [0, 2^64), or None.
        drawn: the random stream, in [1, 2^62); None: NumPy's global generator, which scripts seed, draws it. With a
            seed nothing is drawn, so that a run's other random numbers are those that it has without our buffer.
        **options: its other arguments.

    Raises:
        ValueError, TypeError: as of ``cls``.
        MetarlError, OSError: as of ``cls`` with a folder.
    """
    if seed is not None:
        return cls(*arguments, seed=seed, **options)
    if drawn is None:
        drawn = 1 + int(np.random.randint(2**31))  # noqa: NPY002
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
