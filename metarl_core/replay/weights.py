"""Importance-sampling weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from metarl_core import _core

__all__ = ["importance_weights"]


def importance_weights(
    probabilities: ArrayLike,
    size: int,
    beta: float,
    normalization: str = "max",
    min_probability: float | None = None,
    dtype: DTypeLike = np.float64,
) -> NDArray[Any]:
    """Compute importance weights w_i = (size * P_i)^-beta, normalised.

    Schaul et al., "Prioritized experience replay", ICLR 2016, section 3.4. Powers are computed to 1.5 ulp in
    float64 and to 0.55 ulp in float32 (for beta up to 4), with the same bits at every instruction-set level.

    Args:
        probabilities: Probabilities P_i with which the items were drawn, in (0, 1], shape (B,) or a scalar.
        size: Number N of items that could have been drawn, >= 1.
        beta: Exponent, >= 0: 0 gives equal weights, 1 corrects the bias fully.
        normalization: What the weights are divided by: ``"max"``, the largest weight that any item could have, that is
            the weight of ``min_probability``; ``"batch_max"``, the largest one here; ``"sum"``, their sum, so that
            they add up to 1; ``"none"``.
        min_probability: Smallest positive probability of all N items, for ``"max"``. By default ``probabilities`` is
            taken to hold it.
        dtype: Of the weights: float64, or float32, which takes about half the time. Then float32 probabilities are used
            as they are.

    Returns:
        Array of ``dtype`` and of the same shape as ``probabilities``.

    Raises:
        ValueError: A probability is outside (0, 1] (so none is NaN), ``size`` < 1, ``beta`` is negative or not finite,
            ``normalization`` is unknown, ``dtype`` another one, there is more than one axis, or a weight overflows.
        TypeError: The probabilities are not real numbers.
    """
    weights: NDArray[Any] = _core.importance_weights(probabilities, size, beta, normalization, min_probability, dtype)
    return weights
