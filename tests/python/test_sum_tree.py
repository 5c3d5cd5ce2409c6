"""The sum tree: exact sums, reachable leaves, frequencies, and the fixed-point policies."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metarl_core
from metarl_core import SumTree

SIZES = [1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 255, 256, 257, 1000, 4095, 4096, 4097, 65537]


def filled(capacity, seed=0, low=1e-3):
    rng = np.random.default_rng(seed)
    tree = SumTree(capacity, seed=seed)
    tree.set(np.arange(capacity), rng.random(capacity) + low)
    return tree


@pytest.mark.parametrize("capacity", SIZES)
def test_sums_extremes_and_search_agree_with_numpy(capacity):
    rng = np.random.default_rng(capacity)
    tree = SumTree(capacity)
    assert (tree.total, tree.min, tree.max, len(tree)) == (0.0, 0.0, 0.0, 0)
    for _ in range(5):
        indices = rng.integers(0, capacity, size=2 * capacity)
        priorities = rng.random(2 * capacity) * (rng.random(2 * capacity) > 0.3)
        tree.set(indices, priorities)
        stored = tree.get(np.arange(capacity))
        assert tree.total == stored.sum()
        positive = stored[stored > 0]
        if positive.size:
            assert tree.min == positive.min()
            assert tree.max == positive.max()
            masses = np.concatenate([[0.0, np.nextafter(tree.total, 0)], rng.random(50) * tree.total])
            expected = np.searchsorted(np.cumsum(stored), masses, side="right")
            np.testing.assert_array_equal(tree.find(masses), expected)


@pytest.mark.parametrize("capacity", [1, 15, 16, 17, 255, 256, 257, 4095, 4096, 4097, 100_000])
def test_min_and_max_follow_whatever_changes(capacity):
    rng = np.random.default_rng(capacity)
    tree = SumTree(capacity)
    everything = np.arange(capacity)

    def check():
        stored = tree.get(everything)
        assert tree.max == stored.max()
        assert tree.min == (stored[stored > 0].min() if stored.any() else 0.0)

    check()
    tree.set(everything, 1.0)  # all equal
    check()
    for round_ in range(60):
        indices = rng.integers(0, capacity, rng.integers(1, 300))  # some of them twice
        values = [rng.random(len(indices)), rng.integers(0, 4, len(indices)) / 2.0, 10.0 ** rng.integers(-9, 9)][
            round_ % 3
        ]
        tree.set(indices, values)
        if round_ % 4:
            check()
        for _ in range(3):  # the smallest becomes larger, the largest smaller
            stored = tree.get(everything)
            if not stored.any():
                break
            tree.set(np.flatnonzero(stored == tree.min)[:1], tree.min * 1.5)
            tree.set(np.flatnonzero(tree.get(everything) == tree.max)[:1], tree.max / 2.0)
            check()
    tree.set(everything, 0.0)
    check()


def test_capacity_length_and_scalars():
    tree = SumTree(10)
    assert tree.capacity == 10
    tree.set(3, 0.5)
    tree.set([4, 5], 0.25)
    assert len(tree) == 3
    assert tree.total == 1.0
    assert tree.find(0.6) == 4
    assert isinstance(tree.find(0.6), int)
    np.testing.assert_array_equal(tree.get(3), [0.5])


def test_the_last_of_equal_indices_wins():
    tree = SumTree(8)
    tree.set([2, 5, 2, 2], [1.0, 2.0, 3.0, 0.5])
    np.testing.assert_array_equal(tree.get([2, 5]), [0.5, 2.0])
    assert tree.total == 2.5


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(1)
    indices, priorities = rng.integers(0, 300, 1000), rng.random(1000)
    together, single = SumTree(300, seed=4), SumTree(300, seed=4)
    priorities[0] = 1.0  # both trees choose the same scale
    together.set(indices, priorities)
    for i, p in zip(indices, priorities, strict=True):
        single.set(i, p)
    np.testing.assert_array_equal(together.get(np.arange(300)), single.get(np.arange(300)))
    np.testing.assert_array_equal(together.sample(64)[0], single.sample(64)[0])


def test_first_and_last_mass_reach_positive_leaves_only():
    tree = SumTree(1000)
    tree.set(np.arange(1000), 0.0)
    tree.set([17, 500], [1.0, 2.0])
    assert tree.find(0.0) == 17
    assert tree.find(np.nextafter(1.0, 0)) == 17
    assert tree.find(1.0) == 500
    assert tree.find(np.nextafter(3.0, 0)) == 500


@pytest.mark.parametrize("capacity", [1, 15, 16, 17, 257, 1023, 4097])
@pytest.mark.parametrize("stratified", [False, True])
def test_never_out_of_range_and_never_a_zero_priority(capacity, stratified):
    rng = np.random.default_rng(capacity)
    tree = SumTree(capacity, seed=2)
    used = max(1, capacity // 2 + 1)
    priorities = rng.random(used) * (rng.random(used) > 0.5)
    priorities[rng.integers(used)] = 1e-30
    tree.set(np.arange(used), priorities)
    indices, probabilities = tree.sample(200_000, stratified=stratified)
    assert indices.min() >= 0
    assert indices.max() < used
    assert (priorities[indices] > 0).all()
    np.testing.assert_array_equal(probabilities, tree.get(indices) / tree.total)


@pytest.mark.slow
def test_a_billion_draws_stay_in_range():
    tree = SumTree(100_003, seed=9)
    rng = np.random.default_rng(0)
    used = 70_001
    priorities = rng.random(used) ** 8 * (rng.random(used) > 0.5)
    tree.set(np.arange(used), priorities)
    for k in range(1000):
        indices, _ = tree.sample(1_000_000, stratified=k % 2 == 0)
        assert indices.min() >= 0
        assert indices.max() < used
        assert (priorities[indices] > 0).all()
    print("1,000,000,000 draws: none out of range, none of a leaf with priority zero")


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("capacity", [2, 100, 1000])
def test_independent_frequencies(capacity):
    tree = filled(capacity, seed=capacity)
    draws = 2_000_000
    indices, _ = tree.sample(draws, stratified=False)
    stored = tree.get(np.arange(capacity))
    statistic = chi_square(np.bincount(indices, minlength=capacity), draws * stored / stored.sum())
    df = capacity - 1
    print(f"chi-square {statistic:.1f}, {df} degrees of freedom")
    assert df - 6 * np.sqrt(2 * df) - 1 < statistic < df + 6 * np.sqrt(2 * df) + 6


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000, 4096])
def test_stratified_counts_are_within_two(batch_size):
    tree = filled(333, seed=5)
    stored = tree.get(np.arange(333))
    worst = 0.0
    for _ in range(20):
        indices, _ = tree.sample(batch_size)
        assert (np.diff(indices) >= 0).all()
        counts = np.bincount(indices, minlength=333)
        worst = max(worst, np.abs(counts - batch_size * stored / stored.sum()).max())
    print(f"batches of {batch_size}: no count further than {worst:.3f} from B P")
    assert worst < 2


def test_stratified_draws_are_unbiased():
    tree = filled(50, seed=6)
    stored = tree.get(np.arange(50))
    counts = np.zeros(50)
    for _ in range(20_000):
        counts += np.bincount(tree.sample(7)[0], minlength=50)
    np.testing.assert_allclose(counts / counts.sum(), stored / stored.sum(), atol=1.5e-3)


def test_no_drift_after_a_million_updates():
    tree = SumTree(5000)
    rng = np.random.default_rng(3)
    for _ in range(250):
        tree.set(rng.integers(0, 5000, 4096), rng.random(4096) ** 10 * 10.0 ** rng.integers(-3, 4))
    stored = tree.get(np.arange(5000))
    print(f"total {tree.total!r}, sum of the leaves {stored.sum()!r}")
    assert tree.total == stored.sum()
    assert tree.min == stored[stored > 0].min()
    assert tree.max == stored.max()


@pytest.mark.slow
def test_no_drift_after_a_hundred_million_updates():
    tree = SumTree(1 << 20)
    rng = np.random.default_rng(3)
    for _ in range(100):
        tree.set(rng.integers(0, 1 << 20, 1 << 20), rng.random(1 << 20) ** 10)
    stored = tree.get(np.arange(1 << 20))
    print(f"{100 << 20:,} updates: root {tree.total!r}, sum of the leaves {math.fsum(stored)!r}")
    assert tree.total == math.fsum(stored)
    assert tree.min == stored[stored > 0].min()


def test_fixed_point_error():
    priorities = np.random.default_rng(0).random(1000)
    tree = SumTree(1000)
    tree.set(np.arange(1000), priorities)
    error = np.abs(tree.get(np.arange(1000)) - priorities)
    print(f"largest error {error.max() / priorities.max():.2e} of the largest priority")
    assert error.max() <= 2.0**-28 * priorities.max()


def test_positive_priorities_never_vanish():
    tree = SumTree(4)
    tree.set([0, 1, 2], [1.0, 1e-300, 5e-324])
    assert (tree.get([0, 1, 2]) > 0).all()
    tree.set(3, 1e300)
    assert (tree.get([0, 1, 2, 3]) > 0).all()
    np.testing.assert_allclose(tree.get(3), 1e300, rtol=1e-8)
    tree.set(3, np.finfo(np.float64).max)
    assert np.isfinite(tree.get(3)).all()


def test_growing_priorities_rescale_without_saturating():
    tree = SumTree(64)
    values = 2.0 ** np.arange(64)
    for i, value in enumerate(values):
        tree.set(i, value)
    stored = tree.get(np.arange(64))
    assert (stored > 0).all()
    np.testing.assert_allclose(stored[40:], values[40:], rtol=1e-2)
    np.testing.assert_array_equal(stored[-8:], values[-8:])
    assert tree.total == stored.sum()


def test_the_scale_recovers_after_an_outlier():
    tree = SumTree(100)
    tree.set(0, 1e12)
    for _ in range(3):
        tree.set(np.arange(100), np.linspace(0.5, 1.0, 100))
    np.testing.assert_allclose(tree.get(np.arange(100)), np.linspace(0.5, 1.0, 100), rtol=1e-8)


def test_all_zero_is_uniform_over_the_leaves_that_were_set():
    tree = SumTree(1000, seed=1)
    valid = np.array([3, 64, 65, 500, 999])
    tree.set(valid, 0.0)
    indices, probabilities = tree.sample(50_000, stratified=False)
    assert set(indices) == set(valid)
    np.testing.assert_array_equal(probabilities, 0.2)
    assert chi_square(np.bincount(indices, minlength=1000)[valid], 10_000.0) < 30
    indices, _ = tree.sample(5)
    np.testing.assert_array_equal(indices, valid)


def test_same_seed_same_bits_and_other_seeds_differ():
    one, two, other = (filled(500, seed=0) for _ in range(3))
    other = SumTree(500, seed=1)
    other.set(np.arange(500), one.get(np.arange(500)))
    a, b, c = (tree.sample(256)[0] for tree in (one, two, other))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert (one.sample(256)[0] != a).any()


def test_large_seeds_are_distinct():
    trees = [SumTree(500, seed=seed) for seed in (1, 1 + 2**32, 2**64 - 1)]
    draws = []
    for tree in trees:
        tree.set(np.arange(500), 1.0)
        draws.append(tree.sample(100)[0])
    assert (draws[0] != draws[1]).any()
    assert (draws[1] != draws[2]).any()


def test_results_do_not_alias():
    tree = filled(50)
    indices, probabilities = tree.sample(32)
    kept = indices.copy(), probabilities.copy()
    tree.sample(32)
    stored = tree.get(np.arange(50))
    tree.set(np.arange(50), 7.0)
    np.testing.assert_array_equal(indices, kept[0])
    np.testing.assert_array_equal(probabilities, kept[1])
    assert (stored != 7.0).all()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_against_a_list(data):
    capacity = data.draw(st.integers(1, 300))
    tree = SumTree(capacity)
    model = np.zeros(capacity)
    # Multiples of 2^-10 up to 2^10 are exact at every scale that these values can lead to.
    value = st.integers(0, 2**20).map(lambda k: k / 1024)
    tree.set(0, 1024.0)
    model[0] = 1024.0
    for _ in range(data.draw(st.integers(1, 10))):
        batch = data.draw(st.lists(st.tuples(st.integers(0, capacity - 1), value), max_size=40))
        indices = np.array([i for i, _ in batch], np.int64)
        priorities = np.array([p for _, p in batch])
        tree.set(indices, priorities)
        for i, p in batch:
            model[i] = p
        if model.max() < 8.0:
            model[0] = 1024.0  # keep the scale in the range where all values are exact
            tree.set(0, 1024.0)
        np.testing.assert_array_equal(tree.get(np.arange(capacity)), model)
        assert tree.total == model.sum()
        assert tree.max == model.max()
        assert tree.min == model[model > 0].min()


BAD_SETS = [
    ([0, 1], [1.0, np.nan], ValueError, r"priorities\[1\] is nan; must be finite and >= 0"),
    ([0, 1], [np.inf, 1.0], ValueError, r"priorities\[0\] is inf; must be finite and >= 0"),
    ([0, 1], [1.0, -0.5], ValueError, r"priorities\[1\] is -0.5; must be finite and >= 0"),
    ([40], [1.0], IndexError, "index 40 at position 0 out of range for size 8"),
    ([0, -1], [1.0, 1.0], IndexError, "index -1 at position 1 out of range for size 8"),
    ([0, 1], [1.0], ValueError, r"indices has shape \(2,\), priorities has shape \(1,\)"),
    ([0.0], [1.0], TypeError, "indices must be integers"),
    ([True], [1.0], TypeError, "indices must be integers"),
    ([0], ["a"], TypeError, "priorities must be real numbers"),
    ([0], [1j], TypeError, "priorities must be real numbers"),
    ([0], [None], TypeError, "priorities must be real numbers"),
    ([[0]], [1.0], ValueError, "one axis"),
]


@pytest.mark.parametrize(("indices", "priorities", "error", "message"), BAD_SETS)
def test_bad_input_leaves_the_tree_unchanged(indices, priorities, error, message):
    tree = SumTree(8)
    tree.set(np.arange(6), np.arange(6.0))
    before = tree.get(np.arange(8))
    with pytest.raises(error, match=message):
        tree.set(indices, priorities)
    np.testing.assert_array_equal(tree.get(np.arange(8)), before)
    assert tree.total == 15.0
    assert len(tree) == 6


def test_bad_reads_and_samples():
    tree = SumTree(8)
    with pytest.raises(metarl_core.BufferEmptyError):
        tree.sample(1)
    with pytest.raises(ValueError, match=r"mass is 0\.0"):
        tree.find(0.0)
    tree.set(np.arange(8), 1.0)
    for mass in (8.0, -1e-9, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"must be in \[0, total\)"):
            tree.find(mass)
    with pytest.raises(ValueError, match=r"mass\[1\] is 9.0"):
        tree.find([1.0, 9.0])
    with pytest.raises(IndexError, match="index 8 at position 2"):
        tree.get([0, 1, 8])
    for batch_size in (0, -3):
        with pytest.raises(ValueError, match=f"batch_size is {batch_size}; must be >= 1"):
            tree.sample(batch_size)
    with pytest.raises(TypeError, match="batch_size must be an integer"):
        tree.sample(2.5)


def test_bad_construction():
    for capacity in (0, -1):
        with pytest.raises(ValueError, match=f"capacity is {capacity}; must be >= 1"):
            SumTree(capacity)
    for capacity in (2**31, 10**15):
        with pytest.raises(MemoryError):
            SumTree(capacity)
    with pytest.raises(MemoryError, match="5000000000000000 bytes"):
        SumTree(10**15)
    with pytest.raises(TypeError):
        SumTree(2.5)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="seed is"):
            SumTree(4, seed=seed)


def test_threads_hammering_one_tree():
    tree = filled(10_000)
    errors = []

    def work(k):
        rng = np.random.default_rng(k)
        try:
            for _ in range(100):
                tree.set(rng.integers(0, 10_000, 512), rng.random(512))
                indices, probabilities = tree.sample(512)
                assert indices.min() >= 0
                assert indices.max() < 10_000
                assert (probabilities > 0).all()
                assert tree.total > 0
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert tree.total == tree.get(np.arange(10_000)).sum()


def test_float32_priorities_equal_the_same_numbers_in_float64() -> None:
    values = np.random.default_rng(4).lognormal(0.0, 3.0, 3000).astype(np.float32)
    values[::7] = 0.0
    values[1::7] = -0.0
    indices = np.random.default_rng(5).integers(0, 5000, 3000)
    single, double = (SumTree(5000, seed=1) for _ in range(2))
    for start in range(0, 3000, 1000):
        part = slice(start, start + 1000)
        single.set(indices[part], values[part])
        double.set(indices[part], values[part].astype(np.float64))
    everything = np.arange(5000)
    np.testing.assert_array_equal(single.get(everything), double.get(everything))
    assert len(single) == len(double) == len(np.unique(indices))
    np.testing.assert_array_equal(single.sample(9000)[0], double.sample(9000)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [-1e-30, np.nan, np.inf, -np.inf])
def test_a_bad_priority_is_named_whatever_its_dtype(dtype: str, bad: float) -> None:
    tree = SumTree(10, seed=0)
    tree.set([3], [1.0])
    priorities = np.array([1.0, -0.0, bad], dtype)
    with pytest.raises(ValueError, match=r"priorities\[2\] is .*; must be finite and >= 0"):
        tree.set(np.arange(3), priorities)
    assert len(tree) == 1
    assert tree.total == 1.0


def test_methods_take_keywords_and_refuse_wrong_ones() -> None:
    tree = SumTree(10, seed=0)
    tree.set(priorities=np.float32(2.0), indices=np.arange(4))
    assert tree.sample(stratified=False, batch_size=3)[0].shape == (3,)
    for call in (lambda: tree.set([1]), lambda: tree.set([1], [2.0], [3]), lambda: tree.sample(2, batch=3)):
        with pytest.raises(TypeError):
            call()
