"""NumPy: the importance weights written as a person would write them."""

from __future__ import annotations

from typing import Any

from .base import Array, Driver, Factory
from .data import BETA
from .replay_base import WeightsContestant


class NumpyWeights(WeightsContestant):
    """The formula."""

    def compute(self, probabilities: Array) -> Array:
        """``power``, then divide by the largest."""
        weights = (self.size * probabilities) ** -BETA
        weights /= weights.max()
        return weights


class NumPy(Driver):
    """NumPy, in the interpreter that runs the benchmark."""

    name = "numpy"
    packages = ("numpy",)

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Weights only."""
        if workload != "weights":
            return {}
        return {"numpy": lambda: NumpyWeights(params)}


DRIVER = NumPy()
