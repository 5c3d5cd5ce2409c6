"""make_async: rows in the background, with the bits of the batch, and never a hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from vector_helpers import IDS

from metarl_core import AsyncEnvs, ClosedError, ResetNeededError, make_async, make_vec
from metarl_core.tasks import task_family

ROWS, STEPS = 23, 25
MODES = ["next_step", "same_step"]


def params_of(env_id):
    params = {"DeepSea-v0": {"deterministic": False, "size": 4}, "Taxi-v4": {"is_rainy": True}}.get(env_id, {})
    return {"max_episode_steps": 9, "seed": 5, **params}


def action_table(envs):
    """Return an action for every row and every step of its own."""
    rng = np.random.default_rng(0)
    if hasattr(envs.single_action_space, "n"):
        return rng.integers(0, envs.single_action_space.n, (STEPS + 1, envs.num_envs))
    return rng.uniform(-2, 2, (STEPS + 1, envs.num_envs, *envs.single_action_space.shape)).astype(np.float32)


def flat(value):
    """Return an observation as one array, also Blackjack's tuple."""
    return np.stack(value, -1) if isinstance(value, tuple) else value


def row_of(result, k):
    """Return everything that a batch says of its row k."""
    obs, reward, terminated, truncated, info = result
    out = {"obs": flat(obs)[k].tobytes(), "reward": reward[k], "ends": (terminated[k], truncated[k])}
    for key, value in info.items():
        if key in ("final_obs", "final_info", "env_id"):
            continue
        out[key] = value[k].tobytes()
    for key in ("_final_obs", "_final_info"):
        out[key] = bool(info.get(key, np.zeros(k + 1, bool))[k])
    if out["_final_obs"]:
        out["final_obs"] = flat(info["final_obs"])[k].tobytes()
        out["final_info"] = {key: value[k].tobytes() for key, value in info["final_info"].items()}
    return out


def expected_rows(envs, seed=None, **reset):
    """Return what each row of the batch returns at each of its steps."""
    obs, info = envs.reset(seed=seed, **reset)
    zeros = np.zeros(envs.num_envs)
    results = [(obs, zeros, zeros > 0, zeros > 0, info)]
    results += [envs.step(action) for action in action_table(envs)[:STEPS]]
    return [[row_of(result, i) for i in range(envs.num_envs)] for result in results]


def play(envs, turns, check):
    """Send every row its own actions and check all that comes back."""
    actions = action_table(envs)
    steps = np.zeros(envs.num_envs, int)
    for _ in range(turns):
        result = envs.recv(timeout=60)
        rows = result[4]["env_id"]
        assert rows.shape == (envs.batch_size,)
        assert len(set(rows.tolist())) == len(rows)
        for k, row in enumerate(rows):
            check(result, k, row, steps[row])
        if (steps[rows] == STEPS).any():  # as far as it is known what must come
            break
        envs.send(actions[steps[rows], rows], rows)
        steps[rows] += 1
    return steps


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_every_row_plays_as_in_the_batch(env_id, mode):
    params = params_of(env_id)
    expected = expected_rows(make_vec(env_id, ROWS, autoreset_mode=mode, dense_final_obs=True, **params))
    finals = sum(row["_final_obs"] for rows in expected for row in rows)
    assert (finals > ROWS) == (mode == "same_step")

    def check(result, k, row, step):
        assert row_of(result, k) == expected[step][row]

    for batch_size, threads in ((1, 2), (7, 1), (7, 3), (ROWS, 2)):
        with make_async(env_id, ROWS, batch_size, num_threads=threads, autoreset_mode=mode, **params) as envs:
            envs.async_reset()
            steps = play(envs, STEPS * ROWS // batch_size, check)
            assert steps.sum() > STEPS * ROWS / 3


@pytest.mark.parametrize("batch_size", range(1, 9))
def test_every_batch_size(batch_size):
    expected = expected_rows(make_vec("CartPole-v1", 8, **params_of("CartPole-v1")), seed=3)

    def check(result, k, row, step):
        assert row_of(result, k) == expected[step][row]

    with make_async("CartPole-v1", 8, batch_size, num_threads=2, **params_of("CartPole-v1")) as envs:
        envs.async_reset(seed=3)
        play(envs, 60, check)


@pytest.mark.parametrize("mode", MODES)
def test_tasks(mode):
    kwargs = {"autoreset_mode": mode, "max_episode_steps": 9}
    family = task_family("CartPole-v1")
    batch = make_vec("CartPole-v1", ROWS, dense_final_obs=True, **kwargs)
    batch.sample_tasks_at_reset(family.sample_tasks(30, seed=1))
    expected = expected_rows(batch, seed=2)

    def check(result, k, row, step):
        mine = row_of(result, k)
        if step == 0:
            mine.pop("final_info", None)
        assert mine == expected[step][row]

    with make_async("CartPole-v1", ROWS, 5, num_threads=3, **kwargs) as envs:
        envs.sample_tasks_at_reset(family.sample_tasks(30, seed=1))
        envs.async_reset(seed=2)
        play(envs, 100, check)
        envs.set_tasks({"length": np.linspace(0.2, 1, ROWS)})  # whatever is in flight
        np.testing.assert_array_equal(envs.get_tasks()["length"], np.linspace(0.2, 1, ROWS))
        envs.async_reset()
        info = envs.recv()[4]
        np.testing.assert_array_equal(info["task_id"], info["env_id"])
        assert envs.get_state([3, 4])["task_id"].tolist() == [3, 4]
        with pytest.raises(TypeError, match="no task parameter 'weight'"):
            envs.set_tasks({"weight": 1})
        envs.step([0] * 5)


def test_with_one_thread_the_batches_are_the_same_in_every_run():
    def run(delay):
        with make_async("Acrobot-v1", 40, 7, num_threads=1, seed=1) as envs:
            envs.async_reset()
            seen = []
            for turn in range(100):
                obs, *_, info = envs.recv()
                seen += [info["env_id"].tobytes(), obs.tobytes()]
                if delay and turn % 10 == 0:
                    time.sleep(0.002)
                envs.send(info["env_id"] % 3, info["env_id"])
            return seen

    assert run(False) == run(True)


def test_step_and_reset_are_send_and_recv():
    batch = make_vec("Pendulum-v1", 6, seed=4)
    with make_async("Pendulum-v1", 6, 3, num_threads=1, seed=4) as envs:
        obs, info = envs.reset(seed=9)
        np.testing.assert_array_equal(obs, batch.reset(seed=9)[0][:3])
        assert info["env_id"].tolist() == [0, 1, 2]
        obs, *_, info = envs.step([[0], [1], [2]])
        assert info["env_id"].tolist() == [3, 4, 5]
        obs, *_, info = envs.step([[0], [1], [2]], info["env_id"])
        np.testing.assert_array_equal(obs, batch.step([[0], [1], [2]] * 2)[0][:3])
        assert repr(envs) == "AsyncEnvs(Pendulum-v1, num_envs=6, batch_size=3)"
        assert envs.single_action_space == batch.single_action_space
        assert envs.num_threads == 1
    assert make_async("Pendulum-v1", 6).batch_size == 6


def test_nothing_that_was_returned_changes():
    with make_async("Taxi-v4", 8, 4, num_threads=2, autoreset_mode="same_step", max_episode_steps=3) as envs:
        envs.async_reset()
        kept, copies = [], []
        for _ in range(40):
            result = envs.recv()
            arrays = [*result[:4], *(value for value in result[4].values() if isinstance(value, np.ndarray))]
            kept += arrays
            copies += [array.copy() for array in arrays]
            envs.send(np.zeros(4, int))
        for array, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_recv_of_rows_that_nobody_sent():
    envs = make_async("CartPole-v1", 10, 4, num_threads=2)
    for use in (envs.recv, lambda: envs.send([0], [0])):
        with pytest.raises(ResetNeededError, match="async_reset must be called"):
            use()
    with pytest.raises(ValueError, match="send needs env_id before the first recv"):
        envs.send([0])
    envs.async_reset()
    envs.recv()
    envs.recv()
    assert envs.in_flight == 2
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"recv needs 4 environments \(batch_size\), but only 2 are in flight"):
        envs.recv()
    assert time.monotonic() - start < 5
    envs.send([0, 1, 0, 1])
    envs.recv()
    assert envs.in_flight == 2
    envs.close()


@pytest.mark.parametrize(
    ("actions", "env_id", "error", "match"),
    [
        ([0, 0], [0, 9], RuntimeError, r"env_id\[1\] is 9, which is in flight already"),
        ([0, 0], [0, 10], IndexError, r"env_id\[1\] is 10; must be in \[0, 10\)"),
        ([0, 0], [-1, 0], IndexError, r"env_id\[0\] is -1"),
        ([0, 0], [1, 1], ValueError, r"env_id\[1\] is 1 for the second time"),
        ([0, 0], [0.0, 1.0], TypeError, "env_id must be integers, got float64"),
        ([0, 0], [[0, 1]], ValueError, r"env_id has shape \(1, 2\)"),
        ([0, 0, 0], [0, 1], ValueError, r"actions: expected shape \(2,\), got \(3,\)"),
        ([0, 0], None, ValueError, r"actions: expected shape \(4,\), got \(2,\)"),
        ([0, 2], [0, 1], ValueError, r"actions\[1\] is 2; must be in \[0, 2\)"),
        ([0.0, 1.0], [0, 1], TypeError, "expected an integer dtype"),
    ],
)
def test_bad_sends_send_nothing(actions, env_id, error, match):
    with make_async("CartPole-v1", 10, 4, num_threads=1) as envs:
        envs.async_reset()
        assert envs.recv()[4]["env_id"].tolist() == [0, 1, 2, 3]
        with pytest.raises(error, match=match):
            envs.send(actions, env_id)
        assert envs.in_flight == 6
        envs.send([0, 1, 0, 1])
        assert envs.in_flight == 10


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"batch_size": 0}, ValueError, r"batch_size is 0; must be in \[1, 4\]"),
        ({"batch_size": 5}, ValueError, r"batch_size is 5; must be in \[1, 4\]"),
        ({"batch_size": 2.0}, TypeError, "batch_size is 2.0; must be an integer"),
        ({"num_threads": 0}, ValueError, "num_threads is 0"),
        ({"autoreset_mode": "disabled"}, ValueError, "autoreset_mode is 'disabled'"),
        ({"gravitation": 3}, TypeError, "no parameter 'gravitation'"),
        ({"id": "CartPole-v9"}, ValueError, "unknown environment"),
    ],
)
def test_bad_arguments(kwargs, error, match):
    with pytest.raises(error, match=match):
        make_async(**{"id": "CartPole-v1", "num_envs": 4, **kwargs})


# Rows that take some tens of milliseconds together.
LARGE = 400_000


def test_timeouts_lose_nothing():
    with make_async("Acrobot-v1", LARGE, LARGE, num_threads=1) as envs:
        envs.async_reset()
        with pytest.raises(TimeoutError, match=rf"of {LARGE} environments \(batch_size\) were ready in time"):
            envs.recv(timeout=0)
        assert envs.in_flight == LARGE
        assert envs.recv(timeout=1e9)[4]["env_id"].shape == (LARGE,)
        for bad, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError), ([], TypeError)):
            with pytest.raises(error, match="timeout is"):
                envs.recv(timeout=bad)


def test_interrupt_ends_recv():
    envs = make_async("Acrobot-v1", LARGE, LARGE, num_threads=1)
    envs.async_reset()
    envs.recv()
    actions = np.zeros(LARGE, np.int8)
    sent = []

    def send():
        time.sleep(0.1)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - which recv it ends is not known
        while True:
            envs.send(actions)
            envs.recv()
    delay = time.monotonic() - sent[0]
    thread.join()
    print(f"interrupted after {delay * 1e3:.0f} ms")
    assert delay < 0.2
    if envs.in_flight == LARGE:
        envs.recv()  # it goes on
    envs.send(actions)
    envs.close()  # while steps are running


def test_close_while_another_thread_waits():
    envs = make_async("Acrobot-v1", LARGE, LARGE, num_threads=2)
    envs.async_reset()
    errors = []

    def work():
        try:
            while True:
                envs.recv()
                envs.send(np.zeros(LARGE, np.int8))
        except ClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    start = time.monotonic()
    envs.close()
    thread.join(60)
    print(f"closed within {(time.monotonic() - start) * 1e3:.0f} ms")
    assert not thread.is_alive()
    assert len(errors) == 1
    envs.close()
    for use in (envs.recv, lambda: envs.send([0], [0]), envs.async_reset, envs.get_tasks, envs.get_state):
        with pytest.raises(ClosedError, match="closed"):
            use()


def test_actors_in_threads():
    with make_async("CartPole-v1", 64, 8, num_threads=2, max_episode_steps=20) as envs:
        envs.async_reset()
        turns = []

        def act():
            for _ in range(200):
                obs, *_, info = envs.recv(timeout=60)
                envs.send((obs[:, 2] > 0).astype(np.int64), info["env_id"])
            turns.append(1)

        threads = [threading.Thread(target=act) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(turns) == 3
        assert envs.in_flight == 64


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_raises_and_the_parent_goes_on():
    envs = make_async("CartPole-v1", 8, 4, num_threads=2)
    envs.async_reset()
    envs.recv()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forking a process with threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(20)
            refused = 0
            for use in (envs.recv, lambda: envs.send([0], [0]), envs.async_reset, envs.get_state):
                try:
                    use()
                except RuntimeError as error:
                    refused += "process that was forked" in str(error)
            envs.close()
            del envs
            status = 0 if refused == 4 else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    envs.step([0, 0, 0, 0])
    envs.close()


def test_without_gymnasium_and_without_close():
    code = """
import sys
sys.modules["gymnasium"] = None
import metarl_core as mc
envs = mc.make_async("FrozenLake-v1", 16, 4)
try:
    envs.recv()
except mc.ResetNeededError:
    pass
envs.async_reset()
for _ in range(20):
    obs, reward, terminated, truncated, info = envs.recv()
    envs.send(info["env_id"] % 4, info["env_id"])
print(type(envs).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == AsyncEnvs.__name__


def test_making_them_starts_no_thread():
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        pytest.skip("needs /proc")
    before = len(list(tasks.iterdir()))
    envs = make_async("CartPole-v1", 8, 4, num_threads=3)
    assert len(list(tasks.iterdir())) == before
    envs.async_reset()
    assert len(list(tasks.iterdir())) == before + 3
    envs.close()
    assert len(list(tasks.iterdir())) == before
