"""Behaviour policies pi_c over an ensemble of critics (step 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.common.learner import restore_rng, rng_state
from metarl_core.agents.common.schedules import linear

__all__ = ["BehaviourPolicy", "ucb_actions"]


def ucb_actions(q: Tensor, c: float) -> Tensor:
    """argmax_a of mean + c std over the heads; q float32 [K, B, A] -> int64 [B]."""
    spread, mean = torch.std_mean(q, dim=0, correction=0)
    return (mean + c * spread).argmax(dim=1)


class BehaviourPolicy:
    """The candidate action a' ~ pi_c is executed, so every candidate becomes a real transition.

    ``thompson`` follows one head per instance, redrawn when its episode begins (Osband et al. 2016, bootstrapped DQN);
    ``ucb`` takes mean + c std. A share epsilon of the actions may be uniform.

    Args:
        config: CDER's options.
        num_actions: A.
        num_envs: instances it acts for.
        rng: source of the heads and the uniform actions.
    """

    def __init__(self, config: CderConfig, num_actions: int, num_envs: int, rng: np.random.Generator) -> None:
        self.config = config
        self.num_actions = num_actions
        self.rng = rng
        self.heads = rng.integers(config.members, size=num_envs)
        self.head_returns = np.full(config.members, -np.inf)
        self._rows = torch.arange(num_envs)

    @property
    def best_head(self) -> int:
        """Head with the highest running mean return (weight 0.1 on the newest) of the episodes it acted in."""
        return int(self.head_returns.argmax())

    def begin_episodes(self, started: NDArray[np.bool_], returns: NDArray[np.float64]) -> None:
        """Draw a new head for the instances marked in bool [num_envs]; credit the old one with the episode's return."""
        count = int(started.sum())
        if count:
            for head, value in zip(self.heads[started], returns[started], strict=True):
                old = self.head_returns[head]
                self.head_returns[head] = old + 0.1 * (value - old) if np.isfinite(old) else value
            self.heads[started] = self.rng.integers(self.config.members, size=count)

    def epsilon(self, step: int) -> float:
        """Share of uniform actions at an environment step."""
        c = self.config
        return linear(c.epsilon_start, c.epsilon_end, step, c.epsilon_steps)

    def __call__(self, q: Tensor, step: int) -> NDArray[np.int64]:
        """Choose actions; q float32 [K, num_envs, A] -> int64 [num_envs]."""
        if self.config.behaviour == "ucb":
            chosen = ucb_actions(q, self.config.ucb_c)
        else:
            chosen = q[torch.from_numpy(self.heads), self._rows].argmax(dim=1)
        actions: NDArray[np.int64] = chosen.cpu().numpy()
        epsilon = self.epsilon(step)
        if epsilon > 0:
            uniform = self.rng.random(len(actions)) < epsilon
            actions = np.where(uniform, self.rng.integers(self.num_actions, size=len(actions)), actions)
        return actions

    def state_dict(self) -> dict[str, Any]:
        """Heads in use and the generator."""
        return {"heads": self.heads.copy(), "head_returns": self.head_returns.copy(), "rng": rng_state(self.rng)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.heads = np.asarray(state["heads"]).copy()
        self.head_returns = np.asarray(state["head_returns"]).copy()
        restore_rng(self.rng, state["rng"])
