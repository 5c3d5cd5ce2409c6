"""metarl train imt end to end: interrupted and resumed, evaluated, reported, and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

import numpy as np
import pytest

from metarl_core.cli import main
from metarl_core.runs import RunReader, validate_result

pytest.importorskip("torch")

from cli_helpers import command, metarl, rows_without_clock

SETTINGS = ["val_tasks=2", "test_tasks=3", "hidden=16", "predictor_hidden=16", "reference_steps=400", "tolerance=0"]
SETTINGS += ["embedding_features=8", "pretrain_updates=20", "rounds=4", "steps_per_round=200", "submodel_updates=30"]
SETTINGS += ["head_updates=30", "batch_size=16", "replay_capacity=2000", "evaluation_episodes=2", "patience=10"]
TRAIN = ["train", "imt", "--family", "CartPole-tasks", "--tasks", "4", "--split", "interpolation", "--seed", "3"]
TRAIN += SETTINGS
STEPS = 4 * (400 + 4 * 200)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed, and what the command printed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    done = metarl(*TRAIN, "--out", run)
    assert done.returncode == 0, done.stderr
    return run, done.stdout


def assert_same_run(run, whole):
    assert rows_without_clock(run) == rows_without_clock(whole)
    assert (run / "episodes.csv").read_bytes() == (whole / "episodes.csv").read_bytes()
    for name in ("imt_rounds", "imt_tasks"):
        mine, theirs = RunReader(run).arrays(name), RunReader(whole).arrays(name)
        assert list(mine) == list(theirs)
        for key in theirs:
            np.testing.assert_array_equal(mine[key], theirs[key])
    mine, theirs = RunReader(run).result, RunReader(whole).result
    for key in ("status", "episodes", "environment_steps", "evaluation_return", "test_returns", "rounds", "stop"):
        assert mine[key] == theirs[key], key
    first, second = (RunReader(folder).load_checkpoint()["learner"]["models"] for folder in (run, whole))
    for key in first:
        assert first[key].numpy().tobytes() == second[key].numpy().tobytes()


def test_the_run_and_what_is_printed(whole):
    run, out = whole
    reader = RunReader(run)
    validate_result(reader.result)
    assert reader.result["status"] == "finished"
    assert reader.result["environment_steps"] == STEPS
    assert reader.config["env_id"] == "CartPole-v1"
    assert (reader.config["env_tasks"], reader.config["env_tasks_split"]) == (4, "interpolation")
    assert out.startswith("training imt on CartPole-v1 (4 tasks, split interpolation), seed 3, cpu -> ")
    assert "round 4" in out
    assert f"run: {run}\n" in out
    assert "Traceback" not in out
    table = out[out.index("mean return on 3 held-out tasks:\n") :].splitlines()[1:]
    shown = dict(re.match(r"  (\w+) +([-\d.e+]+)  \S", line).groups() for line in table if line.startswith("  "))
    assert shown == {name: f"{value:.4g}" for name, value in reader.result["test_returns"].items()}
    values = [float(value) for value in shown.values()]
    assert values == sorted(values, reverse=True)
    for name in ("imt", "chance", "single_accuracy", "single_hindsight", "uniform", "vote", "soup", "shuffled"):
        assert name in shown
    used = reader.result
    assert table[len(shown)] == (
        f"used: {STEPS:,} environment steps (and {used['selection_steps']:,} on validation tasks), "
        f"{used['parameters']:,} parameters, {used['stored_bytes']:,} bytes stored"
    )
    # Of what was saved: the trained networks, and the replay, which is full.
    models = reader.load_checkpoint()["learner"]["models"]
    kept = [v for n, v in models.items() if n.split(".")[0] in ("common", "trunks", "heads", "predictors")]
    assert used["parameters"] == sum(v.numel() for v in kept)
    assert used["stored_bytes"] > 2000 * (2 * 4 * 4 + 8 + 4 + 1 + 4)


def test_the_report_is_written_and_can_be_written_again(whole, tmp_path):
    pytest.importorskip("matplotlib")
    run, out = whole
    assert f"report: {run / 'report.html'}\n" in out
    done = metarl("report", run, "--out", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    for page in (run / "report.html", tmp_path / "r.html"):
        html = page.read_text()
        assert "imt on 3 held-out tasks" in html
        for title in ("Held-out tasks, one by one", "Each submodel by itself", "Similarity of the tasks"):
            assert f"<h2>{title}</h2>" in html
        for name, value in RunReader(run).result["test_returns"].items():
            assert f'<th scope="row">{name}</th><td>{value:.4g}</td>' in html
        assert "Transductive" not in html
        result = RunReader(run).result
        used = [result[n] for n in ("environment_steps", "selection_steps", "parameters", "stored_bytes")]
        assert f"<tr>{''.join(f'<td>{value:,}</td>' for value in used)}</tr>" in html
        assert "metarl train imt --family CartPole-tasks --tasks 4 --split interpolation --seed 3" in html
    pictures = {path.stem for path in (tmp_path / "r_files").glob("*.png")}
    assert pictures >= {
        "learning",
        "forest",
        "by-task",
        "submodels",
        "embeddings",
        "similarity",
        "averaging",
        "routing",
    }


def test_a_report_of_several_seeds_and_of_another_algorithm(whole, tmp_path):
    pytest.importorskip("matplotlib")
    run, _ = whole
    second = tmp_path / "seed4"
    words = [*TRAIN, "--out", second]
    words[words.index("--seed") + 1] = "4"
    done = metarl(*words, "--no-report")
    assert done.returncode == 0
    assert f"next: metarl report {second}\n" in done.stdout
    assert not (second / "report.html").exists()
    other = tmp_path / "ddqn"
    done = metarl("train", "ddqn", "--family", "CartPole-tasks", "--tasks", "4", "--steps", "600", "--out", other)
    assert done.returncode == 0, done.stderr
    assert RunReader(other).config["env_tasks"] == 4
    done = metarl("report", run, second, other, "--out", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "r.html").read_text()
    returns = [RunReader(folder).result["test_returns"]["imt"] for folder in (run, second)]
    assert f'<th scope="row">imt</th><td>{np.mean(returns):.4g}</td>' in html
    assert "2 seeds; returns undiscounted" in html


def test_eval(whole):
    run, _ = whole
    done = metarl("eval", run, "--episodes", "6", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^episodes +6 \(seed 5, checkpoint of step {STEPS:,}\)$", done.stdout, re.MULTILINE)
    outcome = json.loads((run / "evaluation.json").read_text())
    assert len(outcome["tasks"]) == 3
    np.testing.assert_allclose(np.mean([task["return_mean"] for task in outcome["tasks"]]), outcome["return_mean"])
    (run / "evaluation.json").unlink()


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_signal_then_resume_equals_the_uninterrupted_run(number, expected, whole, tmp_path, capsys):
    run = tmp_path / "run"
    process = subprocess.Popen(command(*TRAIN, "--out", run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        path = run / "metrics.jsonl"
        if path.exists() and '"round": 2,' in path.read_text():
            break
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == expected, err
    if number != signal.SIGKILL:
        assert err.endswith(f"go on with: metarl train --resume {run}\n")
        result = RunReader(run).result
        assert result["status"] == "interrupted"
        assert result["rounds"] == len(RunReader(run).metrics["round"]) >= 2
        assert main(["eval", str(run), "--episodes", "3"]) == 0
        assert main(["report", str(run), "--out", str(tmp_path / "r.html")]) == 0
        assert "held-out tasks</h2>" not in (tmp_path / "r.html").read_text()  # nothing was compared yet
    done = metarl("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("resuming imt on CartPole-v1")
    assert_same_run(run, whole[0])
    assert f"{run} is finished after {STEPS:,} steps" in one_line_error("--resume", str(run), capsys=capsys)


def one_line_error(*words, capsys):
    assert main(["train", *words]) == 2
    out = capsys.readouterr()
    assert out.err.count("\n") == 1
    return out.err.strip()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["imt", "--family", "CartPole"],
            "--family: unknown family 'CartPole'; did you mean 'CartPole-tasks'? valid: ",
        ),
        (["imt", "--env", "Taxi-v4"], "Taxi-v4 has no family of tasks; choose one of Acrobot-v1"),
        (
            ["imt", "--family", "CartPole-tasks", "--env", "Acrobot-v1"],
            "--family CartPole-tasks is of CartPole-v1, and --env is Acrobot-v1; give one of the two",
        ),
        (["imt", "--split", "sideways"], "unknown split 'sideways'; valid: auto, extrapolation, interpolation, random"),
        (["imt", "--family", "Maze-tasks", "--split", "interpolation"], "as the tasks of Maze-v0 are seeds"),
        (["imt", "--tasks", "2"], "env_tasks=2: IMT needs at least 3 training tasks"),
        (["imt", "--tasks", "0"], "--tasks: expected an integer >= 1, got '0'"),
        (["imt", "--steps", "100"], "total_steps=100: 8 tasks with reference_steps=4096"),
        (["imt", "roundz=3"], "did you mean 'rounds'?"),
        (["imt", "preset=literal"], "unknown preset 'literal'"),
        (
            ["ddqn", "--family", "CartPole-tasks"],
            "--family CartPole-tasks without --tasks: there are no tasks; add --ta",
        ),
        (["ddqn", "--split", "random", "--env", "CartPole-v1"], "--split random without --tasks"),
        (["--resume", "nowhere", "--tasks", "4"], "leave out --tasks"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expected in one_line_error(*words, capsys=capsys)
    assert list(tmp_path.iterdir()) == []


def test_too_few_reference_transitions_leave_nothing_and_say_what_to_do(tmp_path, capsys):
    words = ["imt", "--family", "PointRobot-tasks", "reference_steps=64", "--out", str(tmp_path / "run")]
    # 8 transitions a row, 8 cut episodes: enough to split; but none of them for held_out=0.05.
    error = one_line_error(*words, "held_out=0.05", capsys=capsys)
    assert "of which held_out=0.05 cannot be kept apart" in error
    assert "larger reference_steps" in error
    assert not (tmp_path / "run").exists()


def test_help_lists_the_switches(capsys):
    assert main(["train", "imt", "--help"]) == 0
    out = capsys.readouterr().out
    for name in ("rounds=15", "aggregation=soup", "test_tasks=8", "preset=corrected"):
        assert f"  {name}\n" in out
    assert "with continuous actions" not in out  # the same switches for both kinds
