"""Importance-sampling weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from metarl_core import _core
from metarl_core._cuda_module import cuda_module, is_device_array

__all__ = ["importance_weights"]


def importance_weights(
    probabilities: Any,
    size: int,
    beta: Any,
    normalization: str = "max",
    min_probability: float | None = None,
    dtype: DTypeLike = np.float64,
    *,
    out: Any = None,
    stream: int | None = None,
) -> Any:
    """Compute importance weights w_i = (size * P_i)^-beta, normalised.

    Schaul et al., "Prioritized experience replay", ICLR 2016, section 3.4. Powers are computed to 1.5 ulp in
    float64 and to 0.55 ulp in float32 (for beta up to 4), with the same bits at every instruction-set level.

    Args:
        probabilities: Probabilities P_i with which the items were drawn, in (0, 1], shape (B,) or a scalar; or an array
            of them on a GPU, float32 or float64, with ``__dlpack__`` (on the first GPU also with
            ``__cuda_array_interface__``).
        size: Number N of items that could have been drawn, >= 1.
        beta: Exponent, >= 0: 0 gives equal weights, 1 corrects the bias fully.
        normalization: What the weights are divided by: ``"max"``, the largest weight that any item could have, that is
            the weight of ``min_probability``; ``"batch_max"``, the largest one here; ``"sum"``, their sum, so that
            they add up to 1; ``"none"``.
        min_probability: Smallest positive probability of all N items, for ``"max"``. By default ``probabilities`` is
            taken to hold it.
        dtype: Of the weights: float64, or float32, which takes about half the time. Then float32 probabilities are used
            as they are.
        out: On a GPU: an array there to be written and returned, so that nothing is allocated.
        stream: On a GPU: where the work is done; by default torch's current stream if torch uses CUDA.

    Returns:
        Array of ``dtype`` and of the same shape as ``probabilities``. On a GPU it is a ``DeviceArray`` there with the
        CPU's bits, and the call does not wait: ``beta`` may be an array of one float64 there, and instead of an error
        below about content all weights are NaN, or infinite where they overflow.

    Raises:
        ValueError: A probability is outside (0, 1] (so none is NaN), ``size`` < 1, ``beta`` is negative or not finite,
            ``normalization`` is unknown, ``dtype`` another one, there is more than one axis, or a weight overflows.
        TypeError: The probabilities are not real numbers.
    """
    if type(probabilities) is not np.ndarray and is_device_array(probabilities):
        module = cuda_module("cuda")
        arguments = probabilities, size, beta, normalization, min_probability, dtype
        return module.importance_weights(*arguments, out=out, stream=stream)
    if out is not None or stream is not None:
        raise ValueError("out and stream are for probabilities on a GPU; these are in host memory")
    return _core.importance_weights(probabilities, size, beta, normalization, min_probability, dtype)
