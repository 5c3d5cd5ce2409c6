"""Double DQN, uniform or prioritized, through the same loop and the same replay as CDER."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.common.config import NStepConfig
from metarl_core.agents.common.critic import CriticEnsemble, double_q_target
from metarl_core.agents.common.images import Features
from metarl_core.agents.common.learner import Agent, make_optimizer
from metarl_core.agents.common.nstep import bootstrap_columns
from metarl_core.agents.common.options import option
from metarl_core.agents.common.schedules import linear

__all__ = ["DoubleDQN", "DoubleDQNConfig"]


@dataclasses.dataclass(frozen=True)
class DoubleDQNConfig(NStepConfig):
    """Options of Double DQN (van Hasselt, Guez & Silver 2016) with epsilon-greedy exploration."""

    epsilon_start: float = option(1.0, "share of uniform actions at the first step", minimum=0.0, maximum=1.0)
    epsilon_end: float = option(0.05, "share of uniform actions after epsilon_steps", minimum=0.0, maximum=1.0)
    epsilon_steps: int = option(10_000, "environment steps over which epsilon falls", minimum=1)


class DoubleDQN(Agent):
    """One critic without prior, epsilon-greedy."""

    config: DoubleDQNConfig

    def __init__(
        self,
        config: DoubleDQNConfig,
        in_features: Features,
        num_actions: int,
        num_envs: int,
        seed: int,
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        super().__init__(config, in_features, num_actions, num_envs, seed, device)
        self.critic = CriticEnsemble(
            1, in_features, config.hidden, num_actions, 0.0, self.init_generator, one_hot=one_hot
        ).to(self.device)
        self.optimizer = make_optimizer(config, [{"params": list(self.critic.online.parameters()), "lr": config.lr}])

    def modules(self) -> dict[str, nn.Module]:
        """The critic with its target copy."""
        return {"critic": self.critic}

    def schedule(self, step: int) -> dict[str, float]:
        """Epsilon, falling linearly."""
        c = self.config
        return {"epsilon": linear(c.epsilon_start, c.epsilon_end, step, c.epsilon_steps)}

    @torch.no_grad()
    def act(self, obs: Tensor, step: int) -> NDArray[np.int64]:
        """Epsilon-greedy actions."""
        uniform = self.policy_rng.random(len(obs)) < self.schedule(step)["epsilon"]
        drawn = self.policy_rng.integers(self.num_actions, size=len(obs))
        return np.where(uniform, drawn, self.greedy(obs))

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> NDArray[np.int64]:
        """argmax_a Q(s, a)."""
        actions: NDArray[np.int64] = self.critic(obs)[0].argmax(dim=1).cpu().numpy()
        return actions

    def losses(self, batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        """L = sum_j w_j delta_j^2 with the double-Q target, and |delta_j|."""
        c = self.config
        reward, discount, following = bootstrap_columns(batch, c.gamma, c.n_step)
        with torch.no_grad():
            target = double_q_target(
                reward, discount, self.critic.online(following), self.critic.target(following), c.double_q
            )[0]
        taken = self.critic.online(batch["obs"])[0].gather(1, batch["action"].view(-1, 1)).squeeze(1)
        delta = taken - target
        loss = (delta.square() * weights).sum()
        errors = delta.detach().abs()
        if collect:
            self.stats = {
                "loss": loss.detach(),
                "td_error_mean": errors.mean(),
                "q_mean": taken.detach().mean(),
            }
        return loss, errors
