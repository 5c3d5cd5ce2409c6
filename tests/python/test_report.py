"""The report: self-contained, complete, honest about what is missing, and safe against hostile names."""

from __future__ import annotations

import base64
import re
import struct

import numpy as np
import pytest
from deep_sea_runs import deep_sea_run
from html_page import Page

from metarl_core import RunError
from metarl_core.runs import RunReader, RunWriter

pytest.importorskip("matplotlib")

from metarl_core.report import write_report
from metarl_core.report._data import load_tasks
from metarl_core.report._stats import aggregate, interquartile_mean, running_mean


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    solved = [deep_sea_run(folder / f"optimistic-{seed}", "optimistic", seed) for seed in range(4)]
    failed = [deep_sea_run(folder / f"greedy-{seed}", "greedy", seed) for seed in range(2)]
    return solved, failed


def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_the_page_is_complete_and_self_contained(runs, tmp_path):
    solved, failed = runs
    out = write_report([*solved, *failed], tmp_path / "deep" / "report.html")
    html = out.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.tags.count("img") == 6
    assert len(page.references) == 6
    for source in page.references:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        assert min(png_size(base64.b64decode(data, validate=True))) > 300
    assert not re.search(r"url\(|@import|https?://", html)
    for heading in ("Learning curves", "Episodes to solve", "Where the agent went", "Curiosity", "Loss"):
        assert heading in page.text
    pictures = sorted(path.name for path in (out.parent / "report_files").iterdir())
    assert pictures == [
        f"{name}.png" for name in ("curiosity", "learning", "loss", "priorities", "solve", "visitation")
    ]
    assert "Not shown" not in page.text


def test_the_verdict_and_the_table_say_what_the_runs_say(runs, tmp_path):
    solved, failed = runs
    text = Page(write_report([*failed, *solved], tmp_path / "r.html").read_text(encoding="utf-8")).text
    needed = [RunReader(run).result["episodes_to_solve"] for run in solved]
    assert None not in needed
    assert all(RunReader(run).result["solved"] is False for run in failed)
    assert (
        f"optimistic solves DeepSea-v0 (size=8) with 4 of 4 seeds after {np.median(needed):,.0f} episodes (median). "
        "On the same task, greedy does not solve it within 400 episodes." in text
    )
    assert f"{min(needed)} to {max(needed)}" in text
    assert "greedy: 2 seeds. So few are an illustration" in text
    for run in solved:
        result = RunReader(run).result
        assert f"{run.name} optimistic {result['seed']} finished yes {result['episodes_to_solve']} 400 3,200" in text
    assert "metarl train optimistic --env DeepSea-v0 --seed 0 --steps 3200 size=8 lr=0.5" in text


def test_a_killed_run_is_reported_with_what_it_left(tmp_path):
    run = deep_sea_run(tmp_path / "killed", "optimistic", 0, episodes=150, finish=False)
    (run / "versions.json").unlink()
    page = Page(write_report([run], tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.tags.count("img") == 4
    assert "No data for: Where the agent went, Replay priorities." in page.text
    assert "killed has no result.json (unfinished or killed), versions.json, visitation.npz." in page.text
    assert "unfinished" in page.text
    assert "No baseline among these runs." in page.text


def test_an_empty_run_makes_a_page(tmp_path):
    RunWriter(tmp_path / "empty", {"algorithm": "cder", "env_id": "CartPole-v1", "seed": 0}).close()
    page = Page(write_report([tmp_path / "empty"], tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.tags.count("img") == 0
    assert "No data for: Learning curves, Episodes to solve" in page.text


def test_a_task_without_solve_rule_and_values_that_are_not_finite(tmp_path):
    config = {"algorithm": "ddqn", "env_id": "CartPole-v1", "seed": 0, "total_steps": 100}
    with RunWriter(tmp_path / "run", config) as run:
        for k in range(1, 6):
            run.episode({"episode": k, "step": 20 * k, "env": 0, "return": 20.0, "length": 20})
            run.metrics({"step": 20 * k, "loss": float("nan") if k == 3 else 0.1 * k, "td_error_mean": float("inf")})
        run.finish(
            {
                "solved": None,
                "episodes": 5,
                "episodes_to_solve": None,
                "environment_steps": 100,
                "final_return": 20.0,
                "best_return": 20.0,
                "evaluation_return": 123.25,
                "wall_time_seconds": 1.0,
            }
        )
    page = Page(write_report([tmp_path / "run"], tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "CartPole-v1 has no solve rule. Mean return: ddqn: 123.2." in page.text
    assert page.tags.count("img") == 2
    (tmp_path / "run" / "evaluation.json").write_text('{"return_mean": 77.5}')  # what metarl eval leaves
    page = Page(write_report([tmp_path / "run"], tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Mean return: ddqn: 77.5." in page.text


def test_everything_from_the_runs_is_escaped(tmp_path):
    evil = "<script>alert('x')</script>&\"<img src=http://evil/>"
    config = {"algorithm": evil, "env_id": evil, "env_params": {evil: evil}, "seed": 0, "note": evil}
    RunWriter(tmp_path / "<b>run&", config).close()
    html = write_report([tmp_path / "<b>run&"], tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(html)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert page.references == []
    assert evil.split(">")[0] in page.text


def test_two_tasks_get_a_section_each_and_variants_a_label_each(runs, tmp_path):
    solved, _ = runs
    other = deep_sea_run(tmp_path / "small", "optimistic", 0, size=5, episodes=60)
    variant = deep_sea_run(tmp_path / "variant", "optimistic", 9, lr=0.25)
    tasks = load_tasks([*solved, other, variant])
    assert [task.label for task in tasks] == ["DeepSea-v0 (size=8)", "DeepSea-v0 (size=5)"]
    assert sorted(group.label for group in tasks[0].groups) == ["optimistic (lr=0.25)", "optimistic (lr=0.5)"]
    assert sorted(len(group.runs) for group in tasks[0].groups) == [1, 4]
    out = write_report([*solved, other, variant], tmp_path / "r.html")
    assert Page(out.read_text(encoding="utf-8")).tags.count("h1") == 2
    assert len(list((tmp_path / "r_files").iterdir())) == 12


def test_what_is_no_run_or_damaged_is_an_error_and_the_old_page_stays(runs, tmp_path):
    out = tmp_path / "r.html"
    out.write_text("old")
    with pytest.raises(RunError, match="not a run"):
        write_report([tmp_path], out)
    with pytest.raises(ValueError, match="run_dirs is empty"):
        write_report([], out)
    run = deep_sea_run(tmp_path / "run", "greedy", 0, episodes=40)
    (run / "visitation.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(RunError, match=r"visitation\.npz cannot be read"):
        write_report([run], out)
    assert out.read_text() == "old"


def test_running_mean_and_interquartile_mean_match_their_definitions():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(500)
    expected = [values[max(0, i - 29) : i + 1].mean() for i in range(500)]
    np.testing.assert_allclose(running_mean(values, 30), expected, atol=1e-12)
    for count in (4, 5, 8, 10, 11):
        sample = rng.standard_normal(count)
        np.testing.assert_allclose(interquartile_mean(sample), np.sort(sample)[count // 4 : count - count // 4].mean())


def test_aggregation_of_seeds():
    x = np.arange(100)
    assert aggregate([(x, np.full(100, np.nan))]) is None
    one = aggregate([(x, np.where(x == 3, np.nan, x))])
    assert one.kind == "single"
    assert 3 not in one.x
    three = aggregate([(x, x * 0.0), (x[:50], x[:50] * 0.0 + 5.0), (x, x * 0.0 + 7.0)])
    assert (three.kind, three.x[-1]) == ("range", 49)
    assert (three.center == 5).all()
    assert (three.low == 0).all()
    assert (three.high == 7).all()
    ten = aggregate([(x, np.full(100, float(k))) for k in range(10)])
    assert ten.kind == "iqm"
    np.testing.assert_allclose(ten.center, 4.5)
    assert ((ten.low < 4.5) & (ten.low > 0) & (ten.high > 4.5) & (ten.high < 9)).all()
