"""Step 3, the aggregation at test time and the stopping rule of IMT, against plain formulas."""

import numpy as np
import pytest
import torch

from metarl_core.agents.imt.aggregation import (
    AGGREGATIONS,
    aggregate_actions,
    routing_weights,
    standardized,
    weight_soup,
)
from metarl_core.agents.imt.averaging import (
    WEIGHTINGS,
    average_trunks,
    averaging_weights,
    cosine_similarity,
    derangement,
    effective_sample_size,
    embedding_accuracy,
    return_accuracy,
)
from metarl_core.agents.imt.networks import Submodels
from metarl_core.agents.imt.stopping import StoppingRule

K, D, A, E = 4, 3, 2, 5


@pytest.fixture
def models():
    generator = torch.Generator().manual_seed(0)
    found = Submodels(K, D, (7, 8), A, E, (9,), generator)
    with torch.no_grad():
        for p in found.trunks.parameters():
            p.add_(torch.randn(p.shape, generator=generator))
    return found


def test_similarity_by_hand():
    found = cosine_similarity([[1, 0], [1, 1], [0, 0], [-2, 0]], [[2, 0], [1, 0], [1, 0], [1, 0]])
    np.testing.assert_allclose(found, [1, 2**-0.5, 0, -1], rtol=1e-15)


def test_accuracy_by_hand():
    """Tasks 0, 2 and 4 on a line: for task 0 the others' mean is 3 away, for 2 it is exact, for 4 it is 3 away."""
    actual = [[0.0], [2.0], [4.0]]
    assert embedding_accuracy(actual, actual).tolist() == [1.0, 0.0, 1.0]
    np.testing.assert_allclose(embedding_accuracy([[1.0], [2.0], [-4.0]], actual), [1 - 1 / 9, 0, 0])
    # Always answering with the others' mean is worth nothing.
    np.testing.assert_allclose(embedding_accuracy([[3.0], [2.0], [1.0]], actual), 0, atol=1e-15)


def test_accuracy_needs_others():
    with pytest.raises(ValueError, match="actual has 1 task; must have at least 2"):
        embedding_accuracy([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"predicted has shape \(2, 1\), actual \(3, 1\)"):
        embedding_accuracy([[1.0], [2.0]], [[1.0], [2.0], [3.0]])


def test_return_accuracy_by_hand():
    np.testing.assert_allclose(return_accuracy([5, 20, -3, 1], [0, 0, 0, 2], [10, 10, 10, 2]), [0.5, 1, 0, 0])


def test_article_weights_by_hand():
    sim, acc = np.array([0.9, 0.1, -0.5]), np.array([0.5, 1.0, 0.0])
    raw = np.exp(sim / 0.5) * (acc + 0.01)
    found = averaging_weights(sim, acc, temperature=0.5, accuracy_eps=0.01)
    np.testing.assert_allclose(found, raw / raw.sum(), rtol=1e-14)
    raw = np.exp(sim / 0.5)
    found = averaging_weights(sim, acc, temperature=0.5, weighting="similarity")
    np.testing.assert_allclose(found, raw / raw.sum())
    np.testing.assert_allclose(averaging_weights(sim, acc, weighting="accuracy"), (acc + 0.01) / 1.53)
    np.testing.assert_allclose(averaging_weights(sim, acc, weighting="uniform"), 1 / 3)
    np.testing.assert_allclose(averaging_weights(sim, 0 * acc, accuracy_eps=0.0), 1 / 3)
    # A small temperature does not overflow.
    np.testing.assert_allclose(averaging_weights(sim, acc, temperature=1e-4), [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_sum_to_one(weighting):
    rng = np.random.default_rng(0)
    found = averaging_weights(rng.uniform(-1, 1, 6), rng.random(6), weighting=weighting, rng=rng)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


def test_shuffled_weights_reach_no_submodel_that_they_are_for():
    sim, acc = np.linspace(-1, 1, 5), np.linspace(0, 1, 5)
    right = averaging_weights(sim, acc)
    for seed in range(50):
        wrong = averaging_weights(sim, acc, weighting="shuffled", rng=np.random.default_rng(seed))
        np.testing.assert_allclose(np.sort(wrong), np.sort(right))
        assert (wrong != right).all()
        assert (derangement(5, np.random.default_rng(seed)) != np.arange(5)).all()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="weighting is 'best'; must be one of 'similarity_accuracy'"):
        averaging_weights([1.0], [1.0], weighting="best")
    with pytest.raises(ValueError, match="temperature is 0; must be > 0"):
        averaging_weights([1.0], [1.0], temperature=0)
    with pytest.raises(ValueError, match="rng is None; weighting='random' draws"):
        averaging_weights([1.0], [1.0], weighting="random")
    with pytest.raises(ValueError, match=r"embedding has shape \(2,\); must be \(3,\)"):
        routing_weights([1.0, 2.0], np.ones((4, 3)), np.ones(4))
    with pytest.raises(ValueError, match="how is 'soup'; must be one of 'weighted', 'uniform', 'vote', 'best'"):
        aggregate_actions(torch.zeros(2, 1, 3), [0.5, 0.5], "soup")


def test_effective_sample_size():
    assert effective_sample_size([0.25] * 4) == pytest.approx(4)
    assert effective_sample_size([1.0, 0, 0]) == pytest.approx(1)


@pytest.mark.parametrize("eta", [1.0, 0.3])
def test_the_common_trunk_moves_to_the_weighted_average(models, eta):
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    before = models.trunk_vector(models.common).double().numpy()[0]
    own = models.trunk_vector(models.trunks).double().numpy()
    change, relative = average_trunks(models, weights, eta)
    expected = (1 - eta) * before + eta * weights @ own
    np.testing.assert_allclose(models.trunk_vector(models.common)[0], expected, rtol=1e-5, atol=1e-6)
    assert change == pytest.approx(np.linalg.norm(expected - before), rel=1e-5)
    assert relative == pytest.approx(change / np.linalg.norm(before), rel=1e-6)
    np.testing.assert_array_equal(models.trunk_vector(models.trunks), own.astype(np.float32))


def test_averaging_equal_trunks_changes_nothing(models):
    """Sharing everything up to the last layer and averaging at once, as the article has it, is a no-op."""
    models.begin_from_common()
    assert average_trunks(models, [0.1, 0.2, 0.3, 0.4], 1.0) == (0.0, 0.0)


def test_routing_weights_by_hand():
    tasks = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    raw = np.exp(np.array([1.0, 0.0, -1.0]) / 0.5) * [0.5, 1.0, 0.2]
    np.testing.assert_allclose(routing_weights([3.0, 0.0], tasks, [0.5, 1.0, 0.2], 0.5), raw / raw.sum(), rtol=1e-14)
    np.testing.assert_allclose(routing_weights([3.0, 0.0], tasks, [0, 0, 0]), 1 / 3)


def test_standardised_values():
    q = torch.tensor([[[1.0, 3.0], [5.0, 5.0]], [[-100.0, 100.0], [2.0, 0.0]]])
    expected = [[[-1, 1], [0, 0]], [[-1, 1], [1, -1]]]
    np.testing.assert_allclose(standardized(q), expected, atol=1e-6)


def test_aggregated_actions_by_hand():
    """Submodel 0 has values a thousand times those of the others, which count for nothing once standardised."""
    q = torch.tensor([[[0.0, 1000.0, 0.0]], [[3.0, 2.0, 1.0]], [[3.0, 1.0, 2.0]]])
    weights = [0.4, 0.35, 0.25]
    z = np.stack([(row - row.mean()) / row.std() for row in q[:, 0].double().numpy()])
    assert aggregate_actions(q, weights, "weighted")[0] == (np.array(weights) @ z).argmax()
    assert aggregate_actions(q, weights, "uniform")[0] == z.mean(axis=0).argmax() == 0
    assert aggregate_actions(q, weights, "vote")[0] == 0  # 0.6 against 0.4
    assert aggregate_actions(q, [0.7, 0.2, 0.1], "vote")[0] == 1
    assert aggregate_actions(q, weights, "best")[0] == 1
    assert aggregate_actions(q.expand(3, 2, 3), [[0.7, 0.1], [0.2, 0.8], [0.1, 0.1]], "best").tolist() == [1, 0]
    assert aggregate_actions(q.expand(3, 2, 3), [[0.9, 0.1], [0.05, 0.8], [0.05, 0.1]]).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"weights has shape \(2,\); must be \(3,\) or \(3, 1\)"):
        aggregate_actions(q, [0.5, 0.5])
    assert set(AGGREGATIONS) == {"weighted", "uniform", "vote", "best", "soup"}


def test_a_soup_of_one_submodel_is_that_submodel(models):
    obs = torch.randn(1, 9, D)
    soup = weight_soup(models, [0.0, 0.0, 1.0, 0.0])
    own = models.q(models.rows_for_all(obs[0]))
    torch.testing.assert_close(soup(obs)[0], own[2])
    mixed = weight_soup(models, [0.25, 0.25, 0.25, 0.25])
    expected = models.trunk_vector(models.trunks).double().mean(dim=0).float()
    torch.testing.assert_close(models.trunk_vector(mixed[0])[0], expected)
    assert not any(p.requires_grad for p in mixed.parameters())


def test_stopping_when_the_trunk_has_settled():
    rule = StoppingRule(tolerance=1e-3, patience=None, min_rounds=2)
    assert rule.update(1e-5) is None  # a round is always made
    assert rule.update(0.5) is None
    assert "changed by 0.0005 of its norm, less than 0.001" in rule.update(5e-4)


def test_stopping_when_validation_stalls():
    rule = StoppingRule(tolerance=0.0, patience=2)
    assert [rule.update(0.1, value) for value in (1.0, 3.0, 2.0, 3.5, 3.5)] == [None] * 5
    assert "no better validation return than 3.5 (round 4) for 2 rounds" in rule.update(0.1, 3.0)
