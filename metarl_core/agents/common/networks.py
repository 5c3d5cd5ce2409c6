"""Ensembles of multilayer perceptrons evaluated with batched matrix products, never a loop over members."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from metarl_core.agents.common.images import EnsembleConvNet

__all__ = ["EnsembleMLP", "FixedPrior", "copy_parameters", "mix_parameters"]


class EnsembleMLP(nn.Module):
    """``members`` independent ReLU perceptrons with the same layer widths.

    All members read the same input. The first layer is one product with the members' weights side by side, each later
    layer one ``baddbmm``. Weights are uniform in +-gain/sqrt(fan_in), as biases are.

    One-hot inputs may be given by their index: the product with a one-hot vector is a row of the first weights, so the
    same function costs a gather. Index ``in_features`` stands for the all-zero vector; its row is zero and stays so.

    Args:
        members: number of perceptrons, E.
        in_features: width of the input, D.
        hidden: widths of the hidden layers, at least one.
        out_features: width of the output, O.
        generator: source of the initial weights.
        gain: factor on the initial weights' range.
        one_hot: inputs are indices of one-hot vectors.
        first_fan_in: fan-in that the first layer's range is made for; None: ``in_features``.
    """

    def __init__(
        self,
        members: int,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        one_hot: bool = False,
        first_fan_in: int | None = None,
    ) -> None:
        super().__init__()
        self.members = members
        self.in_features = in_features
        self.out_features = out_features
        self.one_hot = one_hot
        widths = [in_features, *hidden, out_features]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            bound = gain / (first_fan_in or fan_in if layer == 0 else fan_in) ** 0.5
            # Drawn member by member layout [E, in, out] whatever the storage, so member e's weights are plain to read.
            weight = (torch.rand(members, fan_in, fan_out, generator=generator) * 2 - 1) * bound
            bias = (torch.rand(members, 1, fan_out, generator=generator) * 2 - 1) * bound
            if layer == 0:
                weight = weight.permute(1, 0, 2).reshape(fan_in, members * fan_out)
                bias = bias.reshape(members * fan_out)
                if one_hot:
                    weight = torch.cat((weight, torch.zeros(1, members * fan_out)))
            self.weights.append(nn.Parameter(weight.contiguous()))
            self.biases.append(nn.Parameter(bias.contiguous()))
        # Plain tuples of the same tensors: walking a ParameterList costs more than the small products do.
        self._first, *rest = zip(self.weights, self.biases, strict=True)
        self._rest = tuple(rest)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate every member.

        Args:
            x: float32 [B, D]; int64 [B] if made with ``one_hot``.

        Returns:
            float32 [E, B, O].
        """
        h: Tensor
        weight, bias = self._first
        h = torch.embedding(weight, x, self.in_features) + bias if self.one_hot else torch.addmm(bias, x, weight)
        h = h.view(x.shape[0], self.members, -1).transpose(0, 1)
        for weight, bias in self._rest:
            h = torch.baddbmm(bias, torch.relu_(h), weight)
        return h

    def member(self, index: int, x: Tensor) -> Tensor:
        """Evaluate one member on float32 [B, D] with plain matrix products; float32 [B, O]; ``forward`` batches it."""
        width = self.weights[0].shape[1] // self.members
        columns = slice(index * width, (index + 1) * width)
        h: Tensor = x @ self.weights[0][: self.in_features, columns] + self.biases[0][columns]
        for weight, bias in self._rest:
            h = torch.relu(h) @ weight[index] + bias[index]
        return h


class FixedPrior(nn.Module):
    """A random ensemble that is never trained, times a scale.

    For one-hot inputs its values on all D + 1 of them are computed once and looked up.

    Args:
        net: the ensemble, of either kind; its gradients are switched off.
        scale: factor on its output.
    """

    def __init__(self, net: EnsembleMLP | EnsembleConvNet, scale: float) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.scale = scale
        self._table: Tensor | None = None
        self.register_load_state_dict_post_hook(lambda *_: setattr(self, "_table", None))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Scale * net(x), float32 [E, B, O]."""
        net = self.net
        if not isinstance(net, EnsembleMLP) or not net.one_hot:
            values: Tensor = net(x)
            return values.mul_(self.scale)
        if self._table is None or self._table.device != x.device:
            values = net(torch.arange(net.in_features + 1, device=x.device)).mul_(self.scale)
            self._table = values.transpose(0, 1).reshape(net.in_features + 1, -1)
        rows = self._table.index_select(0, x)
        return rows.view(len(x), net.members, -1).transpose(0, 1)


@torch.no_grad()
def copy_parameters(target: Iterable[Tensor], online: Iterable[Tensor]) -> None:
    """Overwrite the target network's parameters."""
    torch._foreach_copy_(list(target), list(online))


@torch.no_grad()
def mix_parameters(target: Iterable[Tensor], online: Iterable[Tensor], share: float) -> None:
    """Polyak averaging: target <- (1 - share) target + share online."""
    torch._foreach_lerp_(list(target), list(online), share)
