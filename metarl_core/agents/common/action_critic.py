"""Q-ensemble over states and continuous actions, evaluated for many candidate actions of a state at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metarl_core.agents.common.critic import CriticEnsemble
from metarl_core.agents.common.networks import EnsembleMLP

__all__ = ["ActionCritic", "candidate_values", "member_values"]


def _after_first(net: EnsembleMLP, h: Tensor) -> Tensor:
    """Everything behind the first layer: float32 [K, N, H] before its ReLU -> [K, N]."""
    for weight, bias in zip(net.weights[1:], net.biases[1:], strict=True):
        h = torch.baddbmm(bias, torch.relu_(h), weight)
    return h.squeeze(2)


def candidate_values(net: EnsembleMLP, obs: Tensor, actions: Tensor) -> Tensor:
    """Value of every candidate by every member; the part of the first layer that reads the state is computed once.

    Args:
        net: ensemble over [s, a] with one output.
        obs: float32 [B, D].
        actions: candidates of each state, unit coordinates, float32 [B, C, dims].

    Returns:
        float32 [K, B, C].
    """
    count, candidates, dims = actions.shape
    weight, bias = net.weights[0], net.biases[0]
    of_state = torch.addmm(bias, obs, weight[:-dims]).view(count, 1, net.members, -1).permute(2, 0, 1, 3)
    # Member by member from the start: the products behind the first layer then need no copies.
    own = weight[-dims:].view(dims, net.members, -1).transpose(0, 1)
    h = torch.matmul(actions.reshape(1, count * candidates, dims), own)
    h = h.view(net.members, count, candidates, -1).add_(of_state).view(net.members, count * candidates, -1)
    return _after_first(net, h).view(net.members, count, candidates)


def member_values(net: EnsembleMLP, obs: Tensor, actions: Tensor) -> Tensor:
    """Value of an action of its own for each member.

    Args:
        net: ensemble over [s, a] with one output.
        obs: float32 [B, D].
        actions: float32 [K, B, dims], unit coordinates.

    Returns:
        float32 [K, B].
    """
    dims = actions.shape[2]
    weight, bias = net.weights[0], net.biases[0]
    of_state = torch.addmm(bias, obs, weight[:-dims]).view(len(obs), net.members, -1).transpose(0, 1)
    h = torch.baddbmm(of_state, actions, weight[-dims:].view(dims, net.members, -1).transpose(0, 1))
    return _after_first(net, h)


class ActionCritic(CriticEnsemble):
    """K action-value functions Q_k(s, a) = f_k(s, a) + scale * g_k(s, a) of a vector state and a vector action.

    Args:
        members: K.
        obs_size: width of an observation, D.
        action_size: dims.
        hidden: hidden widths of f_k and g_k.
        prior_scale: factor on g_k; 0 leaves the prior out.
        generator: source of all initial weights.
        prior_gain: range of the prior's initial weights relative to 1/sqrt(fan_in).
    """

    online: EnsembleMLP
    target: EnsembleMLP

    def __init__(
        self,
        members: int,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int],
        prior_scale: float,
        generator: torch.Generator,
        prior_gain: float = 1.0,
    ) -> None:
        super().__init__(members, obs_size + action_size, hidden, 1, prior_scale, generator, prior_gain)

    @torch.no_grad()
    def candidate_prior(self, obs: Tensor, actions: Tensor) -> Tensor | None:
        """Scale * g_k of candidates [B, C, dims], float32 [K, B, C]; None without a prior."""
        if self.prior_net is None:
            return None
        assert isinstance(self.prior_net.net, EnsembleMLP)
        return candidate_values(self.prior_net.net, obs, actions).mul_(self.prior_net.scale)

    def candidates(self, obs: Tensor, actions: Tensor, target: bool = False) -> Tensor:
        """Q_k (or Q'_k) of candidates [B, C, dims] including the prior, float32 [K, B, C]."""
        values = candidate_values(self.target if target else self.online, obs, actions)
        prior = self.candidate_prior(obs, actions)
        return values if prior is None else values + prior
