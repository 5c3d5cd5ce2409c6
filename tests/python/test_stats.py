"""Statistics over seeds and tasks: by hand, and against rliable with the same bootstrap draws."""

import json
from pathlib import Path

import numpy as np
import pytest

from metarl_core import stats

RECORD = json.loads((Path(__file__).parents[1] / "data" / "rliable.json").read_text())
AGGREGATES = ("mean", "median", "iqm", "optimality_gap")


def cases():
    return pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: case["name"])


def statistic_of(key):
    """Our counterpart of a figure in the record, and whether it compares with the other method."""
    if key.startswith("profile_"):
        return lambda x: stats.performance_profile(x, RECORD["thresholds"], key.removeprefix("profile_"))
    return getattr(stats, key)


def sets_of(case, key):
    names = ("scores", "other") if key == "probability_of_improvement" else ("scores",)
    return [np.array(case[name]) for name in names]


def rliable_draws(case, sets):
    """The draws that rliable took: one matrix for each resample and set from NumPy's legacy generator."""
    rng = np.random.RandomState(case["seed"])
    drawn = [[rng.choice(len(scores), scores.shape) for scores in sets] for _ in range(RECORD["resamples"])]
    return [list(np.array([row[i] for row in drawn]).transpose(2, 0, 1)) for i in range(len(sets))]


@cases()
@pytest.mark.parametrize("key", [*AGGREGATES, "probability_of_improvement", "profile_runs", "profile_tasks"])
def test_equal_to_rliable(case, key):
    sets, expected = sets_of(case, key), case["figures"][key]
    np.testing.assert_allclose(statistic_of(key)(*sets), expected["point"], rtol=0, atol=1e-12)
    low, high = stats.bootstrap_interval(statistic_of(key), *sets, indices=rliable_draws(case, sets))
    np.testing.assert_allclose(np.atleast_1d(low), expected["interval"][0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.atleast_1d(high), expected["interval"][1], rtol=0, atol=1e-12)


@cases()
def test_equal_to_rliable_live(case):
    """The same with the package itself, where it can be imported (it does not work with pandas 3)."""
    try:
        from rliable import library, metrics
    except Exception as error:  # what it raises depends on what does not fit
        pytest.skip(f"rliable cannot be imported: {error}")
    scores = np.array(case["scores"])
    np.random.seed(case["seed"])  # noqa: NPY002
    points, intervals = library.get_interval_estimates(
        {"x": scores}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=RECORD["resamples"]
    )
    low, high = stats.bootstrap_interval(stats.iqm, scores, indices=rliable_draws(case, [scores]))
    np.testing.assert_allclose([stats.iqm(scores), low, high], [points["x"][0], *intervals["x"][:, 0]], atol=1e-12)


def test_aggregates_by_hand():
    scores = np.array([[0.0, 4.0], [1.0, 5.0], [2.0, 6.0], [3.0, 7.0]])
    assert stats.iqm(scores) == pytest.approx((2 + 3 + 4 + 5) / 4)  # 0 and 1, 6 and 7 left out
    assert stats.mean(scores) == pytest.approx((1.5 + 5.5) / 2)
    assert stats.median(scores) == pytest.approx((1.5 + 5.5) / 2)
    assert stats.median([[1.0], [2.0], [9.0]]) == 2
    assert stats.optimality_gap(scores) == pytest.approx(1 - (0 + 1 + 1 + 1 + 4) / 8)
    assert stats.optimality_gap(scores, 10.0) == pytest.approx(10 - 3.5)
    assert stats.iqm([1.0, 2.0, 3.0, 100.0, 5.0]) == pytest.approx((2 + 3 + 5) / 3)  # one task, 5 // 4 left out


def test_probability_of_improvement_by_hand():
    # Task 0: 2 beats 1, 2 ties 2, 4 beats both: 3.5 of 4. Task 1: never.
    assert stats.probability_of_improvement([[2, 4], [0, 0]], [[1, 2], [5, 5]]) == pytest.approx((3.5 / 4 + 0) / 2)
    x = np.random.default_rng(0).normal(size=(6, 3))
    y = np.random.default_rng(1).normal(size=(9, 3))
    forth, back = stats.probability_of_improvement(x, y), stats.probability_of_improvement(y, x)
    assert forth + back == pytest.approx(1)
    assert stats.probability_of_improvement(x, x) == pytest.approx(0.5)


def test_profiles_by_hand():
    scores = np.array([[0.0, 1.0], [1.0, 1.0], [0.5, 0.0], [0.5, 0.0]])
    np.testing.assert_allclose(stats.performance_profile(scores, [-1, 0, 0.5, 1]), [1, 5 / 8, 3 / 8, 0])
    np.testing.assert_allclose(stats.performance_profile(scores, [0.49, 0.5], of="tasks"), [1, 0])


def test_tasks_with_different_numbers_of_runs():
    ragged = [[1.0, 3.0], [10.0, 20.0, 30.0, 40.0]]
    assert stats.mean(ragged) == pytest.approx((2 + 25) / 2)
    assert stats.iqm(ragged) == pytest.approx((3 + 10 + 20 + 30) / 4)
    np.testing.assert_allclose(stats.performance_profile(ragged, [2.0, 25.0]), [(0.5 + 1) / 2, (0 + 0.5) / 2])
    low, high = stats.bootstrap_interval(stats.mean, ragged, seed=3)
    assert 5.5 <= low < 13.5 < high <= 21.5


def test_bootstrap_resamples_within_tasks_alone():
    """Two tasks without spread: whatever is drawn, each keeps its value, so the interval is a point."""
    low, high = stats.bootstrap_interval(stats.mean, [[1.0] * 5, [9.0] * 3])
    assert (low, high) == (5.0, 5.0)
    draws = stats.resampling_indices([[1.0] * 5, [9.0] * 3], 4000, np.random.default_rng(0))
    assert [draw.shape for draw in draws] == [(4000, 5), (4000, 3)]
    for draw, runs in zip(draws, (5, 3), strict=True):
        np.testing.assert_allclose(np.bincount(draw.ravel()) / draw.size, 1 / runs, atol=0.02)


def test_bootstrap_interval_is_the_quantiles_of_every_resample():
    scores = np.random.default_rng(0).normal(size=(6, 2))
    draws = stats.resampling_indices(scores, 2500, np.random.default_rng(1))
    values = [stats.iqm(np.stack([scores[d[i], t] for t, d in enumerate(draws)], axis=1)) for i in range(2500)]
    low, high = stats.bootstrap_interval(stats.iqm, scores, indices=[draws], confidence=0.9)
    np.testing.assert_allclose([low, high], np.percentile(values, [5, 95]), atol=1e-12)
    assert stats.bootstrap_interval(stats.iqm, scores, seed=4) == stats.bootstrap_interval(stats.iqm, scores, seed=4)
    assert stats.bootstrap_interval(stats.iqm, scores, seed=4) != stats.bootstrap_interval(stats.iqm, scores, seed=5)


def test_the_interval_covers_the_mean_of_a_normal_sample():
    """95 % intervals of the mean of 30 runs hold the true mean in 93 of 100 samples or so."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = stats.bootstrap_interval(stats.mean, rng.normal(size=30), resamples=500, seed=1)
        hits += bool(low <= 0 <= high)
    assert 0.89 <= hits / 400 <= 0.97


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.iqm([]), r"scores holds 1 tasks"),
        (
            lambda: stats.iqm(np.zeros((0, 3))),
            "scores holds 3 tasks; expected at least one, each with",
        ),
        (lambda: stats.iqm(np.zeros((2, 3, 4))), r"scores has shape \(2, 3, 4\); expected"),
        (lambda: stats.mean([[1.0, np.nan], [1.0]]), "task 0 holds nan"),
        (lambda: stats.probability_of_improvement([[1], [2]], [[1]]), "other has 1 tasks; expected 2"),
        (lambda: stats.performance_profile([1.0], [0], of="seeds"), "of is 'seeds'"),
        (lambda: stats.bootstrap_interval(stats.iqm, [1.0], confidence=1), "confidence is 1"),
        (lambda: stats.bootstrap_interval(stats.iqm, [1.0], resamples=0), "resamples is 0"),
        (
            lambda: stats.bootstrap_interval(stats.iqm, [1.0, 2.0], indices=[[np.zeros((5, 3), int)]]),
            r"indices are for \[\[3\]\] runs; expected \[\[2\]\]",
        ),
    ],
)
def test_what_cannot_be_computed_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()
