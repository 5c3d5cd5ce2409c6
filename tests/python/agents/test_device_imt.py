"""IMT with environments and replay on the device, on the emulator, against host memory: the same run, bit for bit."""

import dataclasses
import functools
import logging
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from device_run_helpers import WaitedError, assert_same_run, no_host_contact
from run_helpers import StopInRound

from metarl_core import ConfigError, _cuda_module
from metarl_core.agents import resolve_config
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.run_end import train_to_end
from metarl_core.agents.device import support
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.imt import learner as learner_module
from metarl_core.agents.imt.actors import TaskActors
from metarl_core.agents.imt.collecting import Collection
from metarl_core.agents.imt.comparison import SHUFFLES, compare
from metarl_core.agents.imt.device.actors import DeviceTaskActors
from metarl_core.agents.imt.device.collecting import DeviceCollection
from metarl_core.agents.imt.run import ImtTrainer, evaluate_imt, train_imt
from metarl_core.agents.imt.updates import AloneUpdates, HeadUpdates, SubmodelUpdates
from metarl_core.replay import device_buffer
from metarl_core.runs import NullProgress, RunReader, RunWriter

sys.path.append(str(Path(__file__).parents[1]))
from emulated_cuda import CAPTURING, emulated, needs_emulator

SMALL = [
    "env_tasks=3",
    "envs_per_task=2",
    "val_tasks=0",
    "test_tasks=2",
    "hidden=8",
    "predictor_hidden=8",
    "reference_steps=128",
    "embedding_features=4",
    "pretrain_updates=5",
    "rounds=2",
    "steps_per_round=60",
    "submodel_updates=7",
    "head_updates=5",
    "batch_size=8",
    "replay_capacity=200",
    "evaluation_episodes=1",
    "tolerance=0",
]
CURIOUS = ["exploration=curiosity", "critic_heads=3", "signal_members=2", "signal_hidden=8", "scale_rewards=false"]
SEA = [*CURIOUS, "size=4", "one_hot_obs=true", "keep=last"]
CASES = {
    "robots": ("PointRobot-v0", ["max_episode_steps=20", "val_tasks=1"]),
    "as_written": ("PointRobot-v0", ["max_episode_steps=20", "preset=as_written", "lambda_rl=1", "target_period=3"]),
    "others": (
        "FrozenLake-v1",
        [
            "max_episode_steps=20",
            "val_tasks=1",
            "td_tasks=others",
            "start=own",
            "target_update=hard",
            "target_period=3",
        ],
    ),
    "alone": ("CartPole-v1", ["sharing=none", "precision=float32", "max_episode_steps=20", "aggregation=vote"]),
    "curious": ("DeepSea-v0", [*SEA, "val_tasks=1"]),
    "curious_alone": ("FrozenLake-v1", [*CURIOUS, "max_episode_steps=20", "sharing=none", "z_min=-20", "z_max=20"]),
    "symbols": (
        "MiniGrid-FourRooms-v0",
        ["conv_filters=2", "max_episode_steps=20", "steps_per_round=20", "val_tasks=1"],
    ),
}


@pytest.fixture(autouse=True)
def _emulated_device(monkeypatch):
    monkeypatch.setattr(_cuda_module, "cuda_module", lambda device: emulated)
    monkeypatch.setattr(device_buffer, "cuda_module", lambda device: emulated)


def config_of(case, *more):
    env_id, options = CASES[case]
    return resolve_config("imt", env_id, None, [*SMALL, *options, *more])


def run(config, folder, core_device, progress=None, resume=False):
    """Train to the end of a run, with environments and replay on a device; return the trainer."""
    with RunWriter(folder, config.to_dict(), resume=resume) as writer:
        trainer = ImtTrainer(config, writer, progress, core_device)
        train_to_end(trainer, writer, trainer.learner.close)
    return trainer


@pytest.fixture(scope="module")
def host_run(tmp_path_factory):
    """Folders of whole runs in host memory, each made once."""
    made = {}

    def find(case):
        if case not in made:
            made[case] = tmp_path_factory.mktemp("host") / "run"
            run(config_of(case), made[case], "cpu")
        return made[case]

    return find


@pytest.fixture
def open_learner(tmp_path):
    """Makes learners that have collected, and that are closed at the end."""
    opened = []

    def make(config, core_device):
        folder = tmp_path / f"run {len(opened)}"
        opened.append(RunWriter(folder, config.to_dict()))
        learner = ImtTrainer(config, opened[-1], None, core_device).learner
        opened.append(learner)
        learner.collect(learner.actors, learner.replay, 0.5)
        if learner.tuning_actors is not learner.actors:
            learner.collect(learner.tuning_actors, learner.tuning_replay, 0.5)
        return learner

    yield make
    for item in opened:
        item.close()


@needs_emulator
@pytest.mark.parametrize("case", CASES)
def test_the_run_is_the_hosts_bit_for_bit(case, host_run, tmp_path, monkeypatch):
    expected = host_run(case)
    monkeypatch.setattr(learner_module, "TaskActors", None)  # nothing is played in host memory
    trainer = run(config_of(case), tmp_path / "device", "cuda")
    assert trainer.learner.updates == 24
    assert len(trainer.learner.replay) > 100
    assert_same_run(tmp_path / "device", expected)


@needs_emulator
@pytest.mark.parametrize(("first", "second"), [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")])
@pytest.mark.parametrize("case", ["as_written", "curious"])
def test_a_resumed_run_is_the_uninterrupted_one_wherever_it_goes_on(case, first, second, host_run, tmp_path):
    stopped = run(config_of(case), tmp_path / "parts", first, StopInRound(2))
    assert len(stopped.learner.rounds) == 1
    run(config_of(case), tmp_path / "parts", second, resume=True)
    assert_same_run(tmp_path / "parts", host_run(case))


@needs_emulator
@pytest.mark.parametrize("case", CASES)
def test_between_two_looks_nothing_waits_or_is_copied(case, open_learner, monkeypatch):
    learner = open_learner(config_of(case), "cuda")
    learner.pretrain()
    alone = learner.config.sharing == "none"
    phases = [DeviceCollection(learner, learner.tuning_actors, learner.tuning_replay, 0.5)]
    phases += [AloneUpdates(learner)] if alone else [SubmodelUpdates(learner), HeadUpdates(learner)]
    for phase in phases:
        phase.run(2)  # allocates batches and the optimiser's state
        updates, steps = learner.updates, learner.tuning_actors.steps
        phase.begin(4)
        with monkeypatch.context() as patch, no_host_contact(monkeypatch):
            for replay in (learner.replay, learner.tuning_replay):  # as a graph would: nothing is allocated or read
                patch.setattr(replay, "sample", functools.partial(type(replay).sample, replay, stream=CAPTURING))
            for at in range(4):
                phase.step(at)
        phase.look(4)
        assert (learner.updates - updates, learner.tuning_actors.steps - steps) in {(4, 0), (0, 8)}
    host = open_learner(config_of(case), "cpu")
    for phase in (Collection(host, host.actors, host.replay, 0.5), HeadUpdates(host)):
        phase.begin(1)
        with pytest.raises(WaitedError), no_host_contact(monkeypatch):
            phase.step(0)


@needs_emulator
@pytest.mark.parametrize("case", CASES)
def test_episodes_of_the_comparison_copy_nothing_within_a_stretch(case, open_learner, monkeypatch):
    learner = open_learner(config_of(case), "cuda")
    play, steps = DeviceTaskActors.play, Counter()

    def watched(actors, policy, at):
        steps[actors] += 1
        with no_host_contact(monkeypatch):
            return play(actors, policy, at)

    monkeypatch.setattr(DeviceTaskActors, "play", watched)
    compare(learner, learner.adapt(learner.train_tasks), 2)
    assert len(steps) == 10 + (learner.config.routing == "leave_one_out") + SHUFFLES
    assert min(steps.values()) >= 4

    def looks(obs):
        return torch.zeros(len(obs), dtype=torch.int64) + int(obs.sum() * 0)

    with pytest.raises(WaitedError):
        learner.make_actors(learner.train_tasks, 0).first_episodes(looks)


@needs_emulator
def test_first_episodes_are_the_hosts_and_few_steps_are_in_vain():
    """Poles that fall after 8 to 100 steps, under actions that are drawn ahead."""
    tasks, found, looked = {"length": np.array([0.3, 0.5, 0.9])}, [], []
    for kind, place in ((TaskActors, "cpu"), (DeviceTaskActors, "cuda")):
        rng, drawn, ticks, stretches = np.random.default_rng(3), [], [], []

        def prepare(length, rng=rng, drawn=drawn, stretches=stretches):
            stretches.append(length)
            drawn[:] = torch.from_numpy(rng.integers(2, size=(length, 24)))

        actors = kind("CartPole-v1", tasks, 8, seed=5, core_device=place)
        returns, lengths = actors.first_episodes(lambda _, d=drawn: d.pop(0), lambda t=ticks: t.append(1), prepare)
        assert returns.shape == lengths.shape == (3, 8)
        assert len(ticks) == lengths.max() > 40
        assert 0 <= sum(stretches) - lengths.max() <= (0 if place == "cpu" else 8 + lengths.max() // 8)
        found.append((returns, lengths))
        looked.append(len(stretches))
    np.testing.assert_array_equal(*found)
    assert looked[1] < looked[0] / 4


@needs_emulator
def test_playing_on_the_device_ends_at_what_goes_wrong(monkeypatch):
    """As in host memory: with an episode that does not end, an action that there is not, and when it is asked to."""

    def start():
        return DeviceTaskActors("PointRobot-v0", {"goal_x": np.array([0.5])}, 2, seed=0, core_device="cuda")

    still = 4
    with monkeypatch.context() as patch:
        patch.setattr("metarl_core.agents.imt.task_rows._LONGEST", 30)
        ticks = []
        with pytest.raises(RuntimeError, match="PointRobot-v0: an episode did not end within 30 steps"):
            start().first_episodes(lambda obs: torch.full((len(obs),), still), lambda: ticks.append(1))
        assert len(ticks) == 31

    poles = DeviceTaskActors("CartPole-v1", {"length": np.array([0.5])}, 2, seed=0, core_device="cuda")
    with pytest.raises(ValueError, match="7"):
        poles.first_episodes(lambda obs: torch.full((len(obs),), 7))

    def stop():
        raise KeyboardInterrupt

    stopped = start()
    with pytest.raises(KeyboardInterrupt):
        stopped.first_episodes(lambda obs: torch.full((len(obs),), still), stop)
    for actors in (poles, stopped):
        assert actors.envs.closed


@needs_emulator
@pytest.mark.parametrize("case", ["robots", "curious"])
def test_a_checkpoint_is_evaluated_where_its_run_plays(case, host_run, monkeypatch):
    state = RunReader(host_run(case)).load_checkpoint()
    expected = evaluate_imt(config_of(case), state, 4)
    monkeypatch.setattr("metarl_core.agents.imt.run._place", lambda config: "cuda")
    monkeypatch.setattr(learner_module, "TaskActors", None)
    assert evaluate_imt(config_of(case), state, 4) == expected


@needs_emulator
def test_when_the_host_looks_changes_nothing(host_run, tmp_path, monkeypatch):
    monkeypatch.setattr("metarl_core.agents.device.stepping._LONGEST", 7)
    monkeypatch.setattr("metarl_core.agents.imt.updates._LONGEST", 2)
    run(config_of("curious"), tmp_path / "run", "cuda")
    assert_same_run(tmp_path / "run", host_run("curious"))


@needs_emulator
def test_progress_hears_of_every_environment_step_and_of_every_stretch_of_gradient_steps(tmp_path):
    class Watch(NullProgress):
        def __init__(self):
            self.steps = []

        def update(self, step, total_steps, row):
            self.steps.append(step)

    told = {}
    for device in ("cpu", "cuda"):
        watch = Watch()
        run(config_of("curious"), tmp_path / device, device, watch)
        told[device] = watch.steps
    assert sorted(set(told["cuda"])) == sorted(set(told["cpu"]))
    # Pretraining, and in each of two rounds step 2 and the last layers: a look in place of 5, 7 and 5 gradient steps.
    assert len(told["cpu"]) - len(told["cuda"]) == (5 - 1) + 2 * (7 - 1) + 2 * (5 - 1)


@needs_emulator
def test_a_loss_that_is_not_finite_is_told_with_its_gradient_step_as_on_the_host(tmp_path):
    messages = []
    for device in ("cpu", "cuda"):
        with pytest.raises(TrainingDivergedError, match=r"in round 1, gradient step [1-9]") as error:
            run(config_of("others", "lr=1e15", "pretrain_updates=0"), tmp_path / device, device)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@needs_emulator
def test_an_episode_outside_the_atoms_stops_the_run(tmp_path):
    with pytest.raises(ConfigError, match=r"z_min=-0\.001, z_max=0\.001"):
        run(config_of("curious", "z_min=-0.001", "z_max=0.001"), tmp_path / "run", "cuda")


@needs_emulator
def test_heads_on_the_device_are_the_hosts(open_learner):
    learner = open_learner(config_of("curious"), "cuda")
    collection = DeviceCollection(learner, learner.actors, learner.replay, 0.0)
    for _ in range(3):
        collection.run(11)
        assert sum(map(len, learner.actors.returns)) > 6
        np.testing.assert_array_equal(collection._heads.now.numpy(), learner.curiosity.policy.heads)


def test_train_chooses_where_and_says_why(tmp_path, monkeypatch, caplog):
    chosen = []

    class ChosenError(Exception):
        pass

    def make(config, run, progress, place):
        chosen.append(place)
        raise ChosenError

    monkeypatch.setattr("metarl_core.agents.imt.run.ImtTrainer", make)
    monkeypatch.setattr("metarl_core.agents.imt.run.check_device", lambda device: None)
    stays = "device cuda: environments and replay stay in host memory: "
    for name, device, gpus, expected, lines in (
        ("a", "cuda", (["cuda:0 a GPU"], ""), "cuda", []),
        ("b", "cuda", ([], "no GPU here"), "cpu", [stays + "no GPU here"]),
        ("c", "cpu", (["cuda:0 a GPU"], ""), "cpu", []),
    ):
        monkeypatch.setattr(support, "cuda_devices", lambda gpus=gpus: gpus)
        config = dataclasses.replace(config_of("robots"), device=device)
        caplog.clear()
        with (
            caplog.at_level(logging.WARNING),
            RunWriter(tmp_path / name, config.to_dict()) as writer,
            pytest.raises(ChosenError),
        ):
            train_imt(config, writer)
        assert chosen[-1] == expected
        assert [record.getMessage() for record in caplog.records] == lines
    monkeypatch.setattr(support, "cuda_devices", lambda: (["cuda:0 a GPU"], ""))
    monkeypatch.setattr(support, "why_no_kernels", lambda env_id, precision: f"{env_id} has none in {precision}")
    assert (
        support.why_env_on_host("metarl_core/CartPole-v1", {"precision": "float32"})
        == "CartPole-v1 has none in float32"
    )
    assert "is not a native environment" in support.why_env_on_host("nobody/Knows-v0", {})


@needs_emulator
def test_networks_and_environments_on_different_devices_are_refused():
    tasks = {"length": np.array([0.4, 0.5, 0.6])}
    config = ImtConfig(reference_steps=64, hidden=(8,))
    with pytest.raises(ConfigError, match="core_device is 'cuda', which is cpu, but the networks are on meta"):
        ImtLearner("CartPole-v1", tasks, config, device="meta", core_device="cuda")


@needs_emulator
def test_means_of_losses_are_divided_as_on_the_host(open_learner):
    """A GPU multiplies by the reciprocal of a divisor that is the host's number."""
    learner = open_learner(config_of("robots"), "cuda")
    updates = SubmodelUpdates(learner)
    mean, losses = updates.zeros(), torch.tensor([0.3, 1.7, 0.1])
    updates.add(mean, losses)
    np.testing.assert_array_equal(mean.numpy(), losses.double().numpy() / 7)
    assert updates._count.device == learner.device
