"""Configurations that cannot work stop the run with a message that says what to change."""

import numpy as np
import pytest
import torch

from metarl_core.agents import ConfigError, evaluate, resolve_config, train
from metarl_core.agents.cder.return_check import ReturnCheck
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.loop import Trainer
from metarl_core.cli import main
from metarl_core.runs import RunReader, RunWriter

SMALL = [
    "total_steps=600",
    "learning_starts=64",
    "batch_size=16",
    "hidden=8",
    "signal_hidden=8",
    "evaluation_episodes=0",
]


def config_of(*options, env_id="DeepSea-v0"):
    size = ["size=4"] if env_id == "DeepSea-v0" else []
    return resolve_config("cder", env_id, None, [*SMALL, *size, *options])


@pytest.fixture
def run_in(tmp_path):
    def run(config, name="run"):
        with RunWriter(tmp_path / name, config.to_dict()) as writer:
            return train(config, writer)

    return run


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("MountainCar-v0", ["z_min=-1"], r"z_min=-1, z_max=0: .*discounted return -49\.1\d*.*set z_min <= -49\.1"),
        ("CartPole-v1", ["z_max=5"], r"z_min=0, z_max=5: .*set z_max >= \d+"),
        ("DeepSea-v0", ["z_min=0"], r"z_min=0, z_max=1\.25: .*discounted return -0\.00.*set z_min <= -0\.00"),
    ],
)
def test_atoms_that_cannot_hold_the_returns(run_in, env_id, options, message):
    with pytest.raises(ConfigError, match=message):
        run_in(config_of(*options, "total_steps=2000", env_id=env_id))


def test_returns_outside_the_atoms_may_be_clipped_and_counted(run_in, tmp_path):
    config = config_of("z_max=1.5", "return_check=none", "total_steps=800", "log_interval=100", env_id="CartPole-v1")
    assert run_in(config)["status"] == "finished"
    assert float(RunReader(tmp_path / "run").metrics["clipped_returns"][-1]) > 0


def test_the_discounted_returns_of_episodes_against_numpy():
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(60, 3))
    ended = rng.random((60, 3)) < 0.2
    lowest, highest = [], []
    for env in range(3):
        start = 0
        for t in np.flatnonzero(ended[:, env]):
            value = sum(0.9**k * r for k, r in enumerate(reward[start : t + 1, env]))
            (lowest if value < 0 else highest).append(value)
            start = t + 1
    low, high = min(lowest), max(highest)

    def feed(check, split=None):
        for t in range(60):
            if t == split:
                state, check = check.state_dict(), ReturnCheck(check.z_min, check.z_max, 0.9, 3)
                check.load_state_dict(state)
            check.update(reward[t], ended[t])

    feed(ReturnCheck(low, high, 0.9, 3), split=30)
    with pytest.raises(ConfigError, match=f"discounted return {low:.6g}"):
        feed(ReturnCheck(low + 0.01, high, 0.9, 3))
    with pytest.raises(ConfigError, match=f"discounted return {high:.6g}"):
        feed(ReturnCheck(low, high - 0.01, 0.9, 3), split=10)


def test_episodes_that_are_dropped_leave_nothing_behind():
    check = ReturnCheck(-1.0, 1.0, 0.5, 1)
    check.update(np.array([1.0]), np.array([False]))
    check.drop_running()
    check.update(np.array([1.0]), np.array([True]))  # 1, not 1 + 0.5
    check.update(np.array([1.0]), np.array([False]))
    with pytest.raises(ConfigError, match=r"discounted return 1\.5"):
        check.update(np.array([1.0]), np.array([True]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["n_step=0"], r"n_step=0: must be >= 1"),
        (["z_min=1", "z_max=1"], r"z_max=1.0: must be > z_min=1.0"),
        (["atoms=1"], r"atoms=1: must be >= 2"),
        (["kapa=1"], r"unknown option 'kapa'; did you mean 'kappa'"),
        (["reward_form=right"], r"reward_form='right': choose one of corrected, intended, as_written"),
        (
            ["behaviour=softmax"],
            r"behaviour='softmax': choose one of thompson, optimistic_thompson, ucb, distilled, epsilon_greedy",
        ),
        (["alpha_reading=beta"], r"alpha_reading='beta': choose one of per, exponent, time"),
        (["imagined=true", "weight_normalization=max"], r"imagined=True: needs weight_normalization='sum'"),
        (["alpha_reading=time", "weight_normalization=max"], r"alpha_reading='time': needs weight_normalization='sum'"),
        (["imagined_fraction=0.9"], r"imagined_fraction=0.9: must be <= 0.5"),
        (
            ["reward_form=intended", "n_step=3", "critic_n_step=true"],
            r"critic_n_step=True: needs reward_form='corrected'",
        ),
        (["rho_max=0"], r"rho_max=0.0: must be > 0"),
        (["temperature=0"], r"temperature=0.0: must be > 0"),
    ],
)
def test_bad_switches(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        config_of(*options)
    assert "\n" not in str(error.value)


def test_a_bad_switch_on_the_command_line_is_one_line(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "cder", "--env", "DeepSea-v0", "--out", str(out), "n_step=0"]) == 2
    assert "n_step=0: must be >= 1" in capsys.readouterr().err
    assert not out.exists()


class Broken:
    """Makes the agent's loss NaN from an update on."""

    def __init__(self, agent, update):
        self.agent, self.update, self.losses = agent, update, agent.losses
        agent.losses = self

    def __call__(self, *args, **named):
        loss, errors = self.losses(*args, **named)
        return (loss * float("nan") if self.agent.updates >= self.update else loss), errors


def open_run(tmp_path, *options):
    config = config_of("checkpoint_interval=200", *options)
    run = RunWriter(tmp_path / "run", config.to_dict())
    return run, Trainer(config, run)


def test_a_nan_loss_names_the_step_and_leaves_the_last_good_checkpoint(tmp_path):
    run, trainer = open_run(tmp_path, "train_every=4")
    Broken(trainer.agent, 250)  # four updates at every step of four instances: after step 300
    with pytest.raises(
        TrainingDivergedError,
        match=r"loss is nan at environment step 312, gradient step 250; .*\(the last good checkpoint is of step 200\)",
    ):
        trainer.train()
    trainer.envs.close()
    run.close()
    assert evaluate(tmp_path / "run", episodes=2)["step"] == 200
    state = RunReader(tmp_path / "run").load_checkpoint()
    for module in state["agent"]["modules"].values():
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in module.values())


def test_a_nan_before_any_checkpoint_says_so(tmp_path):
    run, trainer = open_run(tmp_path)
    Broken(trainer.agent, 10)
    with pytest.raises(TrainingDivergedError, match=r"loss is nan .*\(no checkpoint yet\)"):
        trainer.train()
    trainer.envs.close()
    run.close()
    assert not (tmp_path / "run" / "checkpoints" / "latest.ckpt").exists()


def test_broken_weights_are_never_saved(tmp_path):
    """Weights that break between two losses: the checkpoint that is due is refused, the one before stays."""
    run, trainer = open_run(tmp_path)
    learn = trainer.learn

    def sabotaged():
        learn()
        if trainer.step == 400:
            with torch.no_grad():
                trainer.agent.signal.online.weights[0][0, 0] = float("inf")

    trainer.learn = sabotaged
    with pytest.raises(
        TrainingDivergedError,
        match=r"signal\.online\.weights\.0 is no longer finite at environment step 400.*checkpoint is of step 200\)",
    ):
        trainer.train()
    trainer.envs.close()
    run.close()
    assert evaluate(tmp_path / "run", episodes=2)["step"] == 200


def test_a_resumed_run_knows_its_checkpoint(tmp_path):
    run, trainer = open_run(tmp_path, "train_every=4")
    while trainer.step < 300:
        trainer.act()
        trainer.learn()
    trainer._save_checkpoint()
    state = trainer.state_dict()
    trainer.load_state_dict(state)
    Broken(trainer.agent, 0)
    with pytest.raises(TrainingDivergedError, match="the last good checkpoint is of step 300"):
        trainer.train()
    trainer.envs.close()
    run.close()
