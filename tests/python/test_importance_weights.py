"""Importance weights against NumPy, alone and as the buffer returns them."""

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer, importance_weights

BETAS = [0.0, 0.25, 0.4, 1.0, 1.7]


def oracle(probabilities, size, beta, normalization, smallest=None):
    p = np.asarray(probabilities, np.longdouble)
    weights = (size * p) ** -np.longdouble(beta)
    if normalization == "max":
        weights /= (size * np.longdouble(p.min() if smallest is None else smallest)) ** -np.longdouble(beta)
    elif normalization == "batch_max":
        weights /= weights.max()
    elif normalization == "sum":
        weights /= weights.sum()
    return weights.astype(np.float64)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_against_numpy(beta, normalization, n):
    rng = np.random.default_rng(n)
    probabilities = 10.0 ** rng.uniform(-12, 0, n)
    result = importance_weights(probabilities, 5000, beta, normalization)
    expected = oracle(probabilities, 5000, beta, normalization)
    error = np.abs(result / expected - 1).max()
    print(f"largest relative error {error:.2e}")
    assert result.dtype == np.float64
    # Sums and quotients round a few times; the power itself is within 1.5 ulp.
    assert error < 2e-15
    assert np.isfinite(result).all()


def test_power_is_within_one_and_a_half_ulp():
    rng = np.random.default_rng(0)
    for beta in (0.4, 0.6, 0.999, 0.001):
        p = 2.0 ** -rng.uniform(0, 60, 20_000)
        result = importance_weights(p, 1, beta, "none")
        exact = p.astype(np.longdouble) ** -np.longdouble(beta)
        ulps = np.abs(result - exact) / np.spacing(exact.astype(np.float64))
        print(f"beta {beta}: {float(ulps.max()):.3f} ulp")
        assert ulps.max() < 1.5


def test_extreme_probabilities():
    tiny = np.array([5e-324, 1e-310, 2.2e-308, 1e-200, 0.5, 1.0])
    result = importance_weights(tiny, 1, 0.5, "none")
    np.testing.assert_allclose(result, oracle(tiny, 1, 0.5, "none"), rtol=1e-14)
    np.testing.assert_allclose(importance_weights(tiny, 1, 0.5), oracle(tiny, 1, 0.5, "max"), rtol=1e-14)


def test_extreme_quotients():
    for normalization in ("max", "batch_max"):
        for beta in (0.3, 0.999, 2.0, 30.0):
            for tiny in (5e-324, 1e-310, 1e-300):
                equal = importance_weights([tiny, tiny], 10, beta, normalization)
                np.testing.assert_array_equal(equal, 1.0)
            result = importance_weights([5e-324, 1e-323, 0.5, 1.0], 10, beta, normalization)
            exact = np.array([1.0, 0.5**beta, 0.5 ** (1073 * beta), 0.5 ** (1074 * beta)])
            np.testing.assert_allclose(result, exact, rtol=1e-12, atol=5e-324)
    np.testing.assert_array_equal(importance_weights([1e-300, 1e-300], 10, 2.0, "sum"), 0.5)
    with pytest.raises(ValueError, match="overflows"):
        importance_weights([5e-324], 10, 2.0, "none")


def test_smallest_probability_of_the_buffer():
    probabilities = np.array([0.5, 0.25])
    result = importance_weights(probabilities, 10, 0.4, "max", min_probability=0.01)
    np.testing.assert_allclose(result, oracle(probabilities, 10, 0.4, "max", 0.01), rtol=1e-15)
    assert importance_weights(0.25, 8, 1.0, "none").shape == ()
    assert importance_weights(0.25, 8, 1.0, "none") == 0.5


def test_equal_priorities_have_weight_one():
    np.testing.assert_array_equal(importance_weights(np.full(9, 1 / 9), 9, 0.4), 1.0)
    np.testing.assert_allclose(importance_weights(np.full(9, 1 / 9), 9, 0.4, "none"), 1.0, rtol=1e-15)
    np.testing.assert_array_equal(importance_weights([0.1, 0.9], 2, 0.0, "none"), 1.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0.5, 0.0], 2, 0.4), ValueError, r"probabilities\[1\] is 0.0; must be in \(0, 1\]"),
        (([0.5, np.nan], 2, 0.4), ValueError, r"probabilities\[1\] is nan"),
        (([1.5], 2, 0.4), ValueError, r"probabilities\[0\] is 1.5"),
        (([-0.5], 2, 0.4), ValueError, "must be in"),
        (([0.5], 0, 0.4), ValueError, "size is 0; must be >= 1"),
        (([0.5], 2, -0.1), ValueError, "beta is -0.1; must be finite and >= 0"),
        (([0.5], 2, np.nan), ValueError, "beta is nan"),
        (([0.5], 2, 0.4, "mean"), ValueError, "'max', 'batch_max', 'sum' or 'none'"),
        (([0.5], 2, 0.4, "max", 0.0), ValueError, "min_probability is 0.0"),
        ((["a"], 2, 0.4), TypeError, "real numbers"),
        (([[0.5]], 2, 0.4), ValueError, "one axis"),
        (([1e-310], 1, 1.0, "none"), ValueError, "overflows"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        importance_weights(*arguments)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_buffer_weights_match_its_probabilities(beta, normalization, alpha):
    rng = np.random.default_rng(2)
    buffer = PrioritizedReplayBuffer(
        300, {"x": ((), np.int64)}, alpha=alpha, weight_normalization=normalization, seed=1
    )
    buffer.add(x=np.arange(300))
    errors = rng.standard_normal(300) * 10.0 ** rng.uniform(-2, 2, 300)
    buffer.update_priorities(np.arange(300), errors)
    batch = buffer.sample(64, beta=beta)
    powers = np.abs(errors.astype(np.float32)).astype(np.float64) ** alpha
    distribution = powers / powers.sum()
    # The fixed point is exact to 2^-28 of the largest priority.
    tolerance = 2.0**-27 * powers.max() / powers.min()
    np.testing.assert_allclose(batch.probabilities, distribution[batch.indices], rtol=tolerance)
    expected = oracle(distribution[batch.indices], 300, beta, normalization, distribution.min())
    assert batch.weights.dtype == np.float32
    np.testing.assert_allclose(batch.weights, expected, rtol=1e-6 + 2 * tolerance)
    if normalization == "max":
        assert batch.weights.max() <= 1.0
    if normalization == "sum":
        assert abs(batch.weights.sum(dtype=np.float64) - 1.0) < 1e-6


@pytest.mark.parametrize("given", ["float32", "float64"])
@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
def test_single_precision(given, normalization):
    rng = np.random.default_rng(7)
    probabilities = np.exp2(rng.uniform(-140, 0, 4000)).astype(given)
    beta = 0.37
    got = importance_weights(probabilities, 9, beta, normalization, dtype=np.float32)
    assert got.dtype == np.float32
    exact = importance_weights(probabilities.astype(np.float64), 9, beta, normalization)
    ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(got - exact) / ulp).max() < (1.6 if normalization == "sum" else 0.55)
    scattered = np.repeat(probabilities, 2)[::2]
    np.testing.assert_array_equal(importance_weights(scattered, 9, beta, normalization, dtype="float32"), got)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_single_precision_at_the_ends(beta):
    for p in (np.float64(5e-324), np.float64(1e-320), np.float32(1e-45), np.float32(1.0)):
        weights = importance_weights(np.array([p, 1.0], p.dtype), 2, beta, dtype="float32")
        with np.errstate(under="ignore"):
            np.testing.assert_allclose(weights, [1.0, np.float64(p) ** beta], rtol=1e-6, atol=1e-45)
    assert importance_weights(np.float32(0.25), 4, 0.5, dtype=np.float32).shape == ()
    with pytest.raises(ValueError, match="overflows"):
        importance_weights([1e-90, 1.0], 1, 0.5 + beta, "none", dtype="float32")
    for bad in (0.0, -0.0, -1e-30, np.nan, np.inf, 1.5):
        with pytest.raises(ValueError, match=r"probabilities\[1\] is"):
            importance_weights(np.array([0.5, bad], np.float32), 2, beta, dtype="float32")
    with pytest.raises(ValueError, match=r"dtype is .*; must be float32 or float64"):
        importance_weights([0.5], 1, beta, dtype="int64")
