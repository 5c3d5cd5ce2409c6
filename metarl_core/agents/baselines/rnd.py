"""Random network distillation: novelty is what a trained network has not yet learnt of a random one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.baselines.intrinsic import IntrinsicConfig, IntrinsicDQN, make_features
from metarl_core.agents.baselines.running import RunningMoments
from metarl_core.agents.common.images import Features, ImageFeatures
from metarl_core.agents.common.options import option

__all__ = ["RandomDistillation", "RndConfig", "RndDQN"]

OBS_LIMIT = 5.0
"""Standardised observations are clipped to +-5 (Burda et al. 2018, section 2.4)."""


@dataclasses.dataclass(frozen=True)
class RndConfig(IntrinsicConfig):
    """Options of RND (Burda, Edwards, Storkey & Klimov 2018, arXiv:1810.12894)."""

    predictor_layers: int = option(2, "hidden layers that the predictor has beyond the target's", minimum=0, maximum=8)


class RandomDistillation(nn.Module):
    """A fixed random network f and a predictor f^ that is trained to equal it.

    Args:
        in_features: width of an encoded observation, D, or what its images are like.
        hidden: widths of f's hidden layers.
        predictor_layers: hidden layers, as wide as the last, that f^ has in addition.
        features: F.
        generator: source of all initial weights.
        one_hot: inputs are indices of one-hot vectors.
    """

    def __init__(
        self,
        in_features: Features,
        hidden: Sequence[int],
        predictor_layers: int,
        features: int,
        generator: torch.Generator,
        one_hot: bool,
    ) -> None:
        super().__init__()
        deeper = (*hidden, *(hidden[-1],) * predictor_layers)
        self.target = make_features(in_features, hidden, features, generator, one_hot).requires_grad_(False)
        self.predictor = make_features(in_features, deeper, features, generator, one_hot)

    def forward(self, x: Tensor) -> Tensor:
        """sum_k (f^_k(x) - f_k(x))^2, with its gradient for the predictor; float32 [B]."""
        with torch.no_grad():
            target = self.target(x)
        error: Tensor = (self.predictor(x) - target).square().sum(dim=1)
        return error


class RndDQN(IntrinsicDQN):
    """i = ||f^(s') - f(s')||^2, divided by the running std of the intrinsic returns.

    Observations are standardised by a running mean and std and clipped to +-5; one-hot ones and
    images (planes of 0 and 1, or bytes divided by 255) have their fixed scale.
    An intrinsic reward is paid for terminal states as well, but returns are not continued over the episode's end
    (the paper's second, non-episodic critic has no place in a DQN with one critic).
    """

    config: RndConfig
    curiosity: RandomDistillation

    def make_curiosity(self) -> nn.Module:
        """The two networks of RND."""
        c = self.config
        self.dense = not (self.one_hot or isinstance(self.in_features, ImageFeatures))
        self.moments = RunningMoments((self.in_features,) if isinstance(self.in_features, int) else ())
        return RandomDistillation(
            self.in_features, c.curiosity_hidden, c.predictor_layers, c.features, self.init_generator, self.one_hot
        )

    def standardize(self, obs: Tensor) -> Tensor:
        """Observations as the two networks take them."""
        if not self.dense:
            return obs
        mean = torch.from_numpy(self.moments.mean.astype(np.float32)).to(obs.device)
        std = torch.from_numpy(self.moments.std.astype(np.float32)).to(obs.device)
        return ((obs - mean) / std).clamp_(-OBS_LIMIT, OBS_LIMIT)

    def track(self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Keep the moments of the observations."""
        if self.dense:
            self.moments.update(columns["next_obs"])
        return {}

    def intrinsic(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The squared error at s', which is the predictor's loss as well (a mean over features there)."""
        error = self.curiosity(self.standardize(batch["next_obs"]))
        return error.detach(), error / self.config.features

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training."""
        return {**super().state_dict(), "moments": self.moments.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.moments.load_state_dict(state["moments"])
