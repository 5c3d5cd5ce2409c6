"""Run directories: what is written is what is read, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl_core import CheckpointCorruptError, CheckpointMismatchError, RunError
from metarl_core.runs import METRIC_COLUMNS, RESULT_FIELDS, RunReader, RunWriter, validate_result, versions

CONFIG = {"algorithm": "cder", "env_id": "DeepSea-v0", "env_params": {"size": 4}, "seed": 3, "total_steps": 40}
RESULT = {
    "solved": True,
    "episodes": 10,
    "episodes_to_solve": 7,
    "environment_steps": 40,
    "final_return": 0.5,
    "best_return": 0.99,
    "evaluation_return": None,
    "wall_time_seconds": 2.0,
}


def play(run, first, last, checkpoint_at=()):
    """One 'run': its rows depend on the step alone, as a deterministic loop's do."""
    for step in range(first, last + 1):
        if step % 4 == 0:
            run.episode(
                {
                    "episode": step // 4,
                    "step": step,
                    "env": 0,
                    "return": step / 3,
                    "length": 4,
                    "bad_episode": step < 20,
                }
            )
        if step % 10 == 0:
            row = {"step": step, "loss": 1 / step, "return_mean": np.float32(step / 7)}
            if step >= 20:
                row["extra"] = step
            run.metrics(row)
        if step in checkpoint_at:
            run.save_checkpoint({"step": step, "weights": np.full(3, step)})


def tables(run_dir):
    return {name: (run_dir / name).read_bytes() for name in ("metrics.jsonl", "metrics.csv", "episodes.csv")}


def test_what_is_written_is_what_is_read(tmp_path):
    run_dir = tmp_path / "deep" / "run"
    with RunWriter(run_dir, CONFIG) as run:
        play(run, 1, 40, checkpoint_at=[40])
        run.save_array("visitation", visits=np.arange(16).reshape(4, 4))
        run.save_array("priorities", counts=[1, 2], edges=[0.1, 1.0, 10.0])
        written = run.finish(RESULT)
    reader = RunReader(run_dir)
    assert reader.config == CONFIG
    assert reader.result == written
    assert reader.result["environment"] == "DeepSea-v0"
    assert reader.result["environment_params"] == {"size": 4}
    assert reader.result["steps_per_second"] == 20.0
    assert reader.result["versions"] == versions()
    np.testing.assert_array_equal(reader.metrics["step"], [10, 20, 30, 40])
    np.testing.assert_array_equal(reader.metrics["return_mean"], np.float32(reader.metrics["step"] / 7))
    np.testing.assert_array_equal(reader.metrics["extra"], [np.nan, 20, 30, 40])
    assert np.isnan(reader.metrics["beta"]).all()
    np.testing.assert_array_equal(reader.episodes["return"], np.arange(4, 41, 4) / 3)
    np.testing.assert_array_equal(reader.episodes["bad_episode"], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert reader.episodes["step"].dtype == np.int64
    np.testing.assert_array_equal(reader.visitation["visits"], np.arange(16).reshape(4, 4))
    np.testing.assert_array_equal(reader.priorities["counts"], [1, 2])
    assert reader.versions["hardware"]["cpu"]
    assert reader.load_checkpoint()["step"] == 40
    with (run_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*METRIC_COLUMNS, "extra"]
    assert [row["extra"] for row in rows] == ["", "20", "30", "40"]
    assert [float(row["loss"]) for row in rows] == [1 / step for step in (10, 20, 30, 40)]


@pytest.mark.parametrize("checkpoint_at", [5, 15, 20, 33, 40])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, checkpoint_at):
    with RunWriter(tmp_path / "whole", CONFIG) as run:
        play(run, 1, 40)
    with RunWriter(tmp_path / "cut", CONFIG) as run:
        assert run.load_checkpoint() is None
        play(run, 1, 40, checkpoint_at=[checkpoint_at])  # goes on after the checkpoint, then dies
    with RunWriter(tmp_path / "cut", CONFIG, resume=True) as run:
        state = run.load_checkpoint()
        assert state["step"] == checkpoint_at
        play(run, checkpoint_at + 1, 40)
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
    assert len(RunReader(tmp_path / "cut").versions["sittings"]) == 2


def test_resuming_without_a_checkpoint_starts_over(tmp_path):
    with RunWriter(tmp_path / "whole", CONFIG) as run:
        play(run, 1, 40)
    with RunWriter(tmp_path / "cut", CONFIG) as run:
        play(run, 1, 25)
    with RunWriter(tmp_path / "cut", None, resume=True) as run:
        assert run.load_checkpoint() is None
        assert run.config == CONFIG
        play(run, 1, 40)
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")


_KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_runs_writer import CONFIG, RunWriter, play
run = RunWriter(sys.argv[1], CONFIG)
play(run, 1, 37, checkpoint_at=[23])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_resumes_to_the_same_files(tmp_path):
    with RunWriter(tmp_path / "whole", CONFIG) as run:
        play(run, 1, 40)
    here = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "cut"), here], check=False)
    assert killed.returncode == -9
    assert RunReader(tmp_path / "cut").result is None
    with RunWriter(tmp_path / "cut", CONFIG, resume=True) as run:
        assert run.load_checkpoint()["step"] == 23
        play(run, 24, 40)
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")


def test_an_incomplete_last_line_is_left_out_when_reading(tmp_path):
    with RunWriter(tmp_path / "run", CONFIG) as run:
        play(run, 1, 40)
    for name in ("metrics.jsonl", "episodes.csv"):
        with (tmp_path / "run" / name).open("ab") as file:
            file.write(b'{"step": 5' if name.endswith("jsonl") else b"11,4")
    reader = RunReader(tmp_path / "run")
    assert list(reader.metrics["step"]) == [10, 20, 30, 40]
    assert len(reader.episodes["step"]) == 10


def test_finishing_again_after_resuming_replaces_the_result(tmp_path):
    with RunWriter(tmp_path / "run", CONFIG) as run:
        run.save_checkpoint({"step": 1})
        run.finish({**RESULT, "status": "interrupted"})
    with RunWriter(tmp_path / "run", {**CONFIG, "device": "cuda"}, resume=True) as run:
        assert RunReader(tmp_path / "run").result is None
        run.finish(RESULT)
    reader = RunReader(tmp_path / "run")
    assert reader.result["status"] == "finished"
    assert reader.config["device"] == "cuda"


def test_the_configuration_of_a_run_is_fixed_but_for_the_device(tmp_path):
    config = {**CONFIG, "hyperparameters": {"lr": 0.1, "gamma": 0.9}}
    with RunWriter(tmp_path / "run", config) as run:
        run.save_checkpoint({"step": 1})
    stored = (tmp_path / "run" / "config.json").read_bytes()
    longer = {**config, "total_steps": 80, "hyperparameters": {"lr": 0.2, "gamma": 0.9}}
    with pytest.raises(CheckpointMismatchError) as error:
        RunWriter(tmp_path / "run", longer, resume=True)
    assert str(error.value).endswith("configuration: total_steps (40, now 80), hyperparameters.lr (0.1, now 0.2)")
    checkpoint = tmp_path / "run" / "checkpoints" / "latest.ckpt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-5])
    with pytest.raises(CheckpointCorruptError):
        RunWriter(tmp_path / "run", {**config, "device": "cuda"}, resume=True)
    assert (tmp_path / "run" / "config.json").read_bytes() == stored
    checkpoint.write_bytes(whole)
    newer = {**config, "hyperparameters": {**config["hyperparameters"], "new": 3}}

    def normalize(old):
        return {**old, "hyperparameters": {"new": 3, **old["hyperparameters"]}}

    with RunWriter(tmp_path / "run", newer, resume=True, normalize=normalize) as run:
        assert run.load_checkpoint() == {"step": 1}
    assert RunReader(tmp_path / "run").config == newer


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    with RunWriter(tmp_path / "run", CONFIG) as run:
        with pytest.raises(RunError, match="holds a run already"):
            RunWriter(tmp_path / "run", CONFIG)
        with pytest.raises(RunError, match="another process"):
            RunWriter(tmp_path / "run", CONFIG, resume=True)
        run.metrics({"step": 1})  # the first writer is not disturbed
    with pytest.raises(CheckpointMismatchError, match=r"seed \(3, now 4\)"):
        RunWriter(tmp_path / "run", {**CONFIG, "seed": 4}, resume=True)
    with pytest.raises(RunError, match="no run to resume"):
        RunWriter(tmp_path / "nothing", CONFIG, resume=True)
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(RunError, match="not a run"):
        RunReader(tmp_path)
    assert list(RunReader(tmp_path / "run").metrics["step"]) == [1]


@pytest.mark.parametrize("row", [{}, {"step": -1}, {"step": 1.5}, {"step": 1, "loss": [1.0]}, {"step": 1, "x": {}}])
def test_bad_metric_rows_are_refused_and_leave_no_trace(tmp_path, row):
    with RunWriter(tmp_path / "run", CONFIG) as run:
        with pytest.raises(ValueError, match=r"row\['"):
            run.metrics(row)
        run.metrics({"step": 2})
    assert list(RunReader(tmp_path / "run").metrics["step"]) == [2]


def test_bad_episode_rows_arrays_and_states_are_refused(tmp_path):
    with RunWriter(tmp_path / "run", CONFIG) as run:
        with pytest.raises(ValueError, match="missing columns"):
            run.episode({"episode": 1})
        with pytest.raises(ValueError, match=r"unknown columns \['colour'\]"):
            run.episode({"episode": 1, "step": 1, "env": 0, "return": 1.0, "length": 1, "colour": 1})
        with pytest.raises(ValueError, match="expected letters"):
            run.save_array("../x", a=1)
        with pytest.raises(ValueError, match="none of objects"):
            run.save_array("x", a=np.array([None]))
        run.save_checkpoint({"a": 1})
        with pytest.raises(TypeError, match="cannot hold"):
            run.save_checkpoint({"a": object()})
        assert run.load_checkpoint() == {"a": 1}
    assert len(RunReader(tmp_path / "run").episodes["step"]) == 0


def test_not_a_number_is_visible_in_valid_json(tmp_path):
    with RunWriter(tmp_path / "run", CONFIG) as run:
        run.metrics({"step": 1, "loss": float("nan"), "beta": np.float32("inf"), "epsilon": None})
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert (line["loss"], line["beta"], line["epsilon"]) == ("nan", "inf", None)
    metrics = RunReader(tmp_path / "run").metrics
    assert np.isnan(metrics["loss"][0])
    assert metrics["beta"][0] == np.inf


@pytest.mark.parametrize(
    ("field", "value"),
    [("solved", "yes"), ("seed", True), ("episodes", 1.5), ("status", "done"), ("episodes", None), ("algorithm", 3)],
)
def test_a_wrong_result_is_refused_and_the_run_stays_open(tmp_path, field, value):
    with RunWriter(tmp_path / "run", CONFIG) as run:
        with pytest.raises(ValueError, match=field):
            run.finish({**RESULT, field: value})
        assert not (tmp_path / "run" / "result.json").exists()
        validate_result(run.finish(RESULT))


def test_tensorboard_reads_the_events_also_after_a_resume(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    with RunWriter(tmp_path / "run", CONFIG) as run:
        play(run, 1, 40, checkpoint_at=[25])
    with RunWriter(tmp_path / "run", CONFIG, resume=True) as run:
        play(run, 26, 40)
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    points = [
        (event.step, value.tag, value.tensor.float_val[0])
        for event in loader.EventFileLoader(str(events)).Load()
        for value in event.summary.value
    ]
    losses = [(step, value) for step, tag, value in points if tag == "loss"]
    assert losses == [(step, np.float32(1 / step)) for step in (10, 20, 30, 40)]


def test_every_field_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "result-schema.md").read_text()
    for name in [*RESULT_FIELDS, *METRIC_COLUMNS]:
        assert re.search(rf"^\| `{name}` \|", text, re.MULTILINE), name


def test_writing_a_run_imports_neither_torch_nor_tensorboard(tmp_path):
    script = f"""
import sys
from metarl_core.runs import RunWriter
with RunWriter({str(tmp_path / "run")!r}, {CONFIG!r}) as run:
    run.metrics({{"step": 1, "loss": 0.5}})
    run.save_checkpoint({{"a": 1}})
assert not {{"torch", "tensorboard", "gymnasium"}} & set(sys.modules), "imported"
"""
    subprocess.run([sys.executable, "-c", script], check=True)
