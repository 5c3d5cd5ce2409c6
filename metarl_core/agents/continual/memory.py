"""Transitions that are kept of earlier tasks, the same number of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.imt.batches import COLUMNS, TaskBatch, task_batch

__all__ = ["TaskMemory", "replay_columns", "row_bytes", "transition_fields"]


def transition_fields(
    in_features: int, extra: Mapping[str, Any] | None = None
) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Fields of a replay buffer of encoded transitions, float32 observations of width D."""
    return {
        "obs": ((in_features,), np.float32),
        "action": ((), np.int64),
        "reward": ((), np.float32),
        "next_obs": ((in_features,), np.float32),
        "terminated": ((), np.bool_),
        "task_id": ((), np.int32),
        **(extra or {}),
    }


def row_bytes(fields: Mapping[str, tuple[tuple[int, ...], Any]]) -> int:
    """Bytes of one transition's columns."""
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in fields.values())


def replay_columns(replay: metarl_core.ReplayBuffer) -> dict[str, NDArray[Any]]:
    """Copies of all transitions that a buffer holds, by column."""
    columns: dict[str, NDArray[Any]] = replay.state_dict()["columns"]
    return columns


class TaskMemory:
    """Up to M transitions of each task, drawn uniformly from what was played of it.

    Args:
        per_task: M.
        num_tasks: Of the sequence.
        in_features: D.
        seed: Of the draws.
    """

    def __init__(self, per_task: int, num_tasks: int, in_features: int, seed: int) -> None:
        self.per_task = per_task
        self.fields = transition_fields(in_features)
        self.replay = metarl_core.ReplayBuffer(
            per_task * num_tasks, self.fields, task_field="task_id", seed=seed % 2**64
        )
        self._rng = np.random.default_rng([seed, 22])

    def keep(self, task: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Replace what is kept of a task by M of the given transitions, or by all if they are fewer."""
        count = len(columns["reward"])
        rows = self._rng.choice(count, min(count, self.per_task), replace=False)
        if task in self.replay.task_counts():
            self.replay.clear_task(task)
        kept = {name: columns[name][rows] for name in COLUMNS}
        self.replay.add(**kept, task_id=np.full(len(rows), task, np.int32))

    @property
    def tasks(self) -> int:
        """Number of tasks of which something is kept."""
        return len(self.replay.task_counts())

    def sample(self, batch_size: int, tasks: Mapping[int, float] | None = None) -> TaskBatch:
        """Draw ``batch_size`` transitions of every task that is kept, or of those named with equal weights, [T, B]."""
        count = self.tasks if tasks is None else len(tasks)
        weights: Any = "balanced" if tasks is None else dict(tasks)
        batch = self.replay.sample(count * batch_size, task_weights=weights)
        shape = (count, batch_size)
        return task_batch({name: batch[name].reshape(*shape, *batch[name].shape[1:]) for name in COLUMNS})

    def columns(self) -> dict[str, NDArray[Any]]:
        """Copies of all that is kept, ``task_id`` among them."""
        return replay_columns(self.replay)

    @property
    def nbytes(self) -> int:
        """Bytes of the transitions that are kept."""
        return len(self.replay) * row_bytes(self.fields)
