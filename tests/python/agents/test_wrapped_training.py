"""Training in environments that are not native."""

from __future__ import annotations

import json

import pytest
from run_helpers import StopAt

from metarl_core.agents import ConfigError, evaluate, resolve_config, train
from metarl_core.agents.loop import Trainer
from metarl_core.cli import main
from metarl_core.runs import RunWriter

SMALL = ["learning_starts=64", "batch_size=16", "hidden=8", "log_interval=100", "evaluation_episodes=2", "num_envs=4"]


@pytest.mark.parametrize("algorithm", ["ddqn", "cder"])
def test_train_evaluate_and_resume(tmp_path, algorithm):
    more = ["signal_hidden=8", "n_step=3", "z_min=0", "z_max=60"] if algorithm == "cder" else []
    config = resolve_config(
        algorithm, "gymnasium:CartPole-v1", None, [*SMALL, *more, "total_steps=800", "max_episode_steps=60"]
    )
    assert config.env_params == {"max_episode_steps": 60}
    with RunWriter(tmp_path, config.to_dict()) as run:
        train(config, run, StopAt(400))
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "interrupted"
    with RunWriter(tmp_path, config.to_dict(), resume=True) as run:
        result = train(config, run)
    assert result["status"] == "finished"
    assert result["environment_steps"] == 800
    # Random play lasts about 22 steps; what was under way when it stopped is not counted as an end.
    assert 800 / 60 <= result["episodes"] <= 60
    found = evaluate(tmp_path, episodes=3)
    assert 3 <= found["return_mean"] <= 60
    assert found["return_mean"] == found["length_mean"]


def test_the_same_seed_trains_the_same(tmp_path):
    rows = []
    for name, threads in (("a", 1), ("b", 2)):
        options = [*SMALL, "total_steps=400", f"env_threads={threads}", "evaluation_episodes=0"]
        config = resolve_config("ddqn", "gymnasium:CartPole-v1", None, options)
        with RunWriter(tmp_path / name, config.to_dict()) as run:
            train(config, run)
        rows.append((tmp_path / name / "episodes.csv").read_text())
    assert rows[0] == rows[1]
    assert rows[0].count("\n") > 5


def test_the_trainer_uses_the_wrapped_one(tmp_path):
    config = resolve_config("ddqn", "gymnasium:CartPole-v1", None, [*SMALL, "total_steps=100"])
    with RunWriter(tmp_path, config.to_dict()) as run:
        trainer = Trainer(config, run)
    assert trainer.envs.backend in ("process", "serial")
    trainer.envs.close()


def test_mistakes_are_told(tmp_path, capsys):
    for env_id, options, message in [
        ("no_such_package:Nothing-v0", [], "No module named 'no_such_package'"),
        ("gymnasium:Nothing-v0", [], "Gymnasium has no environment 'gymnasium:Nothing-v0'"),
        ("gymnasium:Pendulum-v1", [], "has continuous actions"),
        ("gymnasium:CartPole-v1", ["learning_rte=1"], "learning_rte"),
        ("Nothing-v0", [], "unknown environment 'Nothing-v0'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            resolve_config("ddqn", env_id, None, options)
        assert main(["train", "ddqn", "--env", env_id, "--out", str(tmp_path / "run"), *options]) == 2
        told = capsys.readouterr().err.strip()
        assert "\n" not in told
        assert message.split("'")[0] in told
        assert not (tmp_path / "run").exists()


def test_a_missing_dependency_is_told(tmp_path, capsys):
    try:
        import Box2D  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("Box2D is installed")
    assert main(["train", "ddqn", "--env", "LunarLander-v3", "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip()
    print(told)
    assert "Box2D is not installed" in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "ddqn", "--env", "gymnasium:CartPole-v1", "--steps", "300", "--out", str(out), *SMALL]
    assert main(words) == 0
    assert json.loads((out / "result.json").read_text())["environment"] == "gymnasium:CartPole-v1"
    assert main(["eval", str(out), "--episodes", "2"]) == 0
    assert "return" in capsys.readouterr().out
