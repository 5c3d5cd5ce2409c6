"""Forgetting, transfer and adaptation: by hand, by loops over the papers' sums, and what must hold of any matrix."""

import math

import numpy as np
import pytest

from metarl_core import stats

# Three tasks, one after another; p[t, i] is the performance on task i after task t.
P = np.array(
    [
        [0.9, 0.2, 0.1],
        [0.5, 0.8, 0.3],
        [0.6, 0.4, 1.0],
    ]
)
PER_TASK = (stats.forgetting, stats.forgetting_from_best)
AVERAGES = (
    stats.average_performance,
    stats.average_forgetting,
    stats.average_forgetting_from_best,
    stats.backward_transfer,
)


def test_measures_by_hand():
    assert stats.average_performance(P) == pytest.approx((0.6 + 0.4 + 1.0) / 3)
    np.testing.assert_allclose(stats.forgetting(P), [0.9 - 0.6, 0.8 - 0.4, 1.0 - 1.0])
    assert stats.average_forgetting(P) == pytest.approx((0.3 + 0.4 + 0.0) / 3)
    assert stats.backward_transfer(P) == pytest.approx(((0.6 - 0.9) + (0.4 - 0.8)) / 2)
    # The best before the last time: max(0.9, 0.5) and max(0.2, 0.8); the last task has not been forgotten yet.
    np.testing.assert_allclose(stats.forgetting_from_best(P), [0.9 - 0.6, 0.8 - 0.4, np.nan])
    assert stats.average_forgetting_from_best(P) == pytest.approx((0.3 + 0.4) / 2)


def test_the_best_may_come_after_the_end_or_before_the_training():
    p = P.copy()
    p[1, 0] = 0.95  # the second task improved the first
    p[0, 1] = 0.85  # the second task was better before it was trained
    np.testing.assert_allclose(stats.forgetting(p), [0.9 - 0.6, 0.8 - 0.4, 0.0])
    np.testing.assert_allclose(stats.forgetting_from_best(p), [0.95 - 0.6, 0.85 - 0.4, np.nan])


def test_a_cycle_by_hand():
    # a, b, a, b: the end of a is time 0 in the first cycle, 2 in the last.
    p = np.array([[0.8, 0.1], [0.3, 0.7], [0.9, 0.5], [0.6, 0.8]])
    np.testing.assert_allclose(stats.forgetting(p, [0, 1]), [0.8 - 0.6, 0.7 - 0.8])
    np.testing.assert_allclose(stats.forgetting(p, [2, 3]), [0.9 - 0.6, 0.0])
    assert stats.average_forgetting(p, [0, 1]) == pytest.approx((0.2 - 0.1) / 2)
    assert stats.backward_transfer(p, [0, 1]) == pytest.approx((-0.2 + 0.1) / 2)
    assert stats.backward_transfer(p, [2, 3]) == pytest.approx(-0.3)  # b ended last: left out
    np.testing.assert_allclose(stats.forgetting_from_best(p, [2, 3]), [0.9 - 0.6, np.nan])
    np.testing.assert_allclose(stats.forgetting_from_best(p, [0, 1]), [0.9 - 0.6, 0.7 - 0.8])


def literal(p):
    """The sums of the papers, term by term, with their numbering from 1."""
    n = len(p)
    a = {(t, i): p[t - 1, i - 1] for t in range(1, n + 1) for i in range(1, n + 1)}
    return {
        "average_performance": sum(a[n, i] for i in range(1, n + 1)) / n,
        "average_forgetting": sum(a[i, i] - a[n, i] for i in range(1, n + 1)) / n,
        "backward_transfer": sum(a[n, i] - a[i, i] for i in range(1, n)) / (n - 1),
        "average_forgetting_from_best": sum(max(a[t, j] for t in range(1, n)) - a[n, j] for j in range(1, n)) / (n - 1),
    }


def test_equal_to_the_papers_sums_with_seeds_in_front():
    p = np.random.default_rng(0).random((4, 5, 6, 6))
    for measure in AVERAGES:
        found = measure(p)
        assert found.shape == (4, 5)
        for seed in np.ndindex(4, 5):
            assert found[seed] == pytest.approx(literal(p[seed])[measure.__name__], abs=1e-12)
    for measure in PER_TASK:
        assert measure(p).shape == (4, 5, 6)


def test_what_never_changes_is_never_forgotten():
    p = np.broadcast_to(np.random.default_rng(1).random((3, 1, 5)), (3, 5, 5))
    np.testing.assert_array_equal(stats.forgetting(p), 0)
    np.testing.assert_array_equal(stats.average_forgetting(p), 0)
    np.testing.assert_array_equal(stats.backward_transfer(p), 0)
    np.testing.assert_array_equal(stats.average_forgetting_from_best(p), 0)


def test_seeds_and_tasks_may_be_permuted():
    rng = np.random.default_rng(2)
    p = rng.random((7, 5, 5))
    seeds, tasks = rng.permutation(7), rng.permutation(5)
    for measure in (*AVERAGES, *PER_TASK):
        np.testing.assert_array_equal(measure(p[seeds]), measure(p)[seeds])
        renamed = measure(p[..., tasks], tasks) if measure is not stats.average_performance else measure(p[..., tasks])
        expected = measure(p)[..., tasks] if measure in PER_TASK else measure(p)
        np.testing.assert_allclose(renamed, expected, atol=1e-15)


def test_the_measures_bound_each_other():
    p = np.random.default_rng(3).random((20, 6, 6))
    lost, from_best = stats.forgetting(p)[:, :-1], stats.forgetting_from_best(p)[:, :-1]
    assert (from_best >= lost).all()
    np.testing.assert_allclose(stats.backward_transfer(p), -lost.mean(axis=1), atol=1e-15)
    np.testing.assert_allclose(stats.average_forgetting(p), -5 / 6 * stats.backward_transfer(p), atol=1e-15)


def test_what_is_not_read_need_not_be_measured():
    p = np.where(np.tri(3), P, np.nan)  # tasks are measured from their own phase on
    for measure in (*AVERAGES[:2], AVERAGES[3], stats.forgetting):
        np.testing.assert_array_equal(measure(p), measure(P))
    np.testing.assert_allclose(stats.forgetting_from_best(p), [0.3, 0.4, np.nan])


def test_forward_transfer_by_hand():
    # (0.8 - 0.5) / 0.5, (0.3 - 0.5) / 0.5, and nothing to gain where the baseline is perfect.
    found = stats.forward_transfer([0.8, 0.3, 1.0, 0.7], [0.5, 0.5, 1.0, 1.0 - 1e-12])
    np.testing.assert_allclose(found, [0.6, -0.4, np.nan, np.nan])
    seeds = np.array([[0.8, 0.6], [0.2, 0.7]])
    np.testing.assert_allclose(
        stats.forward_transfer(seeds, [0.5, 0.0]), [[(0.8 - 0.5) / 0.5, 0.6], [(0.2 - 0.5) / 0.5, 0.7]]
    )
    same = np.random.default_rng(0).random((3, 4))
    np.testing.assert_array_equal(stats.forward_transfer(same, same), 0)
    np.testing.assert_array_equal(stats.forward_transfer(np.ones((3, 4)), same), 1)


def test_area_by_hand():
    assert stats.area_under_curve([0.0, 1.0, 1.0]) == pytest.approx((0.5 + 1.0) / 2)
    # Between 0 and 1 the mean height is 1/2, between 1 and 4 it is 3/4: (1 * 0.5 + 3 * 0.75) / 4.
    assert stats.area_under_curve([0.0, 1.0, 0.5], [0, 1, 4]) == pytest.approx((0.5 + 2.25) / 4)
    assert stats.area_under_curve([0.4]) == 0.4
    x = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(stats.area_under_curve([x**2, 1 - x], x), [1 / 3, 1 / 2], atol=1e-6)
    np.testing.assert_allclose(stats.area_under_curve(np.ones((2, 3, 9)), np.arange(9) ** 2), np.ones((2, 3)))


def test_transfer_report_by_hand():
    curve, scratch = [0.3, 0.6, 0.8, 0.9], [0.1, 0.2, 0.5, 0.9]
    report = stats.transfer_report(curve, scratch, [0, 10, 20, 40], threshold=0.5)
    assert report.jump_start == pytest.approx(0.2)
    assert report.asymptotic_gain == pytest.approx(0.0)
    area = (10 * 0.45 + 10 * 0.7 + 20 * 0.85) / 40
    area_alone = (10 * 0.15 + 10 * 0.35 + 20 * 0.7) / 40
    assert report.auc_gain == pytest.approx(area - area_alone)
    assert report.transfer_ratio == pytest.approx((area - area_alone) / area_alone)
    assert (report.time_to_threshold, report.scratch_time_to_threshold) == (10, 20)
    assert stats.transfer_report(curve, scratch, threshold=0.5, last=2).asymptotic_gain == pytest.approx(0.85 - 0.7)


def test_transfer_report_of_seeds():
    rng = np.random.default_rng(4)
    curves, scratch = rng.random((5, 8)), rng.random((5, 8))
    report = stats.transfer_report(curves, scratch, threshold=0.9)
    for seed in range(5):
        one = stats.transfer_report(curves[seed], scratch[seed], threshold=0.9)
        for name in report._fields:
            assert getattr(report, name)[seed] == pytest.approx(float(getattr(one, name)), abs=1e-12)
    none = stats.transfer_report(curves, curves, threshold=2.0)
    for name in ("jump_start", "asymptotic_gain", "auc_gain", "transfer_ratio"):
        np.testing.assert_array_equal(getattr(none, name), 0)
    assert np.isinf(none.time_to_threshold).all()
    against_mean = stats.transfer_report(curves, scratch.mean(axis=0), threshold=0.9)
    np.testing.assert_allclose(against_mean.jump_start, curves[:, 0] - scratch[:, 0].mean())
    assert math.isnan(stats.transfer_report([0.5, 0.5], [-1.0, 0.0], threshold=1.0).transfer_ratio)
    assert math.isnan(stats.transfer_report([0.5, 0.5], [0.0, 0.0], threshold=1.0).transfer_ratio)


def test_time_to_threshold_counts_touching_it():
    np.testing.assert_array_equal(stats.time_to_threshold([[0.0, 0.5, 0.4], [0.6, 0.0, 0.0]], 0.5), [1, 0])
    assert stats.time_to_threshold([0.0, 0.49], 0.5, [5, 7]) == np.inf


def test_adaptation_curve_is_the_statistic_and_the_interval_of_every_point():
    scores = np.random.default_rng(5).random((6, 3, 4))
    curve = stats.adaptation_curve(scores, resamples=500, seed=2)
    np.testing.assert_allclose(curve.value, scores.mean(axis=(0, 1)))
    draws = [stats.resampling_indices(scores[..., 0], 500, np.random.default_rng(2))]
    for k in range(4):
        expected = stats.bootstrap_interval(stats.mean, scores[..., k], indices=draws)
        np.testing.assert_array_equal([curve.low[k], curve.high[k]], expected)
    worst = stats.adaptation_curve(scores, stats.worst_task, resamples=500)
    np.testing.assert_allclose(worst.value, scores.mean(axis=0).min(axis=0))
    assert (worst.low <= worst.value).all()
    assert (worst.high <= curve.high).all()
    iqm = stats.adaptation_curve(scores, stats.iqm, resamples=500)
    np.testing.assert_allclose(iqm.value, [stats.iqm(scores[..., k]) for k in range(4)])


def test_points_of_a_run_are_resampled_together():
    """A run that is 0.1 better after each episode: the whole interval moves by that, whatever is drawn."""
    first = np.random.default_rng(6).random((8, 2))
    curve = stats.adaptation_curve(np.stack([first, first + 0.1, first + 0.2], axis=-1), resamples=300)
    for ends in (curve.value, curve.low, curve.high):
        np.testing.assert_allclose(np.diff(ends), 0.1, atol=1e-12)


def test_tasks_may_have_different_numbers_of_runs():
    ragged = [np.array([[0.0, 1.0], [0.5, 1.0]]), np.array([[1.0, 1.0], [0.0, 1.0], [0.5, 1.0]])]
    curve = stats.adaptation_curve(ragged, resamples=200)
    np.testing.assert_allclose(curve.value, [(0.25 + 0.5) / 2, 1.0])
    assert curve.low[1] == curve.high[1] == 1.0
    assert stats.worst_task([task[:, 0] for task in ragged]) == pytest.approx(0.25)


def test_forgetting_has_an_interval():
    p = np.broadcast_to(P, (5, 3, 3)) + np.random.default_rng(7).normal(0, 0.01, (5, 3, 3))
    low, high = stats.bootstrap_interval(stats.mean, stats.forgetting(p), resamples=500)
    assert low < 0.7 / 3 + 0.02
    assert high > 0.7 / 3 - 0.02
    assert 0 < high - low < 0.05


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: stats.average_performance([0.1, 0.2]),
            ValueError,
            r"performance has shape \(2,\); expected \[\.\.\., t",
        ),
        (lambda: stats.forgetting(np.zeros((0, 3))), ValueError, r"performance has shape \(0, 3\)"),
        (
            lambda: stats.forgetting(np.zeros((4, 3))),
            ValueError,
            "task_ends is None, but performance has 4 times and 3 tasks",
        ),
        (lambda: stats.forgetting(P, [0, 1]), ValueError, r"task_ends has shape \(2,\); expected \(3,\)"),
        (lambda: stats.forgetting(P, [0, 1, 3]), ValueError, r"task_ends\[2\] is 3; must be in \[0, 3\)"),
        (lambda: stats.forgetting(P, [0, 1, -1]), ValueError, r"task_ends\[2\] is -1; must be"),
        (lambda: stats.forgetting(P, [0.0, 1.0, 2.0]), TypeError, "task_ends must be integers, got float64"),
        (
            lambda: stats.forgetting(np.where(np.eye(3) > 0, np.nan, P)[None]),
            ValueError,
            r"performance\[0\] of task 0 at its end is nan",
        ),
        (lambda: stats.average_performance([[np.nan]]), ValueError, "performance of task 0 at the last time is nan"),
        (lambda: stats.backward_transfer([[0.5]]), ValueError, "no task that ended before the last time"),
        (lambda: stats.average_forgetting_from_best(P, [2, 2, 2]), ValueError, "no task that ended before the last"),
        (lambda: stats.forward_transfer([1.2], [0.5]), ValueError, r"auc holds 1\.2; must be finite and <= 1"),
        (lambda: stats.forward_transfer([0.2], [np.nan]), ValueError, "baseline_auc holds nan"),
        (lambda: stats.forward_transfer([0.2, 0.3], [0.1] * 3), ValueError, r"baseline_auc has shape \(3,\); must br"),
        (lambda: stats.area_under_curve([]), ValueError, r"curves has shape \(0,\)"),
        (lambda: stats.area_under_curve([[0.1, np.nan]]), ValueError, r"curves\[0, 1\] is nan"),
        (lambda: stats.area_under_curve([0.1, 0.2], [1.0]), ValueError, r"x has shape \(1,\); expected \(2,\)"),
        (lambda: stats.area_under_curve([0.1, 0.2], [1.0, 1.0]), ValueError, "x must be finite and rise"),
        (lambda: stats.time_to_threshold([0.1], np.nan), ValueError, "threshold is nan"),
        (lambda: stats.transfer_report([0.1], [0.1, 0.2], threshold=1), ValueError, "scratch has 2 points; expected 1"),
        (
            lambda: stats.transfer_report(np.zeros((2, 3)), np.zeros((4, 3)), threshold=1),
            ValueError,
            r"scratch has shape \(4, 3\); must broadcast",
        ),
        (
            lambda: stats.transfer_report([0.1], [0.1], threshold=1, last=2),
            ValueError,
            r"last is 2; must be in \[1, 1\]",
        ),
        (
            lambda: stats.adaptation_curve([0.1]),
            ValueError,
            r"scores has shape \(1,\); expected \[runs, tasks, points\]",
        ),
        (lambda: stats.adaptation_curve(np.zeros((2, 2, 0))), ValueError, r"2 tasks with \[0\] points"),
        (
            lambda: stats.adaptation_curve([np.zeros((2, 3)), np.zeros((2, 4))]),
            ValueError,
            r"2 tasks with \[3, 4\] points; expected one number",
        ),
        (
            lambda: stats.adaptation_curve(np.where(np.arange(3) == 1, np.nan, np.zeros((2, 2, 3)))),
            ValueError,
            r"task 0 holds nan.*\(after 1 episodes\)",
        ),
        (lambda: stats.adaptation_curve(np.zeros((2, 2, 1)), resamples=0), ValueError, "resamples is 0"),
        (lambda: stats.adaptation_curve(np.zeros((2, 2, 1)), confidence=1), ValueError, "confidence is 1"),
    ],
)
def test_what_cannot_be_computed_is_told(call, error, message):
    with pytest.raises(error, match=message):
        call()
