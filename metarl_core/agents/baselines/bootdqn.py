"""Bootstrapped DQN with randomised priors: each episode acts on one member of an ensemble."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.common.config import NStepConfig
from metarl_core.agents.common.critic import CriticEnsemble, aggregate_actions, double_q_target
from metarl_core.agents.common.images import Features
from metarl_core.agents.common.learner import Agent, make_optimizer, restore_rng, rng_state
from metarl_core.agents.common.nstep import bootstrap_columns
from metarl_core.agents.common.options import option
from metarl_core.agents.common.schedules import linear

__all__ = ["BootstrappedDQN", "BootstrappedDQNConfig"]


@dataclasses.dataclass(frozen=True)
class BootstrappedDQNConfig(NStepConfig):
    """Options of bootstrapped DQN (Osband et al. 2016) with randomised priors (Osband et al. 2018)."""

    members: int = option(10, "K, heads, each with an own fixed random prior", minimum=1, maximum=10_000)
    prior_scale: float = option(3.0, "factor on the random priors (0: none, as in 2016)", minimum=0.0)
    prior_gain: float = option(1.0, "range of the priors' weights relative to 1/sqrt(fan_in)", above=0.0)
    mask_probability: float = option(
        0.5,
        "chance that a head learns from a transition (Bernoulli mask, drawn once when stored)",
        above=0.0,
        maximum=1.0,
    )
    evaluation: str = option("vote", "who acts in evaluation: the heads' vote or their mean", choices=("vote", "mean"))
    epsilon_start: float = option(0.0, "share of uniform actions at the first step", minimum=0.0, maximum=1.0)
    epsilon_end: float = option(0.0, "share of uniform actions after epsilon_steps", minimum=0.0, maximum=1.0)
    epsilon_steps: int = option(10_000, "environment steps over which epsilon falls", minimum=1)


class BootstrappedDQN(Agent):
    """K critics Q_k = f_k + scale * g_k, g_k random and fixed, each with an own target network and bootstrap mask.

    An instance acts greedily for one head, drawn anew when its episode begins (Osband, Blundell, Pritzel & Van Roy
    2016, algorithm 1). The heads share no layers (as in 2018), so no gradient is divided by K.
    """

    config: BootstrappedDQNConfig

    def __init__(
        self,
        config: BootstrappedDQNConfig,
        in_features: Features,
        num_actions: int,
        num_envs: int,
        seed: int,
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        super().__init__(config, in_features, num_actions, num_envs, seed, device)
        self.critic = CriticEnsemble(
            config.members,
            in_features,
            config.hidden,
            num_actions,
            config.prior_scale,
            self.init_generator,
            config.prior_gain,
            one_hot,
        ).to(self.device)
        self.optimizer = make_optimizer(config, [{"params": list(self.critic.online.parameters()), "lr": config.lr}])
        self.heads = self.policy_rng.integers(config.members, size=num_envs)
        self.mask_rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 2))))
        self._rows = torch.arange(num_envs)

    def modules(self) -> dict[str, nn.Module]:
        """The ensemble with its priors and target copies."""
        return {"critic": self.critic}

    def begin_episodes(self, started: NDArray[np.bool_], returns: NDArray[np.float64]) -> None:  # noqa: ARG002
        """Draw a new head for the instances that begin an episode."""
        count = int(started.sum())
        if count:
            self.heads[started] = self.policy_rng.integers(self.config.members, size=count)

    def schedule(self, step: int) -> dict[str, float]:
        """Epsilon, falling linearly."""
        c = self.config
        return {"epsilon": linear(c.epsilon_start, c.epsilon_end, step, c.epsilon_steps)}

    @torch.no_grad()
    def act(self, obs: Tensor, step: int) -> NDArray[np.int64]:
        """argmax_a Q_k(s, a) with the head k of each instance."""
        q = self.critic(obs)[torch.from_numpy(self.heads), self._rows]
        actions: NDArray[np.int64] = q.argmax(dim=1).cpu().numpy()
        epsilon = self.schedule(step)["epsilon"]
        if epsilon > 0:
            uniform = self.policy_rng.random(len(actions)) < epsilon
            actions = np.where(uniform, self.policy_rng.integers(self.num_actions, size=len(actions)), actions)
        return actions

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> NDArray[np.int64]:
        """The heads' majority vote (the ensemble policy of 2016, section 6.4) or the argmax of their mean."""
        actions: NDArray[np.int64] = aggregate_actions(self.critic(obs), self.config.evaluation).cpu().numpy()
        return actions

    def extra_fields(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The bootstrap mask, one byte a head."""
        return {"mask": ((self.config.members,), np.uint8)} if self.config.mask_probability < 1 else {}

    def extra_columns(self, count: int) -> dict[str, NDArray[Any]]:
        """Draw bootstrap masks m_jk ~ Bernoulli(p), uint8 [count, K]."""
        if self.config.mask_probability >= 1:
            return {}
        drawn = self.mask_rng.random((count, self.config.members), dtype=np.float32)
        return {"mask": (drawn < self.config.mask_probability).astype(np.uint8)}

    def losses(self, batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        """L = sum_j w_j sum_k m_jk delta_jk^2, each head against its own target, and mean_k |delta_jk|."""
        c = self.config
        obs, count = batch["obs"], len(batch["obs"])
        reward, discount, following = bootstrap_columns(batch, c.gamma, c.n_step)
        with torch.no_grad():
            next_online, next_target = self.critic.online(following), self.critic.target(following)
            prior = self.critic.prior(torch.cat((obs, following)))
            if prior is not None:
                next_online += prior[:, count:]
                next_target += prior[:, count:]
            target = double_q_target(reward, discount, next_online, next_target, c.double_q)
        q = self.critic.online(obs)
        if prior is not None:
            q = q + prior[:, :count]
        taken = q.gather(2, batch["action"].view(1, -1, 1).expand(c.members, -1, 1)).squeeze(2)
        delta = taken - target
        squared = delta.square()
        if "mask" in batch:
            squared = squared * batch["mask"].T
        loss = (squared.sum(dim=0) * weights).sum()
        errors = delta.detach().abs().mean(dim=0)
        if collect:
            self.stats = {
                "loss": loss.detach(),
                "td_error_mean": errors.mean(),
                "q_mean": taken.detach().mean(),
                "q_std": taken.detach().std(dim=0, correction=0).mean(),
            }
        return loss, errors

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training."""
        return {**super().state_dict(), "heads": self.heads.copy(), "mask_rng": rng_state(self.mask_rng)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.heads = np.asarray(state["heads"]).copy()
        restore_rng(self.mask_rng, state["mask_rng"])
