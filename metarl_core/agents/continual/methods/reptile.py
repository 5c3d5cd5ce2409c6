"""Reptile: a start from which a few gradient steps lead to each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_core.agents.continual.methods.fedavg import FedAvg, mean_weights, spread_weights, train_locally
from metarl_core.agents.continual.qlearning import QModel
from metarl_core.agents.imt.batches import COLUMNS, TaskBatch, task_batch
from metarl_core.tasks import TaskDataset

__all__ = ["Reptile"]

_UNSEEN = 2**32 - 1  # no number of gradient steps: the draws on unseen tasks are others than those on known ones


class Reptile(FedAvg):
    """theta <- theta + epsilon (mean_i theta_i^k - theta), theta_i^k after k gradient steps on task i.

    Nichol, Achiam & Schulman 2018, algorithm 2 (batched), with k steps of Adam without momentum as in their paper's
    experiments. Played and taken in as in :class:`FedAvg`. Evaluated is what k steps on the task's stored transitions
    lead to, which needs the task to be told; a new task is adapted to by k steps on transitions under uniform actions,
    which are not stored. A task yet to come is played by theta itself.
    """

    meets: ClassVar[bool] = True

    @property
    def identity(self) -> bool:
        """Told, to adapt to the task's stored transitions."""
        return True

    def make_model(self) -> QModel:
        """One network."""
        return self._q_model(1, 1)

    def rounds(self) -> None:
        """Outer steps."""
        for _ in range(self.config.reptile_iterations):
            members = self.members()
            self._inner(members, lambda: self.memory.sample(self.config.batch_size))
            self.updates += self.config.inner_steps * members.heads.members
            mean_weights(self.model, members, self.config.outer_step)

    def _inner(self, members: QModel, sample: Any) -> None:
        c = self.config
        optimizer = torch.optim.Adam(members.parameters(), c.inner_lr, betas=(0.0, 0.999), fused=True)
        train_locally(members, sample, optimizer, c.inner_steps, c.gamma, c.target_period)

    def _adapted(self, columns: Sequence[Mapping[str, NDArray[Any]]], seed: int) -> QModel:
        """A network for each of several tasks, after k steps on its transitions."""
        members = self._q_model(len(columns), len(columns))
        spread_weights(self.model, members)
        rng = np.random.default_rng([self.seed, 24, seed])

        def sample() -> TaskBatch:
            drawn = []
            for own in columns:
                rows = rng.integers(len(own["reward"]), size=self.config.batch_size)
                drawn.append({name: own[name][rows] for name in COLUMNS})
            return task_batch({name: np.stack([d[name] for d in drawn]) for name in COLUMNS})

        self._inner(members, sample)
        return members

    def greedy(self, obs: NDArray[np.float32], tasks: Sequence[int]) -> NDArray[np.int64]:
        """Argmax of each task's adapted network."""
        if self._for != (key := (self.updates, tuple(tasks))):
            self._for, self._members = key, self._of_tasks(tasks)
        return self._actions(self._members, obs)

    _for: Any = None
    _members: QModel

    @torch.no_grad()
    def _actions(self, members: QModel, obs: NDArray[np.float32]) -> NDArray[np.int64]:
        q = members(torch.from_numpy(obs), range(len(obs)))
        actions: NDArray[np.int64] = q.argmax(dim=2).numpy()
        return actions

    def _of_tasks(self, tasks: Sequence[int]) -> QModel:
        kept = self.memory.counts()
        own = [task for task in tasks if task in kept]
        members = self._q_model(len(tasks), len(tasks))
        spread_weights(self.model, members)
        if own:
            adapted = self._adapted([self.memory.columns(task) for task in own], self.updates)
            places = [i for i, task in enumerate(tasks) if task in kept]
            with torch.no_grad():
                for p, new in zip(members.parameters(), adapted.parameters(), strict=True):
                    p[places] = new
        return members

    def meet(self, references: Sequence[TaskDataset]) -> QModel:
        """Adapt to new tasks."""
        return self._adapted([self.spaces.columns(d) for d in references], _UNSEEN)

    def greedy_new(self, obs: NDArray[np.float32], met: Any) -> NDArray[np.int64]:
        """Argmax of the adapted networks."""
        return self._actions(met, obs)
