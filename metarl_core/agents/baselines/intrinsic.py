"""What RND, ICM and NovelD have in common: Double DQN whose reward has an intrinsic part."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.baselines.dqn import DoubleDQN, DoubleDQNConfig
from metarl_core.agents.baselines.running import ReturnScale
from metarl_core.agents.common.images import EnsembleConvNet, Features, ImageFeatures
from metarl_core.agents.common.learner import make_optimizer
from metarl_core.agents.common.networks import EnsembleMLP
from metarl_core.agents.common.options import option

__all__ = ["ConvFeatureNet", "FeatureNet", "IntrinsicConfig", "IntrinsicDQN", "make_features"]

_HE_GAIN = 6.0**0.5
"""Uniform weights of this gain have He's variance 2/fan_in."""


@dataclasses.dataclass(frozen=True)
class IntrinsicConfig(DoubleDQNConfig):
    """Options of a Double DQN that is paid for novelty."""

    bonus_scale: float = option(0.1, "factor on the intrinsic reward", minimum=0.0)
    normalize_bonus: bool = option(True, "divide the intrinsic reward by the running std of the intrinsic returns")
    features: int = option(32, "width of the feature vectors that are compared", minimum=1)
    curiosity_hidden: tuple[int, ...] = option((64,), "widths of the feature networks' hidden layers", minimum=1)
    curiosity_lr: float = option(0.001, "learning rate of the networks behind the intrinsic reward", above=0.0)


class FeatureNet(EnsembleMLP):
    """One perceptron from encoded observations to features.

    One-hot inputs count as sqrt(D) in place of 1, which is what standardising them would do (their std is about
    1/sqrt(D)); else a feature would hardly depend on the state.

    Args:
        in_features: D.
        hidden: widths of the hidden layers.
        out_features: width of the features, F.
        generator: source of the initial weights.
        one_hot: inputs are indices of one-hot vectors.
    """

    def __init__(
        self, in_features: int, hidden: Sequence[int], out_features: int, generator: torch.Generator, one_hot: bool
    ) -> None:
        super().__init__(1, in_features, hidden, out_features, generator, gain=_HE_GAIN, one_hot=one_hot)

    def forward(self, x: Tensor) -> Tensor:
        """Features of float32 [B, D] (indices int64 [B]) -> float32 [B, F]."""
        h: Tensor
        weight, bias = self._first
        if self.one_hot:
            h = torch.embedding(weight, x, self.in_features) * self.in_features**0.5 + bias
        else:
            h = torch.addmm(bias, x, weight)
        for weight, bias in self._rest:
            h = torch.addmm(bias[0], torch.relu(h), weight[0])
        return h


class ConvFeatureNet(EnsembleConvNet):
    """One convolutional network from images to features, with He's variance."""

    def __init__(
        self, images: ImageFeatures, hidden: Sequence[int], out_features: int, generator: torch.Generator
    ) -> None:
        super().__init__(1, images, hidden, out_features, generator, gain=_HE_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Features of stored images [B, H, W, C] -> float32 [B, F]."""
        return super().forward(x)[0]


def make_features(
    in_features: Features, hidden: Sequence[int], out_features: int, generator: torch.Generator, one_hot: bool
) -> FeatureNet | ConvFeatureNet:
    """Make the feature network that fits the observations."""
    if isinstance(in_features, ImageFeatures):
        return ConvFeatureNet(in_features, hidden, out_features, generator)
    return FeatureNet(in_features, hidden, out_features, generator, one_hot)


class IntrinsicDQN(DoubleDQN):
    """Double DQN on r + scale * i(s, a, s'), epsilon-greedy.

    The papers are on-policy and compute i once, when a transition is made. From a replay that value would be stale:
    novelty falls while the transition waits. So i is computed when a batch is sampled, with the present networks, as
    CDER's bonus is (Taiga et al. 2020, "On bonus-based exploration methods in the arcade learning environment", add
    the bonus to the reward of a Rainbow agent in the same way, with one critic for both). The normalisation needs the
    intrinsic rewards in the order of time: it follows the transitions as they are made.
    """

    config: IntrinsicConfig

    def __init__(
        self,
        config: IntrinsicConfig,
        in_features: Features,
        num_actions: int,
        num_envs: int,
        seed: int,
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        super().__init__(config, in_features, num_actions, num_envs, seed, device, one_hot)
        self.one_hot = one_hot
        self.curiosity = self.make_curiosity().to(self.device)
        self.scale = ReturnScale(num_envs, config.gamma) if config.normalize_bonus else None
        trained = [p for p in self.curiosity.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(
            config,
            [
                {"params": list(self.critic.online.parameters()), "lr": config.lr},
                {"params": trained, "lr": config.curiosity_lr},
            ],
        )

    @abc.abstractmethod
    def make_curiosity(self) -> nn.Module:
        """Build the networks behind the intrinsic reward."""

    @abc.abstractmethod
    def intrinsic(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Intrinsic rewards of a batch, not normalised, float32 [B], and the networks' loss for each row, [B]."""

    def modules(self) -> dict[str, nn.Module]:
        """The critic and the networks behind the intrinsic reward."""
        return {**super().modules(), "curiosity": self.curiosity}

    def track(self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Follow the stream of transitions; columns of the agent's own for the replay."""
        return {}

    def transition_columns(
        self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        """Follow one step of every instance, for the normalisation; see :meth:`Agent.transition_columns`."""
        extra = self.track(columns, ended)
        if self.scale is not None:
            batch = {name: self.tensor(name, value) for name, value in {**columns, **extra}.items()}
            with torch.no_grad():
                self.scale.update(self.intrinsic(batch)[0].cpu().numpy())
        return extra

    def tensor(self, name: str, column: NDArray[Any]) -> Tensor:
        """A replay column as the networks take it."""
        value = torch.from_numpy(column).to(self.device)
        return value.long() if self.one_hot and name in ("obs", "next_obs") else value

    def losses(self, batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        """Double DQN's loss on r + scale * i / sigma, plus the weighted loss of the networks behind i."""
        bonus, auxiliary = self.intrinsic(batch)
        bonus = bonus.detach() * (self.config.bonus_scale / (self.scale.std if self.scale is not None else 1.0))
        # Of an N-step return, too, the bonus is that of the first next state alone, as CDER's is.
        paid = {name: batch[name] + bonus for name in ("reward", "n_return") if name in batch}
        loss, errors = super().losses({**batch, **paid}, weights, collect)
        curiosity_loss = (auxiliary * weights).sum()
        if collect:
            self.stats |= {"intrinsic_reward_mean": bonus.mean().item(), "curiosity_loss": curiosity_loss.item()}
        return loss + curiosity_loss, errors

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training."""
        return {**super().state_dict(), "scale": None if self.scale is None else self.scale.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        if self.scale is not None:
            self.scale.load_state_dict(state["scale"])
