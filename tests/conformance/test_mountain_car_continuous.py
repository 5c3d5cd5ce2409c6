"""MountainCarContinuous against Gymnasium: one step from equal states, with the reference's mixture of precisions."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import metarl_core

from .reference import ROWS, compare_dynamics
from .test_distributions import SAMPLES, uniform_distance

ENV = "MountainCarContinuous-v0"
TOLERANCE = {"float64": 1e-13, "float32": 1e-5}
# The reference computes the numbers of a later step as NumPy 2 does.
pytestmark = pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="needs NumPy 2")


def policy(state, rng):
    # Pushing with the velocity reaches the goal and the left wall; other rows reach the time limit. Forces are within
    # the limits, at them and beyond.
    pump = np.where(state[:, 1] >= 0, 1.0, -1.0) * rng.choice([0.9, 1.0, 1.0, 2.5], ROWS)
    other = rng.uniform(-1.5, 1.5, ROWS)
    return np.where(np.arange(ROWS) % 2 == 0, pump, other).astype(np.float32)[:, None]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_steps_equal_gymnasiums(precision):
    comparison = compare_dynamics(ENV, policy, states=30_000, precision=precision)
    comparison.check(f"{ENV} {precision}", 30_000, TOLERANCE[precision], ("terminated", "truncated"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_million_steps_equal_gymnasiums(precision):
    comparison = compare_dynamics(ENV, policy, states=1_000_000, precision=precision)
    comparison.check(f"{ENV} {precision}", 1_000_000, TOLERANCE[precision], ("terminated", "truncated"))


def test_constants():
    comparison = compare_dynamics(
        ENV,
        policy,
        states=20_000,
        reference_params={"goal_velocity": 0.02},
        attributes={"power": 0.0018, "goal_position": 0.4, "max_speed": 0.06},
        goal_velocity=0.02,
        power=0.0018,
        goal_position=0.4,
        max_speed=0.06,
    )
    comparison.check(f"{ENV}, other constants", 20_000, 1e-13, ("terminated",))


def test_whole_episodes_equal_gymnasiums_bit_for_bit():
    # Also the first step, in float64, and the numbers of the steps after it, in float32.
    rng = np.random.default_rng(1)
    ours = metarl_core.make_vec(ENV, 32, autoreset_mode="disabled", seed=4)
    obs, _ = ours.reset()
    references = [gymnasium.make(ENV, disable_env_checker=True) for _ in range(32)]
    for reference, row in zip(references, ours.get_state()["state"], strict=True):
        reference.reset()
        reference.unwrapped.state = row.copy()
    for _ in range(100):
        actions = rng.uniform(-1.2, 1.2, (32, 1)).astype(np.float32)
        results = [reference.step(action) for reference, action in zip(references, actions, strict=True)]
        obs, reward, _, _, _ = ours.step(actions)
        np.testing.assert_array_equal(obs, [r[0] for r in results])
        np.testing.assert_array_equal(reward, [r[1] for r in results])


def test_starts_are_uniform_and_no_float32_numbers():
    envs = metarl_core.make_vec(ENV, SAMPLES)
    envs.reset(seed=123)
    starts = envs.get_state()["state"]
    assert (starts[:, 1] == 0).all()
    assert (starts[:, 0] != starts[:, 0].astype(np.float32)).all()
    distance = uniform_distance(starts[:, 0], -0.6, -0.4)
    print(f"{ENV}: KS sqrt(n) D = {distance:.2f}")
    assert distance < 1.95


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_states_of_walls_and_limits_go_back_in(precision):
    envs = metarl_core.make_vec(ENV, 8, precision=precision, reset_low=-1.2, reset_high=-1.2)
    envs.reset()
    for _ in range(300):
        envs.step(np.full((8, 1), -1.0))
        envs.set_state(envs.get_state())
    for row in ([-1.3, 0.0], [0.0, 0.08], [0.61, 0.0], [np.nan, 0.0]):
        with pytest.raises(ValueError, match=r"state\[0\] is not a state of MountainCarContinuous"):
            envs.set_state({"state": [row] * 8})
