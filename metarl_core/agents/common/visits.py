"""Which states an episode has visited, for all instances at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpisodicVisits"]

_HASH_SEED = 20211206
"""Fixed, so that a state has the same hash in every run."""


class EpisodicVisits:
    """For each instance the 64-bit hashes of the states of its present episode.

    Args:
        num_envs: instances.
        in_features: components of a dense observation or of an image.
        resolution: cells per unit of a dense observation's component; 0 compares the exact values. Images are compared
            exactly.

    Attributes:
        factors: odd number that each component is multiplied with in a hash, uint64 [in_features].
        hashes: of the states so far, uint64 [num_envs, room]; what lies behind an instance's count is of old episodes.
        counts: states in the present episode, int64 [num_envs]; 0 where one begins.
    """

    def __init__(self, num_envs: int, in_features: int, resolution: float) -> None:
        self.resolution = resolution
        rng = np.random.default_rng(_HASH_SEED)
        self.factors = rng.integers(2**64, size=in_features, dtype=np.uint64) | np.uint64(1)
        self.hashes = np.zeros((num_envs, 64), dtype=np.uint64)
        self.counts = np.zeros(num_envs, dtype=np.int64)
        self._envs = np.arange(num_envs)

    def step(self, obs: NDArray[Any], next_obs: NDArray[Any], ended: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Account for one step of every instance.

        Args:
            obs: encoded s, float32 [num_envs, D], indices int32 [num_envs] or images of bool or uint8;
                looked at where an episode begins.
            next_obs: encoded s', the last one of an episode that ends, like ``obs``.
            ended: the episode ends with this step, bool [num_envs].

        Returns:
            Whether s' is visited for the first time in its episode, bool [num_envs].
        """
        begins = self.counts == 0
        if begins.any():
            self.hashes[begins, 0] = self._hash(obs[begins])
            self.counts[begins] = 1
        hashes = self._hash(next_obs)
        known = np.arange(self.hashes.shape[1]) < self.counts[:, None]
        first: NDArray[np.bool_] = ~((self.hashes == hashes[:, None]) & known).any(axis=1)
        if self.counts.max() == self.hashes.shape[1]:
            self.hashes = np.concatenate((self.hashes, np.zeros_like(self.hashes)), axis=1)
        self.hashes[self._envs[first], self.counts[first]] = hashes[first]
        self.counts += first
        self.counts[ended] = 0
        return first

    def begin_anew(self) -> None:
        """Every instance begins an episode."""
        self.counts[:] = 0

    def _hash(self, obs: NDArray[Any]) -> NDArray[np.uint64]:
        if obs.ndim == 1:
            return obs.astype(np.uint64)
        if obs.dtype.kind in ("b", "u"):
            cells = obs.reshape(len(obs), -1).astype(np.uint64)
        elif self.resolution:
            cells = np.floor(obs.astype(np.float64) * self.resolution).astype(np.int64).view(np.uint64)
        else:
            # -0.0 equals 0.0, but not bit for bit.
            cells = (obs.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
        total: NDArray[np.uint64] = (cells * self.factors).sum(axis=1, dtype=np.uint64)  # modulo 2^64
        return total

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"hashes": self.hashes[:, : max(1, self.counts.max())].copy(), "counts": self.counts.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.hashes, self.counts = np.array(state["hashes"]), np.array(state["counts"])
