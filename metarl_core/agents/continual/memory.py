"""Transitions that are kept of earlier tasks, the same number of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.imt.batches import COLUMNS, TaskBatch, replay_fields, row_bytes, task_batch

__all__ = ["TaskMemory", "replay_columns", "row_bytes", "transition_fields"]


def transition_fields(
    in_features: int, extra: Mapping[str, Any] | None = None
) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Fields of a replay buffer of encoded transitions, float32 observations of width D."""
    return {**replay_fields(in_features), **(extra or {})}


def replay_columns(replay: metarl_core.ReplayBuffer) -> dict[str, NDArray[Any]]:
    """Copies of all transitions that a buffer holds, by column."""
    columns: dict[str, NDArray[Any]] = replay.state_dict()["columns"]
    return columns


class TaskMemory:
    """Up to M transitions of each task, drawn uniformly from what was played of it.

    Args:
        per_task: M.
        in_features: D.
        seed: Of the draws.
    """

    def __init__(self, per_task: int, in_features: int, seed: int) -> None:
        self.per_task = per_task
        self.fields = transition_fields(in_features)
        self._kept: dict[int, dict[str, NDArray[Any]]] = {}
        self._rng = np.random.default_rng([seed, 22])

    def keep(self, task: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Replace what is kept of a task by M of the given transitions, or by all if they are fewer."""
        count = len(columns["reward"])
        rows = self._rng.choice(count, min(count, self.per_task), replace=False)
        # Columns of their own for each task: in one ring a task that comes again would push out another one's.
        self._kept[task] = {name: columns[name][rows] for name in COLUMNS}

    def counts(self) -> dict[int, int]:
        """Number of transitions kept of each task, in the order of the tasks' numbers."""
        return {task: len(self._kept[task]["reward"]) for task in sorted(self._kept)}

    @property
    def tasks(self) -> int:
        """Number of tasks of which something is kept."""
        return len(self._kept)

    def sample(self, batch_size: int, tasks: Sequence[int] | None = None) -> TaskBatch:
        """Draw ``batch_size`` transitions, with replacement, of every task that is kept or of those named, [T, B].

        Rows are in the order of ``tasks``, or of the numbers of all that are kept.
        """
        drawn: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
        for task in sorted(self._kept) if tasks is None else tasks:
            kept = self._kept[task]
            rows = self._rng.integers(len(kept["reward"]), size=batch_size)
            for name in COLUMNS:
                drawn[name].append(kept[name][rows])
        return task_batch({name: np.stack(parts) for name, parts in drawn.items()})

    def columns(self, task: int) -> dict[str, NDArray[Any]]:
        """What is kept of a task, [M, ...].

        Raises:
            KeyError: nothing is.
        """
        return self._kept[task]

    @property
    def nbytes(self) -> int:
        """Bytes of the transitions that are kept."""
        return sum(self.counts().values()) * row_bytes(self.fields)
