"""rollout: many steps in one call are those steps."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from vector_helpers import IDS

from metarl_core import ClosedError, ResetNeededError, Rollout, build_info, env_spec, make_vec
from metarl_core.tasks import task_family

ROWS, STEPS = 37, 40
MODES = ["next_step", "same_step"]


def make(env_id, mode="next_step", rows=ROWS, **kwargs):
    """Make an environment whose episodes end within a few steps, random where it can be."""
    params = {"DeepSea-v0": {"deterministic": False, "size": 4}, "Taxi-v4": {"is_rainy": True}}.get(env_id, {})
    limit = {} if env_id in ("DeepSea-v0", "FrozenLake-v1") else {"max_episode_steps": 11}
    return make_vec(env_id, rows, autoreset_mode=mode, **{"seed": 5, **limit, **params, **kwargs})


def actions_of(envs, steps=STEPS, seed=0):
    rng = np.random.default_rng(seed)
    if hasattr(envs.single_action_space, "n"):
        return rng.integers(0, envs.single_action_space.n, (steps, envs.num_envs))
    return rng.uniform(-2, 2, (steps, envs.num_envs, *envs.single_action_space.shape)).astype(np.float32)


def rows_of(obs):
    """Return an observation as one array, also Blackjack's tuple."""
    return np.stack(obs, -1) if isinstance(obs, tuple) else obs


def same(a, b):
    """Whether two rollouts have the same bits everywhere."""
    for field in dataclasses.fields(Rollout):
        mine, theirs = getattr(a, field.name), getattr(b, field.name)
        if field.name == "info":
            assert mine.keys() == theirs.keys()
            pairs = [(mine[key], theirs[key]) for key in mine]
        else:
            pairs = [] if mine is None and theirs is None else [(mine, theirs)]
        for left, right in pairs:
            if left.dtype != right.dtype or left.tobytes() != right.tobytes():
                return False
    return True


def stepped(envs, actions):
    """Collect a rollout by step()."""
    assert len(actions)
    obs = rows_of(envs.observe())
    result = envs.make_rollout_buffers(len(actions))
    result.obs[0] = obs
    info = result.info
    if "action_mask" in info:
        info["action_mask"][0] = envs._action_masks[obs]
    if "task_id" in info:
        info["task_id"][0] = envs.task_id
    ended = envs.get_state()["done"]
    for t, action in enumerate(actions):
        obs, reward, terminated, truncated, step_info = envs.step(action)
        result.obs[t + 1] = rows_of(obs)
        result.actions[t], result.reward[t] = action, reward
        result.terminated[t], result.truncated[t] = terminated, truncated
        result.valid[t] = True if result.final_obs is not None else ~ended
        ended = terminated | truncated
        if result.final_obs is not None:
            final, mask = envs.final_obs_dense()
            np.testing.assert_array_equal(mask, ended)
            result.final_obs[t][mask] = rows_of(final)[mask]
        if "prob" in info:
            final = step_info.get("final_info", {}).get("prob", step_info["prob"])
            info["prob"][t] = np.where(step_info.get("_final_info", False), final, step_info["prob"])
        if "action_mask" in info:
            info["action_mask"][t + 1] = step_info["action_mask"]
        if "task_id" in info:
            info["task_id"][t + 1] = step_info["task_id"]
        if "bad_episode" in info:
            info["bad_episode"][t] = envs.bad_episode()
    return result


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_a_rollout_is_its_steps_bit_for_bit(env_id, mode):
    whole, parts, by_step, by_policy = (make(env_id, mode, num_threads=k) for k in (1, 2, 1, 1))
    for envs in (whole, parts, by_step, by_policy):
        envs.reset()
    actions = actions_of(whole)
    expected = stepped(by_step, actions)
    assert (expected.terminated | expected.truncated).sum() > 2 * ROWS
    assert same(whole.rollout(actions), expected)
    one, two = parts.rollout(actions[:13]), parts.rollout(actions[13:])
    np.testing.assert_array_equal(np.concatenate([one.obs, two.obs[1:]]), expected.obs)
    np.testing.assert_array_equal(one.obs[-1], two.obs[0])  # the last observation is where the next rollout starts
    np.testing.assert_array_equal(np.concatenate([one.valid, two.valid]), expected.valid)
    given = iter(actions)
    seen = []

    def policy(obs):
        seen.append(rows_of(obs).copy())
        assert isinstance(obs, tuple) == (env_id == "Blackjack-v1")
        return next(given)

    assert same(by_policy.rollout(policy, STEPS), expected)
    np.testing.assert_array_equal(np.stack(seen), expected.obs[:-1])
    # What the last step says is there too, and all go on alike.
    more = actions_of(whole, 3, seed=1)
    after = stepped(by_step, more)
    assert same(whole.rollout(more), after)
    assert same(by_policy.rollout(more), after)
    for key, value in by_step.get_state().items():
        np.testing.assert_array_equal(whole.get_state()[key], value)
    if mode == "same_step":
        for mine, theirs in zip(whole.final_obs_dense(), by_step.final_obs_dense(), strict=True):
            np.testing.assert_array_equal(rows_of(mine), rows_of(theirs))
    if env_id == "DeepSea-v0":
        np.testing.assert_array_equal(whole.bad_episode(), by_step.bad_episode())


@pytest.mark.parametrize("env_id", IDS)
def test_without_autoreset_rows_stay_where_their_episode_ends(env_id):
    envs, policy_envs, other = make(env_id, "disabled"), make(env_id, "disabled"), make(env_id, "next_step")
    for each in (envs, policy_envs, other):
        each.reset()
    actions = actions_of(envs, 30)
    got, going_on = envs.rollout(actions), other.rollout(actions)
    given = iter(actions)
    assert same(policy_envs.rollout(lambda _: next(given), 30), got)
    ended = got.terminated | got.truncated
    before = np.cumsum(ended, axis=0) - ended > 0
    np.testing.assert_array_equal(got.valid, ~before)
    assert (ended.sum(0) <= 1).all()
    assert before.any()
    for name in ("reward", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(got, name)[~before], getattr(going_on, name)[~before])
        assert not getattr(got, name)[before].any()
    np.testing.assert_array_equal(got.obs[1:][~before], going_on.obs[1:][~before])
    np.testing.assert_array_equal(got.obs[1:][before], got.obs[:-1][before])
    with pytest.raises(ResetNeededError, match="has ended; with autoreset disabled"):
        envs.rollout(actions)
    envs.reset(options={"reset_mask": ended.any(0)})
    envs.rollout(actions[:1])


@pytest.mark.parametrize("mode", MODES)
def test_tasks_by_step(mode):
    def fresh():
        envs = make("CartPole-v1", mode)
        envs.sample_tasks_at_reset(task_family("CartPole-v1").sample_tasks(20, seed=1))
        envs.reset(seed=3)
        return envs

    whole, by_step = fresh(), fresh()
    actions = actions_of(whole)
    expected = stepped(by_step, actions)
    got = whole.rollout(actions)
    assert same(got, expected)
    assert len(np.unique(got.info["task_id"])) > 10
    # final_info of the step that comes after names the task of the episode that ended.
    for _ in range(20):
        action = actions_of(whole, 1)[0]
        mine, theirs = whole.step(action)[4], by_step.step(action)[4]
        assert mine.keys() == theirs.keys()
        if "final_info" in mine:
            np.testing.assert_array_equal(mine["final_info"]["task_id"], theirs["final_info"]["task_id"])
    buffers = whole.make_rollout_buffers(4)
    whole.set_tasks(None)
    assert (whole.rollout("random", out=buffers).info["task_id"] == -1).all()
    plain = whole.make_rollout_buffers(4)
    whole.set_tasks({"length": 0.3})
    with pytest.raises(KeyError, match="out: 'task_id' is missing"):
        whole.rollout("random", out=plain)


@pytest.mark.parametrize("mode", [*MODES, "disabled"])
@pytest.mark.parametrize("env_id", IDS)
def test_random_actions_follow_the_rows_alone(env_id, mode):
    few, many, replayed = make(env_id, mode, 11), make(env_id, mode, 300, num_threads=3), make(env_id, mode, 11)
    for envs in (few, many, replayed):
        envs.reset()
    got = few.rollout("random", 20)
    more = many.rollout("random", 20)
    for name in ("obs", "actions", "reward", "terminated", "truncated", "valid"):
        np.testing.assert_array_equal(getattr(more, name)[:, :11], getattr(got, name))
    assert same(replayed.rollout(got.actions), got)
    space = few.single_action_space
    drawn = more.actions[more.valid]  # a row that stays where it is draws the same action again
    if hasattr(space, "n"):
        counts = np.bincount(drawn, minlength=space.n)
        expected = counts.sum() / space.n
        assert ((counts - expected) ** 2 / expected).sum() < space.n + 6 * np.sqrt(2 * space.n)
    else:
        assert (drawn >= space.low).all()
        assert (drawn <= space.high).all()
        assert abs(drawn.mean() - (space.low + space.high) / 2) < 0.05 * (space.high - space.low)
    assert (got.actions[:, 0] != got.actions[:, 1]).any()


def test_rollouts_have_the_same_bits_at_every_instruction_set():
    code = """
import hashlib, metarl_core as mc
digest = hashlib.sha256()
for env_id in mc.list_envs():
    envs = mc.make_vec(env_id, 201, seed=4, max_episode_steps=9)
    envs.reset()
    rollout = envs.rollout("random", 25)
    for array in (rollout.obs, rollout.actions, rollout.reward, rollout.terminated, rollout.truncated, rollout.valid):
        digest.update(array.tobytes())
print(digest.hexdigest())
"""
    found = set()
    for level in build_info()["isa_levels"]:
        environ = {**os.environ, "METARL_ISA": level}
        found.add(subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True).stdout)
    assert len(found) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Blackjack-v1", "Taxi-v4", "DeepSea-v0", "MinAtar/Breakout-v1"])
def test_out_is_used_again(env_id, mode):
    envs, plain = make(env_id, mode), make(env_id, mode)
    for each in (envs, plain):
        each.reset()
    buffers = envs.make_rollout_buffers(9)
    arrays = [array for array in (*vars(buffers).values(), *buffers.info.values()) if isinstance(array, np.ndarray)]
    places = [array.ctypes.data for array in arrays]
    for turn in range(4):
        policy = ["random", actions_of(envs, 9), lambda _: actions_of(envs, 1)[0], actions_of(envs, 9).tolist()][turn]
        assert envs.rollout(policy, out=buffers) is buffers
        expected = plain.rollout(policy, 9)
        if mode == "same_step":  # where no episode ended, they keep what was there
            ended = buffers.terminated | buffers.truncated
            buffers.final_obs[~ended] = 0
        assert same(buffers, expected)
    assert [array.ctypes.data for array in arrays] == places
    assert len(buffers) == 9


def test_a_rollout_owns_its_arrays():
    envs = make("CartPole-v1")
    envs.reset()
    actions = actions_of(envs)
    first = envs.rollout(actions)
    copy = first.obs.copy(), first.actions.copy()
    actions.fill(0)
    envs.rollout(actions)
    envs.step(actions[0])
    np.testing.assert_array_equal(first.obs, copy[0])
    np.testing.assert_array_equal(first.actions, copy[1])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", ">i4"])
def test_every_integer_dtype_and_layout_means_the_same(dtype):
    envs, other = make("MountainCar-v0"), make("MountainCar-v0")
    for each in (envs, other):
        each.reset()
    actions = actions_of(envs)
    assert same(envs.rollout(actions.astype(dtype)), other.rollout(actions))
    assert same(envs.rollout(np.repeat(actions.astype(dtype), 2, axis=1)[:, ::2]), other.rollout(actions))


def test_continuous_actions_of_both_dtypes():
    envs, other = make("Pendulum-v1"), make("Pendulum-v1")
    for each in (envs, other):
        each.reset()
    actions = actions_of(envs)
    assert same(envs.rollout(actions.astype(np.float64)), other.rollout(actions))
    assert same(envs.rollout([[[1]] * ROWS] * 2), other.rollout(np.ones((2, ROWS, 1))))


def bad_out(**change):
    return lambda envs: dataclasses.replace(envs.make_rollout_buffers(3), **change)


@pytest.mark.parametrize(
    ("policy", "kwargs", "error", "match"),
    [
        (np.zeros((3, 2), int), {}, ValueError, r"actions: expected shape \(3, 4\), got \(3, 2\)"),
        (np.zeros(4, int), {}, ValueError, r"actions: expected shape \(4, 4\), got \(4,\)"),
        (np.zeros((3, 4, 1), int), {}, ValueError, r"actions: expected shape \(3, 4\), got \(3, 4, 1\)"),
        (np.zeros((0, 4), int), {}, ValueError, "steps is 0; must be >= 1"),
        (0, {}, ValueError, "steps is 0; must be >= 1"),
        (np.zeros((3, 4)), {}, TypeError, "expected an integer dtype, got float64"),
        (np.array([[0, 0, 0, 0], [0, 0, 0, 2]]), {}, ValueError, r"actions\[1, 3\] is 2; must be in \[0, 2\)"),
        (np.zeros((3, 4), int), {"steps": 4}, ValueError, "steps is 4; actions have 3"),
        (np.zeros((2, 4), int), {"out": bad_out()}, ValueError, "steps is 2; out has 3"),
        ("random", {}, TypeError, "rollout needs steps, or arrays in out"),
        ("random", {"steps": 0}, ValueError, "steps is 0; must be >= 1"),
        ("random", {"steps": 2.0}, TypeError, "steps is 2.0; must be an integer"),
        ("random", {"steps": 10**15}, MemoryError, "a rollout of 1000000000000000 steps needs about"),
        ("uniform", {"steps": 1}, ValueError, "policy is 'uniform'; must be actions, a function"),
        (lambda obs: obs[:, 0], {"steps": 2}, TypeError, "expected an integer dtype, got float32"),
        (lambda _: [0, 0], {"steps": 2}, ValueError, r"actions of step 0 have shape \(2,\); must be \(4,\)"),
        (lambda _: [0, 0, 5, 0], {"steps": 2}, ValueError, r"actions\[0, 2\] is 5"),
        ("random", {"out": {}}, TypeError, "out must be a Rollout from make_rollout_buffers, got dict"),
        (
            "random",
            {"out": bad_out(obs=np.empty((3, 4, 4), np.float32))},
            ValueError,
            r"'obs' expected shape \(4, 4, 4",
        ),
        ("random", {"out": bad_out(obs=np.empty((4, 4, 4)))}, TypeError, "'obs' expected dtype float32, got float64"),
        ("random", {"out": bad_out(valid=np.empty((3, 4)))}, TypeError, "'valid' expected dtype bool"),
        ("random", {"out": bad_out(actions=np.empty((3, 4), np.int32))}, TypeError, "'actions' expected dtype int64"),
        ("random", {"out": bad_out(reward=np.empty((4, 3)).T)}, ValueError, "must be C-contiguous"),
        ("random", {"out": bad_out(reward=[0.0] * 3)}, TypeError, "'reward' must be a NumPy array, got list"),
    ],
)
def test_mistakes_change_nothing(policy, kwargs, error, match):
    envs, untouched = make("CartPole-v1", rows=4), make("CartPole-v1", rows=4)
    for each in (envs, untouched):
        each.reset()
    kwargs = {key: value(envs) if callable(value) else value for key, value in kwargs.items()}
    with pytest.raises(error, match=match):
        envs.rollout(policy, **kwargs)
    assert same(envs.rollout("random", 30), untouched.rollout("random", 30))


def test_arrays_that_share_memory_are_refused():
    envs = make("CartPole-v1", rows=4)
    envs.reset()
    buffers = envs.make_rollout_buffers(3)
    flags = np.empty((7, 4), bool)
    for change in ({"truncated": buffers.terminated}, {"terminated": flags[:3], "truncated": flags[2:5]}):
        with pytest.raises(ValueError, match="out: two of its arrays share memory"):
            envs.rollout("random", out=dataclasses.replace(buffers, **change))
    envs.rollout("random", out=dataclasses.replace(buffers, terminated=flags[:3], truncated=flags[3:6]))
    taxi = make("Taxi-v4", rows=2)
    taxi.reset()
    with pytest.raises(ValueError, match="'action_mask' must be an int8 array of shape"):
        taxi.rollout("random", out=dataclasses.replace(taxi.make_rollout_buffers(3), info={}))


def test_steps_before_a_policy_fails_are_taken():
    envs, other = make("CartPole-v1", rows=4), make("CartPole-v1", rows=4)
    for each in (envs, other):
        each.reset()
    calls = []

    def policy(obs):
        calls.append(obs)
        return [[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 7]][len(calls) - 1]

    with pytest.raises(ValueError, match=r"actions\[2, 3\] is 7"):
        envs.rollout(policy, 5)
    other.rollout([[0, 1, 0, 1], [1, 1, 0, 0]])
    np.testing.assert_array_equal(envs.observe(), other.observe())


def test_before_reset_and_after_close():
    envs = make("CartPole-v1", rows=4)
    for policy in (np.zeros((2, 4), int), "random", lambda _: pytest.fail("must not be called")):
        with pytest.raises(ResetNeededError, match="reset must be called"):
            envs.rollout(policy, 2)
    envs.reset()
    buffers = envs.make_rollout_buffers(2)
    envs.close()
    for policy in (np.zeros((2, 4), int), "random", lambda _: pytest.fail("must not be called")):
        with pytest.raises(ClosedError):
            envs.rollout(policy, out=buffers)
    with pytest.raises(ClosedError):
        envs.make_rollout_buffers(2)


@pytest.mark.parametrize("policy", ["random", "policy"])
def test_interrupt_ends_a_long_rollout(policy):
    envs = make_vec("CartPole-v1", 64, num_threads=1)
    envs.reset()
    steps = 400_000
    out = envs.make_rollout_buffers(steps)  # 0.6 GB that only what is stepped touches
    sent = []

    def send():
        time.sleep(0.15)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - which rollout it ends is not known
        while True:
            envs.rollout("random" if policy == "random" else (lambda _: np.zeros(64, int)), out=out)
    delay = time.monotonic() - sent[0]
    thread.join()
    print(f"interrupted after {delay * 1e3:.0f} ms")
    assert delay < 0.2
    if policy == "random":
        with pytest.raises(ResetNeededError):
            envs.rollout("random", 1)
        envs.reset()
    envs.rollout("random", 1)


def test_other_threads_run_meanwhile_and_must_keep_off():
    envs = make_vec("Acrobot-v1", 2000, num_threads=1)
    envs.reset()
    refused = []

    def meddle():
        time.sleep(0.02)
        try:
            envs.step(np.zeros(2000, int))
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=meddle)
    thread.start()
    envs.rollout("random", 1000)  # some hundred milliseconds
    thread.join()
    assert refused
    assert "in use by another thread" in refused[0]


def test_the_first_observation_is_that_of_the_last_step_for_every_environment():
    for env_id in IDS:
        params = {"precision": "float32"} if "precision" in env_spec(env_id).parameters else {}
        envs = make(env_id, **params)
        last = rows_of(envs.reset()[0])
        for action in actions_of(envs):
            np.testing.assert_array_equal(envs.rollout(action[np.newaxis]).obs[0], last)
            last = rows_of(envs.step(action)[0])
