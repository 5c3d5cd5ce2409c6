"""Results of continual learning: files, the scale, and measures computed by hand."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from metarl_core.agents.continual import ContinualConfig, ContinualResult, TaskSequence, measure, scale_of, table
from metarl_core.agents.continual.report import report_data, write_continual_report
from metarl_core.agents.continual.results import read_result, result_path, write_curves, write_result
from metarl_core.agents.continual.summary import COLUMNS, learning_areas, write_table
from metarl_core.errors import RunError
from metarl_core.report.meta._measures import continual_measures
from metarl_core.tasks import Flat, Task


def goal(name, x, y):
    return Task(name, "PointRobot-v0", {"goal_x": x, "goal_y": y})


SEQUENCE = TaskSequence(
    "goals", Flat([goal("left", -0.5, 0), goal("right", 0.5, 0)], 100), (goal("middle", 0, 0.1),), reference_return=None
)
KNOWN = dataclasses.replace(SEQUENCE, reference_return=0.0)
CONFIG = ContinualConfig()


def result_of(method="finetune", seed=0, **changes):
    values = {
        "method": method,
        "seed": seed,
        "task_names": ("left", "right"),
        "identity": False,
        "simultaneous": False,
        "steps": np.array([0, 50, 100, 150, 200]),
        "phase_ends": np.array([2, 4]),
        "returns": np.array([[-100.0, -50], [-60, -50], [-20, -40], [-50, -20], [-80, -10]]),
        "learned": np.array([[-20.0, -40], [-80, -10]]),
        "random_returns": np.array([-100.0, -50]),
        "held_out_names": ("middle",),
        "held_out_returns": np.array([-30.0]),
        "held_out_random": np.array([-60.0]),
        "unnamed_returns": np.array([-80.0, -10]),
        "adaptation_steps": 0,
        "parameters": 123,
        "stored_bytes": 0,
        "updates": 25,
        "environment_steps": 200,
        "seconds": 1.5,
    }
    return ContinualResult(**{**values, **changes})


SCRATCH = result_of(
    "scratch",
    identity=True,
    returns=np.array([[-100.0, -50], [-40, -50], [-20, -50], [-20, -30], [-20, -10]]),
    learned=np.array([[-20.0, -50], [-20, -10]]),
)


def test_measures_by_hand():
    """Scale 0 at uniform actions (-100, -50), 1 at a return of 0: scores are 1 + J / 100 and 1 + J / 50."""
    results = [result_of(), SCRATCH]
    scale = scale_of(KNOWN, results)
    found = measure(KNOWN, results, scale)[0]
    np.testing.assert_allclose(found.performance, [[0.8, 0.2], [0.2, 0.8]])
    assert found.average == pytest.approx(0.5)
    assert found.forgetting == pytest.approx((0.6 + 0.0) / 2)
    assert found.backward == pytest.approx(-0.6)
    assert found.worst == pytest.approx(0.2)
    assert found.unnamed == pytest.approx(0.5)
    assert found.held_out == pytest.approx(0.5)
    assert found.held_out_return == -30
    # Task 0: 0, 0.4, 0.8 while it was trained; task 1: 0.2, 0.6, 0.8.
    np.testing.assert_allclose(learning_areas(KNOWN, results[0], scale), [0.4, 0.55])
    np.testing.assert_allclose(learning_areas(KNOWN, SCRATCH, scale), [(0.3 + 0.7) / 2, (0.2 + 0.6) / 2])
    assert found.forward == pytest.approx(((0.4 - 0.5) / 0.5 + (0.55 - 0.4) / 0.6) / 2)
    own = measure(KNOWN, results, scale)[1]
    assert own.forgetting == 0
    assert np.isnan(own.forward)


def test_what_a_methods_own_step_destroys_is_forgotten():
    """Before the step at the end of its phase task 0 had 0.9 and task 1 1; after it 0.8 and 0.8."""
    results = [result_of(learned=np.array([[-10.0, -40], [-80, 0]])), SCRATCH]
    scale = scale_of(KNOWN, results)
    found = measure(KNOWN, results, scale)
    assert found[0].forgetting == pytest.approx(((0.9 - 0.2) + (1 - 0.8)) / 2)
    assert found[0].backward == pytest.approx(0.2 - 0.9)
    page = continual_measures(report_data(KNOWN, results, found, scale).continual, "finetune")
    assert page.forgetting.value == pytest.approx(found[0].forgetting)
    assert page.backward.value == pytest.approx(found[0].backward)
    # A step that helps is no gain that is then lost, but the height to lose from.
    results = [result_of(learned=np.array([[-60.0, -40], [-80, -50]])), SCRATCH]
    assert measure(KNOWN, results, scale)[0].forgetting == pytest.approx((0.6 + 0.0) / 2)


def test_without_a_known_return_scratch_is_the_reference():
    scale = scale_of(SEQUENCE, [result_of(), SCRATCH])
    np.testing.assert_allclose(scale.high, [-20, -10])
    assert scale.held_out_high is None
    assert "scratch" in scale.origin
    found = measure(SEQUENCE, [result_of(), SCRATCH], scale)
    assert found[1].average == 1
    assert found[0].average == pytest.approx((20 / 80 + 1) / 2)
    assert np.isnan(found[0].held_out)
    assert found[0].held_out_return == -30


@pytest.mark.parametrize("useless", [False, True])
def test_without_any_reference_returns_stay_as_they_are(useless):
    poor = dataclasses.replace(SCRATCH, returns=np.full((5, 2), -200.0))
    results = [result_of(), poor] if useless else [result_of()]
    scale = scale_of(SEQUENCE, results)
    assert scale.high is None
    found = measure(SEQUENCE, results, scale)[0]
    assert found.average == -45
    assert found.forgetting == pytest.approx(30)
    assert np.isnan(found.forward)
    assert "Returns, not normalised" in table(SEQUENCE, results, measure(SEQUENCE, results, scale), scale)


def test_what_is_trained_on_all_at_once_forgets_nothing_and_gains_nothing():
    joint = dataclasses.replace(SCRATCH, method="joint", simultaneous=True)
    results = [joint, SCRATCH]
    found = measure(KNOWN, results, scale_of(KNOWN, results))[0]
    assert found.average == pytest.approx(0.8)
    assert all(np.isnan(value) for value in (found.forgetting, found.backward, found.forward))


def test_a_result_is_read_as_it_was_written(tmp_path):
    path = write_result(tmp_path, SEQUENCE, CONFIG, result_of(seed=3), "abc123")
    assert path == result_path(tmp_path, "finetune", 3)
    found, commit = read_result(path, SEQUENCE, CONFIG)
    assert commit == "abc123"
    for field in dataclasses.fields(found):
        expected = getattr(result_of(seed=3), field.name)
        np.testing.assert_array_equal(getattr(found, field.name), expected)
        assert type(getattr(found, field.name)) is type(expected)


def test_a_result_of_other_settings_is_not_taken(tmp_path):
    path = write_result(tmp_path, SEQUENCE, CONFIG, result_of())
    with pytest.raises(
        RunError, match=r"finetune-seed0\.json was made with another lr of the config \(0\.001, now 0\.1\)"
    ):
        read_result(path, SEQUENCE, dataclasses.replace(CONFIG, lr=0.1))
    left, right = SEQUENCE.tasks
    for other, shown in (
        (Flat((left, right), 50), r"\[\[0, 50\], \[1, 50\]\]"),
        (Flat((left, right), [100, 50]), r"\[\[0, 100\], \[1, 50\]\]"),
        (Flat((left, right, left), 100), r"\[\[0, 100\], \[1, 100\], \[0, 100\]\]"),
    ):
        with pytest.raises(
            RunError, match=rf"another phases of the sequence \(\[\[0, 100\], \[1, 100\]\], now {shown}\)"
        ):
            read_result(path, dataclasses.replace(SEQUENCE, flat=other), CONFIG)
    stored = json.loads(path.read_text())
    del stored["result"]["updates"]
    path.write_text(json.dumps(stored))
    with pytest.raises(RunError, match=r"finetune-seed0\.json is damaged: 'updates'"):
        read_result(path, SEQUENCE, CONFIG)
    path.write_text("{")
    with pytest.raises(RunError, match=r"is not valid JSON"):
        read_result(path, SEQUENCE, CONFIG)
    path.write_text('{"format": 1}')
    with pytest.raises(RunError, match=r"has format 1; expected 2"):
        read_result(path, SEQUENCE, CONFIG)


def test_tables_have_a_row_for_each_result(tmp_path):
    results = [result_of(), result_of(seed=1), SCRATCH]
    scale = scale_of(KNOWN, results)
    measures = measure(KNOWN, results, scale)
    write_table(tmp_path / "results.csv", results, measures, ["a", "b", ""])
    write_curves(tmp_path / "curves.csv", results)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["method"] for row in rows] == ["finetune", "finetune", "scratch"]
    assert float(rows[0]["F"]) == pytest.approx(0.3)
    assert rows[2]["FT"] == ""
    assert rows[2]["identity"] == "1"
    points = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert len(points) == 3 * 5 * 2
    assert points[5] == {
        "method": "finetune", "seed": "0", "step": "100", "phase_end": "1", "task": "right", "return": "-40.0",
    }  # fmt: skip
    text = table(KNOWN, results, measures, scale)
    assert "| finetune | not given | 0.5 (0.5 to 0.5) | 0.3 (0.3 to 0.3) |" in text
    assert "| scratch | given | 0.8 | 0 | 0 | - |" in text
    assert "2 seeds. 0 is uniform actions, 1 a return of 0." in text
    assert "| parameters | stored bytes | updates | adaptation steps |" in text
    assert "| 123 | 0 | 25 | 0 |" in text
    assert "Diverged" not in text
    assert "times the" not in text
    pair = [result_of("independent", stored_bytes=50), result_of("imt", parameters=246, stored_bytes=75)]
    both = measure(KNOWN, pair, scale)
    for words in (table(KNOWN, pair, both, scale), report_data(KNOWN, pair, both, scale).about):
        assert "imt has 2 times the parameters and 1.5 times the stored bytes of independent." in words
    missing = [("finetune", 2), ("ewc", 0)]
    text = table(KNOWN, results, measures, scale, missing)
    assert "Diverged, in no mean: finetune seed 2, ewc seed 0." in text
    assert "| finetune (n = 2 of 3 seeds) | not given |" in text
    assert "| scratch | given |" in text
    assert "finetune seed 2, ewc seed 0." in report_data(KNOWN, results, measures, scale, (), missing).about


@pytest.mark.parametrize("sequence", [SEQUENCE, KNOWN])
def test_the_page_has_every_section(sequence, tmp_path):
    results = [result_of(), result_of("imt", identity=True), SCRATCH]
    scale = scale_of(sequence, results)
    measures = measure(sequence, results, scale)
    data = report_data(sequence, results, measures, scale, ["metarl continual ..."])
    assert data.continual is not None
    assert data.continual.subject == "imt"
    assert data.continual.tasks == ("goal_x=-0.5, goal_y=0", "goal_x=0.5, goal_y=0")
    assert data.curves is not None
    assert data.unseen is not None
    assert [cost.parameters for cost in data.costs] == [123, 123, 123]
    path = write_continual_report(tmp_path / "report.html", sequence, results, measures, scale)
    page = path.read_text(encoding="utf-8")
    assert all(method in page for method in ("finetune", "imt", "scratch"))
