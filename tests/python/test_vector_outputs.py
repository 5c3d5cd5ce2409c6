"""What a vector environment hands out: no aliasing, the caller's buffers, exact state in and out."""

from __future__ import annotations

import warnings
import weakref

import numpy as np
import pytest
from vector_helpers import IDS, random_actions, rollout

from metarl_core import ResetNeededError, StepBuffers, env_spec, make_vec


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("env_id", IDS)
def test_nothing_that_was_returned_changes(env_id, mode):
    envs = make_vec(env_id, 7, autoreset_mode=mode, seed=2)
    rng = np.random.default_rng(0)
    kept, copies = [], []

    def keep(*values):
        for value in values:
            if isinstance(value, (dict, tuple)):
                keep(*(value.values() if isinstance(value, dict) else value))
            elif value.dtype != object:
                kept.append(value)
                copies.append(value.copy())

    keep(*envs.reset())
    for _ in range(60):
        result = envs.step(random_actions(envs, rng))
        keep(*result)
        if mode == "disabled" and (result[2] | result[3]).any():
            keep(*envs.reset(options={"reset_mask": result[2] | result[3]}))
        obs = result[0][0] if isinstance(result[0], tuple) else result[0]
        obs.fill(0)  # and writing to it changes nothing here
        copies[[k is obs for k in kept].index(True)].fill(0)
    keep(*envs.get_state().values())
    envs.reset()
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    print(f"{env_id}, {mode}: {len(kept)} arrays of {sum(array.nbytes for array in kept)} bytes unchanged")


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@pytest.mark.parametrize("env_id", IDS)
def test_out_gets_the_same_numbers(env_id, mode):
    def fresh():
        envs = make_vec(env_id, 9, autoreset_mode=mode, seed=3)
        envs.reset()
        return envs

    plain, into_dict, into_tuple, into_own = fresh(), fresh(), fresh(), fresh()
    first = plain.make_buffers().obs
    shape, dtype = first.shape, first.dtype
    if env_id != "Blackjack-v1":
        assert (shape, dtype) == ((9, *plain.single_observation_space.shape), plain.single_observation_space.dtype)
    arrays = {
        "obs": np.full(shape, 9, dtype),
        "reward": np.empty(9),
        "terminated": np.empty(9, bool),
        "truncated": np.empty(9, bool),
    }
    buffers = StepBuffers(*(np.copy(a) for a in arrays.values()))
    own = into_own.make_buffers()
    rng = np.random.default_rng(4)
    for step in range(80):
        actions = random_actions(plain, rng)
        expected = plain.step(actions)
        for envs, out in ((into_dict, arrays), (into_tuple, buffers), (into_own, own)):
            result = envs.step(actions, out=out)
            targets = list(out.values()) if isinstance(out, dict) else list(out)
            for got, target, want in zip(result[:4], targets, expected[:4], strict=True):
                if isinstance(got, tuple):
                    assert all(np.shares_memory(column, target) for column in got)
                else:
                    assert got is target
                np.testing.assert_array_equal(got, want)
        if step % 20 == 19:  # other outputs in between
            actions = random_actions(plain, rng)
            for envs in (plain, into_dict, into_tuple, into_own):
                envs.step(actions)
        if step % 30 == 29:
            for envs in (plain, into_dict, into_tuple, into_own):
                envs.reset()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"obs": np.empty((2, 3), np.float32)}, ValueError, r"out: 'obs' expected shape \(2, 4\), got \(2, 3\)"),
        ({"obs": np.empty((2, 4))}, TypeError, "out: 'obs' expected dtype float32, got float64"),
        ({"obs": np.empty((4, 2), np.float32).T}, ValueError, "must be C-contiguous"),
        ({"obs": np.empty((2, 4), ">f4")}, ValueError, "native byte order"),
        ({"reward": [0.0, 0.0]}, TypeError, "out: 'reward' must be a NumPy array, got list"),
        ({"reward": np.broadcast_to(0.0, 2)}, ValueError, "must be C-contiguous, aligned, writable"),
        ({"truncated": np.empty(2, np.uint8)}, TypeError, "out: 'truncated' expected dtype bool"),
    ],
)
def test_bad_out(change, error, match):
    envs = make_vec("CartPole-v1", 2)
    envs.reset()
    good = envs.make_buffers()._asdict()
    before = envs.get_state()
    with pytest.raises(error, match=match):
        envs.step([0, 0], out={**good, **change})
    with pytest.raises(error, match=match):
        envs.step([0, 0], out=StepBuffers(**{**good, **change}))
    with pytest.raises(KeyError, match="'reward' is missing"):
        envs.step([0, 0], out={"obs": good["obs"]})
    with pytest.raises(TypeError, match="expected StepBuffers or a dict"):
        envs.step([0, 0], out=good["obs"])
    with pytest.raises(ValueError, match="must be different arrays"):
        envs.step([0, 0], out={**good, "truncated": good["terminated"]})
    for key, value in envs.get_state().items():
        np.testing.assert_array_equal(value, before[key])


def test_buffers_that_change_after_they_were_checked_are_checked_again():
    envs = make_vec("CartPole-v1", 2)
    envs.reset()
    buffers = envs.make_buffers()
    envs.step([0, 0], out=buffers)
    buffers.reward.flags.writeable = False
    with pytest.raises(ValueError, match="'reward' must be C-contiguous, aligned, writable"):
        envs.step([0, 0], out=buffers)
    buffers.reward.flags.writeable = True
    envs.step([0, 0], out=buffers)


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_state_in_and_out_continues_the_run_bit_for_bit(env_id, precision):
    params = {"precision": precision} if "precision" in env_spec(env_id).parameters else {}
    if env_id == "DeepSea-v0":
        params["deterministic"] = False
    envs = make_vec(env_id, 11, seed=6, **params)
    envs.reset()
    rollout(envs, 33)
    state = envs.get_state()
    expected = rollout(envs, 50, seed=1)
    other = make_vec(env_id, 11, seed=99, num_threads=1, **params)
    other.set_state(state)
    assert rollout(other, 50, seed=1) == expected


def test_bad_states_change_nothing():
    envs = make_vec("DeepSea-v0", 2, size=4)
    envs.reset()
    before = envs.get_state()
    for bad in ([[0, 4, 0, 0, 0]] * 2, [[5, 0, 0, 0, 0]] * 2, [[0.5, 0, 0, 0, 0]] * 2, [[np.nan] * 5] * 2):
        with pytest.raises(ValueError, match=r"state\[0\] is not a state of DeepSea-v0"):
            envs.set_state({"state": np.array(bad), "elapsed": np.ones(2, np.int32)})
    with pytest.raises(ValueError, match=r"state\['elapsed'\]: expected shape \(2,\), got \(3,\)"):
        envs.set_state({"elapsed": np.zeros(3, np.int32)})
    with pytest.raises(KeyError, match="unknown state key 'position'"):
        envs.set_state({"position": np.zeros(2)})
    with pytest.raises(KeyError, match="unknown state key"):
        envs.set_state({"position": np.zeros(2), 3: np.zeros(2)})
    for key, value in envs.get_state().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
    ("state", "error", "match"),
    [
        ({"elapsed": [0, 2**40 + 3]}, ValueError, r"state\['elapsed'\]: 1099511627779 is not in"),
        ({"elapsed": [0.0, 3.7]}, TypeError, r"state\['elapsed'\]: expected integers, got dtype float64"),
        ({"elapsed": [0, np.nan]}, TypeError, "expected integers"),
        ({"elapsed": [0, -1]}, ValueError, r"elapsed\[1\] is -1; must be in \[0, 2147483647\)"),
        ({"elapsed": [0, 2**31 - 1]}, ValueError, r"elapsed\[1\] is 2147483647; must be in"),
        ({"seed": [0, -1]}, ValueError, r"state\['seed'\]: -1 is not in \[0, 18446744073709551615\]"),
        ({"episode": [0, 2**32]}, ValueError, r"state\['episode'\]: 4294967296 is not in"),
        ({"stream": [True, False]}, TypeError, "expected integers, got dtype bool"),
        ({"done": [0, 2]}, TypeError, r"state\['done'\]: expected bools, got dtype int64"),
        ({"state": [["0", "0"]] * 2}, TypeError, r"state\['state'\]: expected real numbers"),
        ({"state": np.array([[0, 2**60 + 1]] * 2)}, ValueError, "an integer that float64 does not"),
        ({"state": [[0, 0], [1e10, 0]]}, ValueError, r"state\[1\] is not a state of MountainCar-v0"),
        ({"state": [[0, 0], [0, 0.08]]}, ValueError, r"state\[1\] is not a state"),
        ({"state": [[0, 0], [0, np.nan]]}, ValueError, r"state\[1\] is not a state"),
        ({"state": [[0, 0], [0.1, 0]], "elapsed": [0, -1]}, ValueError, "elapsed"),
    ],
)
def test_states_that_would_lose_something_are_refused(state, error, match):
    envs = make_vec("MountainCar-v0", 2)
    envs.reset()
    before = envs.get_state()
    with pytest.raises(error, match=match):
        envs.set_state(state)
    for key, value in envs.get_state().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
    ("env_id", "params", "row"),
    [
        ("CartPole-v1", {"precision": "float32"}, [1e300, 0, 0, 0]),
        ("CartPole-v1", {}, [np.inf, 0, 0, 0]),
        ("Acrobot-v1", {}, [3.2, 0, 0, 0]),
        ("Acrobot-v1", {"precision": "float32"}, [0, 0, 0, 28.3]),
        ("Pendulum-v1", {}, [0, 8.1]),
        ("Pendulum-v1", {"precision": "float32"}, [1e39, 0]),
        ("FrozenLake-v1", {}, [16]),
    ],
)
def test_states_out_of_bounds_are_refused(env_id, params, row):
    envs = make_vec(env_id, 1, **params)
    with pytest.raises(ValueError, match=rf"state\[0\] is not a state of {env_id}"):
        envs.set_state({"state": [row]})


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_extreme_states_that_occur_go_back_in(precision):
    for env_id, params in (
        ("MountainCar-v0", {"min_position": -0.7, "reset_low": -0.7, "reset_high": -0.7}),
        ("Acrobot-v1", {"reset_bound": 50.0}),
        ("Pendulum-v1", {"y_init": 30.3}),
        ("Pendulum-v1", {"max_speed": 0.1, "y_init": 0.0}),
    ):
        envs = make_vec(env_id, 200, precision=precision, **params)
        envs.reset()
        for _ in range(5):
            envs.set_state(envs.get_state())
            rollout(envs, 1)


def test_only_a_state_makes_an_environment_ready():
    envs = make_vec("CartPole-v1", 2)
    for partial in ({}, {"elapsed": [3, 4]}, {"seed": [1, 2], "done": [False, False]}):
        envs.set_state(partial)
        with pytest.raises(ResetNeededError):
            envs.step([0, 0])
    np.testing.assert_array_equal(envs.get_state()["elapsed"], [3, 4])
    envs.set_state({"state": np.zeros((2, 4))})
    envs.step([0, 0])


def test_counters_of_deep_sea_stop_at_the_largest_number():
    envs = make_vec("DeepSea-v0", 2, size=2, randomize_actions=False)
    most = 2**31 - 1
    envs.set_state({"state": [[1, 1, 0, most, most], [1, 0, 1, most, 0]]})
    envs.step([1, 0])
    np.testing.assert_array_equal(envs.get_state()["state"][:, 3:], [[most, most], [most, 0]])


def test_buffers_whose_shape_changed_are_checked_again():
    envs = make_vec("DeepSea-v0", 6, size=6)
    envs.reset()
    buffers = envs.make_buffers()
    actions = np.zeros(6, np.int64)
    envs.step(actions, out=buffers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        buffers.obs.shape = (6, 4, 9)
    with pytest.raises(ValueError, match=r"'obs' expected shape \(6, 6, 6\), got \(6, 4, 9\)"):
        envs.step(actions, out=buffers)


def test_close_lets_go_of_the_buffers():
    envs = make_vec("CartPole-v1", 2)
    envs.reset()
    buffers = envs.make_buffers()
    envs.step([0, 0], out=buffers)
    obs = weakref.ref(buffers.obs)
    del buffers
    assert obs() is not None
    envs.close()
    assert obs() is None
