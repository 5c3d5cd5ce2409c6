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
    RunError,
    StaleIndexError,
)

__version__: str = build_info()["version"]

__all__ = [
    "BufferEmptyError",
    "CheckpointCorruptError",
    "CheckpointFormatError",
    "CheckpointMismatchError",
    "CheckpointVersionError",
    "ClosedError",
    "MetarlError",
    "RunError",
    "StaleIndexError",
    "__version__",
    "build_info",
]
