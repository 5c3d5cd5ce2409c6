"""Replay beside NumPy, in groups: ``pytest bench`` (results are compared before they are timed)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import metarl_core

CAPACITY = 1 << 18
PRIORITIES = np.random.default_rng(0).lognormal(0.0, 1.0, CAPACITY).astype(np.float32)
BATCHES = [32, 256, 1024]


def full_tree() -> Any:
    tree = metarl_core.SumTree(CAPACITY, seed=0)
    tree.set(np.arange(CAPACITY), PRIORITIES)
    return tree


def expected_mean() -> float:
    """Mean priority of an item drawn in proportion to its priority."""
    p = PRIORITIES.astype(np.float64)
    return float((p * p).sum() / p.sum())


@pytest.mark.parametrize("batch", BATCHES)
def test_sample_ours(benchmark: Any, batch: int) -> None:
    benchmark.group = f"tree: sample {batch}"
    tree = full_tree()
    drawn = np.concatenate([tree.sample(batch)[0] for _ in range((1 << 17) // batch)])
    assert PRIORITIES[drawn].mean() == pytest.approx(expected_mean(), rel=0.03)
    indices, probabilities = benchmark(tree.sample, batch)
    np.testing.assert_allclose(probabilities, PRIORITIES[indices] / PRIORITIES.sum(dtype=np.float64), rtol=1e-4)


@pytest.mark.parametrize("batch", BATCHES)
def test_sample_numpy(benchmark: Any, batch: int) -> None:
    benchmark.group = f"tree: sample {batch}"
    rng, prefix = np.random.default_rng(0), np.cumsum(PRIORITIES, dtype=np.float64)

    def sample() -> tuple[Any, Any]:
        mass = (np.arange(batch) + rng.random(batch)) * (prefix[-1] / batch)
        indices = np.searchsorted(prefix, mass, side="right")
        return indices, PRIORITIES[indices] / prefix[-1]

    drawn = np.concatenate([sample()[0] for _ in range((1 << 17) // batch)])
    assert PRIORITIES[drawn].mean() == pytest.approx(expected_mean(), rel=0.03)
    benchmark(sample)


@pytest.mark.parametrize("batch", BATCHES)
def test_update_ours(benchmark: Any, batch: int) -> None:
    benchmark.group = f"tree: update {batch}"
    tree, rng = full_tree(), np.random.default_rng(1)
    indices, values = rng.permutation(CAPACITY)[:batch], rng.random(batch).astype(np.float32) + 0.5
    benchmark(tree.set, indices, values)
    np.testing.assert_allclose(tree.get(indices), values, rtol=1e-5)
    untouched = np.setdiff1d(np.arange(CAPACITY), indices)
    assert tree.total == pytest.approx(
        PRIORITIES[untouched].sum(dtype=np.float64) + values.sum(dtype=np.float64), rel=1e-6
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_update_numpy(benchmark: Any, batch: int) -> None:
    """A heap-ordered binary tree of sums, updated level by level."""
    benchmark.group = f"tree: update {batch}"
    tree, rng = np.zeros(2 * CAPACITY), np.random.default_rng(1)
    tree[CAPACITY:] = PRIORITIES
    for node in range(CAPACITY - 1, 0, -1):
        tree[node] = tree[2 * node] + tree[2 * node + 1]
    indices, values = rng.permutation(CAPACITY)[:batch], rng.random(batch) + 0.5

    def update() -> None:
        nodes = indices + CAPACITY
        tree[nodes] = values
        while nodes[0] > 1:
            nodes = nodes // 2
            tree[nodes] = tree[2 * nodes] + tree[2 * nodes + 1]

    benchmark(update)
    assert tree[1] == pytest.approx(tree[CAPACITY:].sum())


@pytest.mark.parametrize("library", ["ours", "numpy"])
@pytest.mark.parametrize("batch", [32, 1024, 1 << 17])
def test_importance_weights(benchmark: Any, batch: int, library: str) -> None:
    benchmark.group = f"importance weights {batch}"
    probabilities = PRIORITIES[:batch].astype(np.float64) / PRIORITIES.sum(dtype=np.float64)
    wanted = (CAPACITY * probabilities) ** -0.4
    wanted /= wanted.max()
    probabilities = probabilities.astype(np.float32)

    def by_numpy() -> Any:
        weights = (CAPACITY * probabilities) ** -0.4
        weights /= weights.max()
        return weights

    def by_ours() -> Any:
        return metarl_core.importance_weights(probabilities, CAPACITY, 0.4, "batch_max", dtype=np.float32)

    got = benchmark(by_ours if library == "ours" else by_numpy)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert got.dtype == np.float32
