"""Prioritized replay and vector environments for stable-baselines3; see docs/stable-baselines3.md."""

from __future__ import annotations

from metarl_core.integrations.required import required

with required("stable-baselines3", "sb3"):
    from metarl_core.integrations.stable_baselines3.replay_buffer import MetaRLReplayBuffer
    from metarl_core.integrations.stable_baselines3.vec_env import MetaRLVecEnv, make_vec_env

__all__ = ["MetaRLReplayBuffer", "MetaRLVecEnv", "make_vec_env"]
