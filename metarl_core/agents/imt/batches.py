"""Transitions of several tasks as tensors with the task as first axis, and leave-one-task-out mixtures of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.common.images import Features, stored_observation

__all__ = ["COLUMNS", "TaskBatch", "leave_one_out_rows", "replay_fields", "row_bytes", "stack_tasks", "task_batch"]

COLUMNS = ("obs", "action", "reward", "next_obs", "terminated")
"""What a :class:`TaskBatch` is made of."""

_IMAGE_AXES = 5  # K, B, H, W, C


def replay_fields(features: Features) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Fields of a replay buffer of encoded transitions.

    Args:
        features: width of an observation, D, or what its images are.
    """
    return {
        "obs": stored_observation(features, one_hot=False),
        "action": ((), np.int64),
        "reward": ((), np.float32),
        "next_obs": stored_observation(features, one_hot=False),
        "terminated": ((), np.bool_),
        "task_id": ((), np.int32),
    }


def row_bytes(fields: Mapping[str, tuple[tuple[int, ...], Any]]) -> int:
    """Bytes of one transition's columns."""
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in fields.values())


@dataclasses.dataclass(frozen=True)
class TaskBatch:
    """Transitions of K tasks (or for K submodels), B each.

    Attributes:
        obs: float32 [K, B, D], or images, bool or uint8 [K, B, H, W, C].
        action: int64 [K, B].
        reward: float32 [K, B].
        next_obs: the same.
        terminated: float32 [K, B], 1 where nothing follows.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor

    def rows(self, index: Tensor) -> TaskBatch:
        """Rows by their number task * B + row; int64 [K', B'] -> a batch of that shape, whatever task each is from."""
        picked = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            flat = value.reshape(-1, *value.shape[2:])
            picked[field.name] = flat[index.reshape(-1)].reshape(*index.shape, *value.shape[2:])
        return TaskBatch(**picked)

    @property
    def shape(self) -> tuple[int, int]:
        """K, B."""
        return self.obs.shape[0], self.obs.shape[1]


def stack_tasks(columns: Sequence[Mapping[str, NDArray[Any]]], device: torch.device | str = "cpu") -> TaskBatch:
    """Put equal numbers of transitions of each task side by side.

    Args:
        columns: for each task ``obs`` [B, D], ``action`` [B], ``reward`` [B], ``next_obs`` [B, D], ``terminated`` [B].
        device: of the tensors.

    Raises:
        ValueError: the tasks have different numbers of rows.
    """
    sizes = [len(c["obs"]) for c in columns]
    if len(set(sizes)) != 1:
        raise ValueError(f"columns: the tasks have {sizes} rows; must be equal numbers")

    return task_batch({name: np.stack([c[name] for c in columns]) for name in COLUMNS}, device)


def task_batch(columns: Mapping[str, NDArray[Any]], device: torch.device | str = "cpu") -> TaskBatch:
    """Make tensors of columns [K, B, ...], by the names of :func:`stack_tasks`; images keep their dtype."""
    dtypes = {"action": torch.int64}
    for name in ("obs", "next_obs"):
        if columns[name].ndim == _IMAGE_AXES:
            dtypes[name] = torch.bool if columns[name].dtype == np.bool_ else torch.uint8
    return TaskBatch(**{n: torch.from_numpy(columns[n]).to(device, dtypes.get(n, torch.float32)) for n in COLUMNS})


def leave_one_out_rows(
    tasks: int, rows: int, batch_size: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw for submodel i transitions of the tasks j != i: a uniform mixture (the article's training set).

    Args:
        tasks: K >= 2.
        rows: transitions of each task to draw from.
        batch_size: B, drawn for each submodel, with replacement.
        rng: source of the draws.

    Returns:
        Tasks j, int64 [K, B], never i in row i; and row numbers j * rows + r for :meth:`TaskBatch.rows`, [K, B].

    Raises:
        ValueError: fewer than two tasks.
    """
    if tasks < 2:
        raise ValueError(f"tasks is {tasks}; must be >= 2, as each submodel learns from the others' tasks")
    other = rng.integers(tasks - 1, size=(tasks, batch_size))
    other += other >= np.arange(tasks)[:, None]
    return other, other * rows + rng.integers(rows, size=(tasks, batch_size))
