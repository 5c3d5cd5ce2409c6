"""NumPy: the importance weights written as a person would write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Driver, Factory
from .data import BETA
from .replay_base import WeightsContestant


class NumpyWeights(WeightsContestant):
    """The formula in one precision."""

    def __init__(self, params: dict[str, Any], dtype: Any) -> None:
        super().__init__(params)
        self.dtype = dtype

    def inputs(self, probabilities: Array) -> Array:
        """The probabilities in that precision."""
        return probabilities.astype(self.dtype)

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
        return {
            "numpy f64": lambda: NumpyWeights(params, np.float64),
            "numpy f32": lambda: NumpyWeights(params, np.float32),
        }


DRIVER = NumPy()
