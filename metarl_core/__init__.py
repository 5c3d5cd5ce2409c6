"""metarl_core: prioritized replay, importance weights and batched environments in C++, and the agents on top.

Importing this package loads NumPy and the compiled core, nothing else: no torch, no thread, no CUDA context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarl_core._build_info import build_info
from metarl_core._late import late_names
from metarl_core._paths import get_cmake_dir, get_include
from metarl_core.errors import (
    BufferEmptyError,
    CheckpointCorruptError,
    CheckpointFormatError,
    CheckpointMismatchError,
    CheckpointVersionError,
    ClosedError,
    ConfigError,
    EnvLibraryError,
    MetarlError,
    ResetNeededError,
    RunError,
    StaleIndexError,
    StorageInUseError,
    WorkerError,
    WorkerTimeoutError,
)
from metarl_core.replay import (
    Batch,
    LinearSchedule,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SumTree,
    fields_from_spaces,
    importance_weights,
)

if TYPE_CHECKING:
    from metarl_core.replay import PrefetchSampler, SharedWriter, SharedWriters, WriterStats
    from metarl_core.vector import (
        AsyncEnvs,
        Rollout,
        StepBuffers,
        env_spec,
        list_envs,
        load_env_library,
        make_async,
        make_vec,
        register_envs,
    )

__version__: str = build_info()["version"]

__all__ = [
    "AsyncEnvs",
    "Batch",
    "BufferEmptyError",
    "CheckpointCorruptError",
    "CheckpointFormatError",
    "CheckpointMismatchError",
    "CheckpointVersionError",
    "ClosedError",
    "ConfigError",
    "EnvLibraryError",
    "LinearSchedule",
    "MetarlError",
    "PrefetchSampler",
    "PrioritizedReplayBuffer",
    "ReplayBuffer",
    "ResetNeededError",
    "Rollout",
    "RunError",
    "SharedWriter",
    "SharedWriters",
    "StaleIndexError",
    "StepBuffers",
    "StorageInUseError",
    "SumTree",
    "WorkerError",
    "WorkerTimeoutError",
    "WriterStats",
    "__version__",
    "build_info",
    "env_spec",
    "fields_from_spaces",
    "get_cmake_dir",
    "get_include",
    "importance_weights",
    "list_envs",
    "load_env_library",
    "make_async",
    "make_vec",
    "register_envs",
]

if not TYPE_CHECKING:  # or checkers would take any name
    _VECTOR, _PREFETCH, _WRITERS = (f"metarl_core.{name}" for name in ("vector", "replay.prefetch", "replay.writers"))
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "AsyncEnvs": _VECTOR,
            "PrefetchSampler": _PREFETCH,
            "Rollout": _VECTOR,
            "SharedWriter": _WRITERS,
            "SharedWriters": _WRITERS,
            "StepBuffers": _VECTOR,
            "WriterStats": _WRITERS,
            "env_spec": _VECTOR,
            "list_envs": _VECTOR,
            "load_env_library": _VECTOR,
            "make_async": _VECTOR,
            "make_vec": _VECTOR,
            "register_envs": _VECTOR,
            "vector": _VECTOR,
        },
    )
