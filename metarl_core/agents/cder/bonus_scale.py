"""Scale of the intrinsic rewards: the running standard deviation of their discounted sum (switch normalize_bonus)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BonusScale"]


class BonusScale:
    """Running standard deviation of R_t = gamma R_{t-1} + beta(s_t) over the states that the behaviour visits.

    As in RND (Burda et al. 2019, section 2.4): the sum is carried on over the ends of episodes, and its variance is
    that of all values so far, over all instances. Mean and variance are merged batch by batch (Chan et al. 1979).

    Args:
        gamma: discount.
        num_envs: instances.
    """

    def __init__(self, gamma: float, num_envs: int) -> None:
        self.gamma = gamma
        self.sums = np.zeros(num_envs, dtype=np.float64)
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0  # sum of squared deviations from the mean

    def update(self, bonus: NDArray[Any]) -> None:
        """Add the bonuses of one step of every instance, [num_envs]."""
        self.sums = self.gamma * self.sums + bonus
        n = len(self.sums)
        mean = float(self.sums.mean())
        squares = float(((self.sums - mean) ** 2).sum())
        total, shift = self.count + n, mean - self.mean
        self.squares += squares + shift**2 * self.count * n / total
        self.mean += shift * n / total
        self.count = total

    @property
    def factor(self) -> float:
        """1 / std; 1 as long as nothing has varied yet."""
        std = (self.squares / self.count) ** 0.5 if self.count else 0.0
        return 1.0 / std if std > 1e-8 else 1.0

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"sums": self.sums.copy(), "count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.sums = np.asarray(state["sums"], dtype=np.float64).copy()
        self.count, self.mean, self.squares = int(state["count"]), float(state["mean"]), float(state["squares"])
