"""``metarl continual``."""

from __future__ import annotations

import csv
import json

import pytest

from metarl_core.cli import main

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

TINY = [
    "hidden=8",
    "num_envs=4",
    "batch_size=16",
    "learning_starts=16",
    "evaluations=1",
    "evaluation_episodes=2",
    "reference_steps=64",
    "memory=80",
]
COMMAND = ["continual", "--sequence", "PointRobot-tasks", "--tasks", "2", "--steps", "200", "--held-out", "1"]


def run(*words, methods="finetune", out="out"):
    return main([*COMMAND, "--methods", methods, "--out", str(out), *TINY, *words])


def test_a_repeated_command_runs_what_is_missing(tmp_path, capsys):
    out = tmp_path / "out"
    assert run(methods="finetune,scratch", out=out) == 0
    first = capsys.readouterr().out
    assert "2 of 2 results to make" in first
    results = out / "results"
    before = {path.name: path.stat().st_mtime_ns for path in results.iterdir()}
    assert sorted(before) == ["finetune-seed0.json", "scratch-seed0.json"]
    assert run("--seed", "0-1", methods="ewc,finetune", out=out) == 0
    second = capsys.readouterr().out
    assert "3 of 4 results to make" in second
    assert all((results / name).stat().st_mtime_ns == time for name, time in before.items())
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("ewc", "0"),
        ("ewc", "1"),
        ("finetune", "0"),
        ("finetune", "1"),
    ]
    assert {row["environment_steps"] for row in rows} == {"400"}
    assert "| ewc | given |" in second
    assert (out / "table.md").read_text() in second
    assert "PointRobot-tasks" in (out / "report.html").read_text(encoding="utf-8")
    assert len(list(csv.DictReader((out / "curves.csv").read_text().splitlines()))) == 4 * 3 * 2


def test_options_of_one_method(tmp_path, capsys):
    assert run("ewc.ewc_weight=5", "lr=0.002", methods="ewc,l2", out=tmp_path) == 0
    weights = {}
    for method in ("ewc", "l2"):
        config = json.loads((tmp_path / "results" / f"{method}-seed0.json").read_text())["config"]
        assert config["lr"] == 0.002
        weights[method] = config["ewc_weight"]
    assert weights == {"ewc": 5.0, "l2": 100.0}
    capsys.readouterr()
    assert run("ewc.ewc_weight=6", "lr=0.002", methods="ewc", out=tmp_path) == 1
    assert "was made with another ewc_weight of the config (5.0, now 6.0)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "1"], "tasks=1: expected at least 2, as one task alone has nothing to forget"),
        (["--methods", "finetune,ewx"], "unknown method 'ewx'; did you mean 'ewc'? valid: finetune, multihead, "),
        (["--methods", "ewc,ewc"], "--methods: ewc comes twice"),
        (["--methods", ","], "--methods is empty"),
        (["--sequence", "PointRobots"], "unknown sequence 'PointRobots'; did you mean 'PointRobot-tasks'?"),
        (["ewc.lr=1"], "'ewc.lr=1': 'ewc' is not among the methods finetune"),
        *(
            ([f"finetune.{word}"], f"'finetune.{word}': must be the same for all methods; give {word}")
            for word in (
                "evaluations=2",
                "evaluation_episodes=3",
                "reference_steps=70",
                "memory=90",
                "gamma=0.9",
                "action_levels=5",
                "normalize_obs=false",
            )
        ),
        (
            ["--methods", "scratch,imt", "evaluations=4"],
            "imt: the first of evaluations=4 in a phase of 200 steps is due at step 50; expected at least "
            "reference_steps=64",
        ),
        (["--methods", "finetune,packnet", "--cycles", "2"], "packnet: cannot learn a task a second time"),
        (["lr"], "unexpected argument 'lr'; expected key=value or method.key=value"),
        (["lr=0"], "lr=0"),
        (["rate=1"], "unknown option 'rate'"),
        (["--seed", "x"], "--seed='x': expected seeds such as 3"),
        (["--split", "inner"], "split is 'inner'"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_written(words, message, tmp_path, capsys):
    assert run(*words, out=tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_sequence_and_the_lists(capsys):
    assert main(["continual"]) == 2
    assert "expected --sequence NAME" in capsys.readouterr().err
    assert main(["continual", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "CartPole-tasks" in shown
    assert "elastic weight consolidation" in shown
    assert "ewc_weight=100.0" in shown


def test_an_interrupt_keeps_what_is_finished(tmp_path, capsys, monkeypatch):
    from metarl_core.agents.continual import run as loop

    original, count = loop.run_method, []

    def stopped(*args, **kwargs):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(loop, "run_method", stopped)
    assert run(methods="finetune,l2", out=tmp_path) == 130
    assert "the same command goes on with what is missing" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["finetune-seed0.json"]
    assert run(methods="finetune,l2", out=tmp_path) == 0
    assert "1 of 2 results to make" in capsys.readouterr().out
    assert len(count) == 3


def test_a_seed_that_diverges_is_named_where_means_are_without_it(tmp_path, capsys, monkeypatch):
    from metarl_core.agents.common.learner import TrainingDivergedError
    from metarl_core.agents.continual import run as loop

    original = loop.run_method

    def diverging(sequence, method, config, *, seed, **options):
        if (method, seed) == ("l2", 1):
            raise TrainingDivergedError("loss is nan at gradient step 5; try a smaller lr")
        return original(sequence, method, config, seed=seed, **options)

    monkeypatch.setattr(loop, "run_method", diverging)
    assert run("--seed", "0-1", methods="finetune,l2", out=tmp_path) == 1
    shown = capsys.readouterr()
    assert "l2, seed 1: loss is nan" in shown.err
    text = (tmp_path / "table.md").read_text()
    assert "| l2 (n = 1 of 2 seeds) | given |" in text
    assert "| finetune | not given |" in text
    assert "Diverged, in no mean: l2 seed 1." in text
    assert "Diverged, in no mean: l2 seed 1." in (tmp_path / "report.html").read_text(encoding="utf-8")
