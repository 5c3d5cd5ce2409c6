"""A sparse variant of any environment: reward 1 where its own reward reaches a threshold, else 0."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["SparseReward"]


class SparseReward:
    """A vector environment with another reward; all else is the environment's own.

    Where the reward falls with the distance from a goal, as in Pendulum (minus the squared angle from upright and
    speed) or in reaching, the states that pay are a neighbourhood of the goal, and nothing else tells where it is.

    Args:
        envs: the vector environment.
        threshold: smallest reward of the environment that becomes 1.
    """

    def __init__(self, envs: Any, threshold: float) -> None:
        self.envs = envs
        self.threshold = threshold

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Step; the reward is float64 [num_envs], 0 or 1."""
        obs, reward, terminated, truncated, info = self.envs.step(actions)
        return obs, (reward >= self.threshold).astype(np.float64), terminated, truncated, info
