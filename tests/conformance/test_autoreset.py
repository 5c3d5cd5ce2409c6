"""The three autoreset modes against Gymnasium's SyncVectorEnv, row by row and key by key.

Both sides must start episodes in the same states, though their random numbers differ: ours steps first, and the
reference's resets are then told which states ours chose.
"""

from __future__ import annotations

import gymnasium
import minatar.gym
import numpy as np
import pytest
from bsuite.environments import deep_sea
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import metarl_core

from . import bsuite_reference, reference_families
from .minatar_games import GAMES

ROWS = 12
STEPS = 700
BSUITE = ("Catch-v0", "Bandit-v0", "MemoryChain-v0", "DiscountingChain-v0", "CartPoleSwingup-v0")


def best_actions(env_id):
    """Value iteration on the reference's table."""
    table = gymnasium.make(env_id).unwrapped.P
    value = np.zeros(len(table))
    for _ in range(60):
        gain = np.array([[r + (not t) * 0.9 * value[s] for [(_, s, r, t)] in row.values()] for row in table.values()])
        value = gain.max(1)
    return gain.argmax(1)


POLICIES = {env_id: best_actions(env_id) for env_id in ("CliffWalking-v1", "Taxi-v4")}


def random_actions(envs, rng):
    if hasattr(envs.single_action_space, "n"):
        return rng.integers(0, envs.single_action_space.n, ROWS)
    return rng.uniform(-3, 3, envs.action_space.shape).astype(np.float32)


class ToldResets(gymnasium.Wrapper):
    """Resets to the state that `states[row]` names."""

    def __init__(self, env, row, states):
        super().__init__(env)
        self.row, self.states = row, states

    def reset(self, **kwargs):
        info = self.env.reset(**kwargs)[1]
        state = self.states[self.row]
        if hasattr(self.unwrapped, "s"):
            self.unwrapped.s = int(state[0])
            if "action_mask" in info:
                info["action_mask"] = self.unwrapped.action_mask(int(state[0]))
            return int(state[0]), info
        if hasattr(self.unwrapped, "dealer"):
            total, ace, _, dealer, _, _, showing = state.astype(int).tolist()
            self.unwrapped.player = [1, total - 1] if ace else [total // 2, total - total // 2]
            self.unwrapped.dealer = [showing, dealer - showing]
            return self.unwrapped._get_obs(), info
        self.unwrapped.state = state.copy()
        for name in ("_get_ob", "_get_obs"):
            if hasattr(self.unwrapped, name):
                return getattr(self.unwrapped, name)(), info
        return state.astype(np.float32), info


class BsuiteDeepSea(gymnasium.Env):
    """bsuite's environment with Gymnasium's methods; every episode starts in the same state."""

    def __init__(self, size):
        self.environment = deep_sea.DeepSea(size, mapping_seed=42)
        self.observation_space = gymnasium.spaces.Box(0, 1, (size, size), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.environment.reset().observation.astype(np.float32), {}

    def step(self, action):
        step = self.environment.step(int(action))
        return step.observation.astype(np.float32), step.reward, step.last(), False, {}


class Bsuite(gymnasium.Env):
    """bsuite's other environments with Gymnasium's methods; episodes start in the states that `states[row]` names."""

    def __init__(self, env_id, row, states, params):
        self.env_id, self.row, self.states = env_id, row, states
        self.environment = bsuite_reference.make(env_id, **params)
        spec = self.environment.observation_spec()
        low, high = (0, 1) if env_id == "Catch-v0" else (-np.inf, np.inf)
        self.observation_space = gymnasium.spaces.Box(low, high, spec.shape, np.float32)
        self.action_space = gymnasium.spaces.Discrete(self.environment.action_spec().num_values)

    def reset(self, *, seed=None, options=None):
        self.environment.reset()
        bsuite_reference.set_episode(self.env_id, self.environment, self.states[self.row])
        return bsuite_reference.observation_of(self.env_id, self.environment), {}

    def step(self, action):
        step = self.environment.step(int(action))
        return step.observation, step.reward, step.last(), False, {}


class Scripted:
    """In place of a generator: hands out the cards of its row, from the first after every step."""

    def __init__(self):
        self.cards, self.taken = np.ones(10, int), 0

    def choice(self, deck):
        self.taken += 1
        return self.cards[(self.taken - 1) % 10]


class ToldMinAtar(minatar.gym.BaseEnv):
    """The package's environment; its resets put in what is random in `states[row]`."""

    def __init__(self, env_id, row, states, **params):
        name = GAMES[env_id.split("/")[1].split("-")[0]].module
        super().__init__(name, use_minimal_action_set=env_id.endswith("-v1"), **params)
        self.row, self.states = row, states

    def reset(self, *, seed=None, options=None):
        self.game.reset()
        state = self.states[self.row]
        if self.game.env_name == "breakout":
            self.game.env.ball_x, self.game.env.ball_dir = int(state[1]), int(state[3])
            self.game.env.last_x = self.game.env.ball_x
        elif self.game.env_name == "freeway":
            for car, timer, speed in zip(self.game.env.cars, state[12:20], state[20:], strict=True):
                car[2:] = [int(timer), int(speed)]
        return self.game.state(), {}


class ToldFamily(gymnasium.Env):
    """One of the meta-learning environments in plain NumPy; episodes start in the states that `states[row]` names."""

    def __init__(self, env_id, row, states, limit):
        self.row, self.states = row, states
        name = env_id.split("-")[0]
        ones = np.ones(15, np.float32)
        if name == "Maze":
            self.reference = reference_families.Maze(row, size=5, limit=limit)
            unbounded = np.where(np.arange(15) == 13, np.float32(np.inf), ones)
            self.observation_space = gymnasium.spaces.Box(np.where(unbounded > 1, -unbounded, 0 * ones), unbounded)
        elif name == "BernoulliBandit":
            self.reference = reference_families.Bandit(row, arms=3, horizon=6)
            self.observation_space = gymnasium.spaces.Box(0, 1, (4,), np.float32)
        elif name == "TabularMDP":
            self.reference = reference_families.TabularMDP(row, states=1, actions=4, horizon=2, episodes=3, noise=0.0)
            self.observation_space = gymnasium.spaces.Discrete(1)
        else:
            reference = reference_families.SparsePointRobot if "Sparse" in name else reference_families.PointRobot
            self.reference = reference(row, max_step=2.0, **({} if "Sparse" in name else {"goal_tolerance": 0.4}))
            self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        counts = {"Maze": 4, "BernoulliBandit": 3, "TabularMDP": 4}
        if name in counts:
            self.action_space = gymnasium.spaces.Discrete(counts[name])
        else:
            self.action_space = gymnasium.spaces.Box(-2, 2, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.reference.set_fields(self.states[self.row])
        return self.reference.observe(), {}

    def step(self, action):
        obs, reward, terminated, _, _ = self.reference.step(action)
        return obs, reward, terminated, False, {}


# Nothing random within an episode: arms that always pay, one state and no noise.
FAMILIES = {
    "PointRobot-v0": {"max_step": 2.0, "goal_tolerance": 0.4},
    "SparsePointRobot-v0": {"max_step": 2.0},
    "BernoulliBandit-v0": {"num_arms": 3, "horizon": 6, "mean_low": 1.0},
    "TabularMDP-v0": {"num_states": 1, "num_actions": 4, "horizon": 2, "num_episodes": 3, "reward_scale": 0.0},
    "Maze-v0": {"size": 5},
}


def make_reference(env_id, row, states, limit, params):
    if env_id.startswith("MiniGrid-"):
        return pytest.importorskip("tests.conformance.minigrid_levels").ToldMiniGrid(env_id, row, states, limit)
    if env_id in FAMILIES:
        return gymnasium.wrappers.TimeLimit(ToldFamily(env_id, row, states, limit), limit)
    if env_id.startswith("MinAtar/"):
        return gymnasium.wrappers.TimeLimit(ToldMinAtar(env_id, row, states, **params), limit)
    if env_id == "DeepSea-v0":
        return gymnasium.wrappers.TimeLimit(BsuiteDeepSea(**params), limit)
    if env_id in BSUITE:
        return gymnasium.wrappers.TimeLimit(Bsuite(env_id, row, states, params), limit)
    return ToldResets(gymnasium.make(env_id, max_episode_steps=limit, **params), row, states)


def make_pair(env_id, mode, **params):
    states = [None] * ROWS
    limit = params.pop("max_episode_steps")
    reference = SyncVectorEnv(
        [lambda row=row: make_reference(env_id, row, states, limit, params) for row in range(ROWS)],
        autoreset_mode=mode,
    )
    ours = metarl_core.make_vec(env_id, ROWS, autoreset_mode=mode, max_episode_steps=limit, seed=11, **params)
    return ours, reference, states


def assert_equal_info(ours, reference):
    assert set(ours) == set(reference)
    for key, expected in reference.items():
        got = ours[key]
        if isinstance(expected, dict):
            assert_equal_info(got, expected)
        elif expected.dtype == object:
            assert got.dtype == object
            for a, b in zip(got, expected, strict=True):
                assert (a is None) == (b is None)
                if b is not None:
                    assert type(a) is type(b)
                    assert not isinstance(a, tuple) or [type(x) for x in a] == [type(x) for x in b]
                    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
        elif key == "prob":
            np.testing.assert_array_equal(got, expected.astype(np.float64))
        elif expected.dtype.kind == "f":  # sums of rewards
            np.testing.assert_allclose(got, expected, rtol=1e-6)
        else:
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("env_id", "params"),
    [
        ("CartPole-v1", {"max_episode_steps": 30}),
        ("MountainCar-v0", {"max_episode_steps": 7}),
        ("Acrobot-v1", {"max_episode_steps": 60}),
        ("FrozenLake-v1", {"max_episode_steps": 12, "is_slippery": False}),
        ("Pendulum-v1", {"max_episode_steps": 9}),
        ("MountainCarContinuous-v0", {"max_episode_steps": 80, "goal_velocity": 0.0}),
        ("CliffWalking-v1", {"max_episode_steps": 14}),
        ("Taxi-v4", {"max_episode_steps": 17}),
        ("Blackjack-v1", {"max_episode_steps": 2}),
        ("Catch-v0", {"max_episode_steps": 9}),
        ("Bandit-v0", {"max_episode_steps": 1}),
        ("MemoryChain-v0", {"max_episode_steps": 4, "memory_length": 3, "num_bits": 6}),
        ("DiscountingChain-v0", {"max_episode_steps": 100}),
        ("CartPoleSwingup-v0", {"max_episode_steps": 50, "max_time": 0.5}),
        ("DeepSea-v0", {"max_episode_steps": 4, "size": 4}),
        ("DeepSea-v0", {"max_episode_steps": 3, "size": 5}),
        # No stuck actions, and too short for the games' other random numbers.
        ("MinAtar/Breakout-v1", {"max_episode_steps": 7, "sticky_action_prob": 0.0}),
        ("MinAtar/Asterix-v1", {"max_episode_steps": 9, "sticky_action_prob": 0.0}),
        ("MinAtar/Seaquest-v1", {"max_episode_steps": 19, "sticky_action_prob": 0.0}),
        ("MinAtar/SpaceInvaders-v1", {"max_episode_steps": 40, "sticky_action_prob": 0.0}),
        ("MinAtar/Freeway-v0", {"max_episode_steps": 20, "sticky_action_prob": 0.0}),
        ("MiniGrid-Empty-Random-5x5-v0", {"max_episode_steps": 30}),
        ("MiniGrid-LavaCrossingS9N1-v0", {"max_episode_steps": 12}),
        *((env_id, {"max_episode_steps": 5, **params}) for env_id, params in FAMILIES.items()),
    ],
)
def test_autoreset_as_sync_vector_env(env_id, params, mode):
    ours, reference, states = make_pair(env_id, mode, **params)
    assert ours.metadata["autoreset_mode"] is reference.metadata["autoreset_mode"]
    assert ours.single_action_space == reference.single_action_space
    assert ours.action_space == reference.action_space
    assert ours.single_observation_space == reference.single_observation_space
    assert ours.observation_space == reference.observation_space
    if mode is not AutoresetMode.DISABLED:  # SyncVectorEnv takes the mask out of the options, the wrapper misses it
        ours, reference = RecordEpisodeStatistics(ours), RecordEpisodeStatistics(reference)
    rng = np.random.default_rng(1)
    scripts = [Scripted() for _ in range(ROWS)] if env_id == "Blackjack-v1" else []

    obs, info = ours.reset()
    states[:] = ours.unwrapped.get_state()["state"]
    reference_obs, reference_info = reference.reset()
    np.testing.assert_allclose(obs, reference_obs, rtol=1e-6, atol=1e-7)
    assert_equal_info(info, reference_info)
    for env, script in zip(reference.unwrapped.envs, scripts, strict=False):
        env.unwrapped.np_random = script
    ends = {"terminated": 0, "truncated": 0}
    for _ in range(STEPS):
        actions = random_actions(ours, rng)
        if env_id == "CartPole-v1":  # some rows survive until the limit
            actions[:4] = obs[:4, 2] + 0.5 * obs[:4, 3] > 0
        if env_id in POLICIES:  # some rows come to the end
            actions[:6] = POLICIES[env_id][obs[:6]]
        if scripts:
            cards = rng.integers(1, 11, (ROWS, 10))
            for script, row in zip(scripts, cards, strict=True):
                script.cards, script.taken = row, 0
            ours.unwrapped._core.set_draws((cards - 0.5) / 13)
        result = ours.step(actions)
        states[:] = ours.unwrapped.get_state()["state"]
        expected = reference.step(actions)
        for got, want in zip(result[:4], expected[:4], strict=True):
            assert isinstance(got, tuple) == isinstance(want, tuple)
            for a, b in zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]:
                assert a.dtype == b.dtype
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
        result[4].get("episode", {}).pop("t", None)  # wall time
        expected[4].get("episode", {}).pop("t", None)
        assert_equal_info(result[4], expected[4])
        obs, _, terminated, truncated, _ = result
        assert ours.observation_space.contains(obs)
        ends["terminated"] += int(terminated.sum())
        ends["truncated"] += int(truncated.sum())
        # In either mode the reference's rows end where ours do, so both ask for the same resets.
        if mode is AutoresetMode.DISABLED and (terminated | truncated).any():
            mask = terminated | truncated
            # As in SyncVectorEnv, the other rows keep their observations; told states are ours after the reset.
            obs, info = ours.reset(options={"reset_mask": mask.copy()})
            states[:] = ours.unwrapped.get_state()["state"]
            reference_obs, reference_info = reference.reset(options={"reset_mask": mask.copy()})
            np.testing.assert_allclose(obs, reference_obs, rtol=1e-6, atol=1e-7)
            assert_equal_info(info, reference_info)
    print(f"{env_id} {mode.name}: {ROWS * STEPS} rows, {ends}")
    assert ends["truncated"] > 0
    if (
        env_id in ("CartPole-v1", "FrozenLake-v1", "Blackjack-v1", "MinAtar/Breakout-v1", *POLICIES, *BSUITE)
        or params.get("size") == 4
    ):
        assert ends["terminated"] > 0


def test_statistics_wrapper_with_masked_resets():
    envs = RecordEpisodeStatistics(metarl_core.make_vec("CartPole-v1", 20, autoreset_mode="disabled", seed=2))
    envs.reset()
    rng, lengths, ended = np.random.default_rng(0), np.zeros(20, int), 0
    for _ in range(200):
        _, _, terminated, truncated, info = envs.step(rng.integers(0, 2, 20))
        lengths += 1
        done = terminated | truncated
        if done.any():
            np.testing.assert_array_equal(info["episode"]["l"][done], lengths[done])
            np.testing.assert_array_equal(info["episode"]["r"][done], lengths[done])
            envs.reset(options={"reset_mask": done})
            lengths[done] = 0
            ended += int(done.sum())
    assert ended > 50


def test_dense_final_obs_is_the_object_arrays_content():
    kwargs = {"autoreset_mode": "same_step", "seed": 4}
    plain = metarl_core.make_vec("CartPole-v1", 50, **kwargs)
    dense = metarl_core.make_vec("CartPole-v1", 50, dense_final_obs=True, **kwargs)
    plain.reset()
    dense.reset()
    rng, ended = np.random.default_rng(0), 0
    for _ in range(200):
        actions = rng.integers(0, 2, 50)
        info, dense_info = plain.step(actions)[4], dense.step(actions)[4]
        assert set(info) == set(dense_info)
        final, mask = plain.final_obs_dense()
        if info:
            rows = np.flatnonzero(info["_final_obs"])
            ended += len(rows)
            np.testing.assert_array_equal(np.stack(info["final_obs"][rows]), dense_info["final_obs"][rows])
            np.testing.assert_array_equal(final, dense_info["final_obs"])
            np.testing.assert_array_equal(mask, dense_info["_final_obs"])
        else:
            assert not mask.any()
    assert ended > 100
