"""Ensembles of small convolutional networks, all members in one convolution, for image observations."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from metarl_core.agents.common.networks import EnsembleMLP

__all__ = [
    "MINIGRID_CARDINALITIES",
    "EnsembleConvNet",
    "Features",
    "ImageFeatures",
    "image_features",
    "image_planes",
    "make_ensemble",
    "plane_offsets",
    "stored_observation",
]

MINIGRID_CARDINALITIES = (11, 6, 4)
"""Numbers of object types, colours and states (door states, or directions of the agent) of a MiniGrid cell."""


@dataclasses.dataclass(frozen=True)
class ImageFeatures:
    """Image observations [B, H, W, C] as they are stored, and the convolutions that read them.

    ``kind`` says what a component means. ``binary``: bool planes, as MinAtar's. ``bytes``: intensities, divided by 255.
    ``symbols``: every channel a categorical number below its cardinality, as MiniGrid's type, colour and state; each
    becomes that many one-hot planes, so the first convolution holds a learned embedding of every symbol.

    Args:
        shape: H, W, C.
        kind: ``binary``, ``bytes`` or ``symbols``.
        cardinalities: of the C channels, for ``symbols``.
        filters: of the convolutions, at least one; each has stride 1, no padding and a ReLU.
        kernel: their width and height.
        trunk: ``own``: every member has convolutions of its own; ``shared``: one stack of them feeds all members.
    """

    shape: tuple[int, int, int]
    kind: str
    cardinalities: tuple[int, ...] = ()
    filters: tuple[int, ...] = (16,)
    kernel: int = 3
    trunk: str = "shared"

    @property
    def planes(self) -> int:
        """Input planes of the first convolution."""
        return sum(self.cardinalities) if self.kind == "symbols" else self.shape[2]

    @property
    def flat_size(self) -> int:
        """Width of the flattened output of the last convolution, of one member."""
        shrink = len(self.filters) * (self.kernel - 1)
        return self.filters[-1] * (self.shape[0] - shrink) * (self.shape[1] - shrink)


Features: TypeAlias = int | ImageFeatures
"""What a network reads: a vector's width (or the number of one-hot indices), or images."""


def image_features(
    encoding: str, env_id: str, filters: tuple[int, ...], kernel: int, trunk: str = "shared"
) -> ImageFeatures | None:
    """Convolutions for the images of an environment, their shape not filled in yet; None: images are to be flattened.

    Args:
        encoding: ``symbols``, ``bytes``, ``flat``, or ``auto``: symbols for MiniGrid, else bytes.
        env_id: environment.
        filters: as of :class:`ImageFeatures`, like the others.
        kernel: width and height of the convolutions.
        trunk: whose the convolutions are.
    """
    if encoding == "flat":
        return None
    kind = encoding
    if kind == "auto":
        kind = "symbols" if "MiniGrid" in env_id else "bytes"
    cardinalities = MINIGRID_CARDINALITIES if kind == "symbols" else ()
    return ImageFeatures((0, 0, 0), kind, cardinalities, filters, kernel, trunk)


def stored_observation(features: Features, one_hot: bool) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of one observation as the replay stores it."""
    if isinstance(features, ImageFeatures):
        return features.shape, np.bool_ if features.kind == "binary" else np.uint8
    return ((), np.int32) if one_hot else ((features,), np.float32)


def make_ensemble(
    members: int,
    features: Features,
    hidden: Sequence[int],
    out_features: int,
    generator: torch.Generator,
    *,
    gain: float = 1.0,
    one_hot: bool = False,
    prior: bool = False,
) -> EnsembleMLP | EnsembleConvNet:
    """Make the ensemble that fits the observations: perceptrons, or convolutions below perceptrons.

    A one-hot vector has one active input whatever its width, so the first layer of a ``prior``, which is never trained,
    is drawn for a fan-in of 1; drawn for the width, priors would hardly differ between the states of a large table.
    """
    if isinstance(features, ImageFeatures):
        return EnsembleConvNet(members, features, hidden, out_features, generator, gain=gain)
    first_fan_in = 1 if prior and one_hot else None
    return EnsembleMLP(
        members, features, hidden, out_features, generator, gain=gain, one_hot=one_hot, first_fan_in=first_fan_in
    )


def plane_offsets(features: ImageFeatures) -> Tensor:
    """First plane of every channel of an image of symbols, int64 [C]; empty for other images."""
    return torch.tensor([0, *itertools.accumulate(features.cardinalities)][:-1], dtype=torch.int64)


def image_planes(x: Tensor, features: ImageFeatures, offsets: Tensor) -> Tensor:
    """Stored images, bool or uint8 [B, H, W, C] -> input planes, float32 [B, P, H, W]."""
    if features.kind == "symbols":
        indices = x.long() + offsets
        ones = torch.zeros(*x.shape[:3], features.planes, device=x.device)
        return ones.scatter_(3, indices, 1.0).permute(0, 3, 1, 2)
    x = x.permute(0, 3, 1, 2).float()
    return x.mul_(1 / 255) if features.kind == "bytes" else x


def _uniform(shape: Sequence[int], fan_in: int, gain: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter((torch.rand(*shape, generator=generator) * 2 - 1) * (gain / fan_in**0.5))


class EnsembleConvNet(nn.Module):
    """``members`` convolutional networks evaluated together, without a loop over members.

    With ``trunk="own"`` the first layer is one convolution with all members' filters side by side, each later one a
    grouped convolution with a group for each member, and the layers after that are batched matrix products. With
    ``trunk="shared"`` the convolutions are evaluated once and only the layers after them belong to the members; the
    gradient that reaches the trunk is then the members' mean, not their sum (Osband et al. 2016, appendix D.2).

    Args:
        members: E.
        features: the images.
        hidden: widths of the hidden layers after the convolutions, at least one.
        out_features: O.
        generator: source of the initial weights, uniform in +-gain/sqrt(fan_in).
        gain: factor on the initial weights' range.
    """

    one_hot = False

    def __init__(
        self,
        members: int,
        features: ImageFeatures,
        hidden: Sequence[int],
        out_features: int,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.members = members
        self.in_features = features
        self.out_features = out_features
        self.groups = members if features.trunk == "own" else 1
        self.filters = nn.ParameterList()
        self.filter_biases = nn.ParameterList()
        for before, after in itertools.pairwise((features.planes, *features.filters)):
            fan_in = before * features.kernel**2
            shape = (self.groups * after, before, features.kernel, features.kernel)
            self.filters.append(_uniform(shape, fan_in, gain, generator))
            self.filter_biases.append(_uniform((self.groups * after,), fan_in, gain, generator))
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise((features.flat_size, *hidden, out_features)):
            self.weights.append(_uniform((members, fan_in, fan_out), fan_in, gain, generator))
            self.biases.append(_uniform((members, 1, fan_out), fan_in, gain, generator))
        self.register_buffer("offsets", plane_offsets(features), persistent=False)

    offsets: Tensor

    def planes(self, x: Tensor) -> Tensor:
        """Stored images, bool or uint8 [B, H, W, C] -> input planes, float32 [B, P, H, W]."""
        return image_planes(x, self.in_features, self.offsets)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate every member; bool or uint8 [B, H, W, C] -> float32 [E, B, O]."""
        h = self.planes(x)
        for layer, (weight, bias) in enumerate(zip(self.filters, self.filter_biases, strict=True)):
            h = torch.relu_(torch.nn.functional.conv2d(h, weight, bias, groups=self.groups if layer else 1))
        h = h.reshape(len(x), self.groups, -1).transpose(0, 1)
        if self.groups == 1 and self.members > 1:
            if h.requires_grad:
                share = 1 / self.members
                h = h * share + h.detach() * (1 - share)
            h = h.expand(self.members, -1, -1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, torch.relu_(h) if layer else h, weight)
        return h

    def member(self, index: int, x: Tensor) -> Tensor:
        """Evaluate one member alone, [B, O]; ``forward`` batches it."""
        h, group = self.planes(x), index if self.groups > 1 else 0
        for weight, bias in zip(self.filters, self.filter_biases, strict=True):
            width = len(weight) // self.groups
            rows = slice(group * width, (group + 1) * width)
            h = torch.relu(torch.nn.functional.conv2d(h, weight[rows], bias[rows]))
        h = h.flatten(1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = (torch.relu(h) if layer else h) @ weight[index] + bias[index]
        return h
