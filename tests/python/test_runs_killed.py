"""Training that is killed again and again ends with the files of a run that nothing disturbed."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from killed_runs import Command, Kills, folders, kill_train, whole_run

KILLS = int(os.environ.get("METARL_KILLS", "100"))
CDER = ["train", "cder", "--env", "DeepSea-v0", "--seed", "3", "size=5", "num_envs=2", "checkpoint_interval=100"]
CDER += ["log_interval=50", "evaluation_episodes=4", "members=3", "epochs=1", "batch_size=32"]
IMT = ["train", "imt", "--family", "CartPole-tasks", "--tasks", "4", "--split", "interpolation", "--seed", "3"]
IMT += ["val_tasks=2", "test_tasks=3", "hidden=16", "predictor_hidden=16", "reference_steps=400", "tolerance=0"]
IMT += ["embedding_features=8", "pretrain_updates=20", "rounds=6", "steps_per_round=200", "submodel_updates=30"]
IMT += ["head_updates=30", "batch_size=16", "replay_capacity=2000", "evaluation_episodes=2", "patience=10"]
CONTINUAL = ["continual", "--sequence", "PointRobot-tasks", "--tasks", "2", "--steps", "2000", "--held-out", "1"]
CONTINUAL += ["--methods", "finetune,scratch,ewc,imt", "hidden=8", "num_envs=4", "batch_size=16"]
CONTINUAL += ["learning_starts=16", "evaluations=1", "evaluation_episodes=2", "reference_steps=64", "memory=80"]


def test_three_kills_cost_a_training_run_nothing(tmp_path: Path) -> None:
    print(kill_train([*CDER, "--steps", "1000"], tmp_path, wanted=3, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "share"),
    [([*CDER, "--steps", "4000"], 0.5), (IMT, 0.3)],
    ids=["cder on DeepSea", "imt on CartPole-tasks"],
)
def test_many_kills_cost_a_training_run_nothing(words: list[str], share: float, tmp_path: Path) -> None:
    kills = kill_train(words, tmp_path, round(KILLS * share), seed=1)
    print(f"\n{words[1]}: {kills}")
    assert kills.while_doing["while a checkpoint was written"] > 0


def continual_contents(folder: Path) -> dict[str, object]:
    """What ``metarl continual`` wrote, but for what a clock measured."""
    found: dict[str, object] = {}
    for path in sorted((folder / "results").glob("*.json")):
        record = json.loads(path.read_text())
        del record["result"]["seconds"]
        del record["commit"]  # says whether a source file was changed meanwhile
        found[path.name] = record
    found["curves"] = (folder / "curves.csv").read_bytes()
    found["table"] = (folder / "table.md").read_bytes()
    return found


@pytest.mark.slow
def test_many_kills_cost_a_continual_comparison_nothing(tmp_path: Path) -> None:
    """A method that was under way is run again; those that had ended are kept."""
    rng, kills = random.Random(2), Kills(round(KILLS * 0.2))
    seconds = whole_run(CONTINUAL, tmp_path / "whole")
    whole = continual_contents(tmp_path / "whole")
    for name in folders():
        folder, killed = tmp_path / name, True
        while killed:
            kept = {path: path.stat().st_mtime_ns for path in folder.glob("results/*.json")}
            with Command([*CONTINUAL, "--out", folder], folder.with_suffix(".log")) as process:
                if kills.done < kills.wanted:
                    time.sleep(rng.uniform(0, seconds * 0.7))
                    process.kill()
                killed = process.killed()
            kills.done += killed
            kills.while_doing["at random moments"] += killed
            assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
        assert continual_contents(folder) == whole
        kills.whole_runs += 1
        if kills.done >= kills.wanted:
            break
    print(f"\ncontinual: {kills}")
