"""metarl_core: prioritized replay, importance weights and batched environments in C++, and the agents on top.

Importing this package loads NumPy and the compiled core, nothing else: no torch, no thread, no CUDA context.
"""

from __future__ import annotations

from metarl_core._build_info import build_info
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
    PrefetchSampler,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SharedWriter,
    SharedWriters,
    SumTree,
    WriterStats,
    fields_from_spaces,
    importance_weights,
)
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
