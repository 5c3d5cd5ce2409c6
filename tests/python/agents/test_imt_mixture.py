"""Mixture weights against a search over all supports, affine weights against the conditions of optimality."""

import itertools

import numpy as np
import pytest

from metarl_core.agents.imt import mixture
from metarl_core.agents.imt.mixture import NEAREST, affine_weights, mixture_weights, project_to_simplex


def objective(v, new, known, ridge):
    return ((new - v @ known) ** 2).sum() + ridge * (known**2).sum() / len(known) * (v**2).sum()


def by_search(new, known, ridge):
    """The best of the minimisers on every face of the simplex that lie inside it."""
    count = len(known)
    gram = known @ known.T + ridge * (known**2).sum() / count * np.eye(count)
    best = None
    for size in range(1, count + 1):
        for face in map(list, itertools.combinations(range(count), size)):
            system = np.block([[gram[np.ix_(face, face)], np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]])
            solution = np.linalg.lstsq(system, np.append(known[face] @ new, 1.0), rcond=None)[0][:size]
            if (solution < -1e-12).any():
                continue
            v = np.zeros(count)
            v[face] = solution
            if best is None or objective(v, new, known, ridge) < objective(best, new, known, ridge):
                best = v
    return best


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_against_a_search_over_supports(seed, ridge):
    rng = np.random.default_rng(seed)
    known, new = rng.normal(size=(6, 4)), rng.normal(size=4)
    found = mixture_weights(new, known, ridge)
    np.testing.assert_allclose(found, by_search(new, known, ridge), atol=1e-7)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert (found >= 0).all()


def test_a_mixture_is_found_again():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(5, 12))
    shares = np.array([0.5, 0.0, 0.3, 0.2, 0.0])
    np.testing.assert_allclose(mixture_weights(shares @ known, known, ridge=0.0), shares, atol=1e-8)
    np.testing.assert_allclose(mixture_weights(known[3], known, ridge=0.0), np.eye(5)[3], atol=1e-8)


def test_equal_tasks_share_equally():
    known = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(mixture_weights([1.0, 0.0], known, ridge=1e-6)[:2], 0.5, atol=1e-5)
    np.testing.assert_allclose(mixture_weights([0.0, 0.0], np.zeros((3, 2))), 1 / 3)


def test_projection_by_hand():
    np.testing.assert_allclose(project_to_simplex([0.2, 0.3, 0.5]), [0.2, 0.3, 0.5], atol=1e-15)
    np.testing.assert_allclose(project_to_simplex([2.0, 0.0]), [1, 0])
    np.testing.assert_allclose(project_to_simplex([0.6, 0.6, -5.0]), [0.5, 0.5, 0])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("count", [2, 6, 12])
def test_affine_weights_are_the_best_that_sum_to_one(seed, ridge, count):
    rng = np.random.default_rng(seed)
    known, new = rng.normal(size=(count, 7)), rng.normal(size=7)
    known -= known.mean(axis=0)
    found = affine_weights(new, known, ridge)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    own = objective(found, new, known, ridge)
    for _ in range(50):
        step = rng.normal(size=count)
        assert objective(found + 1e-3 * (step - step.mean()), new, known, ridge) > own
    inside = mixture_weights(new, known, ridge)
    assert own <= objective(inside, new, known, ridge) + 1e-12


def test_tasks_beyond_the_known_ones_are_met():
    known = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    shares = np.array([1.5, -0.75, 0.25])
    np.testing.assert_allclose(affine_weights(shares @ known, known, ridge=0.0), shares, atol=1e-12)
    assert mixture_weights(shares @ known, known, ridge=0.0).min() >= 0
    # What both can reach they reach alike, and a large ridge makes both equal weights.
    np.testing.assert_allclose(
        affine_weights([0.2, 0.4], known, 0.0), mixture_weights([0.2, 0.4], known, 0.0), atol=1e-8
    )
    np.testing.assert_allclose(affine_weights([9.0, 9.0], known, 1e9), 1 / 3, atol=1e-6)


def test_affine_weights_where_the_known_do_not_determine_them():
    twins = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(affine_weights([2.0, 0.0], twins, ridge=0.0), [0.75, 0.75, -0.5], atol=1e-12)
    np.testing.assert_allclose(affine_weights([2.0, 5.0], twins, ridge=1e-9), [0.75, 0.75, -0.5], atol=1e-6)
    np.testing.assert_allclose(affine_weights([1.0, 0.0], np.zeros((3, 2))), 1 / 3)
    assert affine_weights([3.0], [[1.0]]).tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("weights", NEAREST.values())
def test_mistakes_are_named(weights):
    with pytest.raises(ValueError, match=r"embedding has shape \(3,\), task_embeddings \(2, 4\)"):
        weights(np.ones(3), np.ones((2, 4)))
    with pytest.raises(ValueError, match="ridge is -1; must be >= 0"):
        weights(np.ones(4), np.ones((2, 4)), ridge=-1)


@pytest.mark.parametrize("count", [3, 8, 20])
def test_rounding_does_not_keep_it_going(count, monkeypatch):
    """Near the minimum a step may point uphill by rounding alone; it is then done, not at a standstill."""
    calls = []
    project = mixture.project_to_simplex
    monkeypatch.setattr(mixture, "project_to_simplex", lambda values: calls.append(1) or project(values))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        known = rng.normal(size=(count, 64))
        known -= known.mean(axis=0)  # as embeddings are: one direction has no length but that of the ridge
        mixture_weights(rng.normal(size=64), known, 1e-3)
    assert len(calls) < 20 * 500
