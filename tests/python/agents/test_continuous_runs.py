"""Continuous actions in the whole loop: presets, sparse variants, environments that are not native, learning."""

import numpy as np
import pytest
from run_helpers import StopAt, contents, run_to_end

from metarl_core.agents import ConfigError, RunConfig, evaluate, resolve_config
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.continuous_config import ContinuousCderConfig
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.loop import Trainer
from metarl_core.agents.task_context import make_envs
from metarl_core.reproduce.spec import Cell, Method
from metarl_core.runs import RunWriter

SMALL = ["total_steps=480", "learning_starts=64", "batch_size=16", "hidden=8", "signal_hidden=8", "log_interval=80"]
SMALL += [
    "optimizer=adam",
    "lr=0.001",
    "evaluation_episodes=2",
    "epochs=2",
    "num_envs=4",
    "candidates=8",
    "z_min=-900",
    "z_max=60",
]


def config_of(env_id, *more):
    return resolve_config("cder", env_id, None, [*SMALL, *more])


@pytest.mark.parametrize(
    "options",
    [
        ["preset=as_written", "imagined=false", "n_step=3"],
        ["preset=intended", "imagined=false", "normalize_bonus=true"],
        ["normalize_bonus=true", "bonus=q_epistemic", "reward_threshold=-1"],
        ["env_tasks=5", "context=parameters", "evaluation=best"],
    ],
    ids=str,
)
def test_switches_resume_bit_for_bit(tmp_path, options):
    config = config_of("Pendulum-v1", *options)
    run_to_end(config, tmp_path / "whole")
    assert run_to_end(config, tmp_path / "parts", StopAt(203))["status"] == "interrupted"
    run_to_end(config, tmp_path / "parts", resume=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    rows = contents(tmp_path / "whole")[0]
    assert rows[-1]["updates"] > 100
    assert np.isfinite([rows[-1]["loss"], rows[-1]["policy_loss"]]).all()


def test_actions_that_are_stored_are_those_that_were_executed(tmp_path):
    config = config_of("Pendulum-v1", "normalize_obs=false", "total_steps=1200")
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        while trainer.step < 800:
            trainer.act()
            trainer.learn()
        stored = trainer.replay.sample(800, beta=0.0)
        trainer.envs.close()
    assert stored["action"].shape == (800, 1)
    assert stored["action"].dtype == np.float32
    assert 1.5 < np.abs(stored["action"]).max() <= 2
    obs, torque = stored["obs"].astype(np.float64), stored["action"][:, 0].astype(np.float64)
    theta = np.arctan2(obs[:, 1], obs[:, 0])
    speed = np.clip(obs[:, 2] + (15 * np.sin(theta) + 3 * torque) * 0.05, -8, 8)
    np.testing.assert_allclose(stored["next_obs"][:, 2], speed, atol=1e-4)
    np.testing.assert_allclose(stored["reward"], -(theta**2 + 0.1 * obs[:, 2] ** 2 + 0.001 * torque**2), atol=1e-3)
    assert not stored["terminated"].any()


def test_the_sparse_variant_pays_where_the_threshold_is_reached():
    sparse, own = (make_envs(config_of("Pendulum-v1", *more), 50, 3) for more in (["reward_threshold=-0.5"], []))
    obs = [envs.reset(seed=3)[0] for envs in (sparse, own)]
    paid, rng = 0, np.random.default_rng(0)
    for _ in range(250):
        np.testing.assert_array_equal(*obs)
        actions = rng.uniform(-2, 2, (50, 1)).astype(np.float32)
        a, b = sparse.step(actions), own.step(actions)
        np.testing.assert_array_equal(a[1], np.where(b[1] >= -0.5, 1.0, 0.0))
        np.testing.assert_array_equal(a[3], b[3])
        paid += int(a[1].sum())
        obs = [a[0], b[0]]
    assert 20 < paid < 10_000
    assert sparse.snapshot()["env_id"] == own.snapshot()["env_id"]  # all else is the environment's
    sparse.close()
    own.close()


def test_training_and_evaluation_have_the_same_sparse_reward(tmp_path):
    config = config_of("Pendulum-v1", "reward_threshold=-0.1", "total_steps=1600", "z_min=0")
    result = run_to_end(config, tmp_path / "run")
    episodes = np.loadtxt(tmp_path / "run" / "episodes.csv", delimiter=",", skiprows=1, usecols=3)
    np.testing.assert_array_equal(episodes, np.round(episodes))
    assert (episodes >= 0).all()
    found = evaluate(tmp_path / "run", episodes=2)
    assert found["return_mean"] == pytest.approx(result["evaluation_return"])
    assert all(value == round(value) >= 0 for value in found["returns"])


def test_a_threshold_changes_the_digest_of_an_experiments_cell_and_its_absence_does_not():
    def digest(*options):
        method = Method("m", "ddqn", "m", {})
        return Cell(method, "CartPole-v1", {}, 0, dict(options)).digest

    assert digest() != digest(("reward_threshold", 1))
    config = Cell(Method("m", "ddqn", "m", {}), "CartPole-v1", {}, 0, {}).config
    assert config.to_dict()["reward_threshold"] is None


def test_environments_that_are_not_native(tmp_path):
    config = config_of("gymnasium:Pendulum-v1", "max_episode_steps=60")
    run_to_end(config, tmp_path, StopAt(200))
    assert run_to_end(config, tmp_path, resume=True)["environment_steps"] == 480
    found = evaluate(tmp_path, episodes=3)
    assert found["length_mean"] == 60
    assert -60 * 16.3 <= found["return_mean"] < 0


def test_options_for_another_kind_of_actions_are_refused(tmp_path):
    config = RunConfig("cder", "Pendulum-v1", hyperparameters=CderConfig())
    with pytest.raises(ConfigError, match="hyperparameters are CderConfig; expected ContinuousCderConfig"):
        run_to_end(config, tmp_path / "a")
    config = RunConfig("cder", "CartPole-v1", hyperparameters=ContinuousCderConfig())
    with pytest.raises(ConfigError, match="hyperparameters are ContinuousCderConfig; expected CderConfig"):
        run_to_end(config, tmp_path / "b")


def test_runs_of_discrete_actions_have_no_options_of_continuous_ones():
    found = resolve_config("cder", "CartPole-v1").to_dict()["hyperparameters"]
    assert "candidates" not in found
    assert "candidates" in resolve_config("cder", "Pendulum-v1").to_dict()["hyperparameters"]


@pytest.mark.parametrize("rates", [("lr=1e30", "policy_lr=0.001"), ("lr=0.001", "policy_lr=1e38")], ids=str)
@pytest.mark.parametrize("behaviour", ["thompson", "proposal"])
def test_divergence_is_an_error_that_names_the_step(tmp_path, rates, behaviour):
    options = [*rates, f"behaviour={behaviour}", "optimizer=sgd", "signal_lr=0.001", "checkpoint_interval=40"]
    message = r"at environment step \d+, gradient step \d+; .*the last good checkpoint is of step \d+"
    with pytest.raises(TrainingDivergedError, match=message):
        run_to_end(config_of("Pendulum-v1", *options), tmp_path / "run")


@pytest.mark.slow
def test_cder_learns_pendulum(tmp_path):
    assert run_to_end(resolve_config("cder", "Pendulum-v1"), tmp_path / "run")["evaluation_return"] > -250


@pytest.mark.slow
def test_cder_reaches_the_goal_of_continuous_mountain_car(tmp_path):
    assert run_to_end(resolve_config("cder", "MountainCarContinuous-v0"), tmp_path / "run")["evaluation_return"] > 80
