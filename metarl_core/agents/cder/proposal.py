"""The proposal pi_c(a|s): a mixture of squashed Gaussians that learns which candidate actions come out best.

Amortised maximisation after Van de Wiele, Warde-Farley, Mnih & Mnih 2020, "Q-learning in enormous action spaces via
amortized approximate maximization": max_a Q(s, a) is taken over draws of a learned proposal and uniform draws, and the
proposal is trained to make the best of them likelier (their equation 3). Here every critic head has a best candidate of
its own, and the proposal learns all of them: it approximates the distribution of the maximising action under a head
drawn at random, which is Thompson sampling's policy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metarl_core.agents.common.networks import EnsembleMLP

__all__ = ["Mixture", "Noise", "Proposal", "draw_noise", "log_likelihood", "proposal_loss", "squash_noise"]

LOG_STD_RANGE = (-3.0, 1.0)
"""Smallest and largest logarithm of a component's standard deviation before the tanh."""

EDGE = 1e-4
"""Actions closer than this to the bounds count as this far from them: atanh is infinite on the bounds."""


class Mixture(NamedTuple):
    """Components of the proposal in each of B states, before the tanh."""

    log_weights: Tensor
    """Logarithm of the components' probabilities, float32 [B, M]."""
    means: Tensor
    """float32 [B, M, dims]."""
    log_stds: Tensor
    """float32 [B, M, dims]."""


class Noise(NamedTuple):
    """What a draw of candidates is computed from."""

    component: Tensor
    """Uniform in [0, 1): chooses the component, float32 [B, P]."""
    normal: Tensor
    """Standard normal, float32 [B, P, dims]."""
    uniform: Tensor
    """The uniform candidates themselves, in [-1, 1], float32 [B, U, dims]."""


def draw_noise(count: int, proposals: int, uniform: int, dims: int, generator: torch.Generator) -> Noise:
    """Draw the noise of ``proposals`` draws of the proposal and ``uniform`` uniform ones, for ``count`` states."""
    return Noise(
        torch.rand(count, proposals, generator=generator),
        torch.randn(count, proposals, dims, generator=generator),
        torch.rand(count, uniform, dims, generator=generator) * 2 - 1,
    )


def squash_noise(mixture: Mixture, component: Tensor, normal: Tensor) -> Tensor:
    """Draws a = tanh(mean_m + std_m z) of the mixture, m by inversion of its cumulative weights.

    Args:
        mixture: of B states.
        component: uniform in [0, 1), float32 [B, P].
        normal: z, float32 [B, P, dims].

    Returns:
        float32 [B, P, dims], in [-1, 1].
    """
    levels = mixture.log_weights.exp().cumsum(dim=1)
    last = levels.shape[1] - 1  # rounding may leave the last level below 1
    chosen = (levels.unsqueeze(1) <= component.unsqueeze(2)).sum(dim=2).clamp_(max=last)
    index = chosen.unsqueeze(2).expand_as(normal)
    means, log_stds = mixture.means.gather(1, index), mixture.log_stds.gather(1, index)
    return torch.tanh(means + log_stds.exp() * normal)


def log_likelihood(mixture: Mixture, actions: Tensor) -> Tensor:
    """Log density of actions in unit coordinates, the tanh's volume included.

    log p(a) = log sum_m w_m prod_d N(atanh a_d; mean_md, std_md) - sum_d log(1 - a_d^2). In the environment's units it
    is smaller by sum_d log half_width_d, which no parameter changes.

    Args:
        mixture: of B states.
        actions: float32 [..., B, dims]; components beyond 1 - ``EDGE`` in size are moved there.

    Returns:
        float32 [..., B].
    """
    inside = actions.clamp(-1 + EDGE, 1 - EDGE)
    z = (torch.atanh(inside).unsqueeze(-2) - mixture.means) * torch.exp(-mixture.log_stds)
    of_component = -(0.5 * z.square() + mixture.log_stds + 0.5 * math.log(2 * math.pi)).sum(dim=-1)
    volume = torch.log1p(-inside.square()).sum(dim=-1)
    return torch.logsumexp(mixture.log_weights + of_component, dim=-1) - volume


def proposal_loss(mixture: Mixture, best: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihood of every head's best candidate, mean over heads, weighted over states.

    Args:
        mixture: of B states.
        best: a*_k(s) = argmax over the candidates of Q_k(s, a), unit coordinates, float32 [K, B, dims].
        weights: of the states, float32 [B].

    Returns:
        float32 [].
    """
    return -(log_likelihood(mixture, best).mean(dim=0) * weights).sum()


class Proposal(nn.Module):
    """Perceptron from a state to the mixture.

    Args:
        obs_size: width of an observation, D.
        action_size: dims.
        components: M.
        hidden: widths of the hidden layers.
        generator: source of the initial weights.
    """

    def __init__(
        self, obs_size: int, action_size: int, components: int, hidden: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.components, self.action_size = components, action_size
        self.net = EnsembleMLP(1, obs_size, hidden, components * (1 + 2 * action_size), generator)

    def forward(self, obs: Tensor) -> Mixture:
        """Mixture in states float32 [B, D]."""
        out = self.net(obs)[0].view(len(obs), self.components, 1 + 2 * self.action_size)
        logits, means, spread = out.split((1, self.action_size, self.action_size), dim=2)
        low, high = LOG_STD_RANGE
        log_stds = low + (high - low) * torch.sigmoid(spread + math.log(-low / high))  # std 1 at spread 0
        return Mixture(torch.log_softmax(logits.squeeze(2), dim=1), means, log_stds)

    @torch.no_grad()
    def candidates(self, obs: Tensor, noise: Noise) -> Tensor:
        """Draws of the proposal, then uniform ones, float32 [B, P + U, dims]; noise of one state serves all."""
        count = len(obs)
        component, normal, uniform = (part.expand(count, *part.shape[1:]).to(obs.device) for part in noise)
        return torch.cat((squash_noise(self(obs), component, normal), uniform), dim=1)
