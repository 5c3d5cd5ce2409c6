"""Running statistics of observations and of intrinsic returns, in float64 so that a long run does not drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ReturnScale", "RunningMoments"]

Array = NDArray[np.float64]


class RunningMoments:
    """Mean and population variance of all rows seen, merged batch by batch (Chan, Golub & LeVeque 1979).

    Args:
        shape: of one row.
    """

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.count = 0
        self.mean: Array = np.zeros(shape)
        self.squares: Array = np.zeros(shape)

    def update(self, rows: NDArray[Any]) -> None:
        """Take float [n, *shape] into account."""
        values = np.asarray(rows, dtype=np.float64)
        count, mean = len(values), values.mean(axis=0)
        total = self.count + count
        offset = mean - self.mean
        self.squares = self.squares + ((values - mean) ** 2).sum(axis=0) + offset**2 * (self.count * count / total)
        self.mean = self.mean + offset * (count / total)
        self.count = total

    @property
    def std(self) -> Array:
        """Standard deviation, float64 [*shape]; 1 where nothing has varied yet."""
        variance = self.squares / max(self.count, 1)
        return np.sqrt(np.where(variance > 0, variance, 1.0))

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"count": self.count, "mean": np.array(self.mean), "squares": np.array(self.squares)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.count = int(state["count"])
        self.mean, self.squares = np.array(state["mean"]), np.array(state["squares"])


class ReturnScale:
    """Standard deviation of the discounted intrinsic returns, by which RND divides its rewards.

    R_t = gamma R_{t-1} + i_t runs forward in time for each instance and is not cut at an episode's end (Burda et al.
    2018, section 2.4, and the authors' code).

    Args:
        num_envs: instances.
        gamma: discount of the intrinsic rewards.
    """

    def __init__(self, num_envs: int, gamma: float) -> None:
        self.gamma = gamma
        self.returns: Array = np.zeros(num_envs)
        self.moments = RunningMoments()

    def update(self, bonus: NDArray[Any]) -> None:
        """Take the intrinsic rewards of one step of every instance into account, float [num_envs]."""
        self.returns = self.returns * self.gamma + bonus
        self.moments.update(self.returns)

    @property
    def std(self) -> float:
        """The divisor."""
        return float(self.moments.std)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {"returns": self.returns.copy(), "moments": self.moments.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.returns = np.array(state["returns"])
        self.moments.load_state_dict(state["moments"])
