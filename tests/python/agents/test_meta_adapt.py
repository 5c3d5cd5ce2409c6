"""``metarl adapt`` on a run of IMT and on plain runs: the same figures as by hand, and errors that say what to do."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from run_helpers import run_to_end

from metarl_core import ConfigError
from metarl_core.agents import resolve_config
from metarl_core.agents.imt.outcomes import Adapted
from metarl_core.agents.meta import MetaAgent, UniformRouter
from metarl_core.agents.meta.adaptation import chance, from_scratch, k_shot, load_imt, load_meta_agent, new_task
from metarl_core.agents.meta.playing import record
from metarl_core.agents.meta.q_learner import QLearner
from metarl_core.cli import main

sys.path.append(str(Path(__file__).parents[1]))
from html_page import Page

IMT = [
    "env_tasks=4",
    "val_tasks=0",
    "test_tasks=2",
    "hidden=16",
    "predictor_hidden=16",
    "reference_steps=400",
    "embedding_features=8",
    "pretrain_updates=20",
    "rounds=2",
    "steps_per_round=60",
    "submodel_updates=15",
    "head_updates=10",
    "batch_size=16",
    "replay_capacity=2000",
    "evaluation_episodes=1",
]
PLAIN = ["total_steps=400", "evaluation_episodes=0", "batch_size=16", "hidden=8"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run_to_end(resolve_config("imt", "PointRobot-v0", None, IMT), folder / "imt")
    for length in (0.2, 0.5, 0.9):
        run_to_end(resolve_config("ddqn", "CartPole-v1", None, [*PLAIN, f"length={length}"]), folder / f"pole{length}")
    run_to_end(resolve_config("ddqn", "Acrobot-v1", None, PLAIN), folder / "acrobot")
    return folder


def adapt(*words):
    return main(["adapt", *map(str, words)])


def first_at(curve, threshold):
    return next((step for step, value in zip(curve.steps, curve.returns, strict=True) if value >= threshold), np.inf)


def poles(runs):
    return [runs / f"pole{length}" for length in (0.2, 0.5, 0.9)]


def test_a_run_of_imt_prints_its_k_shot_curve(runs, capsys, tmp_path):
    words = (runs / "imt", "--task", "goal_x=0.3,goal_y=-0.2", "--episodes", 3, "--repeats", 2, "--seed", 4)
    assert adapt(*words, "--fine-tune", 400, "--scratch", "--save", tmp_path / "agent.ckpt") == 0
    text = capsys.readouterr().out
    assert "4 sub-agents, router embedding, aggregation soup" in text
    assert "task PointRobot-v0 (goal_x=0.3, goal_y=-0.2)" in text
    agent = load_meta_agent([runs / "imt"], seed=4)
    task = new_task(agent, {"goal_x": 0.3, "goal_y": -0.2})
    found = k_shot(agent, task, (0, 1, 2, 3), repeats=2, seed=4)
    rows = [line.split() for line in text.splitlines()]
    for i, number in enumerate((0, 1, 2, 3)):
        row = next(row for row in rows if row[:1] == [str(number)] and "to" in row)
        assert float(row[2]) == pytest.approx(found.returns[:, i].mean(), rel=1e-3)
    assert f"{chance(agent, task, seed=4):.4g}" in text
    curve = agent.fine_tune(400, evaluate_every=40)
    scratch = from_scratch(agent, task, 400, evaluate_every=40, seed=4)
    last = next(row for row in rows if row[:1] == ["400"])
    np.testing.assert_allclose([float(last[1]), float(last[2])], [curve.returns[-1], scratch.returns[-1]], rtol=1e-3)
    assert (
        f"(fine-tuned has {agent.adaptation.steps:,} more steps behind it, of its adaptation; scratch has none)" in text
    )
    tuned, alone = curve.returns, scratch.returns
    threshold = alone[0] + (max(tuned.max(), alone.max()) - alone[0]) / 2
    assert f"transfer (one seed: no interval), threshold {threshold:.4g}, times in steps" in text
    for name, value in {
        "jump start": tuned[0] - alone[0],
        "asymptotic gain": tuned[-1] - alone[-1],
        "auc gain": ((tuned - alone)[1:] + (tuned - alone)[:-1]).mean() / 2,
        "time to threshold": first_at(curve, threshold),
        "scratch time to threshold": first_at(scratch, threshold),
    }.items():
        told = next(line for line in text.splitlines() if line.startswith(f"{name}  "))
        assert told.removeprefix(name).strip() == ("never" if value == np.inf else f"{value:.4g}")
    again = MetaAgent.load(tmp_path / "agent.ckpt")
    obs = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype(np.float32)
    np.testing.assert_array_equal(again.act(obs), agent.act(obs))


def test_the_page_and_its_numbers_are_what_was_printed(runs, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    from metarl_core.report.meta._estimates import Estimate
    from metarl_core.report.meta._words import interval, number

    words = (runs / "imt", "--task", "goal_x=0.3,goal_y=-0.2", "--episodes", 1, "--repeats", 4)
    out = tmp_path / "new" / "adapted"
    assert adapt(*words, "--fine-tune", 100, "--scratch", "--out", out) == 0
    text = capsys.readouterr().out
    assert f"report: {out / 'report.html'}" in text
    numbers = json.loads((out / "adaptation.json").read_text())
    shots, learned = numbers["k_shot"], numbers["fine_tuning"]
    assert np.shape(shots["returns"]) == (4, 2)
    np.testing.assert_allclose(np.mean(shots["returns"], axis=0), shots["mean"])
    for i, shot in enumerate(shots["shots"]):
        value, low, high = (shots[name][i] for name in ("mean", "low", "high"))
        assert f"{shot:8}  {shots['steps'][i]:7.0f}  {value:10.4g}  {low:.4g} to {high:.4g}" in text
    assert f"{'chance':>8}  {'':7}  {numbers['chance']:10.4g}" in text
    for each in numbers["sub_agents"]:
        assert f"{each['weight']:6.3f}  {each['name']} (" in text
    assert sum(each["weight"] for each in numbers["sub_agents"]) == pytest.approx(1)
    assert (learned["steps"][0], learned["steps"][-1], len(learned["steps"])) == (0, 100, 11)
    for row in zip(learned["steps"], learned["tuned"], learned["scratch"], strict=True):
        assert "{:8}  {:10.4g}  {:10.4g}".format(*row) in text
    for name in ("jump_start", "asymptotic_gain", "auc_gain", "time_to_threshold", "scratch_time_to_threshold"):
        value = float(learned["measures"][name])
        told = "never" if value == np.inf else f"{value:.4g}"
        assert f"{name.replace('_', ' '):26} {told:>10}\n" in text

    html = (out / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert html.count("data:image/png;base64,") == 3  # k-shot curve, learning curves, weights
    ends = zip(*(shots[name] for name in ("mean", "low", "high")), strict=True)
    told = [interval(Estimate(*each, seeds=4, unit="adaptation")) for each in ends]
    assert f"adapted 4 {' '.join(told)}" in page.text
    gains = [learned["measures"][name] for name in ("jump_start", "asymptotic_gain", "auc_gain")]
    assert f"fine-tuned 1 {' '.join(f'{number(gain)} (1 seed, no interval)' for gain in gains)}" in page.text
    times = [float(learned["measures"][name]) for name in ("time_to_threshold", "scratch_time_to_threshold")]
    assert "{} against {}".format(*map(number, times)) in page.text
    assert f"Threshold: {learned['threshold']:.4g}." in page.text
    assert f"{learned['adaptation_steps']:,} more environment steps" in page.text
    assert "--fine-tune 100 --scratch --out" in page.text

    # The same folder again; with one adaptation nothing has an interval.
    assert adapt(*words[:-1], 1, "--out", out) == 0
    assert capsys.readouterr().out.count("  no interval\n") == 2
    numbers = json.loads((out / "adaptation.json").read_text())
    assert (numbers["fine_tuning"], numbers["k_shot"]["low"]) == (None, None)
    text = Page((out / "report.html").read_text(encoding="utf-8")).text
    assert "One adaptation: no interval exists." in text
    assert "fine-tuned" not in text


def test_scratch_and_fine_tuning_meet_the_same_episodes(runs, monkeypatch):
    agent = load_meta_agent([runs / "imt"], seed=4)
    task = new_task(agent, {"goal_x": 0.3, "goal_y": -0.2})
    agent.adapt(task, 1)
    played, trained = [], []
    evaluate, train = QLearner.evaluate, QLearner.train

    def seen(learner, *args, seed=None, **options):
        played.append(seed)
        return evaluate(learner, *args, seed=seed, **options)

    def told(learner, *args, seed=None, **options):
        trained.append(seed)
        return train(learner, *args, seed=seed, **options)

    monkeypatch.setattr(QLearner, "evaluate", seen)
    monkeypatch.setattr(QLearner, "train", told)
    agent.fine_tune(40)
    from_scratch(agent, task, 40)
    from_scratch(agent, task, 40, seed=5)
    assert len(played) == 6
    assert len(set(played[:4])) == 1
    assert trained[0] == trained[1] != trained[2]
    assert played[0] not in trained
    assert played[4] != played[0]


def test_a_loaded_run_of_imt_weighs_as_its_learner_does(runs):
    learner = load_imt(runs / "imt")
    agent = load_meta_agent([runs / "imt"])
    dataset = learner.reference_policy.record({"goal_x": 0.2, "goal_y": 0.2}, 400, 3)
    vectors = learner.embedding.vector(dataset)[None]
    met = Adapted({}, learner.embed([dataset]), np.zeros((0, 0)), np.array([len(dataset)]), vectors)
    expected = learner.reweigh(met, learner.config.routing).weights[:, 0]
    np.testing.assert_allclose(agent.router.weigh(dataset, learner.accuracy), expected, rtol=1e-12)
    assert len(learner.rounds) == 2
    learner.close()


def test_plain_runs_act_together(runs, capsys):
    words = (*poles(runs), "--task", "length=0.7", "--episodes", 2, "--repeats", 1)
    for router in ("embedding", "uniform", "best", "return"):
        assert adapt(*words, "--router", router) == 0
        text = capsys.readouterr().out
        assert f"3 sub-agents, router {router}, aggregation weighted" in text
        assert "pole0.9 (length=0.9)" in text
        assert "chance" in text


def test_k_shot_points_are_adaptations_of_their_own(runs):
    agent = load_meta_agent(poles(runs))
    task = new_task(agent, {"length": 0.7})
    found = k_shot(agent, task, (0, 2), repeats=3, episodes=4, seed=1)
    assert found.returns.shape == (3, 2)
    assert (found.returns[:, 0] == found.returns[0, 0]).all()  # nothing is drawn without episodes
    assert found.steps[0] == 0
    assert found.steps[1] > 10
    assert found.curve.value[1] == pytest.approx(found.returns[:, 1].mean())
    with pytest.raises(ValueError, match=r"shots is \[2, 1\]; must be numbers >= 0 that rise"):
        k_shot(agent, task, (2, 1))
    with pytest.raises(ValueError, match="repeats is 0; must be >= 1"):
        k_shot(agent, task, repeats=0)
    assert chance(agent, task) == pytest.approx(record(task, "random", episodes=2000).returns.mean(), rel=0.3)


def test_a_new_task_has_what_the_others_have_in_common(runs):
    agent = load_meta_agent(poles(runs), UniformRouter())
    for sub_agent in agent.sub_agents:
        params = {**sub_agent.task.params, "masspole": 0.3}
        sub_agent.task = type(sub_agent.task)(sub_agent.name, "CartPole-v1", params)
    assert dict(new_task(agent, {"length": 0.3}).params) == {"masspole": 0.3, "length": 0.3}
    assert dict(new_task(agent, {"length": 0.3, "masspole": 0.1}).params) == {"masspole": 0.1, "length": 0.3}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is a place where nobody can write")
def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(runs, capsys):
    assert adapt(runs / "imt", "--task", "goal_x=0,goal_y=0", "--out", "/proc/none/adapted") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("metarl adapt: error: --out /proc/none/adapted: /proc cannot be written (")
    assert captured.out == ""


def test_mistakes_are_told_in_one_line(runs, capsys, tmp_path):
    imt, (short, middle, long) = runs / "imt", poles(runs)
    for words, message in (
        ((imt, "--task", "goal_x=0.3"), "the task has no goal_y, in which the sub-agents' tasks differ; give it too"),
        ((imt, "--task", "goal_z=0.3"), "unknown parameter of PointRobot-v0 'goal_z'; did you mean"),
        ((imt, "--task", "goal_x"), "--task goal_x: 'goal_x' is not NAME=VALUE with a number"),
        ((imt, "--task", "goal_x=nan"), "'goal_x=nan' is not NAME=VALUE with a number"),
        ((imt, "--task", "goal_x=1,goal_x=2"), "goal_x comes twice"),
        ((short, middle, long, "--task", "length=-3"), "length[0] is -3.0; must be > 0"),
        (
            (short, "--task", "length=0.7"),
            "router 'embedding' needs the tasks of at least 3 sub-agents, and there is 1",
        ),
        ((short, "--task", "length=0.7", "--router", "return"), "router 'return' chooses by returns, and there is one"),
        ((short, imt, "--task", "length=0.7"), "imt is a run of imt, whose submodels are a meta-agent by themselves"),
        ((short, runs / "acrobot", "--task", "length=1", "--router", "uniform"), "differ in their observation space"),
        (
            (short, middle, long, "--task", "length=1", "--router", "emb"),
            "unknown router 'emb'; valid: best, embedding",
        ),
        ((imt, "--task", "goal_x=0,goal_y=0", "--aggregation", "sum"), "aggregation='sum': choose one of weighted"),
        ((imt, "--task", "goal_x=0,goal_y=0", "--scratch"), "--scratch learns for as many steps as --fine-tune"),
        ((imt, "--task", "goal_x=0,goal_y=0", "--save", tmp_path / "no" / "x"), "there is no folder"),
        ((imt, "--task", "goal_x=0,goal_y=0", "--out", imt), "the folder holds other files and no adaptation.json"),
        ((imt, "--task", "goal_x=0,goal_y=0", "--out", imt / "config.json" / "x"), "config.json is a file; expected a"),
        ((imt, "--task", "goal_x=0,goal_y=0", "--device", "gpu"), "unknown device 'gpu'"),
        ((tmp_path / "none", "--task", "length=1"), "is not a run (no config.json)"),
        ((imt,), "arguments are required: --task"),
    ):
        assert adapt(*words, "--repeats", 1) == 2, words
        captured = capsys.readouterr()
        assert message in captured.err, words
        assert captured.err.startswith("metarl adapt: error: ")
        assert captured.err.count("\n") == 1
    assert not (imt / "report.html").exists()
    with pytest.raises(ConfigError, match="is a run of ddqn; expected imt"):
        load_imt(short)
    with pytest.raises(ConfigError, match="run_dirs is empty"):
        load_meta_agent([])
