"""CLEAR: new and replayed experience half and half, with cloning of earlier behaviour on what is replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import metarl_core
from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.memory import row_bytes, transition_fields
from metarl_core.agents.continual.methods.l2 import L2
from metarl_core.agents.imt.batches import COLUMNS, TaskBatch, task_batch
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.tasks import Task

__all__ = ["Clear", "cloning_losses"]


def cloning_losses(q: Tensor, stored: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Policy and value cloning (Rolnick et al. 2019, section 3.2), for action values.

    Policies are softmax(Q / T), the state value is max_a Q.

    Args:
        q: Q(s, .) now, float32 [..., A].
        stored: Q(s, .) when the transition was made.
        temperature: T.

    Returns:
        Means over the states of KL(stored policy || policy), and of (max_a Q - max_a stored)^2.
    """
    old, new = (torch.log_softmax(values / temperature, dim=-1) for values in (stored, q))
    divergence = (old.exp() * (old - new)).sum(dim=-1)
    return divergence.mean(), (q.amax(dim=-1) - stored.amax(dim=-1)).square().mean()


class Clear(L2):
    """Half of every batch is the task's, half is drawn from a reservoir of all that was ever played.

    L = TD(new) + TD(replayed) + w_p KL(stored policy || policy) + w_v (V - stored V)^2, the last two on what is
    replayed. With each transition Q(s, .) at the time is stored. The reservoir (Vitter 1985, as in the paper) holds M
    transitions for each task of the sequence. Off-policy correction is Q-learning's own, in place of V-trace.
    """

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        super().__init__(config, spaces, tasks, seed)
        self.fields = transition_fields(spaces.in_features, {"q": ((spaces.num_actions,), np.float32)})
        self.reservoir = metarl_core.ReplayBuffer(
            config.memory * self.num_tasks,
            self.fields,
            task_field="task_id",
            eviction="reservoir",
            seed=purpose_seed(seed, "reservoir"),
        )

    def store(self, columns: Mapping[str, NDArray[Any]], tasks: Sequence[int]) -> None:
        """Into the replay of the task, and into the reservoir."""
        super().store(columns, tasks)
        with torch.no_grad():
            q = self.model(torch.from_numpy(columns["obs"]), tasks).flatten(0, 1).numpy()
        count, rows = columns["reward"].shape
        flat = {name: columns[name].reshape(count * rows, *columns[name].shape[2:]) for name in COLUMNS}
        self.reservoir.add(**flat, task_id=np.repeat(np.asarray(tasks, np.int32), rows), q=q)

    def loss(self, batch: TaskBatch, tasks: Sequence[int]) -> Tensor:
        """TD errors of both halves, and the cloning."""
        c, rows = self.config, batch.shape[1] // 2
        half = TaskBatch(*(getattr(batch, name)[:, :rows] for name in COLUMNS))
        new = self.td_loss(half, tasks)
        drawn = self.reservoir.sample(batch.shape[1] - rows)
        # With a last layer for each task every transition is a batch of its own, through the layer of its task.
        axis, whose = (1, drawn["task_id"].tolist()) if self.identity else (0, (0,))
        columns = {name: np.expand_dims(drawn[name], axis) for name in (*COLUMNS, "q")}
        replayed = task_batch(columns)
        policy, value = cloning_losses(
            self.model(replayed.obs, whose), torch.from_numpy(columns["q"]), c.clear_temperature
        )
        loss = new + self.td_loss(replayed, whose)
        return loss + c.clear_policy_weight * policy + c.clear_value_weight * value

    def end_task(self, task: int) -> None:
        """Nothing: the reservoir goes on."""

    def stored_bytes(self) -> int:
        """What the reservoir holds."""
        return len(self.reservoir) * row_bytes(self.fields)
