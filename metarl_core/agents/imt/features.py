"""What a task embedding is made of: a transition as numbers, and random Fourier features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.tasks import TaskDataset

__all__ = ["fourier_weights", "transition_size", "transition_vectors"]

_Floats = npt.NDArray[np.float64]

BLOCK = 4096
"""Rows of which features are computed at once: 256 features take 8 MiB."""


def _width(space: Any) -> int:
    return int(space.n) if hasattr(space, "n") else math.prod(space.shape)


def transition_size(dataset: TaskDataset) -> int:
    """Length D of a transition's vector: twice the observation's, the action's, and 1."""
    return 2 * _width(dataset.observation_space) + _width(dataset.action_space) + 1


def _numbers(values: npt.NDArray[Any], space: Any) -> _Floats:
    """One row of float64 a transition; integers of a Discrete space one-hot."""
    if hasattr(space, "n"):
        rows: _Floats = np.eye(int(space.n))[values - int(getattr(space, "start", 0))]
        return rows
    return values.reshape(len(values), -1).astype(np.float64)


def transition_vectors(dataset: TaskDataset) -> _Floats:
    """Return x = [s, a, r, s' - s] of every transition, float64 ``(M, D)``; what is discrete is one-hot."""
    obs = _numbers(dataset.obs, dataset.observation_space)
    change = _numbers(dataset.next_obs, dataset.observation_space) - obs
    actions = _numbers(dataset.actions, dataset.action_space)
    return np.concatenate([obs, actions, dataset.rewards[:, None], change], axis=1)


def fourier_weights(num_features: int, size: int, bandwidth: float, seed: int) -> tuple[_Floats, _Floats]:
    """W and b of cos(W x + b): normal with standard deviation ``bandwidth``, and uniform in [0, 2 pi).

    From Philox's counters by Box and Muller's formula, so that a seed means the same numbers in every version of NumPy,
    which promises that of its bit generators only.

    Returns:
        float64 ``(num_features, size)`` and ``(num_features,)``.
    """
    count = num_features * size
    raw = np.random.Philox(key=seed).random_raw(2 * count + num_features)
    uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
    radius = np.sqrt(-2 * np.log1p(-uniform[:count]))
    normal = radius * np.cos(2 * np.pi * uniform[count : 2 * count])
    return bandwidth * normal.reshape(num_features, size), 2 * np.pi * uniform[2 * count :]
