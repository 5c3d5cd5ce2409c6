"""Submodels of IMT, all of them evaluated and trained together, each on rows of its own."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from metarl_core.agents.common.images import Features, ImageFeatures, make_ensemble, plane_offsets
from metarl_core.agents.common.networks import FixedPrior, copy_parameters, mix_parameters

__all__ = ["BatchedConvNet", "BatchedMLP", "Submodels", "flat_observations", "one_hot_actions", "one_hot_indices"]


def flat_observations(obs: Tensor) -> Tensor:
    """Observations as vectors of numbers, float32 [K, B, D]: images as their components, whatever these mean."""
    return obs.flatten(2).float()


def one_hot_indices(obs: Tensor) -> Tensor:
    """Indices of one-hot rows, D for an all-zero one; float32 [..., D] -> int64 [...]."""
    largest, index = obs.max(dim=-1)
    return index.masked_fill(largest == 0, obs.shape[-1])


def one_hot_actions(action: Tensor, num_actions: int) -> Tensor:
    """Actions one-hot, int64 [...] in [0, A) -> float32 [..., A], without torch's look at the largest one."""
    return (action.unsqueeze(-1) == torch.arange(num_actions, device=action.device)).float()


class BatchedMLP(nn.Module):
    """``members`` ReLU perceptrons of the same widths, member k on batch k: one ``baddbmm`` a layer.

    Args:
        members: K.
        widths: of the input, the hidden layers and the output, at least two.
        generator: source of the initial weights, uniform in +-1/sqrt(fan_in).
        relu_output: whether the last layer has a ReLU too, as a trunk's has.
        same_start: every member begins with the same weights.
    """

    def __init__(
        self,
        members: int,
        widths: Sequence[int],
        generator: torch.Generator,
        *,
        relu_output: bool = False,
        same_start: bool = False,
    ) -> None:
        super().__init__()
        self.members = members
        self.relu_output = relu_output
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        drawn = 1 if same_start else members
        for fan_in, fan_out in itertools.pairwise(widths):
            bound = fan_in**-0.5
            for store, shape in ((self.weights, (fan_in, fan_out)), (self.biases, (1, fan_out))):
                values = (torch.rand(drawn, *shape, generator=generator) * 2 - 1) * bound
                store.append(nn.Parameter(values.expand(members, *shape).clone()))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate every member; float32 [K, B, D] -> [K, B, O]. Expanded (stride 0) rows are not copied."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last or self.relu_output:
                x = torch.relu(x)
        return x


class BatchedConvNet(nn.Module):
    """``members`` ReLU convolutional networks, member k on batch k: one grouped convolution a layer, then perceptrons.

    Args:
        members: K.
        features: the images.
        hidden: widths of the layers after the convolutions, at least one; all have a ReLU.
        generator: source of the initial weights, uniform in +-1/sqrt(fan_in). Every member begins with the same.
    """

    def __init__(
        self, members: int, features: ImageFeatures, hidden: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.members = members
        self.images = features
        self.filters = nn.ParameterList()
        self.filter_biases = nn.ParameterList()
        for before, after in itertools.pairwise((features.planes, *features.filters)):
            bound = (before * features.kernel**2) ** -0.5
            for store, shape in (
                (self.filters, (after, before, features.kernel, features.kernel)),
                (self.filter_biases, (after,)),
            ):
                values = (torch.rand(1, *shape, generator=generator) * 2 - 1) * bound
                store.append(nn.Parameter(values.expand(members, *shape).clone()))
        self.dense = BatchedMLP(members, (features.flat_size, *hidden), generator, relu_output=True, same_start=True)
        self.register_buffer("offsets", plane_offsets(features), persistent=False)

    offsets: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate every member; bool or uint8 [K, B, H, W, C] -> float32 [K, B, F]."""
        members, rows = x.shape[:2]
        h = _planes_side_by_side(x, self.images, self.offsets)
        for weight, bias in zip(self.filters, self.filter_biases, strict=True):
            # Channels last, as the planes are: grouped convolutions over few channels are up to twice as fast so.
            weight = weight.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            h = torch.relu(nn.functional.conv2d(h, weight, bias.flatten(), groups=members))
        features: Tensor = self.dense(h.reshape(rows, members, -1).transpose(0, 1))
        return features


def _planes_side_by_side(x: Tensor, features: ImageFeatures, offsets: Tensor) -> Tensor:
    """Stored images [K, B, H, W, C] -> planes of all members side by side, float32 [B, K * P, H, W] channels last."""
    x = x.permute(1, 2, 3, 0, 4)  # [B, H, W, K, C]
    if features.kind == "symbols":
        planes = torch.zeros(*x.shape[:4], features.planes, device=x.device)
        planes.scatter_(4, x.long() + offsets, 1.0)
    else:
        planes = x.to(torch.float32, memory_format=torch.contiguous_format)
        if features.kind == "bytes":
            planes.mul_(1 / 255)
    return planes.flatten(3).permute(0, 3, 1, 2)


Trunk: TypeAlias = BatchedMLP | BatchedConvNet


def _trunk(members: int, features: Features, hidden: Sequence[int], generator: torch.Generator) -> Trunk:
    if isinstance(features, ImageFeatures):
        return BatchedConvNet(members, features, hidden, generator)
    return BatchedMLP(members, (features, *hidden), generator, relu_output=True, same_start=True)


class Submodels(nn.Module):
    """K submodels: trunks phi_i, last layers h_i and predictors g_i of task embeddings, beside the common trunk phi.

    The trunk f reads an observation. Q_i(s, .) = h_i(f_phi_i(s)); the embedding predictor reads a whole transition
    through the trunk, g_i(f_phi_i(s), f_phi_i(s'), a, r), as what tells tasks apart is what follows what.

    Args:
        members: K.
        in_features: width of an encoded observation, D; or images, whose trunks begin with convolutions.
        hidden: widths of the trunk; the last is F, the number of features.
        num_actions: A.
        embedding_size: width of a task embedding.
        predictor_hidden: widths of the predictors' hidden layers.
        generator: source of all initial weights. Trunks and last layers start equal (article, step 1: "fixed
            initializations").
        critic_heads: H, last layers of each submodel; more than one for ``exploration=curiosity``.
        prior_scale: of fixed random networks, one for each last layer and the same for all submodels, that are added to
            its values (:class:`FixedPrior`); 0: none.
        prior_gain: range of their weights relative to 1/sqrt(fan_in).
        one_hot: observations are one-hot or all zero, which the priors have to know.
    """

    def __init__(
        self,
        members: int,
        in_features: Features,
        hidden: Sequence[int],
        num_actions: int,
        embedding_size: int,
        predictor_hidden: Sequence[int],
        generator: torch.Generator,
        *,
        critic_heads: int = 1,
        prior_scale: float = 0.0,
        prior_gain: float = 1.0,
        one_hot: bool = False,
    ) -> None:
        super().__init__()
        self.members = members
        self.num_actions = num_actions
        self.num_features = hidden[-1]
        self.critic_heads, self.one_hot = critic_heads, one_hot
        self.common = _trunk(1, in_features, hidden, generator)
        self.trunks = _trunk(members, in_features, hidden, generator)
        self.heads = BatchedMLP(members, (hidden[-1], critic_heads * num_actions), generator, same_start=True)
        pair = 2 * hidden[-1] + num_actions + 1
        self.predictors = BatchedMLP(members, (pair, *predictor_hidden, embedding_size), generator, same_start=True)
        self.begin_from_common()
        self.target_trunks = copy.deepcopy(self.trunks).requires_grad_(False)
        self.target_heads = copy.deepcopy(self.heads).requires_grad_(False)
        self.prior_net: FixedPrior | None = None
        if prior_scale > 0:
            prior = make_ensemble(
                critic_heads, in_features, hidden, num_actions, generator, gain=prior_gain, one_hot=one_hot, prior=True
            )
            self.prior_net = FixedPrior(prior, prior_scale)

    def begin_from_common(self) -> None:
        """Set every phi_i to the common phi (the start of step 2)."""
        copy_parameters(
            self.trunks.parameters(), (p.expand(self.members, *p.shape[1:]) for p in self.common.parameters())
        )

    def _pairs(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the slow copies, and of what they follow."""
        slow = [*self.target_trunks.parameters(), *self.target_heads.parameters()]
        return slow, [*self.trunks.parameters(), *self.heads.parameters()]

    def update_targets(self, share: float | None = None) -> None:
        """Copy trunks and last layers to the slow copies that close the TD target, or mix a share of them in."""
        slow, online = self._pairs()
        if share is None:
            copy_parameters(slow, online)
        else:
            mix_parameters(slow, online, share)

    def rows_for_all(self, obs: Tensor) -> Tensor:
        """The same observations for every submodel, [B, ...] -> [K, B, ...], without a copy."""
        return obs.unsqueeze(0).expand(self.members, *obs.shape)

    def q(self, obs: Tensor) -> Tensor:
        """Q_i(s, .) of rows of its own for each submodel, float32 [K, B, D] -> [K, B, A]; of several heads the mean."""
        values: Tensor = self.heads(self.trunks(obs))
        return values if self.critic_heads == 1 and self.prior_net is None else self.mean_value(values, obs)

    def mean_value(self, values: Tensor, obs: Tensor) -> Tensor:
        """Mean over the heads, priors included, of what last layers gave, [K', B, H * A] -> [K', B, A]."""
        mean = values.view(*values.shape[:2], self.critic_heads, self.num_actions).mean(dim=2)
        prior = self.prior(obs)
        return mean if prior is None else mean + prior.mean(dim=1)

    def prior(self, obs: Tensor) -> Tensor | None:
        """Fixed priors of the heads, float32 [K', B, D] -> [K', H, B, A]; None without any."""
        if self.prior_net is None:
            return None
        flat = (one_hot_indices(obs) if self.one_hot else obs).flatten(0, 1)
        values: Tensor = self.prior_net(flat)
        return values.view(self.critic_heads, *obs.shape[:2], self.num_actions).transpose(0, 1)

    def trained_values(self, obs: Tensor, *, target: bool = False, frozen: bool = False) -> Tensor:
        """The trained part of Q_ik(s, .), float32 [K, B, D] -> [K, H, B, A].

        Args:
            obs: rows of its own for each submodel.
            target: of the slow copies.
            frozen: no gradient reaches the trunks.
        """
        trunks, heads = (self.target_trunks, self.target_heads) if target else (self.trunks, self.heads)
        features = trunks(obs)
        values: Tensor = heads(features.detach() if frozen else features)
        return values.view(*values.shape[:2], self.critic_heads, self.num_actions).transpose(1, 2)

    def head_values(self, obs: Tensor) -> Tensor:
        """Q_ik(s, .) of every head, priors included, float32 [K, B, D] -> [K, H, B, A]."""
        values, prior = self.trained_values(obs), self.prior(obs)
        return values if prior is None else values + prior

    def target_q(self, obs: Tensor) -> Tensor:
        """Values of the slow copies, float32 [K, B, D] -> [K, B, A]."""
        values: Tensor = self.target_heads(self.target_trunks(obs))
        return values

    def transition_features(
        self, trunk: Trunk, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor
    ) -> Tensor:
        """(f(s), f(s'), a, r) of transitions, [K, B, 2 F + A + 1], through any trunk of K members."""
        chosen = one_hot_actions(action, self.num_actions)
        return torch.cat((trunk(obs), trunk(next_obs), chosen, reward.unsqueeze(2)), dim=2)

    def embeddings(self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor) -> Tensor:
        """g_i of transitions; obs, next_obs [K, B, D], action int64 [K, B], reward [K, B] -> [K, B, E]."""
        predicted: Tensor = self.predictors(self.transition_features(self.trunks, obs, action, reward, next_obs))
        return predicted

    def trunk_vector(self, trunk: Trunk) -> Tensor:
        """All weights of each member of a trunk side by side, [K, P] (the common one: [1, P])."""
        return torch.cat([p.detach().reshape(trunk.members, -1) for p in trunk.parameters()], dim=1)
