"""Packages of environments through make_vec; those that are not installed are skipped."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from test_wrapped_vector import assert_same

import metarl_core
from metarl_core import make_vec

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def compare(env_id, steps, **params):
    """Step our process vector beside Gymnasium's own."""
    rows = 3
    ours = make_vec(env_id, rows, backend="process", num_threads=2, autoreset_mode="same_step", **params)

    def make():
        return gymnasium.make(env_id, **params)

    theirs = SyncVectorEnv([make] * rows, autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.single_observation_space == theirs.single_observation_space
    assert_same(ours.reset(seed=[5, 6, 7]), theirs.reset(seed=[5, 6, 7]))
    theirs.action_space.seed(0)
    ends = 0
    for step in range(steps):
        actions = theirs.action_space.sample()
        a, b = ours.step(actions), theirs.step(actions)
        assert_same(a, b, f"step {step}")
        ends += int((b[2] | b[3]).sum())
    ours.close()
    theirs.close()
    return ends


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-6x6-v0", "MiniGrid-LavaCrossingS9N1-v0", "BabyAI-GoToRedBall-v0"])
def test_minigrid(env_id):
    pytest.importorskip("minigrid", exc_type=ImportError)
    if env_id in metarl_core.list_envs():
        make_vec(env_id, 1, backend="serial").close()  # registers it with Gymnasium
    ends = compare(env_id, 200, max_episode_steps=30)
    assert ends >= 15


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Ant-v5", "InvertedPendulum-v5"])
def test_mujoco(env_id):
    pytest.importorskip("mujoco", reason="needs mujoco: make test-metaworld", exc_type=ImportError)
    assert compare(env_id, 60, max_episode_steps=25) >= 6


def test_mujoco_tasks():
    pytest.importorskip("mujoco", reason="needs mujoco: make test-metaworld", exc_type=ImportError)

    def apply(env, task):
        env.unwrapped.model.opt.gravity[2] = task["gravity"]

    envs = make_vec(
        "InvertedPendulum-v5", 3, backend="process", num_threads=2, task_parameters=["gravity"], apply_task=apply
    )
    envs.set_tasks({"gravity": [-9.81, 0.0, 9.81]})
    envs.reset(seed=[1, 1, 1])
    for _ in range(3):
        obs, *_, info = envs.step(np.zeros((3, 1), np.float32))
    assert len(np.unique(obs, axis=0)) == 3
    assert info["task_id"].tolist() == [0, 1, 2]
    envs.set_tasks({"gravity": -9.81})
    obs, _ = envs.reset(seed=[1, 1, 1])
    for _ in range(3):
        obs, *_ = envs.step(np.zeros((3, 1), np.float32))
    assert len(np.unique(obs, axis=0)) == 1
    envs.close()


@pytest.mark.parametrize("env_id", ["MinAtar/Breakout-v1", "minatar.gym:MinAtar/SpaceInvaders-v0"])
def test_minatar(env_id):
    pytest.importorskip("minatar")
    import minatar

    rows = 3
    envs = make_vec(env_id, rows, backend="process", num_threads=2, autoreset_mode="same_step")
    assert envs.observation_space.dtype == np.bool_
    seeds = [4, 5, 6]
    obs, _ = envs.reset(seed=seeds)
    name = "breakout" if "Breakout" in env_id else "space_invaders"
    games = [minatar.Environment(name) for _ in seeds]
    for game, seed in zip(games, seeds, strict=True):
        game.seed(seed)
        game.reset()
    allowed = games[0].minimal_action_set() if env_id.endswith("v1") else list(range(6))
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(150):
        np.testing.assert_array_equal(obs, [game.state() for game in games])
        actions = rng.integers(len(allowed), size=rows)
        obs, reward, terminated, _, _ = envs.step(actions)
        for row, game in enumerate(games):
            assert game.act(allowed[actions[row]]) == (reward[row], terminated[row])
            if terminated[row]:
                ends += 1
                game.reset()
    assert ends >= 3
    envs.close()


def test_bsuite():
    pytest.importorskip("bsuite")
    from bsuite.environments import catch

    from metarl_core.vector.dm_env_adapter import DmEnvAdapter

    seeds = [4, 5, 6]
    envs = make_vec(
        lambda: DmEnvAdapter(lambda seed: catch.Catch(seed=seed)),
        3,
        backend="process",
        num_threads=2,
        autoreset_mode="same_step",
    )
    obs, _ = envs.reset(seed=seeds)
    games = [catch.Catch(seed=seed) for seed in seeds]
    expected = [game.reset().observation for game in games]
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(100):
        np.testing.assert_array_equal(obs, expected)
        actions = rng.integers(3, size=3)
        obs, reward, terminated, truncated, info = envs.step(actions)
        for row, game in enumerate(games):
            step = game.step(int(actions[row]))
            assert reward[row] == step.reward
            assert terminated[row] == step.last()
            if step.last():
                ends += 1
                np.testing.assert_array_equal(info["final_obs"][row], step.observation)
                step = game.reset()
            expected[row] = step.observation
        assert not truncated.any()
    assert ends == 3 * 11
    regret = [environment.bsuite_info() for environment in envs.get_attr("environment")]
    assert regret == [game.bsuite_info() for game in games]
    envs.close()


def test_specs_of_dm_env():
    dm_env = pytest.importorskip("dm_env")
    from dm_env import specs
    from gymnasium import spaces

    from metarl_core.vector.dm_env_adapter import DmEnvAdapter

    class Two(dm_env.Environment):
        def __init__(self, seed):
            self.rng, self.t = np.random.default_rng(seed), 0

        def observation_spec(self):
            return {"x": specs.Array((2,), np.float32), "n": specs.BoundedArray((), np.int32, 0, 5)}

        def action_spec(self):
            return specs.BoundedArray((1,), np.float32, [-2.0], [2.0])

        def _obs(self):
            return {"x": self.rng.random(2, np.float32), "n": np.int32(self.t % 5)}

        def reset(self):
            self.t = 0
            return dm_env.restart(self._obs())

        def step(self, action):
            self.t += 1
            if self.t == 3:
                return dm_env.truncation(1.5, self._obs())
            return dm_env.transition(None, self._obs()) if self.t == 1 else dm_env.transition(0.5, self._obs())

    env = DmEnvAdapter(Two)
    assert env.observation_space["x"] == spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert env.observation_space["n"] == spaces.Box(0, 5, (), np.int32)
    assert env.action_space == spaces.Box(-2, 2, (1,), np.float32)
    first = env.reset(seed=3)[0]
    assert env.observation_space.contains(first)
    assert [env.step(np.zeros(1, np.float32))[1:4] for _ in range(3)] == [
        (0.0, False, False),
        (0.5, False, False),
        (1.5, False, True),  # a time limit: the discount is not 0
    ]
    np.testing.assert_array_equal(env.reset(seed=3)[0]["x"], first["x"])
    assert (env.reset()[0]["x"] != first["x"]).all()
