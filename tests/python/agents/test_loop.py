"""The loop as a whole: determinism, resuming bit for bit, stopping, what reaches the run directory."""

import numpy as np
import pytest
import torch
from run_helpers import StopAt, contents, run_to_end

from metarl_core.agents import ALGORITHMS, ConfigError, RunConfig, evaluate, resolve_config
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.loop import Trainer
from metarl_core.runs import RunReader, RunWriter

SMALL = [
    "total_steps=600",
    "learning_starts=64",
    "batch_size=16",
    "hidden=8",
    "log_interval=100",
    "evaluation_episodes=3",
]
CASES = [
    ("cder", "DeepSea-v0", ["size=4", "signal_hidden=8", "n_step=3", "target_period=7"]),
    (
        "cder",
        "MountainCar-v0",
        ["signal_hidden=8", "mask_probability=1", "optimizer=sgd", "lr=0.001", "epsilon_start=0.5"],
    ),
    ("ddqn-per", "CartPole-v1", ["target_update=polyak", "max_grad_norm=1"]),
    ("ddqn", "DeepSea-v0", ["size=4"]),
    ("bootdqn", "DeepSea-v0", ["size=4", "members=4", "epsilon_start=0.3"]),
    ("bootdqn", "CartPole-v1", ["members=3", "mask_probability=1"]),
    ("rnd", "DeepSea-v0", ["size=4", "curiosity_hidden=8"]),
    ("rnd", "MountainCar-v0", ["curiosity_hidden=8"]),
    ("icm", "MountainCar-v0", ["curiosity_hidden=8", "normalize_bonus=true"]),
    ("icm", "DeepSea-v0", ["size=4", "curiosity_hidden=8", "normalize_bonus=false"]),
    ("noveld", "DeepSea-v0", ["size=4", "curiosity_hidden=8", "normalize_bonus=false"]),
    ("noveld", "MountainCar-v0", ["curiosity_hidden=8", "normalize_bonus=true"]),
    ("noveld", "MinAtar/Breakout-v1", ["curiosity_hidden=8", "conv_filters=4", "normalize_bonus=true"]),
    ("icm", "MinAtar/Freeway-v1", ["curiosity_hidden=8", "conv_filters=4"]),
    ("bootdqn", "MinAtar/Breakout-v1", ["members=3", "conv_filters=4"]),
    ("dltv", "CartPole-v1", ["quantiles=6", "epsilon_start=0.3"]),
    ("dltv", "MinAtar/Breakout-v1", ["quantiles=6", "conv_filters=4"]),
    ("cder", "Pendulum-v1", ["signal_hidden=8", "proposal_hidden=8", "candidates=8", "z_min=-900", "z_max=0"]),
    (
        "cder",
        "MountainCarContinuous-v0",
        ["signal_hidden=8", "behaviour=ucb", "n_step=3", "critic_n_step=true", "z_min=-20", "z_max=101"],
    ),
    ("cder", "PointRobot-v0", ["signal_hidden=8", "behaviour=proposal", "z_min=-150", "z_max=0", "bonus=q_epistemic"]),
]


def config_of(case, *more):
    algorithm, env_id, options = case
    return resolve_config(algorithm, env_id, None, [*SMALL, *options, *more])


@pytest.fixture
def open_trainer(tmp_path):
    """Makes trainers that write below tmp_path; everything is closed at the end."""
    opened = []

    def make(config, name="run", resume=False):
        run = RunWriter(tmp_path / name, config.to_dict(), resume=resume)
        opened.append(run)
        trainer = Trainer(config, run)
        opened.append(trainer.envs)
        return trainer

    yield make
    for item in opened:
        item.close()


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def test_a_seed_means_the_same_run_in_one_piece_or_in_two_and_another_seed_another(case, tmp_path):
    config = config_of(case)
    run_to_end(config, tmp_path / "whole")
    result = run_to_end(config, tmp_path / "parts", StopAt(302))
    assert result["status"] == "interrupted"
    assert 302 <= result["environment_steps"] < 320
    result = run_to_end(config, tmp_path / "parts", resume=True)
    assert result["status"] == "finished"
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    rows = contents(tmp_path / "whole")[0]
    assert rows[-1]["step"] >= 600
    assert rows[-1]["updates"] > 100
    assert np.isfinite(rows[-1]["loss"])
    run_to_end(config_of(case, "seed=1"), tmp_path / "other", StopAt(250))
    other = contents(tmp_path / "other")[0]
    assert [row["step"] for row in other[:2]] == [row["step"] for row in rows[:2]]
    assert other[:2] != rows[:2]


class Killed(BaseException):
    """Stands for a process that ends without a word."""


class KillAt(StopAt):
    def should_stop(self):
        if self.step >= self.limit:
            raise Killed
        return False


def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path):
    config = config_of(CASES[0], "checkpoint_interval=200")
    run_to_end(config, tmp_path / "whole")
    with pytest.raises(Killed):
        run_to_end(config, tmp_path / "killed", KillAt(350))
    run_to_end(config, tmp_path / "killed", resume=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")


def test_every_algorithm_is_among_the_cases():
    # Those with a loop of their own are in test_sb3.py.
    assert {case[0] for case in CASES} == {name for name, spec in ALGORITHMS.items() if spec.train is None}


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def test_the_networks_of_a_resumed_run_have_the_same_bits(case, open_trainer):
    config = config_of(case)
    whole = open_trainer(config)
    while whole.step < 200:
        whole.act()
        whole.learn()
    whole.run.save_checkpoint(whole.state_dict())
    whole.run.close()
    other = open_trainer(config, resume=True)
    other.load_state_dict(other.run.load_checkpoint())
    whole.run = other.run
    for _ in range(50):
        for trainer in (whole, other):
            trainer.act()
            trainer.learn()
    for name, module in whole.agent.modules().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, other.agent.modules()[name].state_dict()[key]), (name, key)


def test_checkpoints_hold_snapshots_and_older_ones_the_state_alone(open_trainer):
    config = config_of(CASES[0])
    trainer = open_trainer(config)
    for _ in range(20):
        trainer.act()
    state = trainer.state_dict()
    assert state["envs"]["env_id"] == config.env_id
    trainer.act()
    expected = trainer.obs.copy()
    trainer.run.close()
    for envs in (state["envs"], state["envs"]["state"]):
        other = open_trainer(config, resume=True)
        other.load_state_dict({**state, "envs": envs})
        other.act()
        np.testing.assert_array_equal(other.obs, expected)
        other.run.close()


def test_stop_when_solved_and_the_files_of_a_run(tmp_path):
    config = resolve_config(
        "cder", "DeepSea-v0", None, ["size=4", "total_steps=8000", "stop_when_solved=true", "log_interval=200"]
    )
    result = run_to_end(config, tmp_path / "run")
    assert result["solved"] is True
    assert result["environment_steps"] < 8000
    assert result["episodes"] - result["episodes_to_solve"] < config.num_envs
    reader = RunReader(tmp_path / "run")
    episodes = reader.episodes
    bad = np.asarray(episodes["bad_episode"], dtype=float)
    ratio = np.cumsum(bad) / np.arange(1, len(bad) + 1)
    assert int(np.argmax(ratio < 0.9)) + 1 == result["episodes_to_solve"]
    visits = reader.visitation["visits"]
    # Every step was acted in one cell; every episode starts in the corner; nobody is right of the diagonal.
    assert visits.sum() == result["environment_steps"]
    assert visits[0, 0] in range(result["episodes"], result["episodes"] + config.num_envs + 1)
    assert np.triu(visits, 1).sum() == 0
    assert reader.priorities["counts"].sum() == result["environment_steps"]
    evaluated = evaluate(tmp_path / "run", episodes=5, seed=3)
    assert (evaluated["episodes"], len(evaluated["returns"])) == (5, 5)
    assert evaluated["return_mean"] == pytest.approx(result["evaluation_return"])


def test_max_episodes_ends_a_run(tmp_path):
    result = run_to_end(config_of(CASES[3], "max_episodes=20"), tmp_path / "run")
    assert 20 <= result["episodes"] < 24
    assert result["status"] == "finished"


def test_importance_weights_reach_the_gradient(open_trainer):
    """tau = 0 and tau = 1 start from the same networks and the same data, and end with different ones."""
    ends = []
    for tau in (0, 1):
        trainer = open_trainer(config_of(CASES[2], f"tau_start={tau}", f"tau_end={tau}"), str(tau))
        while trainer.agent.updates < 30:
            trainer.act()
            trainer.learn()
        ends.append(torch.cat([p.detach().flatten() for p in trainer.agent.critic.online.parameters()]))
    assert not torch.equal(*ends)


def test_truncations_are_not_stored_as_terminations_nor_resets_as_steps(open_trainer):
    """In MountainCar an episode ends by itself at position 0.5 alone; all others are truncated after 200 steps."""
    trainer = open_trainer(config_of(CASES[1], "total_steps=1000"))
    ends = 0
    while trainer.step < 2000:
        trainer.act()
        ends += int((trainer.tracker.lengths == 0).sum())
    assert ends >= 8
    stored = trainer.replay.sample(2000, beta=0.0)
    goal = 2 * (0.5 + 1.2) / 1.8 - 1
    np.testing.assert_array_equal(stored["terminated"], stored["next_obs"][:, 0] >= goal - 1e-6)
    # The car moves at most 0.07 of 1.8 a step; a reset would jump further.
    jump = np.abs(stored["next_obs"][:, 0] - stored["obs"][:, 0])
    assert jump.max() <= 2 * 0.07 / 1.8 + 1e-6


def test_divergence_is_an_error_that_names_the_step(tmp_path):
    config = config_of(CASES[2], "optimizer=sgd", "lr=1e20", "learning_starts=40")
    with pytest.raises(TrainingDivergedError, match=r"at environment step \d+, gradient step \d+"):
        run_to_end(config, tmp_path / "run")


def test_cuda_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device cuda cannot be used: .*; use cpu"):
        run_to_end(config_of(CASES[0], "device=cuda"), tmp_path / "a")


@pytest.mark.parametrize("algorithm", [name for name, spec in ALGORITHMS.items() if spec.continuous is None])
def test_continuous_actions_are_refused(tmp_path, algorithm):
    config = RunConfig(algorithm, "Pendulum-v1", hyperparameters=ALGORITHMS[algorithm].config_class())
    with pytest.raises(ConfigError, match=f"Pendulum-v1 has continuous actions; {algorithm} needs discrete ones"):
        run_to_end(config, tmp_path / "a")


def test_evaluating_without_a_checkpoint_or_episodes(tmp_path):
    RunWriter(tmp_path / "run", config_of(CASES[3]).to_dict()).close()
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        evaluate(tmp_path / "run")
    with pytest.raises(ValueError, match="episodes is 0"):
        evaluate(tmp_path / "run", episodes=0)
