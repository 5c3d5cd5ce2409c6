"""L2: fine-tuning with a pull to where the last phase ended."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metarl_core.agents.continual.methods.finetune import FineTuning
from metarl_core.agents.imt.batches import TaskBatch

__all__ = ["L2", "squared_distance"]


def squared_distance(parameters: Sequence[Tensor], anchor: Sequence[Tensor]) -> Tensor:
    """sum_k (theta_k - theta*_k)^2."""
    return torch.stack([(p - a).square().sum() for p, a in zip(parameters, anchor, strict=True)]).sum()


class L2(FineTuning):
    """L = TD + lambda / 2 |theta - theta*|^2, theta* the weights at the end of the last phase.

    The baseline of Kirkpatrick et al. 2017, in Continual World's form (Wolczyk et al. 2021): equal importance of all
    weights, one anchor. With ``heads=multi`` the trunk alone is pulled, as last layers of other tasks do not move.
    """

    anchor: list[Tensor] | None = None

    @property
    def identity(self) -> bool:
        """Told with a last layer for each task."""
        return self.config.heads == "multi"

    def protected(self) -> list[nn.Parameter]:
        """The weights that later tasks could spoil."""
        net = self.model.trunks if self.identity else self.model
        return list(net.parameters())

    def loss(self, batch: TaskBatch, tasks: Sequence[int]) -> Tensor:
        """The TD error and the pull."""
        td = self.td_loss(batch, tasks)
        if self.anchor is None:
            return td
        return td + 0.5 * self.config.l2_weight * squared_distance(self.protected(), self.anchor)

    def end_task(self, task: int) -> None:  # noqa: ARG002
        """Set the anchor."""
        self.anchor = [p.detach().clone() for p in self.protected()]

    def stored_bytes(self) -> int:
        """The anchor."""
        return 0 if self.anchor is None else sum(a.nbytes for a in self.anchor)
