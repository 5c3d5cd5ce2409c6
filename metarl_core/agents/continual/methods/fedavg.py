"""FedAvg: per-task networks, averaged uniformly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch

from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.networks import copy_parameters
from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.memory import TaskMemory, replay_columns
from metarl_core.agents.continual.methods.finetune import FineTuning
from metarl_core.agents.continual.qlearning import QModel, td_errors
from metarl_core.agents.imt.batches import TaskBatch
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.tasks import Task, TaskDataset

__all__ = ["FedAvg", "mean_weights", "spread_weights", "train_locally"]


@torch.no_grad()
def spread_weights(model: QModel, members: QModel) -> None:
    """Every member starts at the model."""
    for own, common in zip(members.parameters(), model.parameters(), strict=True):
        own.copy_(common.expand_as(own))


@torch.no_grad()
def mean_weights(model: QModel, members: QModel, step: float = 1.0) -> None:
    """Theta <- theta + step (mean_i theta_i - theta)."""
    for common, own in zip(model.parameters(), members.parameters(), strict=True):
        mean = own.double().mean(dim=0, keepdim=True)
        common.copy_((1 - step) * common.double() + step * mean)


def train_locally(
    members: QModel,
    sample: Callable[[], TaskBatch],
    optimizer: torch.optim.Optimizer,
    updates: int,
    gamma: float,
    target_period: int,
) -> None:
    """Every member by Double DQN on its own task, all of them in one batched computation.

    Args:
        members: A trunk and a last layer for each of T tasks.
        sample: Gives a batch [T, B].
        optimizer: Of the members' weights.
        updates: Gradient steps.
        gamma: Discount.
        target_period: Gradient steps between two copies for the TD target; the first is at the start.

    Raises:
        TrainingDivergedError: a loss is not finite.
    """
    tasks = range(members.heads.members)
    target = copy.deepcopy(members).requires_grad_(False)
    for update in range(updates):
        if update and update % target_period == 0:
            copy_parameters(target.parameters(), members.parameters())
        batch = sample()
        with torch.no_grad():
            following = members(batch.next_obs, tasks), target(batch.next_obs, tasks)
        errors = td_errors(members(batch.obs, tasks), *following, batch, gamma)
        loss = errors.square().mean(dim=1).sum()
        if not torch.isfinite(loss):
            raise TrainingDivergedError(f"loss is {loss.item()} in a local step {update}; try a smaller lr")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


class FedAvg(FineTuning):
    """One network for all tasks: the average of networks that each learned one (McMahan et al. 2017, algorithm 1).

    A phase is played by the task's network, which starts at the average and learns by Double DQN. When it ends, the
    average takes it in as one of t, and rounds follow: networks of tasks 1 ... t start at the average, learn from M
    stored transitions of their own task, and are averaged with equal weights. Evaluated is the average at the ends of
    the phases; within a phase the network that is playing.
    """

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        super().__init__(config, spaces, tasks, seed)
        self.memory = TaskMemory(config.memory, spaces.in_features, purpose_seed(seed, "memory"))
        self.before: list[torch.Tensor] = []

    def begin_task(self, task: int, reference: TaskDataset | None) -> None:
        """Remember the average that the task's network starts from."""
        self.before = [p.detach().clone() for p in self.model.parameters()]
        super().begin_task(task, reference)

    def end_task(self, task: int) -> None:
        """Take the task's network in, and make the rounds."""
        self.memory.keep(task, replay_columns(self.replay))
        count = self.memory.tasks
        with torch.no_grad():
            for p, old in zip(self.model.parameters(), self.before, strict=True):
                p.copy_(((count - 1) * old + p) / count)
        self.rounds()
        self.copy_target()

    def members(self) -> QModel:
        """A network for each task of which something is kept, all equal to the average."""
        members = self._q_model(self.memory.tasks, self.memory.tasks)
        spread_weights(self.model, members)
        return members

    def train_members(self, members: QModel, updates: int, lr: float) -> None:
        """Local steps of all of them, with moments that begin anew."""
        train_locally(
            members,
            lambda: self.memory.sample(self.config.batch_size),
            torch.optim.Adam(members.parameters(), lr, fused=True),
            updates,
            self.config.gamma,
            self.config.target_period,
        )
        self.updates += updates * members.heads.members

    def rounds(self) -> None:
        """Local steps and a uniform average, some times."""
        for _ in range(self.config.rounds):
            members = self.members()
            self.train_members(members, self.config.local_updates, self.config.lr)
            mean_weights(self.model, members)

    def stored_bytes(self) -> int:
        """The memory."""
        return self.memory.nbytes
