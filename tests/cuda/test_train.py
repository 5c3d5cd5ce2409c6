"""Training with environments, replay and networks on a GPU: no host copy between two looks, graphs, resuming."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from metarl_core.agents import resolve_config, train  # noqa: E402
from metarl_core.agents.device.loop import DeviceTrainer  # noqa: E402
from metarl_core.runs import RunWriter  # noqa: E402

sys.path.append(str(Path(__file__).parents[1] / "python" / "agents"))
from run_helpers import StopAt, contents  # noqa: E402
from watching import no_copy_and_no_wait  # noqa: E402

CASES = {
    "cartpole": ("cder", "CartPole-v1", ["num_envs=256"]),
    "deep_sea": ("cder", "DeepSea-v0", ["size=10", "num_envs=64", "max_episodes=100000"]),
    "first_visits": ("cder", "CartPole-v1", ["num_envs=64", "bonus_visits=first"]),
    "minatar": ("cder", "MinAtar/Breakout-v1", ["num_envs=64", "z_max=50"]),
    "ddqn-per": ("ddqn-per", "CartPole-v1", ["num_envs=64"]),
    "ddqn": ("ddqn", "CartPole-v1", ["num_envs=64"]),
    "bootdqn": ("bootdqn", "CartPole-v1", ["num_envs=64", "epsilon_start=0.2"]),
}
ITERATIONS = 20


def config_of(case, *more):
    algorithm, env_id, options = CASES[case]
    fixed = ["device=cuda", "learning_starts=256", "train_every=64", "total_steps=1000000", "log_interval=5120"]
    return resolve_config(algorithm, env_id, None, [*fixed, *options, *more])


@pytest.fixture
def open_loop(tmp_path):
    """Makes loops that write below tmp_path; everything is closed at the end."""
    opened = []

    def make(config, name="run"):
        run = RunWriter(tmp_path / name, config.to_dict())
        opened.append(run)
        trainer = DeviceTrainer(config, run)
        opened.append(trainer.envs)
        return trainer

    yield make
    for item in opened:
        item.close()


def iterate(trainer, steps=ITERATIONS):
    for at in range(steps):
        trainer.act(at)
        trainer.learn()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("graphs", [False, True])
def test_no_copy_and_no_wait_between_two_looks(case, graphs, open_loop):
    trainer = open_loop(config_of(case, f"cuda_graphs={str(graphs).lower()}"))
    trainer.advance()
    trainer.advance()
    assert trainer.agent.updates >= 16  # everything is allocated, and recorded
    updates = trainer.agent.updates
    trainer.actor.begin(trainer.step, ITERATIONS)
    with no_copy_and_no_wait():
        iterate(trainer)
    assert trainer.agent.updates > updates
    trainer.replay.check()
    trainer.envs.check()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("case", ["cartpole", "deep_sea"])
def test_recorded_gradient_steps_are_the_eager_ones(case, optimizer, open_loop):
    loops = [
        open_loop(config_of(case, f"optimizer={optimizer}", f"cuda_graphs={graphs}", "log_interval=1280"), graphs)
        for graphs in ("false", "true")
    ]
    for trainer in loops:
        trainer.advance()
    eager, recorded = loops
    assert recorded.agent.updates == eager.agent.updates >= 60
    for (name, ours), theirs in zip(
        recorded.agent.critic.state_dict().items(), eager.agent.critic.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=name)
    assert recorded.agent.stats.keys() == eager.agent.stats.keys()
    for name, value in eager.agent.stats.items():
        assert recorded.agent.stats[name] == pytest.approx(value, rel=1e-2, abs=1e-4), name
    np.testing.assert_allclose(recorded.replay.priorities(), eager.replay.priorities(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("case", ["cartpole", "deep_sea"])
def test_a_run_finishes_and_resumes(case, tmp_path):
    config = config_of(case, "total_steps=20480", "num_envs=64", "evaluation_episodes=2", "max_episodes=1000000")

    def run_to_end(name, progress=None, resume=False):
        with RunWriter(tmp_path / name, config.to_dict(), resume=resume) as run:
            return train(config, run, progress)

    whole = run_to_end("whole")
    run_to_end("parts", StopAt(10_000))
    parts = run_to_end("parts", resume=True)
    assert parts["environment_steps"] == whole["environment_steps"] == 20480
    # Sums of gradients may be taken in another order from run to run; what is counted is the same.
    assert [row["updates"] for row in contents(tmp_path / "parts")[0]] == [
        row["updates"] for row in contents(tmp_path / "whole")[0]
    ]
