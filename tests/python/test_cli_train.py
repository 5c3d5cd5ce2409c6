"""metarl train, eval and report end to end, interrupted and resumed, on a small DeepSea."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import time

import numpy as np
import pytest

from metarl_core.cli import main
from metarl_core.cli.main import COMMANDS
from metarl_core.runs import RunReader, validate_result

pytest.importorskip("torch")

from cli_helpers import assert_same_state, command, metarl, rows_without_clock

STEPS = 1000
SETTINGS = ["size=5", "num_envs=2", "checkpoint_interval=200", "log_interval=100", "evaluation_episodes=4"]
SETTINGS += ["members=3", "epochs=1", "batch_size=32"]  # quick, and still every part of the algorithm
TRAIN = ["train", "cder", "--env", "DeepSea-v0", "--seed", "3", "--steps", str(STEPS), *SETTINGS]


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
    for name in ("visitation", "priorities"):
        mine, theirs = RunReader(run).arrays(name), RunReader(whole).arrays(name)
        for key in theirs:
            np.testing.assert_array_equal(mine[key], theirs[key])
    mine, theirs = RunReader(run).result, RunReader(whole).result
    for key in ("status", "solved", "episodes", "episodes_to_solve", "environment_steps", "evaluation_return"):
        assert mine[key] == theirs[key], key
    first, second = (RunReader(folder).load_checkpoint() for folder in (run, whole))
    assert_same_state(first, second)


def interrupt(run, after_step, number):
    """Start the training, send a signal once ``after_step`` was logged, return status, stdout, stderr."""
    process = subprocess.Popen(command(*TRAIN, "--out", run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        path = run / "metrics.jsonl"
        if path.exists() and f'"step": {after_step},' in path.read_text():
            break
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_run_directory_is_complete(whole):
    run, out = whole
    reader = RunReader(run)
    validate_result(reader.result)
    assert reader.result["status"] == "finished"
    assert reader.result["environment_params"] == {"size": 5}
    assert reader.result["seed"] == 3
    assert reader.result["environment_steps"] == STEPS
    assert reader.result["episodes"] == STEPS // 5 == len(reader.episodes["episode"])
    np.testing.assert_array_equal(reader.metrics["step"][:3], [100, 200, 300])
    assert np.isfinite(reader.metrics["loss"][-1])
    assert np.isfinite(reader.metrics["epistemic_std"][-1])
    assert reader.visitation["visits"].sum() == STEPS
    assert reader.priorities["counts"].sum() > 0
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    with (run / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(reader.metrics["step"])
    assert re.match(r"training cder on DeepSea-v0 \(size=5\), seed 3, cpu -> ", out)
    assert f"run: {run}\n" in out
    assert "Traceback" not in out


def test_bad_episode_fraction_agrees_with_the_result(whole):
    reader = RunReader(whole[0])
    fraction = np.cumsum(reader.episodes["bad_episode"]) / reader.episodes["episode"]
    below = np.flatnonzero(fraction < 0.9)
    assert reader.result["solved"] == bool(len(below))
    assert reader.result["episodes_to_solve"] == (int(below[0]) + 1 if len(below) else None)


def test_ctrl_c_then_resume_equals_the_uninterrupted_run(whole, tmp_path):
    run = tmp_path / "run"
    status, _, err = interrupt(run, 500, signal.SIGINT)
    assert status == 130, err
    assert "Traceback" not in err
    assert err.endswith(f"go on with: metarl train --resume {run}\n")
    result = RunReader(run).result
    assert result["status"] == "interrupted"
    assert 500 <= result["environment_steps"] < STEPS
    done = metarl("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("resuming cder on DeepSea-v0")
    assert_same_run(run, whole[0])


def test_sigkill_then_resume_equals_the_uninterrupted_run(whole, tmp_path):
    run = tmp_path / "run"
    status, _, _ = interrupt(run, 500, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert RunReader(run).result is None
    done = metarl("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert_same_run(run, whole[0])


def test_eval(whole, tmp_path):
    run, _ = whole
    first = metarl("eval", run, "--episodes", "6", "--seed", "5")
    assert first.returncode == 0, first.stderr
    assert re.search(r"^episodes +6 \(seed 5, checkpoint of step 1,000\)$", first.stdout, re.MULTILINE)
    outcome = json.loads((run / "evaluation.json").read_text())
    assert len(outcome["returns"]) == 6
    assert outcome["return_mean"] == pytest.approx(np.mean(outcome["returns"]))
    assert metarl("eval", run, "--episodes", "6", "--seed", "5").stdout == first.stdout


def test_report_of_a_trained_run(whole, tmp_path):
    pytest.importorskip("matplotlib")
    done = metarl("report", whole[0], "--out", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "r.html").read_text()
    assert html.count('src="data:image/png;base64,') == html.count("<img ") == 6
    assert "metarl train cder --env DeepSea-v0 --seed 3 --steps 1000" in html


def test_a_diverged_run_is_one_line_and_keeps_its_record(tmp_path):
    run = tmp_path / "run"
    words = ["train", "ddqn", "--env", "CartPole-v1", "--steps", "2000", "lr=1e30", "momentum=0.9", "log_interval=100"]
    done = metarl(*words, "--out", run)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("metarl train: error: ")
    assert done.stderr.count("\n") == 1
    assert len(RunReader(run).metrics["step"]) > 0
    assert RunReader(run).result is None


def one_line_error(*words, capsys):
    status = main([str(word) for word in words])
    out = capsys.readouterr()
    assert status == 2
    assert out.err.count("\n") == 1
    return out.err.strip()


def test_a_folder_with_a_run_is_not_overwritten_and_a_finished_one_not_resumed(whole, capsys):
    run, _ = whole
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    assert f"{run} holds a run already: go on with --resume {run}" in one_line_error(
        *TRAIN, "--out", run, capsys=capsys
    )
    assert "is finished after 1,000 steps" in one_line_error("train", "--resume", run, capsys=capsys)
    assert "leave out --seed size=7" in one_line_error("train", "--resume", run, "--seed", "4", "size=7", capsys=capsys)
    assert before == {path.name: path.stat().st_mtime_ns for path in run.iterdir()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ceder"], "unknown algorithm 'ceder'; did you mean 'cder'? valid: cder, ddqn, ddqn-per"),
        (["cder", "--env", "DeepSee-v0"], "unknown environment 'DeepSee-v0'; did you mean 'DeepSea-v0'? valid: "),
        # Known where Meta-World is not installed, too; else its own complaint about the missing env_name.
        (["cder", "--env", "Meta-World/ML1-train"], "Meta-World/ML1-train: "),
        (["cder", "sizze=20"], "did you mean 'size'"),
        (["cder", "size=big"], "size"),
        (["cder", "kappa=-1"], "kappa"),
        (["cder", "--env", "CartPole-v1", "compact_obs=true"], "compact_obs"),
        (["cder", "ddqn"], "'ddqn' is neither key=value nor the only algorithm"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--resume", "nowhere"], "nowhere holds no run to resume"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expected in one_line_error("train", *words, capsys=capsys)
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_algorithms_that_exist(capsys):
    from metarl_core.agents.registry import ALGORITHMS

    assert "train" in COMMANDS
    assert main(["train", "--help"]) == 0
    assert f"[{'|'.join(ALGORITHMS)}]" in capsys.readouterr().out
    for algorithm in ALGORITHMS:
        assert main(["train", algorithm, "--help"]) == 0
        assert "gamma=" in capsys.readouterr().out


def test_the_default_folder_names_the_run(tmp_path):
    words = ["train", "ddqn-per", "--env", "DeepSea-v0", "--steps", "40", "size=4", "evaluation_episodes=0"]
    done = metarl(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"DeepSea-v0-ddqn-per-seed0-\d{8}-\d{6}", run.name)
