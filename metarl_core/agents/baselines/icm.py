"""Intrinsic curiosity module: novelty is what a forward model cannot predict in features that actions decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from metarl_core.agents.baselines.intrinsic import IntrinsicConfig, IntrinsicDQN, make_features
from metarl_core.agents.common.images import Features
from metarl_core.agents.common.networks import EnsembleMLP
from metarl_core.agents.common.options import option

__all__ = ["CuriosityModule", "IcmConfig", "IcmDQN"]


@dataclasses.dataclass(frozen=True)
class IcmConfig(IntrinsicConfig):
    """Options of ICM (Pathak, Agrawal, Efros & Darrell 2017)."""

    normalize_bonus: bool = option(False, "divide the intrinsic reward by the running std of the intrinsic returns")
    forward_share: float = option(0.2, "beta of (1 - beta) L_inverse + beta L_forward", minimum=0.0, maximum=1.0)


class CuriosityModule(nn.Module):
    """Features phi(s), an inverse model g(phi(s), phi(s')) -> a and a forward model f(phi(s), a) -> phi(s').

    Args:
        in_features: width of an encoded observation, D, or what its images are like.
        hidden: widths of phi's hidden layers; the models have one hidden layer of the last width.
        features: width of phi, F.
        num_actions: A.
        generator: source of the initial weights.
        one_hot: observations are indices of one-hot vectors.
    """

    def __init__(
        self,
        in_features: Features,
        hidden: Sequence[int],
        features: int,
        num_actions: int,
        generator: torch.Generator,
        one_hot: bool,
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.phi = make_features(in_features, hidden, features, generator, one_hot)
        self.inverse = EnsembleMLP(1, 2 * features, hidden[-1:], num_actions, generator)
        self.predict = EnsembleMLP(1, features + num_actions, hidden[-1:], features, generator)

    def forward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of both models.

        Args:
            obs: s, float32 [B, D] or indices int64 [B].
            action: a, int64 [B].
            next_obs: s', like ``obs``.

        Returns:
            L_I, cross-entropy of the action, and L_F = 1/2 ||f(phi(s), a) - phi(s')||^2; float32 [B] each.
        """
        before, after = self.phi(torch.cat((obs, next_obs))).chunk(2)
        logits = self.inverse(torch.cat((before, after), dim=1))[0]
        inverse = nn.functional.cross_entropy(logits, action, reduction="none")
        taken = nn.functional.one_hot(action, self.num_actions).to(before.dtype)
        predicted = self.predict(torch.cat((before, taken), dim=1))[0]
        return inverse, 0.5 * (predicted - after).square().sum(dim=1)


class IcmDQN(IntrinsicDQN):
    """i = 1/2 ||f(phi(s), a) - phi(s')||^2; the module learns from (1 - beta) L_I + beta L_F (eq. 6 and 7).

    eta of the paper is ``bonus_scale``; its lambda, the weight of the policy's loss against the module's, is the ratio
    of the two learning rates here. As in the paper's equation (and the authors' code) L_F trains phi as well.
    """

    config: IcmConfig
    curiosity: CuriosityModule

    def make_curiosity(self) -> nn.Module:
        """The curiosity module."""
        c = self.config
        return CuriosityModule(
            self.in_features, c.curiosity_hidden, c.features, self.num_actions, self.init_generator, self.one_hot
        )

    def intrinsic(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The forward model's error, and the loss of both models."""
        inverse, forward = self.curiosity(batch["obs"], batch["action"], batch["next_obs"])
        share = self.config.forward_share
        return forward.detach(), (1 - share) * inverse + share * forward
