"""Checks of what replay libraries return: frequencies, importance weights, and the right row for every index."""

from __future__ import annotations

import numpy as np

from .base import Array, require
from .data import BETA, columns

GROUPS = 32


def check_frequencies(indices: Array, mass: Array, what: str) -> None:
    """Assert that items were drawn in proportion to their mass.

    Items are put in 32 groups of equal size from the lightest to the heaviest. A group's share of n independent draws
    has the standard deviation sqrt(q (1 - q) / n) (less when stratified); five of them are allowed, plus 0.2 % for
    float32 trees.
    """
    size = len(mass)
    require(indices.size > 0, f"{what}: nothing was drawn")
    require(bool((indices >= 0).all() and (indices < size).all()), f"{what}: an index lies outside [0, {size})")
    require(bool((mass[indices] > 0).all()), f"{what}: an item of mass zero was drawn")
    group = np.empty(size, np.int64)
    group[np.argsort(mass, kind="stable")] = np.arange(size) * GROUPS // size
    expected = np.bincount(group, weights=mass, minlength=GROUPS) / mass.sum()
    drawn = np.bincount(group[indices], minlength=GROUPS) / indices.size
    allowed = 5 * np.sqrt(expected * (1 - expected) / indices.size) + 0.002 * expected
    worst = int(np.argmax(np.abs(drawn - expected) / allowed))
    require(
        bool(abs(drawn[worst] - expected[worst]) <= allowed[worst]),
        f"{what}: group {worst} was drawn with frequency {drawn[worst]:.5f} instead of {expected[worst]:.5f}",
    )


def check_weights(weights: Array, indices: Array, mass: Array, what: str) -> None:
    """Assert that weights are proportional to ``probability ** -beta`` and at most 1 (float32 accuracy)."""
    weights = np.asarray(weights, np.float64).reshape(-1)
    require(weights.shape == indices.shape, f"{what}: {weights.shape} weights for {indices.shape} indices")
    ratio = weights * mass[indices] ** BETA
    spread = ratio.max() / ratio.min() - 1 if ratio.min() > 0 else np.inf
    require(bool(spread < 1e-3), f"{what}: weights are not proportional to probability ** -beta (off by {spread:.2e})")
    require(bool(weights.max() <= 1 + 1e-5), f"{what}: the largest weight is {weights.max()}, above 1")


def check_rows(workload: str, drawn: dict[str, Array], numbers: Array, what: str) -> None:
    """Assert that the sampled rows are the transitions with these numbers, column by column."""
    for start in range(0, len(numbers), 1024):
        part = slice(start, start + 1024)
        expected = columns(workload, numbers[part])
        for key, values in drawn.items():
            wanted = expected[key]
            got = np.asarray(values)[part].reshape(wanted.shape).astype(wanted.dtype)
            require(bool(np.array_equal(got, wanted)), f"{what}: column {key!r} does not belong to its index")
