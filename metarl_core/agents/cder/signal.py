"""The signal network R_psi(s): a distribution over returns, whose spread is the curiosity (steps 1 to 3)."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.common.images import Features, make_ensemble
from metarl_core.agents.common.networks import FixedPrior, mix_parameters

__all__ = [
    "SignalModule",
    "SignalSummary",
    "categorical_moments",
    "return_target",
    "shaped_reward",
    "stored_reward",
    "total_variance",
    "two_hot",
]


class SignalSummary(NamedTuple):
    """What the slow signal ensemble says about a batch of states; the total variance is the sum of the two parts."""

    member_means: Tensor
    """Phi_e(s), float32 [E, B]."""
    phi: Tensor
    """Mean over members, float32 [B]."""
    epistemic: Tensor
    """Std over members of their means, float32 [B]."""
    aleatoric: Tensor | None
    """Root of the members' mean variance, float32 [B]; None where it was not asked for."""


def categorical_moments(logits: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
    """Step 1: Phi = sum p_i z_i and sigma^2 = sum p_i z_i^2 - Phi^2.

    Both are taken about the middle of the support, which keeps float32's cancellation to a few ulp of its squared
    half-width.

    Args:
        logits: float32 [..., M].
        atoms: float32 [M].

    Returns:
        Mean and variance, float32 [...].
    """
    middle = (atoms[0] + atoms[-1]) / 2
    return _moments(logits, _centred_powers(atoms), middle)


def _centred_powers(atoms: Tensor) -> Tensor:
    """Columns z_i - middle and (z_i - middle)^2, float32 [M, 2]."""
    centred = atoms - (atoms[0] + atoms[-1]) / 2
    return torch.stack((centred, centred.square()), dim=1)


def _moments(logits: Tensor, powers: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (torch.softmax(logits, dim=-1) @ powers).unbind(dim=-1)
    return first + middle, (second - first.square()).clamp_min_(0.0)


def total_variance(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Law of total variance over equally likely members: Var = E[sigma_e^2] + Var[Phi_e].

    Args:
        means: Phi_e, float32 [E, ...].
        variances: sigma_e^2, float32 [E, ...].

    Returns:
        aleatoric (mean of the variances) and epistemic (population variance of the means), float32 [...].
    """
    return variances.mean(dim=0), _epistemic(means, means.mean(dim=0))


def _epistemic(means: Tensor, phi: Tensor) -> Tensor:
    """Population variance over members; ``Tensor.var`` over a leading axis costs three times as much."""
    return (means - phi).square().mean(dim=0)


def two_hot(values: Tensor, z_min: float, z_max: float, num_atoms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Project returns on the two neighbouring atoms so that the expectation is kept.

    Args:
        values: float32 [...]; outside [z_min, z_max] they are clipped.
        z_min: first atom.
        z_max: last atom.
        num_atoms: M, equally spaced.

    Returns:
        lower index int64 [...] in [0, M - 2], weight of the upper neighbour float32 [...] in [0, 1], and the number of
        clipped values, int64 [].
    """
    position = (values - z_min) * ((num_atoms - 1) / (z_max - z_min))
    clipped = ((position < 0) | (position > num_atoms - 1)).sum()
    position = position.clamp(0, num_atoms - 1)
    lower = position.floor().clamp_(max=num_atoms - 2)
    return lower.long(), position - lower, clipped


def shaped_reward(
    reward: Tensor, discount: Tensor, phi: Tensor, next_phi: Tensor, bonus: Tensor, kappa: float
) -> Tensor:
    """Step 2: r~ = r + (1 - d) gamma Phi(s') - Phi(s) + kappa beta(s').

    Potential-based shaping (Ng, Harada & Russell 1999) with the potential and the bonus zero at termination. A
    truncated transition has d = 0. Over N steps the potentials telescope: the same formula holds with the N-step
    return, its discount and Phi(s_{t+N}).

    Args:
        reward: r, float32 [B].
        discount: gamma (1 - d), or gamma^N (1 - d), float32 [B].
        phi: Phi(s), float32 [B].
        next_phi: Phi(s') or Phi(s_{t+N}), float32 [B].
        bonus: beta(s'), already zero at termination, float32 [B].
        kappa: weight of the bonus.

    Returns:
        float32 [B].
    """
    return reward + discount * next_phi - phi + kappa * bonus


def stored_reward(
    form: str, reward: Tensor, discount: Tensor, phi: Tensor, next_phi: Tensor, bonus: Tensor, kappa: float
) -> Tensor:
    """Step 2's reward r~ in one of its three readings.

    ``as_written``: r(s) + beta(s') - r(s) = beta(s'). ``intended``: r(s') + beta(s') - r(s) with the signal r = Phi,
    which is not a potential-based shaping: without gamma, (1 - gamma) Phi(s') leaks into each step, and Phi of a
    terminal state is not zero. Both leave the environment's reward out; it comes in through Phi's target alone.
    ``corrected``: :func:`shaped_reward`.

    Args:
        form: one of the three names.
        reward: r, float32 [B].
        discount: gamma (1 - d), float32 [B].
        phi: Phi(s), float32 [B].
        next_phi: Phi(s'), float32 [B].
        bonus: beta(s'), float32 [B].
        kappa: weight of the bonus; 1 in the article.

    Returns:
        float32 [B].
    """
    if form == "as_written":
        return kappa * bonus
    if form == "intended":
        return next_phi + kappa * bonus - phi
    return shaped_reward(reward, discount, phi, next_phi, bonus, kappa)


def return_target(n_return: Tensor, n_discount: Tensor, tail: Tensor) -> Tensor:
    """Step 3: G_t = sum_{k<N} gamma^k r_{t+k+1} + gamma^N (1 - d) Phi(s_{t+N}), cut at the episode's end.

    Args:
        n_return: discounted sum of the N (or fewer) rewards, float32 [B].
        n_discount: gamma^n (1 - d) with n the number of rewards summed, float32 [B].
        tail: Phi(s_{t+n}), float32 [B], or [E, B] with each member's own.

    Returns:
        Same shape as ``tail``.
    """
    return n_return + n_discount * tail


class SignalModule(nn.Module):
    """E categorical return distributions p_e(z | s), each with a fixed random prior on its logits, and slow copies.

    Args:
        in_features: width of an observation, D, or what its images are like.
        config: CDER's options.
        generator: source of the initial weights.
        one_hot: observations are indices of one-hot vectors.
        trained: what is trained, in place of an ensemble of E perceptrons; float32 [E, B, M] of its own kind of input.
    """

    atoms: Tensor
    _powers: Tensor
    _middle: Tensor

    def __init__(
        self,
        in_features: Features,
        config: CderConfig,
        generator: torch.Generator,
        one_hot: bool = False,
        *,
        trained: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        shape = (config.signal_members, in_features, config.signal_hidden, config.atoms, generator)
        self.online = make_ensemble(*shape, one_hot=one_hot) if trained is None else trained
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.prior_net: FixedPrior | None = None
        if config.signal_prior_scale > 0:
            self.prior_net = FixedPrior(
                make_ensemble(*shape, gain=config.prior_gain, one_hot=one_hot, prior=True), config.signal_prior_scale
            )
        self.register_buffer("atoms", torch.linspace(config.z_min, config.z_max, config.atoms), persistent=False)
        self.register_buffer("_powers", _centred_powers(self.atoms), persistent=False)
        self.register_buffer("_middle", (self.atoms[0] + self.atoms[-1]) / 2, persistent=False)

    def prior(self, x: Tensor) -> Tensor | None:
        """Fixed prior logits, float32 [E, B, M]; None without a prior."""
        return None if self.prior_net is None else self.prior_net(x)

    @torch.no_grad()
    def summary(self, x: Tensor, prior: Tensor | None, aleatoric: bool = True) -> SignalSummary:
        """Moments of the slow copies for states x, float32 [B, D], with the prior logits of the same states.

        Args:
            x: the states.
            prior: :meth:`prior` of them.
            aleatoric: also compute the aleatoric part, which few learners need.
        """
        logits = self.target(x)
        if prior is not None:
            logits = logits.add_(prior)
        if not aleatoric:
            means = (torch.softmax(logits, dim=-1) @ self._powers[:, 0]).add_(self._middle)
            phi = means.mean(dim=0)
            return SignalSummary(means, phi, _epistemic(means, phi).sqrt_(), None)
        means, variances = _moments(logits, self._powers, self._middle)
        within, between = total_variance(means, variances)
        return SignalSummary(means, means.mean(dim=0), between.sqrt(), within.sqrt())

    def loss(self, x: Tensor, prior: Tensor | None, returns: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted cross-entropy against two-hot(G_t), summed over members.

        Args:
            x: states, float32 [B, D].
            prior: their prior logits, float32 [E, B, M] or None.
            returns: G_t, float32 [B] or [E, B].
            weights: importance weights, float32 [B].

        Returns:
            loss, float32 [], and the share of returns clipped to the atoms' range, float32 [].
        """
        c = self.config
        logits = self.online(x)
        if prior is not None:
            logits = logits + prior
        log_p = torch.log_softmax(logits, dim=-1)
        lower, upper_weight, clipped = two_hot(returns, c.z_min, c.z_max, c.atoms)
        lower = lower.expand(log_p.shape[:2]).unsqueeze(-1)
        upper_weight = upper_weight.expand(log_p.shape[:2])
        at_lower = log_p.gather(-1, lower).squeeze(-1)
        at_upper = log_p.gather(-1, lower + 1).squeeze(-1)
        cross_entropy = -torch.lerp(at_lower, at_upper, upper_weight)
        return (cross_entropy * weights).sum(), clipped / returns.numel()

    def update_target(self) -> None:
        """Move the slow copies towards the online networks."""
        mix_parameters(self.target.parameters(), self.online.parameters(), self.config.signal_polyak)
