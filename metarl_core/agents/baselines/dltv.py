"""DLTV: quantile-regression DQN that is optimistic about the upper half of its return distribution."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.common.config import NStepConfig
from metarl_core.agents.common.critic import CriticEnsemble
from metarl_core.agents.common.images import Features
from metarl_core.agents.common.learner import Agent, make_optimizer
from metarl_core.agents.common.nstep import bootstrap_columns
from metarl_core.agents.common.options import option
from metarl_core.agents.common.schedules import linear

__all__ = ["DltvConfig", "DltvDQN", "bonus_factor", "left_truncated_variance", "quantile_huber_loss"]


@dataclasses.dataclass(frozen=True)
class DltvConfig(NStepConfig):
    """Options of DLTV (Mavrin et al. 2019, ICML) on QR-DQN (Dabney et al. 2018, AAAI)."""

    quantiles: int = option(50, "N, quantiles of each action's return", minimum=2)
    huber_kappa: float = option(1.0, "kappa of the quantile Huber loss (0: quantile regression)", minimum=0.0)
    dltv_c: float = option(50.0, "c of the factor c sqrt(log t / t) on the bonus", minimum=0.0)
    epsilon_start: float = option(0.0, "share of uniform actions at the first step", minimum=0.0, maximum=1.0)
    epsilon_end: float = option(0.0, "share of uniform actions after epsilon_steps", minimum=0.0, maximum=1.0)
    epsilon_steps: int = option(10_000, "environment steps over which epsilon falls", minimum=1)


def left_truncated_variance(quantiles: Tensor) -> Tensor:
    """sigma_+^2 = 1/(2N) sum_{i=N/2..N} (theta_{N/2} - theta_i)^2 (Mavrin et al. 2019, eq. 10).

    The spread above the median alone: a distribution that is wide downwards is no reason to be optimistic.

    Args:
        quantiles: theta_1 ... theta_N, float32 [..., N].

    Returns:
        float32 [...].
    """
    count = quantiles.shape[-1]
    middle = (count + 1) // 2 - 1  # theta_{N/2} counts from 1; the middle one where N is odd
    upper = quantiles[..., middle:]
    return (upper - upper[..., :1]).square().sum(dim=-1) / (2 * count)


def bonus_factor(c: float, t: int) -> float:
    """c_t = c sqrt(log t / t) (Mavrin et al. 2019, eq. 9); t, from 1, counts environment steps."""
    t = max(t, 1)
    return c * math.sqrt(math.log(t) / t)


def quantile_huber_loss(quantiles: Tensor, targets: Tensor, kappa: float) -> Tensor:
    """sum_i mean_j |tau^_i - 1{u_ij < 0}| L_kappa(u_ij), u_ij = y_j - theta_i (Dabney et al. 2018, eq. 9, 10).

    Args:
        quantiles: theta, float32 [B, N], at tau^_i = (2 i - 1) / (2 N).
        targets: y, float32 [B, M].
        kappa: where L goes from u^2/2 to kappa (|u| - kappa/2); 0 takes |u|.

    Returns:
        float32 [B].
    """
    count = quantiles.shape[1]
    middles = (torch.arange(count, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / count
    shape = (len(quantiles), count, targets.shape[1])
    theta, y = quantiles.unsqueeze(2).expand(shape), targets.unsqueeze(1).expand(shape)
    # The fused losses make the few large temporaries that this takes.
    if kappa > 0:
        cost = nn.functional.huber_loss(theta, y, reduction="none", delta=kappa)
    else:
        cost = nn.functional.l1_loss(theta, y, reduction="none")
    weight = (middles.view(1, -1, 1) - (y < theta.detach()).to(cost.dtype)).abs_()
    return (weight * cost).mean(dim=2).sum(dim=1)


class DltvDQN(Agent):
    """Acts on argmax_a Q(s, a) + c_t sqrt(sigma_+^2(s, a)), Q the mean of N quantiles.

    Nothing is added to the reward: the optimism is in the choice of actions alone. ``double_q`` chooses the action of
    the target by the online network's mean (QR-DQN itself takes the target network's). The priority of a transition is
    the error of the mean, |mean y - Q(s, a)|.
    """

    config: DltvConfig

    def __init__(
        self,
        config: DltvConfig,
        in_features: Features,
        num_actions: int,
        num_envs: int,
        seed: int,
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        super().__init__(config, in_features, num_actions, num_envs, seed, device)
        self.critic = CriticEnsemble(
            1, in_features, config.hidden, num_actions * config.quantiles, 0.0, self.init_generator, one_hot=one_hot
        ).to(self.device)
        self.optimizer = make_optimizer(config, [{"params": list(self.critic.online.parameters()), "lr": config.lr}])

    def modules(self) -> dict[str, nn.Module]:
        """The quantile network with its target copy."""
        return {"critic": self.critic}

    def schedule(self, step: int) -> dict[str, float]:
        """Epsilon and the factor on the bonus."""
        c = self.config
        return {
            "epsilon": linear(c.epsilon_start, c.epsilon_end, step, c.epsilon_steps),
            "bonus_factor": bonus_factor(c.dltv_c, step + 1),
        }

    def _quantiles(self, net: nn.Module, obs: Tensor) -> Tensor:
        """theta(s, a), float32 [B, A, N]."""
        quantiles: Tensor = net(obs)[0].view(len(obs), self.num_actions, self.config.quantiles)
        return quantiles

    @torch.no_grad()
    def act(self, obs: Tensor, step: int) -> NDArray[np.int64]:
        """The largest mean plus bonus."""
        now = self.schedule(step)
        quantiles = self._quantiles(self.critic.online, obs)
        optimistic = quantiles.mean(dim=2) + now["bonus_factor"] * left_truncated_variance(quantiles).sqrt()
        actions: NDArray[np.int64] = optimistic.argmax(dim=1).cpu().numpy()
        if now["epsilon"] > 0:
            uniform = self.policy_rng.random(len(actions)) < now["epsilon"]
            actions = np.where(uniform, self.policy_rng.integers(self.num_actions, size=len(actions)), actions)
        return actions

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> NDArray[np.int64]:
        """argmax_a of the mean, without the bonus."""
        actions: NDArray[np.int64] = self._quantiles(self.critic.online, obs).mean(dim=2).argmax(dim=1).cpu().numpy()
        return actions

    def losses(self, batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        """Weighted quantile Huber loss against r + gamma theta'(s', a*), and |mean y - Q|."""
        c = self.config
        rows = torch.arange(len(weights), device=weights.device)
        reward, discount, later = bootstrap_columns(batch, c.gamma, c.n_step)
        with torch.no_grad():
            following = self._quantiles(self.critic.target, later)
            chooser = self._quantiles(self.critic.online, later) if c.double_q else following
            best = following[rows, chooser.mean(dim=2).argmax(dim=1)]
            targets = reward.unsqueeze(1) + discount.unsqueeze(1) * best
        taken = self._quantiles(self.critic.online, batch["obs"])[rows, batch["action"]]
        loss = (quantile_huber_loss(taken, targets, c.huber_kappa) * weights).sum()
        q = taken.detach().mean(dim=1)
        errors = (targets.mean(dim=1) - q).abs()
        if collect:
            self.stats = {
                "loss": loss.item(),
                "td_error_mean": errors.mean().item(),
                "q_mean": q.mean().item(),
                "upper_std": left_truncated_variance(taken.detach()).sqrt().mean().item(),
            }
        return loss, errors
