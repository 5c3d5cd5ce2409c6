"""Sampling modes: frequencies, probabilities and weights against float64 oracles."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_oracles import MODES, NORMALIZATIONS, chi_square_z, oracle_weights

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer, SumTree

FIELDS = {"x": ((), np.int64)}


def filled(n, capacity=None, priorities=None, seed=0, **options):
    buffer = PrioritizedReplayBuffer(capacity or n, FIELDS, eps=0.0, alpha=1.0, seed=seed, **options)
    buffer.add(x=np.arange(n))
    if priorities is None:
        priorities = np.random.default_rng(n).random(len(buffer)) + 0.01
    buffer.update_priorities(np.arange(len(buffer)), priorities)
    return buffer


def stored_priorities(buffer):
    """Priorities as the tree holds them."""
    return buffer.state_dict()["masses"].astype(np.float64)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_probabilities_and_weights(mode, normalization, beta):
    buffer = filled(500, 300, weight_normalization=normalization)
    batch = buffer.sample(128, beta, mode=mode)
    masses = stored_priorities(buffer)
    everything = np.full(300, 1 / 300) if mode == "uniform" else masses / masses.sum()
    expected = everything[batch.indices]
    np.testing.assert_allclose(batch.probabilities, expected, rtol=1e-15)
    np.testing.assert_allclose(
        batch.weights, oracle_weights(expected, everything.min(), 300, beta, normalization), rtol=3e-6
    )
    np.testing.assert_array_equal(batch["x"] % 300, batch.indices)


@pytest.mark.parametrize(
    "make", [lambda **kw: ReplayBuffer(200, FIELDS, **kw), lambda **kw: filled(1, 200, [0.0], **kw)]
)
@pytest.mark.parametrize("mode", MODES)
def test_buffers_without_priorities_are_uniform_in_every_mode(make, mode):
    buffer = make(seed=3)
    buffer.add(x=np.arange(449))
    if isinstance(buffer, PrioritizedReplayBuffer):
        buffer.update_priorities(np.arange(200), np.zeros(200))
    counts = np.zeros(200)
    for _ in range(2000):
        batch = buffer.sample(50, mode=mode)
        np.testing.assert_array_equal(batch.probabilities, 1 / 200)
        np.testing.assert_array_equal(batch.weights, 1.0)
        counts += np.bincount(batch.indices, minlength=200)
        if mode == "stratified":
            np.testing.assert_array_equal(batch.indices // 4, np.arange(50))
        if mode == "without_replacement":
            assert len(set(batch.indices)) == 50
    assert chi_square_z(counts, np.full(200, 500.0)) < 6


@pytest.mark.parametrize("mode", ["iid", "uniform"])
def test_independent_frequencies_after_wrap_overwrite_and_load(mode):
    buffer = filled(2500, 1000)
    buffer.add(x=np.arange(77))
    buffer.update_priorities(buffer.sample(256), np.random.default_rng(1).random(256) * 4)
    other = filled(1, 1000)
    other.load_state_dict(buffer.state_dict())
    masses = stored_priorities(other)
    p = np.full(1000, 1e-3) if mode == "uniform" else masses / masses.sum()
    indices = other.sample(2_000_000, mode=mode).indices
    assert abs(chi_square_z(np.bincount(indices, minlength=1000), 2e6 * p)) < 6
    np.testing.assert_array_equal(indices, buffer.sample(2_000_000, mode=mode).indices)


def successive_probability(sequence, p):
    """Probability of drawing exactly this sequence, each draw proportional to p among what is left."""
    result, left = 1.0, p.sum()
    for i in sequence:
        result *= p[i] / left
        left -= p[i]
    return result


@pytest.mark.parametrize("priorities", [[1, 2, 3, 4, 5], [1000, 1, 1, 2, 3], [1, 1, 1, 1, 1]])
def test_without_replacement_is_exact(priorities):
    p = np.array(priorities, np.float64)
    tree = SumTree(5, seed=8)
    tree.set(np.arange(5), p)
    counts = dict.fromkeys(itertools.permutations(range(5), 3), 0)
    draws = 60_000
    for _ in range(draws):
        counts[tuple(tree.sample(3, mode="without_replacement")[0].tolist())] += 1
    expected = np.array([draws * successive_probability(s, p) for s in counts])
    assert abs(expected.sum() - draws) < 1e-6
    observed = np.array(list(counts.values()), np.float64)
    common = expected >= 10  # the rare sequences are one class
    rest = expected[~common].sum()
    if rest > 0:
        expected = np.append(expected[common], rest)
        observed = np.append(observed[common], observed[~common].sum())
    assert chi_square_z(observed, expected) < 6


@pytest.mark.parametrize("n", [1, 2, 100, 1000])
def test_without_replacement_can_draw_all_even_when_priorities_are_extreme(n):
    priorities = 2.0 ** -(np.arange(n) % 60)
    tree = SumTree(n + 7, seed=1)
    tree.set(np.arange(n), priorities)
    before = tree.get(np.arange(n)), tree.total, tree.min, tree.max
    indices, probabilities = tree.sample(n, mode="without_replacement")
    assert sorted(indices) == list(range(n))
    np.testing.assert_array_equal(probabilities, tree.get(indices) / tree.total)
    np.testing.assert_array_equal(tree.get(np.arange(n)), before[0])
    assert (tree.total, tree.min, tree.max) == before[1:]


def test_too_large_a_batch_without_replacement_changes_nothing():
    priorities = np.ones(50)
    priorities[::2] = 0
    buffer, twin = filled(50, 64, priorities), filled(50, 64, priorities)
    for batch_size in (26, 50, 51, 1000):
        with pytest.raises(ValueError, match=f"batch_size is {batch_size}; without replacement at most 25 items"):
            buffer.sample(batch_size, mode="without_replacement")
    assert sorted(buffer.sample(25, mode="without_replacement").indices) == list(range(1, 50, 2))
    twin.sample(25, mode="without_replacement")
    np.testing.assert_array_equal(buffer.sample(9).indices, twin.sample(9).indices)
    uniform = ReplayBuffer(10, FIELDS)
    uniform.add(x=np.arange(4))
    with pytest.raises(ValueError, match="batch_size is 5; without replacement at most 4 items"):
        uniform.sample(5, mode="without_replacement")
    zero = filled(3, 5, np.zeros(3))
    assert sorted(zero.sample(3, mode="without_replacement").indices) == [0, 1, 2]
    with pytest.raises(ValueError, match="at most 3 items"):
        zero.sample(4, mode="without_replacement")


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_bits_across_a_state(mode):
    one, two, other = filled(100), filled(100), filled(100, seed=1)
    for buffer in (one, two):
        buffer.sample(10, mode=mode)
    resumed = filled(100, seed=0)
    resumed.load_state_dict(one.state_dict())
    a, b, c, d = (buffer.sample(40, mode=mode) for buffer in (one, two, resumed, other))
    for batch in (b, c):
        for name in a:
            np.testing.assert_array_equal(a[name], batch[name])
    assert (a.indices != d.indices).any()
    assert (one.sample(40, mode=mode).indices != a.indices).any()


def test_bad_modes():
    buffer = filled(5)
    for bad in ("Uniform", "", "independent"):
        with pytest.raises(ValueError, match="must be 'stratified', 'iid', 'uniform' or 'without_replacement'"):
            buffer.sample(2, mode=bad)
    with pytest.raises(TypeError, match="mode must be a str"):
        buffer.sample(2, mode=1)
    for mode in MODES:
        with pytest.raises(BufferEmptyError):
            SumTree(4).sample(1, mode=mode)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_distinct_draws_have_the_largest_possible_support(data):
    priorities = np.array(data.draw(st.lists(st.sampled_from([0.0, 1e-9, 1.0, 1e6]), min_size=1, max_size=600)))
    tree = SumTree(data.draw(st.integers(len(priorities), 700)), seed=data.draw(st.integers(0, 2**64 - 1)))
    tree.set(np.arange(len(priorities)), priorities)
    drawable = np.flatnonzero(priorities) if priorities.any() else np.arange(len(priorities))
    indices, _ = tree.sample(len(drawable), mode="without_replacement")
    np.testing.assert_array_equal(np.sort(indices), drawable)
    np.testing.assert_array_equal(tree.get(np.arange(len(priorities))) > 0, priorities > 0)
    with pytest.raises(ValueError, match=f"at most {len(drawable)} items"):
        tree.sample(len(drawable) + 1, mode="without_replacement")
