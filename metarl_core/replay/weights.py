"""Importance-sampling weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_core import _core

__all__ = ["importance_weights"]


def importance_weights(
    probabilities: ArrayLike,
    size: int,
    beta: float,
    normalization: str = "max",
    min_probability: float | None = None,
) -> NDArray[np.float64]:
    """Compute importance weights w_i = (size * P_i)^-beta, normalised.

    Schaul et al., "Prioritized experience replay", ICLR 2016, section 3.4. Powers are computed to 1.5 ulp, with the
    same bits at every instruction-set level.

    Args:
        probabilities: Probabilities P_i with which the items were drawn, in (0, 1], shape (B,) or a scalar.
        size: Number N of items that could have been drawn, >= 1.
        beta: Exponent, >= 0: 0 gives equal weights, 1 corrects the bias fully.
        normalization: What the weights are divided by: ``"max"``, the largest weight that any item could have, that is
            the weight of ``min_probability``; ``"batch_max"``, the largest one here; ``"sum"``, their sum, so that
            they add up to 1; ``"none"``.
        min_probability: Smallest positive probability of all N items, for ``"max"``. By default ``probabilities`` is
            taken to hold it.

    Returns:
        float64 of the same shape as ``probabilities``.

    Raises:
        ValueError: A probability is outside (0, 1] (so none is NaN), ``size`` < 1, ``beta`` is negative or not finite,
            ``normalization`` is unknown, there is more than one axis, or a weight overflows.
        TypeError: The probabilities are not real numbers.
    """
    weights: NDArray[Any] = _core.importance_weights(probabilities, size, beta, normalization, min_probability)
    return weights
