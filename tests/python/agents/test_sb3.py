"""SAC and TD3 of stable-baselines3 in our run directory: environments, resuming, errors."""

import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3", reason="needs stable-baselines3: pip install 'metarl-core[baselines]'")

from run_helpers import StopAt, contents, run_to_end

import metarl_core
from metarl_core.agents import ConfigError, RunConfig, evaluate, resolve_config
from metarl_core.agents.baselines.sb3 import Sb3Trainer
from metarl_core.agents.baselines.sb3_config import SacConfig
from metarl_core.agents.baselines.sb3_env import Sb3VecEnv
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.cli import main
from metarl_core.runs import RunReader, RunWriter

SMALL = ["total_steps=600", "learning_starts=64", "batch_size=16", "hidden=8", "log_interval=100"]
SMALL += ["evaluation_episodes=2", "num_envs=4", "train_every=8", "gradient_steps=3"]
CASES = [
    ("sac", "Pendulum-v1", []),
    ("sac", "MountainCarContinuous-v0", ["gsde=true", "entropy=0.1", "num_envs=1"]),
    ("td3", "Pendulum-v1", ["policy_delay=3"]),
    ("td3", "MountainCarContinuous-v0", ["noise=ou", "noise_std=0.5", "replay_capacity=300"]),
    ("td3", "Pendulum-v1", ["env_tasks=3", "context=parameters", "num_envs=2", "reward_threshold=-1"]),
]


def config_of(case, *more):
    algorithm, env_id, options = case
    return resolve_config(algorithm, env_id, None, [*SMALL, *options, *more])


def draw_from_the_global_generators():
    np.random.random(7)  # noqa: NPY002
    torch.rand(7)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[2][:1]}")
def test_resuming_continues_the_same_run_and_other_seeds_differ(case, tmp_path):
    config = config_of(case)
    run_to_end(config, tmp_path / "whole")
    assert run_to_end(config, tmp_path / "parts", StopAt(302))["status"] == "interrupted"
    draw_from_the_global_generators()
    result = run_to_end(config, tmp_path / "parts", resume=True)
    assert result["status"] == "finished"
    assert result["environment_steps"] == 600
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    rows = contents(tmp_path / "whole")[0]
    assert rows[-1]["updates"] > 100
    assert np.isfinite(rows[-1]["loss"])
    run_to_end(config_of(case, "seed=1"), tmp_path / "other")
    assert contents(tmp_path / "other")[0] != rows


def test_the_networks_and_the_replay_of_a_resumed_run_have_the_same_bits(tmp_path):
    for case in CASES:
        config = config_of(case, "evaluation_episodes=0")
        folder = tmp_path / f"{case[0]}{len(list(tmp_path.iterdir()))}"
        run_to_end(config, folder / "whole")
        run_to_end(config, folder / "parts", StopAt(203))
        run_to_end(config, folder / "parts", resume=True)
        states = [RunReader(folder / name).load_checkpoint() for name in ("whole", "parts")]
        for name, value in states[0]["agent"]["policy"].items():
            assert torch.equal(value, states[1]["agent"]["policy"][name]), name
        for name, value in states[0]["replay"].items():
            np.testing.assert_array_equal(value, states[1]["replay"][name])


def test_evaluation_of_the_checkpoint_is_that_of_the_run(tmp_path):
    for case in CASES[:3]:
        folder = tmp_path / f"{case[0]}{len(list(tmp_path.iterdir()))}"
        result = run_to_end(config_of(case), folder)
        assert evaluate(folder, episodes=2)["return_mean"] == pytest.approx(result["evaluation_return"])


def test_budget_and_episodes_are_those_of_the_other_algorithms(tmp_path):
    config = config_of(CASES[0], "total_steps=1600", "gradient_steps=1")
    result = run_to_end(config, tmp_path / "run")
    assert (result["environment_steps"], result["episodes"]) == (1600, 8)  # 4 instances of 2 episodes, 200 steps each
    episodes = RunReader(tmp_path / "run").episodes
    np.testing.assert_array_equal(episodes["step"], [800] * 4 + [1600] * 4)
    np.testing.assert_array_equal(episodes["length"], [200] * 8)
    assert run_to_end(config_of(CASES[0], "max_episodes=3"), tmp_path / "b")["episodes"] in (0, 3, 4)


def test_transitions_in_the_librarys_replay_are_the_environments(tmp_path):
    """Next observations at an episode's end are its last ones, truncations are no terminations."""
    config = config_of(("td3", "Pendulum-v1", ["normalize_obs=false", "total_steps=1000"]))
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Sb3Trainer(config, run)
        trainer.train()
        buffer = trainer.model.replay_buffer
        trainer.env.close()
    rows = buffer.pos
    assert rows == 250
    g, m, length, dt = 10.0, 1.0, 1.0, 0.05
    cosine, sine, speed = (buffer.observations[:rows, :, i].astype(np.float64) for i in range(3))
    theta, torque = np.arctan2(sine, cosine), 2 * buffer.actions[:rows, :, 0].astype(np.float64)
    after = speed + (3 * g / (2 * length) * np.sin(theta) + 3.0 / (m * length**2) * torque) * dt
    after = np.clip(after, -8, 8)
    np.testing.assert_allclose(buffer.next_observations[:rows, :, 2], after, atol=1e-4)
    moved = theta + after * dt
    np.testing.assert_allclose(buffer.next_observations[:rows, :, 0], np.cos(moved), atol=1e-4)
    cost = theta**2 + 0.1 * speed**2 + 0.001 * torque**2
    np.testing.assert_allclose(buffer.rewards[:rows], -cost, atol=1e-3)
    ends = np.zeros((rows, 4))
    ends[199] = 1
    np.testing.assert_array_equal(buffer.dones[:rows], ends)
    np.testing.assert_array_equal(buffer.timeouts[:rows], ends)


def test_the_vector_environment_behind_the_librarys_interface():
    envs = metarl_core.make_vec("MountainCarContinuous-v0", 3, autoreset_mode="same_step", max_episode_steps=5)
    encoder = ObservationEncoder(envs.single_observation_space)
    seen = []
    wrapped = Sb3VecEnv(envs, encoder, lambda _: None, lambda reward, ended: seen.append((reward, ended)))
    wrapped.seed(4)
    first = wrapped.reset()
    plain = metarl_core.make_vec("MountainCarContinuous-v0", 3, autoreset_mode="same_step", max_episode_steps=5)
    obs, _ = plain.reset(seed=4)
    np.testing.assert_array_equal(first, encoder(obs))
    for step in range(1, 12):
        actions = np.full((3, 1), 0.5, np.float32)
        found, reward, done, infos = wrapped.step(actions)
        obs, expected, terminated, truncated, _ = plain.step(actions)
        np.testing.assert_array_equal(found, encoder(obs))
        np.testing.assert_array_equal(reward, expected.astype(np.float32))
        np.testing.assert_array_equal(done, terminated | truncated)
        assert done.all() == (step % 5 == 0)
        for i, info in enumerate(infos):
            assert set(info) == ({"terminal_observation", "TimeLimit.truncated"} if done[i] else set())
            if done[i]:
                np.testing.assert_array_equal(info["terminal_observation"], encoder(plain.final_obs_dense()[0])[i])
    assert len(seen) == 11
    assert wrapped.get_attr("render_mode") == [None] * 3
    with pytest.raises(NotImplementedError, match="share one object"):
        wrapped.env_method("reset")
    wrapped.close()
    plain.close()


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"train_every=6: must be a multiple of num_envs=4"):
        run_to_end(config_of(CASES[0], "train_every=6"), tmp_path / "a")
    config = RunConfig("sac", "CartPole-v1", num_envs=1, hyperparameters=SacConfig())
    with pytest.raises(ConfigError, match="CartPole-v1 has discrete actions; sac needs continuous ones"):
        run_to_end(config, tmp_path / "b")
    for option in ("hidden=1000,100000000000", "total_steps=1000000000000000"):
        with pytest.raises(ConfigError, match="this run cannot be set up: ") as error:
            run_to_end(config_of(CASES[0], option, "replay_capacity=1000000000000000"), tmp_path / option[:5])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", CASES[:3], ids=lambda c: f"{c[0]}-{c[1]}")
def test_divergence_is_an_error_that_names_the_step_and_leaves_a_good_checkpoint(case, tmp_path):
    config = config_of(case, "lr=1e30", "learning_starts=300", "checkpoint_interval=200")
    message = (
        r"(loss is (-?inf|nan)|a weight is no longer finite) at environment step \d+, gradient step \d+; .*step 200"
    )
    with pytest.raises(TrainingDivergedError, match=message):
        run_to_end(config, tmp_path / "c")
    assert RunReader(tmp_path / "c").load_checkpoint()["step"] == 200


def test_without_the_library_the_command_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    words = ["train", "sac", "--env", "Pendulum-v1", "--out", str(tmp_path / "run"), *SMALL]
    assert main(words) == 2
    told = capsys.readouterr().err.strip()
    assert "pip install 'metarl-core[baselines]'" in told
    assert "\n" not in told
    assert not (tmp_path / "run").exists()


def test_the_agents_do_not_import_the_library():
    code = "import metarl_core.agents, sys; assert 'stable_baselines3' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_options_reach_the_library(tmp_path):
    options = {
        ("sac", "lr=0.01"): lambda m: m.actor.optimizer.param_groups[0]["lr"] == 0.01,
        ("sac", "gamma=0.5"): lambda m: m.gamma == 0.5,
        ("sac", "polyak=0.3"): lambda m: m.tau == 0.3,
        ("sac", "entropy=0.2"): lambda m: m.ent_coef == 0.2,
        ("sac", "hidden=5,6"): lambda m: [p.shape[0] for p in m.actor.latent_pi.parameters()] == [5, 5, 6, 6],
        ("sac", "noise=normal"): lambda m: m.action_noise is not None,
        ("sac", "noise=none"): lambda m: m.action_noise is None,
        ("td3", "policy_delay=5"): lambda m: m.policy_delay == 5,
        ("td3", "target_noise=0.7"): lambda m: m.target_policy_noise == 0.7,
        ("td3", "target_noise_clip=0.9"): lambda m: m.target_noise_clip == 0.9,
        ("td3", "train_every=16"): lambda m: m.train_freq.frequency == 4,
        ("td3", "gradient_steps=9"): lambda m: m.gradient_steps == 9,
        ("td3", "batch_size=33"): lambda m: m.batch_size == 33,
        ("td3", "learning_starts=77"): lambda m: m.learning_starts == 77,
        ("td3", "replay_capacity=40"): lambda m: m.replay_buffer.buffer_size == 10,
    }
    for number, ((algorithm, text), reached) in enumerate(options.items()):
        config = config_of((algorithm, "Pendulum-v1", [text]))
        with RunWriter(tmp_path / str(number), config.to_dict()) as run:
            trainer = Sb3Trainer(config, run)
            assert reached(trainer.model), text
            trainer.env.close()


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0"])
@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_the_shipped_budget_is_that_of_cder(algorithm, env_id):
    ours, theirs = resolve_config("cder", env_id), resolve_config(algorithm, env_id)
    for name in ("total_steps", "num_envs", "evaluation_episodes", "reward_threshold"):
        assert getattr(ours, name) == getattr(theirs, name), name
    a, b = ours.hyperparameters, theirs.hyperparameters
    assert (a.epochs, a.train_every) == (b.gradient_steps, b.train_every)
    for name in ("hidden", "lr", "gamma", "learning_starts", "replay_capacity", "normalize_obs"):
        assert getattr(a, name) == getattr(b, name), name


def test_the_algorithms_with_a_loop_of_their_own():
    own = {name for name, spec in ALGORITHMS.items() if spec.train is not None}
    assert own == {case[0] for case in CASES} | {"imt"}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_they_learn_pendulum(tmp_path, algorithm):
    assert run_to_end(resolve_config(algorithm, "Pendulum-v1"), tmp_path / "run")["evaluation_return"] > -250
