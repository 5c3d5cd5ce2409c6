"""Families of tasks in a run: what is drawn, what the agent sees of it, and that a run goes on where it was."""

import numpy as np
import pytest
from run_helpers import StopAt

from metarl_core.agents import ConfigError, evaluate, resolve_config, train
from metarl_core.agents.loop import Trainer
from metarl_core.agents.task_context import TaskContext, make_envs
from metarl_core.runs import RunReader, RunWriter
from metarl_core.tasks import task_family

SMALL = ["total_steps=600", "learning_starts=64", "batch_size=16", "hidden=8", "signal_hidden=8", "members=3"]
SMALL += ["evaluation_episodes=5", "log_interval=100", "epochs=1"]


def config_of(*options, env_id="CartPole-v1"):
    return resolve_config("cder", env_id, None, [*SMALL, "env_tasks=7", *options])


@pytest.fixture
def open_trainer(tmp_path):
    opened = []

    def make(config):
        run = RunWriter(tmp_path / str(len(opened)), config.to_dict())
        opened.append(run)
        trainer = Trainer(config, run)
        opened.append(trainer.envs)
        return trainer

    yield make
    for item in opened:
        item.close()


@pytest.mark.parametrize("split", ["extrapolation", "interpolation"])
def test_the_tasks_are_those_of_the_family(split):
    config = config_of(f"env_tasks_split={split}", "env_tasks_seed=3")
    for part in ("train", "test"):
        wanted = task_family("CartPole-v1", split=split).sample_tasks(7, part, 3)
        envs = make_envs(config, 50, 0, part)
        envs.reset(seed=0)
        now, ids = envs.get_tasks(), envs.task_id
        assert set(ids) == set(range(7))
        for name, values in wanted.items():
            np.testing.assert_array_equal(now[name], values[ids])
        envs.close()


def test_task_ids_are_one_hot_and_parameters_are_scaled(open_trainer):
    for kind in ("task_id", "parameters"):
        trainer = open_trainer(config_of(f"context={kind}", "num_envs=6"))
        width = {"task_id": 7, "parameters": 3}[kind]
        assert trainer.encoder.size == 4 + width
        assert trainer.encoded.shape == (6, 4 + width)
        shown = trainer.encoded[:, 4:]
        if kind == "task_id":
            np.testing.assert_array_equal(shown, np.eye(7)[trainer.envs.task_id])
        else:
            ranges = task_family("CartPole-v1").ranges
            now = trainer.envs.get_tasks()
            for column, (name, (low, high)) in zip(shown.T, ranges.items(), strict=True):
                np.testing.assert_allclose(low + (column + 1) / 2 * (high - low), now[name], rtol=1e-5)
            assert np.abs(shown).max() <= 1 + 1e-6


@pytest.mark.parametrize("kind", ["task_id", "parameters"])
def test_every_transition_carries_one_task_also_where_an_episode_ends(open_trainer, kind):
    trainer = open_trainer(config_of(f"context={kind}", "num_envs=6"))
    seen = set()
    while trainer.step < 600:
        before = trainer.context.copy()
        trainer.act()
        changed = (before != trainer.context).any(axis=1)
        seen |= {tuple(row) for row in trainer.context}
        # Only an episode's end brings another task.
        assert not (changed & (trainer.tracker.lengths > 0)).any()
    batch = trainer.replay.sample(2000, mode="uniform")
    np.testing.assert_array_equal(batch["obs"][:, 4:], batch["next_obs"][:, 4:])
    assert batch["terminated"].sum() > 20
    assert len(seen) == 7


def test_without_context_the_agent_sees_the_observation_alone(open_trainer):
    trainer = open_trainer(config_of())
    assert trainer.encoder.size == 4
    assert trainer.context is None
    assert set(np.unique(trainer.envs.task_id)) <= set(range(7))


@pytest.mark.parametrize("kind", ["none", "task_id", "parameters"])
def test_a_resumed_run_draws_the_same_tasks(tmp_path, kind):
    config = config_of(f"context={kind}")
    with RunWriter(tmp_path / "whole", config.to_dict()) as run:
        train(config, run)
    with RunWriter(tmp_path / "parts", config.to_dict()) as run:
        assert train(config, run, StopAt(300))["status"] == "interrupted"
    with RunWriter(tmp_path / "parts", config.to_dict(), resume=True) as run:
        train(config, run)
    whole, parts = ((tmp_path / name / "episodes.csv").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    assert RunReader(tmp_path / "whole").result["evaluation_return"] == evaluate(tmp_path / "parts", 5)["return_mean"]


def test_evaluation_on_the_test_part(tmp_path):
    config = config_of("context=parameters", "evaluation_split=test", "total_steps=200")
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        assert train(config, run)["evaluation_return"] > 0


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("Catch-v0", ["env_tasks=4"], r"env_tasks=4: Catch-v0 has no family of tasks; choose one of .*CartPole-v1"),
        (
            "CartPole-v1",
            ["context=task_id", "env_tasks=0"],
            r"context='task_id': there are no tasks to show; set env_tasks=N",
        ),
        ("CartPole-v1", ["context=task_id", "evaluation_split=test"], r"evaluation_split='test' has other tasks"),
        ("CartPole-v1", ["context=all"], r"context='all': choose one of none, task_id, parameters"),
        ("CartPole-v1", ["env_tasks_split=hard"], r"env_tasks_split='hard': choose one of auto, extrapolation"),
        ("Maze-v0", ["context=parameters"], r"a task of Maze-v0 is a seed.*; set context=task_id"),
        (
            "Maze-v0",
            ["env_tasks_split=interpolation"],
            r"env_tasks_split='interpolation': .*or set env_tasks_split=auto",
        ),
        ("CartPole-v1", ["env_tasks=-1"], r"env_tasks=-1: must be >= 0"),
    ],
)
def test_configurations_that_cannot_be(env_id, options, message):
    with pytest.raises(ConfigError, match=message):
        config_of(*options, env_id=env_id)


def test_one_hot_observations_take_no_context(open_trainer):
    with pytest.raises(ConfigError, match="set one_hot_obs=false"):
        open_trainer(config_of("context=task_id", "one_hot_obs=true"))


def test_the_context_of_a_run_without_one_is_nothing():
    config = config_of()
    assert TaskContext(config)(None) is None
    assert TaskContext(config).size == 0
