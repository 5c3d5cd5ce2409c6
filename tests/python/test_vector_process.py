"""Threads, forks, signals, instruction sets, and life without Gymnasium."""

from __future__ import annotations

import hashlib
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

import metarl_core
from metarl_core import make_vec

LARGE = 40_000  # rows that are worth several threads

# Bytes of everything that these environments hand out, at 1, 2 and 8 threads; prints one hash.
GOLDEN_SCRIPT = """
import hashlib
import numpy as np
from metarl_core import env_spec, make_vec

FIRST = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1", "FrozenLake-v1", "DeepSea-v0")
CASES = [(i, {}) for i in FIRST]
CASES += [(i, {"precision": "float32"}) for i in FIRST if "precision" in env_spec(i).parameters]
CASES += [("DeepSea-v0", {"size": 6, "deterministic": False}), ("FrozenLake-v1", {"map_name": "8x8"})]
CASES += [("CartPole-v1", {"kinematics_integrator": "semi-implicit euler"})]
hashes = []
for threads in (1, 2, 8):
    digest = hashlib.sha256()
    for env_id, params in CASES:
        rows = 3_001 if env_id == "DeepSea-v0" else 20_011
        envs = make_vec(env_id, rows, num_threads=threads, seed=2024, **{"max_episode_steps": 7, **params})
        digest.update(envs.reset()[0].tobytes())
        rng = np.random.Generator(np.random.Philox(5))
        for step in range(16):
            if env_id == "Pendulum-v1":
                actions = ((rng.integers(0, 4097, (rows, 1)) - 2048) / 1024).astype(np.float32)
            else:
                actions = rng.integers(0, envs.single_action_space.n, rows)
            for array in envs.step(actions)[:4]:
                digest.update(array.tobytes())
        digest.update(envs.get_state()["state"].tobytes())
    hashes.append(digest.hexdigest())
assert len(set(hashes)) == 1, hashes
print(hashes[0])
"""
GOLDEN = "2588cddcf2f887e8b848d49254650392aea8cc5af5e8eb2357f64a8d5155218f"


def run_python(code, **env):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_golden_hash_at_every_instruction_set_and_thread_count(isa):
    if isa not in metarl_core.build_info()["isa_levels"]:
        pytest.skip(f"{isa} is not compiled in")
    active = run_python("import metarl_core; print(metarl_core.build_info()['isa_active'])", METARL_ISA=isa)
    if active != isa:
        pytest.skip(f"this CPU lacks {isa}: {active} would run")
    digest = run_python(GOLDEN_SCRIPT, METARL_ISA=isa)
    print(f"{isa}, threads 1, 2 and 8: {digest}")
    assert digest == GOLDEN


def test_making_and_stepping_small_batches_starts_no_thread():
    code = """
import os, numpy as np
import metarl_core
def tasks(): return len(os.listdir("/proc/self/task"))
before = tasks()
envs = metarl_core.make_vec("CartPole-v1", 64, num_threads=4)
envs.reset(); envs.step(np.zeros(64, np.int64))
assert tasks() == before, (tasks(), before)
envs = metarl_core.make_vec("CartPole-v1", 100_000, num_threads=3)
envs.reset(); envs.step(np.zeros(100_000, np.int64))
assert tasks() == before + 2, (tasks(), before)
envs.close()
assert tasks() == before, (tasks(), before)
"""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    run_python(code, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")


def test_works_without_gymnasium():
    code = """
import sys
sys.modules["gymnasium"] = None
import numpy as np, metarl_core
for env_id in metarl_core.list_envs():
    envs = metarl_core.make_vec(env_id, 4, autoreset_mode="same_step", seed=1)
    obs, info = envs.reset()
    assert envs.observation_space.contains(obs)
    envs.action_space.seed(0)
    for _ in range(40):
        actions = envs.action_space.sample()
        assert envs.action_space.contains(actions)
        obs, reward, terminated, truncated, info = envs.step(actions)
    print(repr(envs), envs.single_action_space, envs.single_observation_space)
    envs.close()
try:
    metarl_core.make_vec("CartPole-v1", 1).step([0])
except metarl_core.ResetNeededError:
    print("done")
"""
    assert run_python(code).endswith("done")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on_or_raises_but_never_hangs():
    envs = make_vec("CartPole-v1", LARGE, num_threads=3, seed=1)
    envs.reset()
    actions = np.zeros(LARGE, np.int64)
    envs.step(actions)  # the threads run
    expected = make_vec("CartPole-v1", LARGE, num_threads=1, seed=1)
    expected.reset()
    expected.step(actions)
    want = expected.step(actions)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forking a process with threads
        start = time.monotonic()
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(20)
            status = 0 if (envs.step(actions)[0] == want).all() else 2
            envs.close()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    print(f"the child stepped and closed within {time.monotonic() - start:.2f} s")
    assert os.waitstatus_to_exitcode(status) == 0
    np.testing.assert_array_equal(envs.step(actions)[0], want)  # the parent's threads are still there


def test_interrupt_ends_a_long_step():
    # Several hundred milliseconds in one call.
    rows = 1_500_000
    envs = make_vec("Acrobot-v1", rows, num_threads=1)
    envs.reset()
    actions = np.zeros(rows, np.int8)
    out = envs.make_buffers()
    begin = time.monotonic()
    envs.step(actions, out)
    whole = time.monotonic() - begin
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(whole / 10, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - which step it ends is not known
        while True:
            envs.step(actions, out)
    delay = time.monotonic() - sent[0]
    timer.join()
    print(f"a step takes {whole * 1e3:.0f} ms; interrupted after {delay * 1e3:.0f} ms")
    assert delay < max(0.2, whole / 2)
    # Half stepped: it says so instead of going on.
    with pytest.raises(metarl_core.ResetNeededError):
        envs.step(actions, out)
    envs.reset()
    envs.step(actions, out)


def test_two_threads_on_one_environment_get_an_error_not_a_race():
    envs = make_vec("Pendulum-v1", 200_000, num_threads=1)
    envs.reset()
    actions = np.zeros((200_000, 1), np.float32)
    results = {"stepped": 0, "refused": 0}
    lock = threading.Lock()

    def work():
        for _ in range(30):
            try:
                envs.step(actions)
                key = "stepped"
            except RuntimeError as error:
                key = "refused" if "in use by another thread" in str(error) else str(error)
            with lock:
                results[key] += 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results["stepped"] + results["refused"] == 90
    assert results["stepped"] >= 1


@pytest.mark.parametrize("threads", [1, 2])
def test_close_while_another_thread_steps(threads):
    # In a process of its own: freed memory would crash it.
    code = f"""
import threading, time
import numpy as np, metarl_core
rows = 300_000
envs = metarl_core.make_vec("Acrobot-v1", rows, num_threads={threads})
envs.reset()
actions = np.zeros(rows, np.int8)
steps, errors = [0], []
def work():
    try:
        while True:
            envs.step(actions)
            steps[0] += 1
    except Exception as error:
        errors.append(error)
thread = threading.Thread(target=work)
thread.start()
while steps[0] < 2:
    time.sleep(0.001)
time.sleep(0.003)  # in the midst of a step
envs.close()
thread.join(60)
assert not thread.is_alive()
assert [type(error) for error in errors] == [metarl_core.ClosedError], errors
print("done")
"""
    assert run_python(code) == "done"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_a_signal_handler_that_closes_in_the_midst_of_a_step():
    code = """
import signal
import numpy as np, metarl_core
rows = 1_000_000
envs = metarl_core.make_vec("Acrobot-v1", rows, num_threads=1)
envs.reset()
actions = np.zeros(rows, np.int8)
seen = []
def handler(number, frame):
    try:
        envs.get_state()
    except RuntimeError as error:
        seen.append(str(error))
    envs.close()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.03)
try:
    while True:
        obs = envs.step(actions)[0]
        assert np.isfinite(obs).all()
except metarl_core.ClosedError:
    print("closed", "in use" in seen[0] if seen else "between two steps")
"""
    assert run_python(code).startswith("closed")


def test_every_call_waits_its_turn():
    envs = make_vec("Acrobot-v1", 300_000, num_threads=1, autoreset_mode="same_step", seed=1)
    expected = make_vec("Acrobot-v1", 300_000, num_threads=1, autoreset_mode="same_step", seed=1)
    for each in (envs, expected):
        each.reset()
    actions = np.zeros(300_000, np.int8)
    uses = {
        "reset": lambda: envs.reset(seed=1000),
        "get_state": envs.get_state,
        "set_state": lambda: envs.set_state({"seed": np.zeros(300_000, np.uint64)}),
        "observe": envs.observe,
        "final_obs_dense": envs.final_obs_dense,
        "make_buffers": envs.make_buffers,
        "bad_episode": envs.bad_episode,
        "set_draws": lambda: envs._core.set_draws(np.zeros(1)),
    }
    for name, use in uses.items():
        refused = False
        for _ in range(20):
            started, finished = threading.Event(), threading.Event()

            def work(started=started, finished=finished):
                started.set()
                envs.step(actions)
                finished.set()

            thread = threading.Thread(target=work)
            thread.start()
            started.wait()
            time.sleep(0.002)
            done = False
            try:
                if not finished.is_set():
                    use()
                    done = True  # the step had ended by then, or not begun
            except RuntimeError as error:
                refused = "in use by another thread" in str(error)
            thread.join()
            if done:
                expected.restore(envs.snapshot())
            else:
                expected.step(actions)
            if refused:
                break
        assert refused, name
    # Nor did a refused call do a part of its work.
    for key, value in expected.get_state().items():
        np.testing.assert_array_equal(envs.get_state()[key], value, err_msg=key)


def test_long_steps_release_the_interpreter_lock():
    envs = make_vec("Acrobot-v1", 400_000, num_threads=1)
    envs.reset()
    actions = np.zeros(400_000, np.int8)
    turns, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = turns[0]
    for _ in range(3):
        envs.step(actions)
    during = turns[0] - before
    stop.set()
    thread.join()
    assert during >= 3


def test_different_thread_counts_in_one_process():
    digests = set()
    for threads in (1, 2, 8):
        envs = make_vec("Acrobot-v1", LARGE, num_threads=threads, seed=3)
        envs.reset()
        digest = hashlib.sha256()
        for step in range(5):
            digest.update(envs.step(np.full(LARGE, step % 3))[0].tobytes())
        digests.add(digest.hexdigest())
    assert len(digests) == 1


def test_available_cpus_follow_the_affinity_mask():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs sched_setaffinity")
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import metarl_core
assert metarl_core.build_info()["num_threads"] == 1
assert metarl_core.make_vec("CartPole-v1", 1).num_threads == 1
"""
    run_python(code)
