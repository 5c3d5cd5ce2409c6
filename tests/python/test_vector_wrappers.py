"""Gymnasium's wrappers of vector environments work on top of ours."""

from __future__ import annotations

import gymnasium
import gymnasium.wrappers.vector as wrappers
import numpy as np
import pytest

from metarl_core import make_vec


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Taxi-v4", "Blackjack-v1", "MinAtar/Breakout-v1"])
def test_episode_statistics(env_id, mode):
    envs = wrappers.RecordEpisodeStatistics(make_vec(env_id, 16, autoreset_mode=mode, seed=3))
    envs.reset(seed=3)
    envs.action_space.seed(0)
    total, length, ended = np.zeros(16), np.zeros(16, int), np.zeros(16, bool)
    episodes = 0
    for _ in range(500):
        _, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        fresh = ended if mode == "next_step" else np.zeros(16, bool)  # this step was a reset
        total, length = np.where(fresh, 0, total + reward), np.where(fresh, 0, length + 1)
        ended = terminated | truncated
        if ended.any():
            np.testing.assert_array_equal(info["_episode"], ended)
            np.testing.assert_allclose(info["episode"]["r"][ended], total[ended])
            np.testing.assert_array_equal(info["episode"]["l"][ended], length[ended])
            episodes += int(ended.sum())
            if mode == "same_step":
                total[ended], length[ended] = 0, 0
    assert episodes > 10


def test_normalized_observations_and_rewards():
    envs = wrappers.NormalizeReward(wrappers.NormalizeObservation(make_vec("Pendulum-v1", 64, seed=1)))
    envs.reset(seed=1)
    rng = np.random.default_rng(0)
    seen, rewards = [], []
    for _ in range(300):
        obs, reward, *_ = envs.step(rng.uniform(-2, 2, (64, 1)).astype(np.float32))
        seen.append(obs)
        rewards.append(reward)
    seen = np.concatenate(seen[100:])
    assert np.abs(seen.mean(axis=0)).max() < 0.2
    assert np.abs(seen.std(axis=0) - 1).max() < 0.2
    assert 0.01 < np.std(rewards[100:]) < 1


@pytest.mark.parametrize(
    ("env_id", "wrap", "shape", "dtype"),
    [
        ("MinAtar/Breakout-v1", wrappers.FlattenObservation, (5, 400), np.bool_),
        ("Blackjack-v1", wrappers.FlattenObservation, (5, 32 + 11 + 2), np.int64),
        ("CartPole-v1", lambda envs: wrappers.ReshapeObservation(envs, (2, 2)), (5, 2, 2), np.float32),
        ("CartPole-v1", lambda envs: wrappers.DtypeObservation(envs, np.float64), (5, 4), np.float64),
        ("DeepSea-v0", lambda envs: wrappers.RescaleObservation(envs, -1, 1), (5, 10, 10), np.float32),
        ("Taxi-v4", wrappers.FlattenObservation, (5, 500), np.int64),
    ],
)
def test_observations_change_their_shape(env_id, wrap, shape, dtype):
    envs = wrap(make_vec(env_id, 5))
    obs, _ = envs.reset(seed=2)
    for _ in range(20):
        assert obs.shape == shape
        assert obs.dtype == dtype
        assert obs in envs.observation_space
        obs, *_ = envs.step(envs.action_space.sample())


def test_actions_and_rewards_change():
    plain, rescaled = make_vec("Pendulum-v1", 4, seed=5), make_vec("Pendulum-v1", 4, seed=5)
    rescaled = wrappers.ClipReward(wrappers.RescaleAction(rescaled, np.float32(-1), np.float32(1)), -3, 0)
    plain.reset(seed=5)
    rescaled.reset(seed=5)
    for torque in np.linspace(-1, 1, 50):
        action = np.full((4, 1), torque, np.float32)
        obs, reward, *_ = plain.step(2 * action)
        other_obs, other_reward, *_ = rescaled.step(action)
        np.testing.assert_allclose(other_obs, obs, atol=1e-6)
        np.testing.assert_allclose(other_reward, np.clip(reward, -3, 0), atol=1e-6)


def test_infos_as_lists():
    envs = wrappers.DictInfoToList(make_vec("Taxi-v4", 3, seed=0))
    _, infos = envs.reset()
    assert [sorted(info) for info in infos] == [["action_mask", "prob"]] * 3
    assert isinstance(envs.unwrapped, gymnasium.vector.VectorEnv)
