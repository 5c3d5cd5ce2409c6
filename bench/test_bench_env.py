"""Environments beside the same equations in NumPy, in groups: ``pytest bench``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import metarl_core
from metarl_core.benchmarks.drivers.check_env import REFERENCES, TOLERANCE, check_trace
from metarl_core.benchmarks.drivers.env_base import draw_actions
from metarl_core.benchmarks.drivers.ours_env import OurEnvs

SIZES = [16, 4096]
ENVIRONMENTS = ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1"]


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize("num_envs", SIZES)
def test_step_ours(benchmark: Any, num_envs: int, env_id: str) -> None:
    benchmark.group = f"{env_id} {num_envs}"
    contestant = OurEnvs({"env_id": env_id, "num_envs": num_envs, "threads": 1})
    check_trace(env_id, contestant.trace(draw_actions(env_id, 32, num_envs, np.random.default_rng(0))))
    envs = metarl_core.make_vec(env_id, num_envs, num_threads=1, autoreset_mode="next_step", seed=0)
    envs.reset(seed=0)
    actions = draw_actions(env_id, 1, num_envs, np.random.default_rng(1))[0]
    obs, reward, terminated, truncated, _ = benchmark(envs.step, actions)
    assert np.isfinite(obs).all()
    assert reward.shape == terminated.shape == truncated.shape == (num_envs,)


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize("num_envs", SIZES)
def test_step_numpy(benchmark: Any, num_envs: int, env_id: str) -> None:
    """The equations alone: no resets, no time limits."""
    benchmark.group = f"{env_id} {num_envs}"
    envs = metarl_core.make_vec(env_id, num_envs, num_threads=1, autoreset_mode="next_step", seed=0)
    before, _ = envs.reset(seed=0)
    actions = draw_actions(env_id, 1, num_envs, np.random.default_rng(1))[0]
    after, *_ = envs.step(actions)
    state = before.astype(np.float64)
    expected, _, _ = benchmark(REFERENCES[env_id], state, actions.astype(np.float64))
    np.testing.assert_allclose(after, expected, atol=TOLERANCE[env_id])
