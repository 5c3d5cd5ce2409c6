"""A-GEM: gradients that would raise the loss on a memory of earlier tasks are projected."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.memory import TaskMemory, replay_columns
from metarl_core.agents.continual.methods.l2 import L2
from metarl_core.agents.imt.batches import TaskBatch
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.tasks import Task

__all__ = ["AGem", "projected"]


def projected(gradient: Tensor, reference: Tensor) -> Tensor:
    """G - (g . r / r . r) r where g . r < 0, else g (Chaudhry et al. 2019, eq. 11); both [P]."""
    product = gradient @ reference
    if product >= 0:
        return gradient
    return gradient - product / (reference @ reference) * reference


class AGem(L2):
    """Fine-tuning whose gradient never points against that of the loss on a memory.

    The memory has M transitions of each earlier task; its loss is the mean squared TD error, every task counting alike.
    """

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        super().__init__(config, spaces, tasks, seed)
        self.memory = TaskMemory(config.memory, spaces.in_features, purpose_seed(seed, "memory"))

    def loss(self, batch: TaskBatch, tasks: Sequence[int]) -> Tensor:
        """The TD error alone."""
        return self.td_loss(batch, tasks)

    def adjust_gradients(self) -> None:
        """Project."""
        earlier = [task for task in self.memory.counts() if task != self.task]
        if not earlier:
            return
        rows = -(-self.config.batch_size // len(earlier))
        batch = self.memory.sample(rows, earlier)
        weights = list(self.model.parameters())
        slopes = torch.autograd.grad(self.td_loss(batch, earlier), weights)
        gradient = torch.cat([p.grad.flatten() for p in weights if p.grad is not None])
        new = projected(gradient, torch.cat([s.flatten() for s in slopes]))
        for p, part in zip(weights, torch.split(new, [p.numel() for p in weights]), strict=True):
            p.grad = part.view_as(p)

    def end_task(self, task: int) -> None:
        """Keep M transitions."""
        self.memory.keep(task, replay_columns(self.replay))

    def stored_bytes(self) -> int:
        """The memory."""
        return self.memory.nbytes
