"""What the report about several tasks shows are the numbers that one gets by hand: measures, intervals, answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from metarl_core import stats
from metarl_core.report.meta import (
    Adaptation,
    ContinualResults,
    MetaReportData,
    TransferCurves,
    UnseenTasks,
    meta_figures,
)
from metarl_core.report.meta._comparisons import answer, continual_comparisons, sentences, unseen_comparisons
from metarl_core.report.meta._estimates import Estimate, band, difference, estimate, improvement
from metarl_core.report.meta._measures import average_over_seeds, continual_measures, levels, unseen_scores
from metarl_core.report.meta._style import Palette
from metarl_core.report.meta._tables import adaptation_table, transfer_table
from metarl_core.report.meta._words import interval, number, seeds_text, seeds_warning, size

# Two seeds of three tasks, one after another: p_i(t), rows are times.
FIRST = np.array([[0.9, 0.1, 0.0], [0.6, 0.8, 0.0], [0.5, 0.6, 0.7]])
SECOND = np.array([[0.7, 0.1, 0.0], [0.6, 0.8, 0.0], [0.5, 0.6, 0.9]])
TASKS = ("a", "b", "c")


def whole_seeds(values, statistic, resamples=10_000):
    """Percentile bootstrap in a plain loop: the same seeds for every task."""
    picks = np.random.default_rng([0, 0]).integers(len(values), size=(resamples, len(values)))
    return np.percentile([statistic(values[pick]) for pick in picks], [2.5, 97.5])


def iqm(values):
    ordered = np.sort(np.ravel(values))
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean()


def test_continual_measures_by_hand():
    section = ContinualResults(TASKS, {"own": np.stack([FIRST, SECOND])})
    found = continual_measures(section, "own")
    # F: (0.9 - 0.5, 0.8 - 0.6, 0), mean 0.2; and (0.2, 0.2, 0), mean 0.4 / 3.
    assert found.forgetting.value == pytest.approx((0.2 + 0.4 / 3) / 2)
    assert found.backward.value == pytest.approx(-(0.3 + 0.2) / 2)
    assert found.average.value == pytest.approx((0.6 + 2 / 3) / 2)
    assert found.worst.value == pytest.approx(0.5)
    assert found.middle.value == pytest.approx(iqm([0.5, 0.6, 0.7, 0.5, 0.6, 0.9]))
    assert found.forward is None
    # With two seeds a resample is one of them twice or both: the interval ends at the two seeds' own numbers.
    assert (found.forgetting.low, found.forgetting.high) == (pytest.approx(0.4 / 3), pytest.approx(0.2))
    assert (found.average.seeds, found.average.left_out) == (2, 0)


def test_ends_of_tasks_and_joint_training():
    matrix = np.stack([FIRST[[0, 0, 1, 2]], SECOND[[0, 0, 1, 2]]])  # one more checkpoint, before task 1's end
    section = ContinualResults(TASKS, {"own": matrix, "joint": matrix}, task_ends=[1, 2, 3], joint=["joint"])
    assert continual_measures(section, "own").forgetting.value == pytest.approx((0.2 + 0.4 / 3) / 2)
    joint = continual_measures(section, "joint")
    assert joint.forgetting is joint.backward is None
    assert joint.average.value == pytest.approx((0.6 + 2 / 3) / 2)
    assert [item.other for item in continual_comparisons(section)] == ["joint"]  # of P alone


def test_a_seed_that_was_not_measured_is_left_out_where_it_is_needed_and_counted():
    rng = np.random.default_rng(0)
    matrix = rng.random((5, 3, 3))
    matrix[1, 0, 2] = np.nan  # before task 2's training: nothing needs it
    matrix[2, 1, 1] = np.nan  # at the end of task 1: forgetting needs it, P does not
    matrix[4, 2, 0] = np.nan  # at the end of all
    found = continual_measures(ContinualResults(TASKS, {"own": matrix}), "own")
    assert (found.average.seeds, found.average.left_out) == (4, 1)
    assert found.average.value == pytest.approx(matrix[:4, -1].mean())
    assert (found.forgetting.seeds, found.forgetting.left_out) == (3, 2)
    ends = matrix[[0, 1, 3]][:, [0, 1, 2], [0, 1, 2]]
    assert found.forgetting.value == pytest.approx((ends - matrix[[0, 1, 3], -1]).mean())
    nothing = continual_measures(ContinualResults(TASKS, {"own": np.full((2, 3, 3), np.nan)}), "own")
    assert nothing.average is nothing.forgetting is nothing.worst is None


def test_forgetting_counts_from_what_was_learned_where_that_is_given():
    matrix, learned = np.stack([FIRST, SECOND]), np.full((2, 3), 0.95)
    section = ContinualResults(TASKS, {"own": matrix, "other": matrix}, learned={"own": learned})
    lost = 0.95 - matrix[:, -1]
    assert continual_measures(section, "own").forgetting.value == pytest.approx(lost.mean())
    assert continual_measures(section, "own").backward.value == pytest.approx(-lost[:, :2].mean())
    plain = continual_measures(ContinualResults(TASKS, {"other": matrix}), "other").forgetting
    assert continual_measures(section, "other").forgetting == plain
    with pytest.raises(ValueError, match=r"learned.*own has 1 seeds; performance has 2"):
        ContinualResults(TASKS, {"own": matrix}, learned={"own": learned[:1]})
    with pytest.raises(ValueError, match=r"learned"):
        ContinualResults(TASKS, {"own": matrix}, learned={"elsewhere": learned})


def test_forward_transfer_against_the_mean_of_scratch_without_tasks_that_could_not_gain():
    auc, scratch = np.array([[0.6, 1.0, 0.8], [0.8, 1.0, np.nan]]), np.array([[0.4, 1.0, 0.5], [0.6, 1.0, 0.7]])
    matrix = np.stack([FIRST, SECOND])
    section = ContinualResults(TASKS, {"own": matrix}, auc={"own": auc}, scratch_auc=scratch)
    found = continual_measures(section, "own").forward
    assert (found.seeds, found.left_out) == (1, 1)
    assert found.value == pytest.approx(((0.6 - 0.5) / 0.5 + (0.8 - 0.6) / 0.4) / 2)


def test_intervals_resample_whole_seeds():
    values = np.random.default_rng(1).random((7, 3)) + np.arange(7)[:, None]  # seeds differ, in all tasks together
    found = estimate(values, stats.iqm)
    np.testing.assert_allclose((found.low, found.high), whole_seeds(values, iqm), atol=1e-12)
    assert found.value == pytest.approx(iqm(values))
    within = stats.bootstrap_interval(stats.iqm, values)
    assert found.high - found.low > 1.3 * (within.high - within.low)  # taking tasks apart would claim too much


def test_one_seed_has_no_interval_and_none_has_no_estimate():
    one = estimate(np.array([[1.0, 3.0], [np.nan, 1.0]]), stats.mean)
    assert (one.value, one.seeds, one.left_out, one.has_interval) == (2.0, 1, 1, False)
    assert interval(one) == "2 (1 seed, no interval)"
    assert estimate(np.full((3, 2), np.nan), stats.mean) is None
    assert difference(np.ones((1, 2)), np.zeros((5, 2)), stats.mean, paired=False).has_interval is False


def test_differences_and_the_probability_of_improvement():
    rng = np.random.default_rng(2)
    common = rng.normal(0, 5, (8, 1))
    mine, other = common + 1 + rng.normal(0, 0.1, (8, 2)), common + rng.normal(0, 0.1, (8, 2))
    paired = difference(mine, other, stats.mean, paired=True)
    np.testing.assert_allclose((paired.low, paired.high), whole_seeds(mine - other, np.mean), atol=1e-12)
    apart = difference(mine, other, stats.mean, paired=False)
    assert apart.value == pytest.approx(paired.value) == pytest.approx((mine - other).mean())
    assert apart.low < 0 < paired.low  # what the seeds share cancels only if they are paired
    better = improvement(np.array([[1.0], [2.0]]), np.array([[0.0], [1.0], [3.0]]))
    assert better.value == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 0) / 6)


def test_answers():
    def interval_of(low, high, seeds=4):
        return Estimate((low + high) / 2, low, high, seeds)

    assert answer(interval_of(2, 3), interval_of(0, 1)) == "yes"
    assert answer(interval_of(0, 1), interval_of(2, 3)) == "no, it is the other way round"
    assert answer(interval_of(0, 1), interval_of(2, 3), lower_is_better=True) == "yes"
    assert answer(interval_of(2, 3), interval_of(0, 1), lower_is_better=True) == "no, it is the other way round"
    assert answer(interval_of(1, 3), interval_of(0, 1)) == "not shown, intervals overlap"  # they touch
    assert answer(interval_of(2, 3, 3), interval_of(0, 1, 10)) == "too few seeds to say"
    assert answer(interval_of(2, 3, 10), Estimate(0, math.nan, math.nan, 1)) == "too few seeds to say"


def test_scores_are_normalised_task_by_task_and_compared_with_levels():
    raw = np.array([[60.0, 2.0], [110.0, 3.0], [85.0, 2.5], [110.0, 3.0]])
    section = UnseenTasks(("a", "b"), {"own": raw}, chance=[10, 1], reference=[110, 3])
    np.testing.assert_allclose(unseen_scores(section, "own"), [[0.5, 0.5], [1, 1], [0.75, 0.75], [1, 1]])
    assert [level.tolist() for level in levels(section).values()] == [[0, 0], [1, 1]]
    chance, reference = unseen_comparisons(section)
    assert (chance.other, chance.answer, chance.others) == ("chance", "yes", 0.0)
    assert (reference.other, reference.answer) == ("reference", "not shown, the interval holds it")
    worse = UnseenTasks(("a", "b"), {"own": raw / 10}, chance=[10, 1], reference=[110, 3], reference_name="the best")
    assert sentences(unseen_comparisons(worse)) == ["own exceeds chance and the best: no, it is the other way round."]
    alone = UnseenTasks(("a", "b"), {"own": raw}, chance=[10, 1])  # no reference: as given
    np.testing.assert_allclose(unseen_scores(alone, "own"), raw)
    assert [item.answer for item in unseen_comparisons(alone)] == ["yes"]


def test_sentences_join_what_has_the_same_answer():
    rng = np.random.default_rng(3)
    scores = {name: level + rng.normal(0, 0.01, (6, 2)) for name, level in (("x", 1), ("y", 0), ("z", 0), ("w", 2))}
    scores["v"] = scores["x"][::-1]
    found = sentences(unseen_comparisons(UnseenTasks(("a", "b"), scores)))
    assert found == [
        "x exceeds y and z: yes.",
        "x exceeds w: no, it is the other way round.",
        "x exceeds v: not shown, intervals overlap.",
    ]


def test_forgetting_is_compared_run_by_run_so_that_what_cannot_be_forgotten_is_no_draw():
    rng = np.random.default_rng(4)
    keeps, loses = (np.tile(FIRST, (6, 1, 1)) + rng.normal(0, 0.01, (6, 3, 3)) for _ in range(2))
    loses[:, 2, :2] -= 0.4
    _, forgets = continual_comparisons(ContinualResults(TASKS, {"keeps": keeps, "loses": loses}))
    assert (forgets.verb, forgets.answer) == ("forgets less than", "yes")
    assert forgets.improvement.value == 1.0


def test_the_bars_and_the_matrix_have_the_numbers():
    section = ContinualResults(TASKS, {"own": np.stack([FIRST, SECOND]), "joint": np.stack([FIRST])}, joint=["joint"])
    figures = meta_figures(MetaReportData("x", continual=section))
    left, right = figures["bars"].axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx([(0.6 + 2 / 3) / 2, 0.6])
    assert [bar.get_width() for bar in right.patches] == pytest.approx([(0.2 + 0.4 / 3) / 2])
    assert right.lines[0].get_xdata().tolist() == pytest.approx([0.2, 0.4 / 3])  # the seeds
    (whisker,) = right.collections  # of one method: joint training forgets nothing
    assert whisker.get_segments()[0][:, 0].tolist() == pytest.approx([0.4 / 3, 0.2])
    assert len(left.collections) == 1  # one seed has no interval
    own, joint, _ = figures["matrices"].axes
    np.testing.assert_allclose(own.images[0].get_array(), ((FIRST + SECOND) / 2).T)
    assert [frame.get_xy() for frame in own.patches] == [(k - 0.46, k - 0.46) for k in range(3)]
    assert len(joint.patches) == 0


def test_means_over_seeds_leave_out_what_was_not_measured():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    np.testing.assert_array_equal(average_over_seeds(values), [2.0, 5.0, np.nan])


def test_bands_are_drawn_where_all_seeds_have_a_value():
    curves = np.random.default_rng(5).random((6, 2, 4))
    curves[0, 0, 1] = np.nan
    curves[5] = np.nan  # a seed without any value
    found = band(curves)
    assert found.seeds == 5
    assert np.isnan(found.center).tolist() == np.isnan(found.low).tolist() == [False, True, False, False]
    assert found.center[2] == pytest.approx(iqm(curves[:5, :, 2]))
    picks = np.random.default_rng(0).integers(5, size=(2000, 5))
    expected = np.percentile([iqm(curves[:5][pick][:, :, 3]) for pick in picks], [2.5, 97.5])
    np.testing.assert_allclose((found.low[3], found.high[3]), expected)
    assert band(np.full((3, 1, 4), np.nan)) is None
    one = band(curves[1:2])
    assert (one.seeds, np.isnan(one.low).all()) == (1, True)


def test_adaptation_by_means_has_the_values_of_the_adaptation_curve():
    returns = np.random.default_rng(9).random((5, 3)) ** 4  # skewed: mean and IQM differ
    expected = stats.adaptation_curve(returns[:, None, :])
    section = Adaptation([0, 1, 4], {"a": returns}, statistic="mean", unit="adaptation")
    table = adaptation_table(section)
    assert "Score by episodes of adaptation (mean)" in table
    assert '<th scope="col">adaptations</th>' in table
    for value, low, high in zip(*expected, strict=True):
        assert f"{value:.3f} <small>[{low:.3f}, {high:.3f}]</small>" in table
    figure = meta_figures(MetaReportData("t", adaptation=section))["adaptation"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), returns.mean(axis=0))
    assert figure.axes[0].get_ylabel() == "return (mean, 95 %)"
    plain = Adaptation([0, 1, 4], {"a": returns})
    assert adaptation_table(plain).count(f"{stats.iqm(returns[:, 1:2]):.3f} <small>") == 1
    assert "(1 adaptation, no interval)" in adaptation_table(Adaptation([0], {"a": [[2.0]]}, unit="adaptation"))
    with pytest.raises(ValueError, match=r"Adaptation.statistic is 'median'; expected 'iqm' or 'mean'"):
        Adaptation([0], {"a": [[2.0]]}, statistic="median")


def test_transfer_has_the_values_of_the_transfer_report():
    rng = np.random.default_rng(6)
    own, scratch = rng.random((5, 2, 4)) + 1, rng.random((6, 2, 4))
    x = np.array([0.0, 10.0, 30.0, 40.0])
    section = TransferCurves(x, {"own": own, "alone": scratch}, scratch="alone", threshold=1.5, last=2)
    text = transfer_table(section)
    report = stats.transfer_report(own, scratch.mean(axis=0), x, threshold=1.5, last=2)
    for measure in (report.jump_start, report.asymptotic_gain, report.auc_gain):
        assert f"<td>{measure.mean():.2f} <small>[" in text or f"<td>{measure.mean():.3f} <small>[" in text
    assert f"<td>{np.sort(report.time_to_threshold, axis=None)[5]:.3g} against never</td>" in text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Estimate(0.8, 0.7644, 0.8366, 10), "0.800 [0.764, 0.837]"),
        (Estimate(0.00096, -0.00854, 0.01131, 10), "0.0010 [-0.0085, 0.0113]"),
        (Estimate(-1e-17, -1e-17, 0.0, 10), "0 [0, 0]"),
        (Estimate(-0.00001, -0.2, 0.1, 10), "0.000 [-0.200, 0.100]"),
        (Estimate(1234.5, 1000.2, 2000.9, 10), "1,234 [1,000, 2,001]"),
        (None, "not measured"),
    ],
)
def test_intervals_in_words(found, text):
    assert interval(found) == text


def test_numbers_and_seeds_in_words():
    assert [number(x) for x in (0.12345, 12.345, 123.45, 0.0, math.nan, math.inf)] == [
        "0.123", "12.3", "123", "0", "-", "never",
    ]  # fmt: skip
    assert [size(x) for x in (None, 12, 48_000_000, 1500)] == ["-", "12 B", "48 MB", "1.5 kB"]
    assert seeds_text({"a": 1, "b": 1}) == "One seed: no interval exists."
    assert seeds_text({"a": 10, "b": 10}) == "10 seeds; 95 % intervals from a bootstrap over the seeds."
    assert seeds_text({"a": 10, "b": 0}) == seeds_text({"a": 10})
    assert seeds_text({"b": 0}) == "No seed was measured."
    assert seeds_text({"a": 10, "b": 1}).endswith("With one seed no interval exists.")
    assert seeds_text({"a": 5}, "adaptation") == "5 adaptations; 95 % intervals from a bootstrap over the adaptations."
    assert seeds_warning({"a": 2}, "adaptation").startswith("a: fewer than 4 adaptations")
    assert seeds_warning({"a": 4}) == ""
    assert "a: one seed, so that no interval exists. b: fewer than 4 seeds" in seeds_warning({"a": 1, "b": 3})


def test_every_method_has_a_look_of_its_own():
    palette = Palette([str(k) for k in range(28)])
    assert len({(palette.color(str(k)), str(palette.dash(str(k)))) for k in range(28)}) == 28
