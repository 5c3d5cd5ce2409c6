"""One step from equal states, against Gymnasium: float64 to 1e-13, float32 to 1e-5, endings exactly."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_core
from metarl_core.testing import compare_steps, free_running_divergence

from .reference import ROWS, compare_dynamics, gymnasium_references

TOLERANCE = {"float64": 1e-13, "float32": 1e-5}
STATES = 25_000
precisions = pytest.mark.parametrize("precision", ["float64", "float32"])


def half(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Take the first half of `rows` and the second of `others`."""
    return np.concatenate([rows[: ROWS // 2], others[ROWS // 2 :]])


def cartpole_policy(state, rng):
    # Random rows fall; rows that balance reach the time limit; a few push always right and leave the track or fall.
    balance = (state[:, 2] + 0.5 * state[:, 3] + 0.02 * state[:, 0] + 0.05 * state[:, 1] > 0).astype(np.int64)
    actions = half(balance, rng.integers(0, 2, ROWS))
    # These lean into one direction without falling: they leave the track.
    actions[:8] = (state[:8, 2] + 0.5 * state[:8, 3] > 0.03).astype(np.int64)
    return actions


@precisions
@pytest.mark.parametrize("integrator", ["euler", "semi-implicit euler"])
def test_cartpole(precision, integrator):
    states = STATES if integrator == "euler" else 10_000
    comparison = compare_dynamics(
        "CartPole-v1",
        cartpole_policy,
        states=states,
        precision=precision,
        attributes={"kinematics_integrator": integrator},
        kinematics_integrator=integrator,
    )
    name = f"CartPole-v1 {precision} {integrator}"
    comparison.check(name, states, TOLERANCE[precision], ("terminated", "truncated"))


def test_cartpole_sutton_barto_reward_and_constants():
    comparison = compare_dynamics(
        "CartPole-v1",
        cartpole_policy,
        states=10_000,
        reference_params={"sutton_barto_reward": True},
        attributes={"gravity": 5.0, "length": 0.8, "polemass_length": 0.08, "force_mag": 7.0, "tau": 0.01},
        sutton_barto_reward=True,
        gravity=5.0,
        length=0.8,
        force_mag=7.0,
        tau=0.01,
    )
    comparison.check("CartPole-v1, other constants", 10_000, 1e-13, ("terminated",))


def mountain_car_policy(state, rng):
    # Pushing with the velocity reaches the goal (and the left wall); random rows reach the time limit.
    return half(np.where(state[:, 1] >= 0, 2, 0), rng.integers(0, 3, ROWS))


@precisions
def test_mountain_car(precision):
    comparison = compare_dynamics("MountainCar-v0", mountain_car_policy, states=STATES, precision=precision)
    comparison.check(f"MountainCar-v0 {precision}", STATES, TOLERANCE[precision], ("terminated", "truncated"))


def test_mountain_car_constants():
    comparison = compare_dynamics(
        "MountainCar-v0",
        mountain_car_policy,
        states=20_000,
        reference_params={"goal_velocity": 0.02},
        attributes={"force": 0.0012, "gravity": 0.003},
        goal_velocity=0.02,
        force=0.0012,
        gravity=0.003,
    )
    comparison.check("MountainCar-v0, other constants", 20_000, 1e-13, ("terminated", "truncated"))


def acrobot_policy(state, rng):
    # Torque with the velocity of the second link pumps energy in.
    return half(np.where(state[:, 3] >= 0, 2, 0), rng.integers(0, 3, ROWS))


@precisions
def test_acrobot(precision):
    comparison = compare_dynamics("Acrobot-v1", acrobot_policy, states=STATES, precision=precision, angles=(0, 1))
    comparison.check(f"Acrobot-v1 {precision}", STATES, TOLERANCE[precision], ("terminated", "truncated"))


def test_acrobot_nips_equations():
    comparison = compare_dynamics(
        "Acrobot-v1",
        acrobot_policy,
        states=5_000,
        angles=(0, 1),
        attributes={"book_or_nips": "nips"},
        book_or_nips="nips",
    )
    comparison.check("Acrobot-v1, nips", 5_000, 1e-13, ())


def pendulum_policy(state, rng):
    # Pumping rows swing up and spin, so that angles grow over many turns; some torques are beyond the limit.
    # The reference squares a float32 torque with NumPy's power, which is off by one ulp for some numbers and exact for
    # those whose square needs few bits, as these.
    spin = np.where(state[:, 1] >= 0, 2.0, -2.0)
    return half(spin, np.round(rng.uniform(-3, 3, ROWS) * 256) / 256).astype(np.float32)[:, None]


@precisions
def test_pendulum(precision):
    comparison = compare_dynamics("Pendulum-v1", pendulum_policy, states=STATES, precision=precision)
    comparison.check(f"Pendulum-v1 {precision}", STATES, TOLERANCE[precision], ("truncated",))


def test_pendulum_any_torque():
    comparison = compare_dynamics(
        "Pendulum-v1", lambda state, rng: rng.uniform(-2, 2, (ROWS, 1)).astype(np.float32), states=20_000
    )
    assert comparison.worst_state <= 1e-13
    assert comparison.worst_reward <= 0.001 * 4 * 2.0**-23  # one ulp of the float32 torque term


def test_pendulum_constants():
    comparison = compare_dynamics(
        "Pendulum-v1",
        pendulum_policy,
        states=20_000,
        reference_params={"g": 9.81},
        attributes={"m": 0.7, "l": 1.3, "dt": 0.04},
        g=9.81,
        m=0.7,
        l=1.3,
        dt=0.04,
    )
    comparison.check("Pendulum-v1, other constants", 20_000, 1e-13, ())


@pytest.mark.parametrize(
    ("params", "states"),
    [
        ({"map_name": "4x4"}, 20_000),
        ({"map_name": "8x8", "success_rate": 0.8}, 30_000),
        ({"map_name": "4x4", "is_slippery": False, "reward_schedule": (10, -3, -0.5)}, 10_000),
        ({"desc": ["SFFHF", "FHFFS", "FFFFG"], "success_rate": 0.5}, 10_000),
    ],
    ids=["4x4", "8x8", "not slippery", "own map"],
)
def test_frozen_lake_with_the_references_draws(params, states):
    slippery = params.get("is_slippery", True)

    def draws(before, drawn):
        assert [name for name, _ in drawn] == ["random"]
        return [drawn[0][1]]

    def policy(before, rng):
        # Pushing against walls lets some rows live until the time limit.
        return half(rng.integers(0, 4, ROWS), np.where(before[:, 0] < 4, 3, 0).astype(np.int64))

    references = gymnasium_references(
        "FrozenLake-v1", params, get_fields=lambda env: [float(env.s)], draws=draws if slippery else None
    )
    ours = metarl_core.make_vec("FrozenLake-v1", ROWS, autoreset_mode="disabled", **params)
    comparison = compare_steps(ours, references, policy, states=states, same_info=["prob"])
    endings = ("terminated", "truncated") if "map_name" in params and slippery else ("terminated",)
    comparison.check(f"FrozenLake-v1 {params}", states, 0.0, endings)


FREE = {
    "CartPole-v1": (cartpole_policy, ()),
    "MountainCar-v0": (mountain_car_policy, ()),
    "Acrobot-v1": (acrobot_policy, (0, 1)),
    "Pendulum-v1": (pendulum_policy, ()),
}


@pytest.mark.parametrize("env_id", FREE)
def test_free_running_episodes_stay_together_at_first(env_id):
    # How long is reported: these dynamics double a difference every few steps.
    policy, angles = FREE[env_id]
    references = gymnasium_references(env_id)
    ours = metarl_core.make_vec(env_id, ROWS, autoreset_mode="disabled", max_episode_steps=None)
    divergence = free_running_divergence(ours, references, policy, max_steps=500, angles=angles)
    print(f"{env_id} free running: {divergence}")
    late = divergence.first_steps[:, divergence.thresholds.index(1e-6)]
    assert ((late < 0) | (late > 20)).all()


SLOW = {
    **{env_id: (policy, angles, ("terminated", "truncated")) for env_id, (policy, angles) in FREE.items()},
    "Pendulum-v1": (pendulum_policy, (), ("truncated",)),
}


@pytest.mark.slow
@precisions
@pytest.mark.parametrize("env_id", SLOW)
def test_a_million_steps_equal_gymnasiums(env_id, precision):
    policy, angles, endings = SLOW[env_id]
    comparison = compare_dynamics(env_id, policy, states=1_000_000, precision=precision, angles=angles)
    comparison.check(f"{env_id} {precision}", 1_000_000, TOLERANCE[precision], endings)


@pytest.mark.slow
@pytest.mark.parametrize("map_name", ["4x4", "8x8"])
def test_a_million_steps_of_frozen_lake(map_name):
    test_frozen_lake_with_the_references_draws({"map_name": map_name}, 1_000_000)
