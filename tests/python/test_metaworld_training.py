"""Agents for continuous actions on Meta-World's reach."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="needs metaworld: make test-metaworld", exc_type=ImportError)
pytest.importorskip("torch")

from metarl_core.agents import evaluate, resolve_config, train
from metarl_core.agents.loop import Trainer
from metarl_core.runs import RunWriter

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SMALL = ["total_steps=400", "max_episode_steps=50", "num_envs=2", "evaluation_episodes=2", "log_interval=100"]
SMALL += ["learning_starts=100", "batch_size=16", "hidden=8", "checkpoint_interval=400"]


def config_of(algorithm, *more):
    own = ["train_every=2"] if algorithm != "cder" else ["signal_hidden=8", "members=2", "candidates=8"]
    return resolve_config(algorithm, "Meta-World/MT1", None, [*SMALL, *own, *more])


@pytest.mark.parametrize("algorithm", ["cder", "sac", "td3"])
def test_reach_is_trained_evaluated_and_resumed(tmp_path, algorithm):
    if algorithm != "cder":
        pytest.importorskip("stable_baselines3")
    config = config_of(algorithm)
    assert config.env_params["env_name"] == "reach-v3"
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        result = train(config, run)
    assert (result["environment_steps"], result["episodes"]) == (400, 8)
    assert 0 < result["evaluation_return"] <= 50 * 10
    again = evaluate(tmp_path / "run", episodes=2)
    assert again["return_mean"] == pytest.approx(result["evaluation_return"])
    # Environments that are not native cannot be saved: a resumed run starts new episodes.
    (tmp_path / "run" / "result.json").unlink()
    with RunWriter(tmp_path / "run", config.to_dict(), resume=True) as run:
        assert train(config, run)["environment_steps"] == 400


def test_hidden_goals_are_trained_on(tmp_path):
    # Gymnasium has these ids as vector environments alone.
    own = ["env_name=push-v3", "signal_hidden=8", "members=2", "candidates=8", "z_min=0", "z_max=500"]
    config = resolve_config("cder", "Meta-World/ML1-train", None, [*SMALL, *own])
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        assert train(config, run)["episodes"] == 8


def test_actions_that_reach_the_environment_are_in_its_box(tmp_path):
    config = config_of("cder")
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        for _ in range(60):
            trainer.act()
            trainer.learn()
        stored = trainer.replay.sample(64, beta=0.0)
        trainer.envs.close()
    assert stored["action"].shape == (64, 4)
    assert np.abs(stored["action"]).max() <= 1
    assert np.unique(stored["action"], axis=0).shape[0] > 30


@pytest.mark.slow
def test_cder_learns_to_reach(tmp_path):
    config = resolve_config("cder", "Meta-World/MT1")
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        result = train(config, run)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first = next(row["return_mean"] for row in rows if row["return_mean"] is not None)
    print("first episodes", first, "evaluation", result["evaluation_return"])
    assert result["evaluation_return"] > 2 * first
