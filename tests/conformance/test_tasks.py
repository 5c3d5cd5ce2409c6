"""Rows with parameters of their own, against Gymnasium's environments with these parameters, step by step."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest

import metarl_core

ROWS = 64
STEPS = 400
TOLERANCE = {"float64": 1e-13, "float32": 2e-5}

# Our name: Gymnasium's attributes, and a range.
PARAMETERS = {
    "CartPole-v1": {
        "gravity": (("gravity",), 1, 20),
        "masscart": (("masscart",), 0.5, 2),
        "masspole": (("masspole",), 0.05, 1),
        "length": (("length",), 0.2, 1.5),
        "force_mag": (("force_mag",), 2, 20),
        "tau": (("tau",), 0.005, 0.03),
        "theta_threshold_radians": (("theta_threshold_radians",), 0.05, 0.2),
        "x_threshold": (("x_threshold",), 0.5, 2.4),
    },
    "MountainCar-v0": {
        "max_speed": (("max_speed",), 0.03, 0.07),
        "goal_position": (("goal_position",), 0.2, 0.55),
        "goal_velocity": (("goal_velocity",), 0, 0.02),
        "force": (("force",), 0.0008, 0.003),
        "gravity": (("gravity",), 0.001, 0.004),
    },
    "MountainCarContinuous-v0": {
        "min_action": (("min_action",), -1, -0.5),
        "max_action": (("max_action",), 0.5, 1),
        "max_speed": (("max_speed",), 0.03, 0.07),
        "goal_position": (("goal_position",), 0.2, 0.45),
        "goal_velocity": (("goal_velocity",), 0, 0.02),
        "power": (("power",), 0.001, 0.003),
    },
    "Acrobot-v1": {
        "link_length_1": (("LINK_LENGTH_1",), 0.5, 1.5),
        "link_mass_1": (("LINK_MASS_1",), 0.5, 1.5),
        "link_mass_2": (("LINK_MASS_2",), 0.5, 1.5),
        "link_com_pos_1": (("LINK_COM_POS_1",), 0.3, 0.7),
        "link_com_pos_2": (("LINK_COM_POS_2",), 0.3, 0.7),
        "link_moi": (("LINK_MOI",), 0.5, 1.5),
        "max_vel_1": (("MAX_VEL_1",), 5, 4 * np.pi),
        "max_vel_2": (("MAX_VEL_2",), 10, 9 * np.pi),
        "dt": (("dt",), 0.05, 0.25),
    },
    "Pendulum-v1": {
        "g": (("g",), 1, 20),
        "m": (("m",), 0.3, 2),
        "l": (("l",), 0.3, 2),
        "dt": (("dt",), 0.01, 0.08),
        "max_speed": (("max_speed",), 2, 8),
        "max_torque": (("max_torque",), 0.5, 2),
    },
}


def reference_of(env_id, task):
    env = gymnasium.make(env_id, disable_env_checker=True).unwrapped
    for name, value in task.items():
        for attribute in PARAMETERS[env_id][name][0]:
            assert hasattr(env, attribute)
            setattr(env, attribute, value)
    if env_id == "CartPole-v1":
        env.total_mass = env.masspole + env.masscart
        env.polemass_length = env.masspole * env.length
    return env


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("env_id", PARAMETERS)
def test_every_row_has_its_own_parameters(env_id, precision):
    rng = np.random.default_rng(3)
    narrow = (lambda x: x.astype(np.float32).astype(np.float64)) if precision == "float32" else (lambda x: x)
    tasks = {name: narrow(rng.uniform(low, high, ROWS)) for name, (_, low, high) in PARAMETERS[env_id].items()}
    references = [reference_of(env_id, {name: float(column[i]) for name, column in tasks.items()}) for i in range(ROWS)]
    ours = metarl_core.make_vec(env_id, ROWS, precision=precision, autoreset_mode="disabled", max_episode_steps=None)
    ours.set_tasks(tasks)
    ours.reset(seed=0)
    for i, reference in enumerate(references):
        reference.reset(seed=i)
    worst, ends = 0.0, 0
    for _ in range(STEPS):
        before = narrow(np.array([np.asarray(r.state, np.float64) for r in references]))
        for reference, row in zip(references, before, strict=True):
            reference.state = row.copy()
        actions = rng.integers(0, 3 if env_id != "CartPole-v1" else 2, ROWS)
        if env_id == "MountainCar-v0":
            actions = np.where(before[:, 1] >= 0, 2, 0)
        if env_id == "MountainCarContinuous-v0":
            actions = (np.where(before[:, 1:] >= 0, 1, -1) * rng.uniform(0.3, 1.2, (ROWS, 1))).astype(np.float32)
        if env_id == "Pendulum-v1":
            actions = rng.uniform(-2.5, 2.5, (ROWS, 1)).astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [r.step(a) for r, a in zip(references, actions, strict=True)]
        ours.set_state({"state": before, "done": np.zeros(ROWS, bool)})
        obs, reward, terminated, _, _ = ours.step(actions)
        for mine, theirs in ((obs, [e[0] for e in expected]), (reward, [float(e[1]) for e in expected])):
            theirs = np.array(theirs, np.float64)
            worst = max(worst, float((np.abs(mine - theirs) / np.maximum(1, np.abs(theirs))).max()))
        near = np.zeros(ROWS, bool)
        if precision == "float32":  # the last bit decides at a threshold
            after = np.array([np.asarray(r.state, np.float64) for r in references])
            near = (np.abs(ours.get_state()["state"] - after) > 0).any(axis=1)
        np.testing.assert_array_equal(terminated[~near], np.array([e[2] for e in expected])[~near])
        ends += int(terminated.sum())
        for i in np.flatnonzero([e[2] for e in expected]):
            references[i].reset()
    print(f"{env_id} {precision}: {STEPS * ROWS} steps of {ROWS} tasks, worst relative difference {worst:.1e}")
    assert worst <= max(TOLERANCE[precision], 2.0**-22)
    assert ends > 0 or env_id in ("Pendulum-v1", "Acrobot-v1")


@pytest.mark.parametrize("env_id", PARAMETERS)
def test_equal_tasks_give_the_bits_of_an_environment_made_so(env_id):
    params = {name: (low + 2 * high) / 3 for name, (_, low, high) in PARAMETERS[env_id].items()}
    bounds = {"max_torque": 2.0, "max_speed": {"Acrobot-v1": None, "Pendulum-v1": 8.0}.get(env_id, 0.07)}
    fixed = metarl_core.make_vec(env_id, 100, **params)
    given = metarl_core.make_vec(env_id, 100)
    assert {name for name, value in bounds.items() if name in params and value is None} == set()
    given.set_tasks(params)
    np.testing.assert_array_equal(fixed.reset(seed=4)[0], given.reset(seed=4)[0])
    rng = np.random.default_rng(0)
    for _ in range(300):
        if env_id in ("Pendulum-v1", "MountainCarContinuous-v0"):
            actions = rng.uniform(-2, 2, (100, 1)).astype(np.float32)
        else:
            actions = rng.integers(fixed.single_action_space.n, size=100)
        for mine, theirs in zip(given.step(actions)[:4], fixed.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
