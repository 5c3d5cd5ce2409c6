"""From environment observations to network inputs, by what the observation space itself declares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.options import ConfigError

__all__ = ["ObservationEncoder", "is_discrete"]

UNBOUNDED = 1e6
"""Bounds at least this large count as none (CartPole declares velocities up to the largest float)."""


def is_discrete(space: Any) -> bool:
    """Whether a space is a ``Discrete`` (MultiBinary has an ``n`` too, but a shape with it)."""
    return hasattr(space, "n") and tuple(space.shape) == ()


class ObservationEncoder:
    """Flattens Box observations and maps bounded components to [-1, 1]; hands out Discrete ones as one-hot indices.

    The bounds are those of the space, nothing is estimated from data. Components declared in [0, 1] (one-hot and binary
    ones) and unbounded components pass unchanged.

    Args:
        space: a Gymnasium ``Box`` or ``Discrete`` observation space of one instance.
        normalize: whether to map bounded components.
        one_hot: a Box observation is one-hot or all zero; hand out its index (``size`` for all zero).

    Attributes:
        size: width of the (one-hot) feature vector.
        one_hot: what comes out are indices.
        shape: of one encoded observation, () or (size,).
        dtype: int32 for indices, else float32.
    """

    def __init__(self, space: Any, normalize: bool = True, one_hot: bool = False) -> None:
        self.discrete = is_discrete(space)
        self.one_hot = one_hot or self.discrete
        self.dtype: Any = np.int32 if self.one_hot else np.float32
        self._affine: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        if self.discrete:
            self.size = int(space.n)
            self._start = int(getattr(space, "start", 0))
        elif hasattr(space, "low"):
            low = np.asarray(space.low, dtype=np.float64).reshape(-1)
            high = np.asarray(space.high, dtype=np.float64).reshape(-1)
            self.size = low.size
            if normalize and not one_hot:
                self._affine = _unit_map(low, high)
        else:
            raise ConfigError(f"observation space {space}: only Box and Discrete are supported")
        self.shape: tuple[int, ...] = () if self.one_hot else (self.size,)

    def __call__(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Encode a batch of observations.

        Args:
            obs: [num_envs, ...] as the vector environment gives it.

        Returns:
            A new array [num_envs, *shape] of ``dtype``.

        Raises:
            ConfigError: ``one_hot_obs`` was asked for and an observation is neither one-hot nor all zero.
        """
        if self.discrete:
            return (obs - self._start).astype(np.int32)
        flat = obs.reshape(len(obs), -1)
        if self.one_hot:
            return self._indices(flat)
        encoded = flat.astype(np.float32)
        if self._affine is not None:
            encoded *= self._affine[0]
            encoded += self._affine[1]
        return encoded

    def _indices(self, flat: NDArray[Any]) -> NDArray[np.int32]:
        rows, columns = np.nonzero(flat)
        if len(rows) and (np.any(rows[1:] == rows[:-1]) or np.any(flat[rows, columns] != 1)):
            raise ConfigError("one_hot_obs=True: an observation is neither one-hot nor all zero")
        indices = np.full(len(flat), self.size, dtype=np.int32)
        indices[rows] = columns
        return indices


def _unit_map(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift that map [low, high] to [-1, 1] where bounded and not already [0, 1]."""
    bounded = (np.abs(low) < UNBOUNDED) & (np.abs(high) < UNBOUNDED) & (high > low)
    mapped = bounded & ~((low == 0) & (high == 1))
    span = np.where(mapped, np.where(mapped, high, 1.0) - np.where(mapped, low, -1.0), 2.0)
    shift = np.where(mapped, -(np.where(mapped, high, 0.0) + np.where(mapped, low, 0.0)) / span, 0.0)
    return (2.0 / span).astype(np.float32), shift.astype(np.float32)
