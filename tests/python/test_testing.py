"""The checkers of metarl_core.testing pass what is right and find what is not."""

from __future__ import annotations

import functools

import gymnasium
import numpy as np
import pytest
from vector_helpers import IDS

import metarl_core as mc
from metarl_core.testing import (
    Comparison,
    GymnasiumReference,
    check_vector_env,
    compare_steps,
    free_running_divergence,
)


@pytest.mark.parametrize("env_id", IDS)
def test_every_environment_keeps_the_promises(env_id):
    check_vector_env(functools.partial(mc.make_vec, env_id))


def make_broken(defect, **arguments):
    """CartPole with one defect."""
    envs = mc.make_vec("CartPole-v1", **arguments)
    step, reset, core = envs.step, envs.reset, envs._core
    last = []

    def broken_step(actions, out=None):
        if defect == "accepts anything":
            actions = np.resize(np.clip(actions, 0, 1), envs.num_envs)
        result = step(actions, out)
        obs, reward, terminated, truncated, info = result
        if defect == "reward dtype":
            return obs, reward.astype(np.float32), terminated, truncated, info
        if defect == "outside":
            return obs + np.float32(1e9), reward, terminated, truncated, info
        if defect == "threads" and envs.num_threads > 1:
            return obs + np.float32(1e-7), reward, terminated, truncated, info
        if defect == "rows" and envs.num_envs > 100:
            return obs + np.float32(1e-7), reward, terminated, truncated, info
        if defect == "aliasing":
            last.append(obs)
            last[0][:] = obs
            return last[0], reward, terminated, truncated, info
        if defect == "mode" and envs.metadata["autoreset_mode"].name == "NEXT_STEP":
            return obs, reward + (core.get_state()["elapsed"] == 3), terminated, truncated, info
        return result

    def broken_reset(*, seed=None, options=None):
        return reset(seed=None if defect == "seed" else seed, options=options)

    def broken_set_state(state):
        type(envs).set_state(envs, {key: value for key, value in state.items() if key != "episode"})

    envs.step, envs.reset = broken_step, broken_reset
    if defect == "state":
        envs.set_state = broken_set_state
    return envs


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("reward dtype", "reward has dtype float32"),
        ("outside", "an observation is not in observation_space"),
        ("threads", "1 and 2 threads: step 1 differs"),
        ("rows", "a row depends on the number of rows"),
        ("seed", "rows 0 and 4 have equal seeds|the second time differs"),
        ("mode", "next_step: row 0 plays other episodes"),
        ("aliasing", "an array that step returned changed later"),
        ("state", "took over a state with set_state goes on differently"),
        ("accepts anything", "step accepted the actions"),
    ],
)
def test_broken_promises_are_found(defect, message):
    with pytest.raises(AssertionError, match=message):
        check_vector_env(functools.partial(make_broken, defect))


def references(rows, **attributes):
    made = []
    for row in range(rows):
        env = gymnasium.make("CartPole-v1", disable_env_checker=True)
        for name, value in attributes.items():
            setattr(env.unwrapped, name, value)
        made.append(GymnasiumReference(env, row))
    return made


def policy(state, rng):
    return rng.integers(2, size=len(state))


def test_compare_steps_finds_a_wrong_constant():
    envs = mc.make_vec("CartPole-v1", 8, autoreset_mode="disabled")
    right = compare_steps(envs, references(8), policy, states=2_000)
    right.check("CartPole-v1", 2_000, 1e-13, ("terminated",))
    wrong = compare_steps(envs, references(8, gravity=9.81), policy, states=2_000)
    assert 1e-8 < wrong.worst_state < 1e-2
    with pytest.raises(AssertionError):
        wrong.check("CartPole-v1", 2_000, 1e-13, ())
    with pytest.raises(AssertionError):
        right.check("CartPole-v1", 10_000, 1e-13, ())
    with pytest.raises(AssertionError, match="no both episode"):
        Comparison(states=1).check("nothing", 1, 0.0, ("both",))


def test_compare_steps_refuses_other_batches():
    with pytest.raises(ValueError, match="envs has 4 rows and references 3"):
        compare_steps(mc.make_vec("CartPole-v1", 4, autoreset_mode="disabled"), references(3), policy, states=1)
    with pytest.raises(ValueError, match="autoreset_mode='disabled'"):
        compare_steps(mc.make_vec("CartPole-v1", 3), references(3), policy, states=1)


def test_numbers_that_are_not_finite_do_not_pass():
    zero, flags = np.zeros((1, 2)), np.zeros(1, bool)
    bad = np.array([[0.0, np.nan]])
    for which in range(2):
        ours = [zero, zero, np.zeros(1), flags, flags]
        ours[which] = bad
        with pytest.raises(AssertionError, match="not finite"):
            Comparison().add(ours, [zero, zero, np.zeros(1), flags, flags])


def test_records_are_appended(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    monkeypatch.setenv("METARL_CONFORMANCE_RECORDS", str(path))
    for _ in range(2):
        Comparison(states=5).check("some", 5, 0.0, ())
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    assert '"name": "some", "states": 5' in lines[0]


def test_divergence_is_seen():
    envs = mc.make_vec("CartPole-v1", 8, autoreset_mode="disabled", max_episode_steps=None)

    def upright(state, rng):
        return (state[:, 2] + 0.5 * state[:, 3] > 0).astype(np.int64)

    same = free_running_divergence(envs, references(8), upright, max_steps=100)
    assert (same.first_steps[:, 1] < 0).all()
    assert not same.disagreed.any()
    other = free_running_divergence(envs, references(8, gravity=9.9), upright, max_steps=100)
    assert (other.first_steps[:, 0] == 1).all()
    assert "8 episodes of" in str(other)
