"""Prioritized replay and vector environments for Tianshou 2; see docs/tianshou.md."""

from __future__ import annotations

from metarl_core.integrations.required import required

with required("Tianshou", "tianshou"):
    from metarl_core.integrations.tianshou.buffer import (
        MetaRLPrioritizedReplayBuffer,
        MetaRLPrioritizedVectorReplayBuffer,
    )
    from metarl_core.integrations.tianshou.vec_env import MetaRLVectorEnv, make_vector_env

__all__ = [
    "MetaRLPrioritizedReplayBuffer",
    "MetaRLPrioritizedVectorReplayBuffer",
    "MetaRLVectorEnv",
    "make_vector_env",
]
