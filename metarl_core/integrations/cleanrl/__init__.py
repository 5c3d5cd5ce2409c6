"""Replay buffers and environments with the interfaces that CleanRL's scripts use; see docs/cleanrl.md.

CleanRL itself is not imported.
"""

from __future__ import annotations

from metarl_core.integrations.cleanrl.environments import make_envs
from metarl_core.integrations.cleanrl.rainbow import PrioritizedReplayBuffer
from metarl_core.integrations.cleanrl.replay_buffer import ReplayBuffer
from metarl_core.integrations.cleanrl.samples import ReplayBufferSamples

__all__ = ["PrioritizedReplayBuffer", "ReplayBuffer", "ReplayBufferSamples", "make_envs"]
