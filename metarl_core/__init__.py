"""metarl_core: prioritized replay, importance weights and batched environments in C++, and the agents on top.

Importing this package loads NumPy and the compiled core, nothing else: no torch, no thread, no CUDA context.
"""

from __future__ import annotations

from metarl_core._build_info import build_info
from metarl_core.errors import (
    BufferEmptyError,
    CheckpointCorruptError,
    CheckpointFormatError,
    CheckpointMismatchError,
    CheckpointVersionError,
    ClosedError,
    MetarlError,
    ResetNeededError,
    RunError,
    StaleIndexError,
)
from metarl_core.vector import StepBuffers, env_spec, list_envs, make_vec

__version__: str = build_info()["version"]

__all__ = [
    "BufferEmptyError",
    "CheckpointCorruptError",
    "CheckpointFormatError",
    "CheckpointMismatchError",
    "CheckpointVersionError",
    "ClosedError",
    "MetarlError",
    "ResetNeededError",
    "RunError",
    "StaleIndexError",
    "StepBuffers",
    "__version__",
    "build_info",
    "env_spec",
    "list_envs",
    "make_vec",
]
