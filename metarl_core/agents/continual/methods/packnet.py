"""PackNet: each task gets a share of one network's weights, which nobody changes afterwards."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.continual.methods.multihead import MultiHead
from metarl_core.agents.continual.qlearning import QModel, forward_members, layers_of
from metarl_core.tasks import TaskDataset

__all__ = ["PackNet", "kept_weights"]

FREE = -1


def kept_weights(weight: Tensor, free: Tensor, share: float) -> Tensor:
    """The largest free weights of a layer (Mallya & Lazebnik 2018, section 3): bool, of the layer's shape.

    Args:
        weight: The layer's weights.
        free: Which of them nobody has, bool.
        share: Of the free ones that are kept, rounded.
    """
    count = round(share * int(free.sum()))
    kept = torch.zeros_like(free)
    if count:
        sizes = torch.where(free, weight.abs(), torch.tensor(-1.0))
        kept.view(-1)[sizes.flatten().topk(count).indices] = True
    return kept


class PackNet(MultiHead):
    """One trunk: a task trains the free weights, keeps the largest 1 / (tasks left) of them, and trains these again.

    All other free weights become 0 and are the next task's to train, on top of the earlier tasks' weights, which are
    frozen. Biases are trained by the first task alone, last layers are each task's own (as in Continual World). A task
    is played by the weights of tasks up to itself, which needs the task to be told.
    """

    revisits: ClassVar[bool] = False

    def make_model(self) -> QModel:
        """The network, and who has which weight: int16 of each weight's shape, FREE or a task."""
        model = super().make_model()
        self.owners = [torch.full(w.shape, FREE, dtype=torch.int16) for w in model.trunks.weights]
        self.trainable: list[Tensor] = []
        return model

    def begin_task(self, task: int, reference: TaskDataset | None) -> None:
        """All free weights are the task's to train."""
        super().begin_task(task, reference)
        self.trainable = [owner == FREE for owner in self.owners]

    def adjust_gradients(self) -> None:
        """No gradient reaches what is not the task's."""
        for weight, own in zip(self.model.trunks.weights, self.trainable, strict=True):
            if weight.grad is not None:
                weight.grad.mul_(own)
        if self.task > 0:
            for bias in self.model.trunks.biases:
                bias.grad = None

    def end_task(self, task: int) -> None:
        """Prune, train what is kept, and freeze it."""
        self._trunks_of = None
        share = 1 / (self.num_tasks - task)
        with torch.no_grad():
            for weight, owner in zip(self.model.trunks.weights, self.owners, strict=True):
                free = owner == FREE
                kept = kept_weights(weight, free, share)
                owner[kept] = task
                weight[free & ~kept] = 0.0
        self.trainable = [owner == task for owner in self.owners]
        self.copy_target()
        self.optimizer = torch.optim.Adam(self.model.parameters(), self.config.lr, fused=True)
        if len(self.replay):
            for _ in range(self.config.packnet_updates):
                self.update()

    def masked(self, tasks: Sequence[int]) -> nn.Module:
        """The trunks that play: weights of tasks up to each one's own; of the task in training (or the first) all."""
        trunk = copy.deepcopy(self.model.trunks).requires_grad_(False)
        trunk.members = len(tasks)
        with torch.no_grad():
            for weight, owner in zip(trunk.weights, self.owners, strict=True):
                masks = [(owner <= t) & ((owner != FREE) | (t == max(self.task, 0))) for t in tasks]
                weight.data = torch.cat([weight.data * mask for mask in masks])
            for bias in trunk.biases:
                bias.data = bias.data.expand(len(tasks), -1, -1).contiguous()
        return trunk

    @torch.no_grad()
    def greedy(self, obs: NDArray[np.float32], tasks: Sequence[int]) -> NDArray[np.int64]:
        """Argmax of each task's own network."""
        own = self.begun(tasks)
        if self._trunks_of != (key := (tuple(own), self.updates)):
            self._trunks, self._trunks_of = self.masked(own), key
        features = self._trunks(torch.from_numpy(obs))
        actions: NDArray[np.int64] = forward_members(layers_of(self.model.heads), own, features).argmax(dim=2).numpy()
        return actions

    @torch.no_grad()
    def greedy_new(self, obs: NDArray[np.float32], met: Any) -> NDArray[np.int64]:  # noqa: ARG002
        """Argmax of the mean Q of the known tasks' networks."""
        known = list(range(self.known))
        rows = torch.from_numpy(obs).reshape(1, -1, obs.shape[2]).expand(len(known), -1, -1)
        if self._trunks_of != (key := (tuple(known), self.updates)):
            self._trunks, self._trunks_of = self.masked(known), key
        q = forward_members(layers_of(self.model.heads), known, self._trunks(rows)).mean(dim=0)
        actions: NDArray[np.int64] = q.argmax(dim=1).numpy().reshape(obs.shape[:2])
        return actions

    _trunks: nn.Module
    _trunks_of: Any = None

    def stored_bytes(self) -> int:
        """Who has which weight, a byte for each."""
        return sum(owner.numel() for owner in self.owners)
