"""Q-ensemble with fixed randomised priors and a slow target copy; one member without prior is plain DQN."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metarl_core.agents.common.images import Features, make_ensemble
from metarl_core.agents.common.networks import FixedPrior, copy_parameters, mix_parameters

__all__ = ["CriticEnsemble", "aggregate_actions", "double_q_target"]


class CriticEnsemble(nn.Module):
    """K action-value functions Q_k(s, a) = f_k(s, a) + scale * g_k(s, a), g_k random and fixed.

    The additive prior keeps the members apart where there is no data (Osband, Aslanides & Cassirer 2018, "Randomized
    prior functions for deep reinforcement learning").

    Args:
        members: K.
        in_features: width of an observation, D, or what its images are like.
        hidden: hidden widths of f_k and g_k.
        num_actions: A.
        prior_scale: factor on g_k; 0 leaves the prior out.
        generator: source of all initial weights.
        prior_gain: range of the prior's initial weights relative to 1/sqrt(fan_in).
        one_hot: observations are indices of one-hot vectors.
    """

    def __init__(
        self,
        members: int,
        in_features: Features,
        hidden: Sequence[int],
        num_actions: int,
        prior_scale: float,
        generator: torch.Generator,
        prior_gain: float = 1.0,
        one_hot: bool = False,
    ) -> None:
        super().__init__()
        self.members = members
        self.num_actions = num_actions
        self.online = make_ensemble(members, in_features, hidden, num_actions, generator, one_hot=one_hot)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.prior_net: FixedPrior | None = None
        if prior_scale > 0:
            net = make_ensemble(
                members, in_features, hidden, num_actions, generator, gain=prior_gain, one_hot=one_hot, prior=True
            )
            self.prior_net = FixedPrior(net, prior_scale)

    def prior(self, x: Tensor) -> Tensor | None:
        """Scale * g_k(s, a), float32 [K, B, A]; None without a prior."""
        return None if self.prior_net is None else self.prior_net(x)

    def forward(self, x: Tensor) -> Tensor:
        """Online values including the prior; x float32 [B, D] -> float32 [K, B, A]."""
        q: Tensor = self.online(x)
        prior = self.prior(x)
        return q if prior is None else q + prior

    def update_target(self, polyak: float | None = None) -> None:
        """Copy the online weights to the target, or mix a share ``polyak`` of them in."""
        if polyak is None:
            copy_parameters(self.target.parameters(), self.online.parameters())
        else:
            mix_parameters(self.target.parameters(), self.online.parameters(), polyak)


def double_q_target(
    reward: Tensor, discount: Tensor, next_online: Tensor, next_target: Tensor, double_q: bool = True
) -> Tensor:
    """y_k = r + discount Q'_k(s', argmax_a Q_k(s', a)) (van Hasselt, Guez & Silver 2016, eq. 4).

    Args:
        reward: float32 [B], or [K, B] when it differs between members.
        discount: gamma (1 - terminated) for one step, float32 [B] or [K, B]. A truncated transition bootstraps like any
            other.
        next_online: Q_k(s', .), float32 [K, B, A].
        next_target: Q'_k(s', .), float32 [K, B, A].
        double_q: False takes max_a Q'_k(s', a).

    Returns:
        float32 [K, B].
    """
    if double_q:
        chosen = next_online.argmax(dim=2, keepdim=True)
        value = next_target.gather(2, chosen).squeeze(2)
    else:
        value = next_target.amax(dim=2)
    return reward + discount * value


def aggregate_actions(q: Tensor, how: str) -> Tensor:
    """Greedy actions of an ensemble.

    Args:
        q: float32 [K, B, A].
        how: ``mean`` (argmax of the mean value) or ``vote`` (most members' argmax; ties by the mean value).

    Returns:
        int64 [B].
    """
    mean = q.mean(dim=0)
    if how == "mean":
        return mean.argmax(dim=1)
    votes = torch.nn.functional.one_hot(q.argmax(dim=2), q.shape[2]).sum(dim=0).to(mean.dtype)
    # A rank in [0, 1) breaks ties between equal counts.
    rank = mean.argsort(dim=1).argsort(dim=1).to(mean.dtype) / q.shape[2]
    return (votes + rank * 0.5).argmax(dim=1)
