"""Importance weights on the CUDA backend's emulator, bit for bit against the CPU's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from emulated_cuda import CAPTURING, emulated, needs_emulator

import metarl_core

pytestmark = needs_emulator


@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
@pytest.mark.parametrize("given", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0, 2.5])
def test_importance_weights(normalization, given, dtype, beta):
    rng = np.random.default_rng(0)
    for n in (1, 50, 3000):
        probabilities = (rng.random(n) ** 3 / n).astype(given) + given(1e-9)
        for least in (None, 1e-10):
            expected = metarl_core.importance_weights(probabilities, n, beta, normalization, least, dtype)
            for power in (beta, np.array([beta])):
                found = emulated.importance_weights(probabilities, n, power, normalization, least, dtype)
                assert found.dtype == dtype
                np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_importance_weights_of_tiny_probabilities(dtype, normalization, beta):
    probabilities = np.array([5e-324, 1e-310, 1e-305, 1e-12, 1.0])
    expected = metarl_core.importance_weights(probabilities, 5, beta, normalization, None, dtype)
    found = emulated.importance_weights(probabilities, 5, beta, normalization, None, dtype)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_importance_weights_of_bad_arguments():
    good = np.full(4, 0.25)
    for bad in (0.0, -0.5, 1.5, math.nan, math.inf):
        probabilities = good.copy()
        probabilities[2] = bad
        assert np.isnan(emulated.importance_weights(probabilities, 4, 0.5).numpy()).all()
    assert np.isnan(emulated.importance_weights(good, 4, np.array([-1.0])).numpy()).all()
    out = np.zeros(4)
    assert emulated.importance_weights(good, 4, 0.5, out=out, stream=CAPTURING) is out
    np.testing.assert_array_equal(out, np.ones(4))
    assert len(emulated.importance_weights(good[:0], 4, 0.5)) == 0
    for call, error, message in (
        (lambda: emulated.importance_weights(good, 0, 0.5), ValueError, "size is 0"),
        (lambda: emulated.importance_weights(good, 4, -0.5), ValueError, "beta is -0.5"),
        (lambda: emulated.importance_weights(good, 4, 0.5, "all"), ValueError, "normalization is 'all'"),
        (lambda: emulated.importance_weights(good, 4, 0.5, "max", 2.0), ValueError, "min_probability is 2.0"),
        (lambda: emulated.importance_weights(good, 4, 0.5, dtype=int), ValueError, "dtype is"),
        (lambda: emulated.importance_weights(good.astype(int), 4, 0.5), TypeError, "probabilities is of int64"),
        (lambda: emulated.importance_weights(good, 4, 0.5, out=out[:3]), ValueError, "out has shape"),
        (lambda: emulated.importance_weights(good, 4, 0.5, stream=CAPTURING), RuntimeError, "pass out="),
    ):
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(ValueError, match="out and stream are for probabilities on a GPU"):
        metarl_core.importance_weights(good, 4, 0.5, out=out)
