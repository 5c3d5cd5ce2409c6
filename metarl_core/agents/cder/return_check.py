"""Stops a run whose atoms cannot hold the returns that it sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.options import ConfigError

__all__ = ["ReturnCheck"]


class ReturnCheck:
    """Sums the discounted return of every episode and compares it with the atoms' range.

    Args:
        z_min: smallest atom.
        z_max: largest atom.
        gamma: discount.
        num_envs: instances.
    """

    def __init__(self, z_min: float, z_max: float, gamma: float, num_envs: int) -> None:
        self.z_min, self.z_max, self.gamma = z_min, z_max, gamma
        self.returns = np.zeros(num_envs, dtype=np.float64)
        self.discounts = np.ones(num_envs, dtype=np.float64)
        self._slack = 1e-6 * (z_max - z_min)

    def update(self, reward: NDArray[Any], ended: NDArray[np.bool_]) -> None:
        """Add one step of every instance: rewards [num_envs], whether the episodes ended with it, bool [num_envs].

        Raises:
            ConfigError: the discounted return of an episode that ended is outside the atoms' range.
        """
        self.returns += self.discounts * reward
        self.discounts *= self.gamma
        if not ended.any():
            return
        done = self.returns[ended]
        if done.min() < self.z_min - self._slack or done.max() > self.z_max + self._slack:
            value = done.min() if done.min() < self.z_min - self._slack else done.max()
            change = f"z_min <= {value:.4g}" if value < self.z_min else f"z_max >= {value:.4g}"
            raise ConfigError(
                f"z_min={self.z_min:g}, z_max={self.z_max:g}: an episode had the discounted return {value:.6g}, which "
                f"no atom can represent; set {change} (or return_check=none to clip it)"
            )
        self.returns[ended] = 0.0
        self.discounts[ended] = 1.0

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"returns": self.returns.copy(), "discounts": self.discounts.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.returns = np.asarray(state["returns"], dtype=np.float64).copy()
        self.discounts = np.asarray(state["discounts"], dtype=np.float64).copy()
