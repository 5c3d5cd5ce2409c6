"""The training loop on the device, on the emulator, against the host's: the same run, bit for bit."""

import dataclasses
import functools
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from device_run_helpers import WaitedError, assert_same_run, checkpoint, no_host_contact, run_loop
from run_helpers import StopAt, contents

from metarl_core import _cuda_module
from metarl_core.agents import ConfigError, resolve_config
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.device import support
from metarl_core.agents.device.loop import DeviceTrainer
from metarl_core.agents.loop import Trainer, train
from metarl_core.replay import device_buffer
from metarl_core.runs import RunWriter

sys.path.append(str(Path(__file__).parents[1]))
from emulated_cuda import CAPTURING, emulated, needs_emulator

SMALL = [
    "total_steps=240",
    "learning_starts=32",
    "batch_size=16",
    "hidden=8",
    "log_interval=50",
    "checkpoint_interval=100",
    "evaluation_episodes=2",
]
CDER = ["signal_hidden=8", "members=4"]
CASES = {
    "cartpole": ("cder", "CartPole-v1", CDER),
    "long": (
        "cder",
        "CartPole-v1",
        [*CDER, "total_steps=4000", "num_envs=16", "train_every=64", "log_interval=500", "checkpoint_interval=1500"],
    ),
    "often_looked_at": (
        "cder",
        "CartPole-v1",
        [*CDER, "num_envs=40", "train_every=20", "log_interval=7", "checkpoint_interval=90", "replay_capacity=100"],
    ),
    "deep_sea": ("cder", "DeepSea-v0", [*CDER, "size=4", "max_episodes=50"]),
    "frozen_lake": ("cder", "FrozenLake-v1", [*CDER, "hidden=8"]),
    "ucb_sgd": (
        "cder",
        "MountainCar-v0",
        [*CDER, "behaviour=ucb", "max_episode_steps=20", "z_min=-30", "mask_probability=1", "optimizer=sgd"],
    ),
    "other_weights": (
        "cder",
        "CartPole-v1",
        [*CDER, "weight_normalization=max", "target_update=polyak", "max_grad_norm=1", "replay_capacity=100"],
    ),
    "tasks_and_threshold": ("cder", "CartPole-v1", [*CDER, "env_tasks=5", "reward_threshold=0.5"]),
    "float32": ("cder", "Acrobot-v1", [*CDER, "precision=float32", "max_episode_steps=30", "z_min=-60", "z_max=0"]),
    "binary_images": ("cder", "MinAtar/Breakout-v1", [*CDER, "conv_filters=2", "total_steps=120"]),
    "symbols": ("cder", "MiniGrid-DoorKey-5x5-v0", [*CDER, "conv_filters=2", "total_steps=120"]),
    "first_visits": ("cder", "CartPole-v1", [*CDER, "bonus_visits=first", "visit_resolution=4", "novelty_alpha=0.5"]),
    "first_visits_exact": ("cder", "CartPole-v1", [*CDER, "bonus_visits=first", "visit_resolution=0"]),
    "first_visits_indices": ("cder", "FrozenLake-v1", [*CDER, "bonus_visits=first"]),
    "first_visits_images": (
        "cder",
        "MiniGrid-Empty-5x5-v0",
        [*CDER, "conv_filters=2", "total_steps=120", "bonus_visits=first"],
    ),
    "ddqn-per": ("ddqn-per", "CartPole-v1", []),
    "ddqn": ("ddqn", "CartPole-v1", ["replay_capacity=100"]),
    "bootdqn": ("bootdqn", "CartPole-v1", ["members=3"]),
}


@pytest.fixture(autouse=True)
def _emulated_device(monkeypatch):
    monkeypatch.setattr(_cuda_module, "cuda_module", lambda device: emulated)
    monkeypatch.setattr(device_buffer, "cuda_module", lambda device: emulated)


def config_of(case, *more):
    algorithm, env_id, options = CASES[case]
    return resolve_config(algorithm, env_id, None, [*SMALL, *options, *more])


@pytest.fixture
def open_loop(tmp_path):
    """Makes loops that write below tmp_path; everything is closed at the end."""
    opened = []

    def make(loop, config):
        run = RunWriter(tmp_path / loop.__name__, config.to_dict())
        opened.append(run)
        trainer = loop(config, run)
        opened.append(trainer.envs)
        return trainer

    yield make
    for item in opened:
        item.close()


@needs_emulator
@pytest.mark.parametrize("case", CASES)
def test_the_run_is_the_hosts_bit_for_bit(case, tmp_path):
    config = config_of(case)
    run_loop(Trainer, config, tmp_path / "host")
    trainer = run_loop(DeviceTrainer, config, tmp_path / "device")
    assert trainer.agent.updates > 20
    assert_same_run(tmp_path / "device", tmp_path / "host")


@needs_emulator
@pytest.mark.parametrize(
    ("first", "second"), [(DeviceTrainer, DeviceTrainer), (DeviceTrainer, Trainer), (Trainer, DeviceTrainer)]
)
@pytest.mark.parametrize("case", ["cartpole", "deep_sea", "first_visits"])
def test_a_resumed_run_is_the_uninterrupted_one_wherever_it_goes_on(case, first, second, tmp_path):
    config = config_of(case)
    run_loop(DeviceTrainer, config, tmp_path / "whole")
    run_loop(first, config, tmp_path / "parts", StopAt(100))
    assert 100 <= contents(tmp_path / "parts")[1]["environment_steps"] < config.total_steps
    run_loop(second, config, tmp_path / "parts", resume=True)
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    assert whole[2:] == parts[2:]
    assert whole[1] == parts[1]
    assert checkpoint(tmp_path / "whole") == checkpoint(tmp_path / "parts")


@needs_emulator
def test_with_epsilon_a_run_repeats_and_resumes(tmp_path):
    config = config_of("cartpole", "epsilon_start=0.5", "epsilon_end=0.1", "epsilon_steps=150")
    for name in ("a", "b"):
        run_loop(DeviceTrainer, config, tmp_path / name)
    run_loop(DeviceTrainer, config, tmp_path / "parts", StopAt(100))
    run_loop(DeviceTrainer, config, tmp_path / "parts", resume=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert checkpoint(tmp_path / "a") == checkpoint(tmp_path / "b") == checkpoint(tmp_path / "parts")


@needs_emulator
@pytest.mark.parametrize("case", ["cartpole", "deep_sea", "first_visits", "symbols", "ddqn-per", "ddqn", "bootdqn"])
def test_between_two_looks_nothing_waits_or_is_copied(case, open_loop, monkeypatch):
    trainer = open_loop(DeviceTrainer, config_of(case, "epsilon_start=0.3"))
    trainer.advance()  # allocates the batch and the optimiser's state
    assert trainer.agent.updates > 0
    updates, step = trainer.agent.updates, trainer.step
    trainer.actor.begin(trainer.step, 8)
    with no_host_contact(monkeypatch):
        for at in range(8):
            trainer.act(at)
            trainer.learn()
    assert trainer.step == step + 32
    assert trainer.agent.updates >= updates + 12
    host = open_loop(Trainer, config_of(case))
    with pytest.raises(WaitedError), no_host_contact(monkeypatch):
        host.act()


@needs_emulator
@pytest.mark.parametrize("case", ["cartpole", "deep_sea", "ucb_sgd", "ddqn-per", "ddqn"])
def test_a_gradient_step_keeps_the_rules_of_graphs(case, open_loop, monkeypatch):
    """Nothing allocated by the core, nothing read, and all that stays from step to step stays where it is."""
    trainer = open_loop(DeviceTrainer, config_of(case))
    trainer.advance()
    for name in ("sample", "update_priorities"):
        method = getattr(trainer.replay, name)
        monkeypatch.setattr(trainer.replay, name, functools.partial(method, stream=CAPTURING))

    def places():
        modules = [p for module in trainer.agent.modules().values() for p in module.state_dict().values()]
        optimizer = [
            value
            for state in trainer.agent.optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        ]
        own = [trainer._beta, *vars(trainer._losses).values()]
        return [tensor.data_ptr() for tensor in (*modules, *optimizer, *own, *trainer._batch[1].values())]

    before, draws = places(), trainer.replay.draws
    assert len(before) > 20
    with no_host_contact(monkeypatch):
        for collect in (False, True, False):
            trainer.gradient_step(collect)
    assert places() == before
    assert trainer.replay.draws == draws + 3
    with pytest.raises(RuntimeError, match="pass out="):
        trainer.replay.sample(16)


@needs_emulator
def test_the_watch_sees_what_waits(monkeypatch):
    values = torch.arange(4.0)
    for wait in (
        lambda: values[0].item(),
        lambda: bool(values.any()),
        lambda: values[values > 1],
        lambda: values.nonzero(),
        lambda: values.cpu(),
        lambda: values.to("cpu"),
        lambda: values.numpy(),
        lambda: torch.from_numpy(np.zeros(2)),
    ):
        with pytest.raises(WaitedError), no_host_contact(monkeypatch):
            wait()
    with no_host_contact(monkeypatch):
        values.to(torch.float64).add_(1)


@needs_emulator
def test_when_the_host_looks_changes_nothing(tmp_path, monkeypatch):
    run_loop(DeviceTrainer, config_of("deep_sea"), tmp_path / "a")
    monkeypatch.setattr("metarl_core.agents.device.stepping._LONGEST", 3)
    run_loop(DeviceTrainer, config_of("deep_sea"), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert checkpoint(tmp_path / "a") == checkpoint(tmp_path / "b")


@needs_emulator
@pytest.mark.parametrize("members", [1, 3, 8])
def test_the_hosts_heads_are_the_devices(members, open_loop):
    trainer = open_loop(DeviceTrainer, config_of("deep_sea", f"members={members}"))
    for _ in range(4):
        trainer.advance()
        assert trainer.tracker.episodes > 4
        np.testing.assert_array_equal(trainer.actor.heads.numpy(), trainer.agent.policy.heads)


@needs_emulator
def test_a_loss_that_is_not_finite_is_told_with_its_steps_as_on_the_host(tmp_path):
    messages = []
    for loop in (Trainer, DeviceTrainer):
        with pytest.raises(TrainingDivergedError) as error:
            run_loop(loop, config_of("ucb_sgd", "lr=1e25", "max_grad_norm=None"), tmp_path / loop.__name__)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@needs_emulator
def test_an_episode_outside_the_atoms_and_observations_that_are_not_one_hot_stop_the_run(tmp_path):
    with pytest.raises(ConfigError, match="z_max >= "):
        run_loop(DeviceTrainer, config_of("cartpole", "z_max=3"), tmp_path / "a")
    with pytest.raises(ConfigError, match="neither one-hot nor all zero"):
        run_loop(DeviceTrainer, config_of("cartpole", "one_hot_obs=true"), tmp_path / "b")


@pytest.mark.parametrize(
    ("algorithm", "env_id", "options", "reason"),
    [
        ("cder", "CartPole-v1", ["n_step=3"], "n_step=3; on a GPU only n_step=1 is there"),
        ("cder", "CartPole-v1", ["normalize_bonus=true"], "normalize_bonus=True"),
        ("cder", "CartPole-v1", ["behaviour=distilled"], "draws its actions on the CPU"),
        ("cder", "CartPole-v1", ["env_tasks=3", "context=parameters"], "context='parameters'"),
        ("cder", "Pendulum-v1", ["z_min=-2000"], "continuous actions"),
        ("ddqn", "CartPole-v1", ["n_step=3"], "n_step=3"),
        ("rnd", "CartPole-v1", [], "rnd does not act on a GPU"),
    ],
)
def test_what_stays_on_the_host_and_why(algorithm, env_id, options, reason):
    config = resolve_config(algorithm, env_id, None, options)
    assert reason in support.why_on_host(config)


def test_where_it_can_a_run_goes_to_the_device(monkeypatch):
    config = resolve_config("cder", "CartPole-v1")
    monkeypatch.setattr(support, "cuda_devices", lambda: (["cuda:0 a GPU"], ""))
    assert support.why_on_host(config) is None
    monkeypatch.setattr(support, "cuda_devices", lambda: ([], "no GPU here"))
    assert support.why_on_host(config) == "no GPU here"


def test_train_chooses_the_loop_and_says_why(tmp_path, monkeypatch, caplog):
    chosen = []

    class ChosenError(Exception):
        pass

    def loop_of(name):
        def make(config, run, progress, *device):
            chosen.append((name, *device))
            raise ChosenError

        return make

    monkeypatch.setattr("metarl_core.agents.loop.Trainer", loop_of("host"))
    monkeypatch.setattr("metarl_core.agents.loop.DeviceTrainer", loop_of("device"))
    monkeypatch.setattr("metarl_core.agents.loop.check_device", lambda device: None)
    monkeypatch.setattr(support, "cuda_devices", lambda: (["cuda:0 a GPU"], ""))
    stays = "device cuda: environments and replay stay in host memory: n_step=2; on a GPU only n_step=1 is there"
    no_effect = "cuda_graphs=true has no effect while environments and replay are in host memory"
    for name, device, options, expected, lines in (
        ("a", "cuda", ["cuda_graphs=true"], ("device", "cuda"), []),
        ("b", "cuda", ["n_step=2"], ("host",), [stays]),
        ("c", "cuda", ["n_step=2", "cuda_graphs=true"], ("host",), [stays, no_effect]),
        ("d", "cpu", [], ("host",), []),
        ("e", "cpu", ["cuda_graphs=true"], ("host",), [no_effect]),
    ):
        config = dataclasses.replace(config_of("cartpole", *options), device=device)
        caplog.clear()
        with (
            caplog.at_level(logging.WARNING),
            RunWriter(tmp_path / name, config.to_dict()) as run,
            pytest.raises(ChosenError),
        ):
            train(config, run)
        assert chosen[-1] == expected
        assert [record.getMessage() for record in caplog.records] == lines
