"""What can go wrong in a worker is an exception, never a hang, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from wrapped_envs import DictEnv, FaultyEnv

import metarl_core
from metarl_core import ClosedError, ResetNeededError, WorkerError, WorkerTimeoutError, make_vec

BACKENDS = ["serial", "thread", "process"]
NOTHING = [0, 0, 0, 0]


def children():
    """Return the processes that this one started and that are not gone, zombies included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.append((int(path.parent.name), state))
    return found


def left_over():
    return {"processes": set(children()), "descriptors": len(list(Path("/proc/self/fd").iterdir()))}


def shared_files():
    return {path.name for path in Path("/dev/shm").iterdir()}


@pytest.fixture(autouse=True)
def _nothing_is_left():
    gc.collect()
    before, files = left_over(), shared_files()
    yield
    gc.collect()
    assert left_over() == before
    # The folder is everybody's: files of tests that run beside this one go away with them.
    deadline = time.monotonic() + 30
    while (new := shared_files() - files) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not new


def made(backend="process", **options):
    envs = make_vec(FaultyEnv, 4, backend=backend, num_threads=2, **options)
    envs.reset()
    return envs


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_environment_that_raises(backend):
    envs = made(backend)
    envs.step(NOTHING)
    with pytest.raises(WorkerError, match=r"environment 2 raised LookupError: the floor is missing") as caught:
        envs.step([0, 0, 1, 0])
    assert caught.value.env_id == 2
    assert caught.value.exit_code is None
    assert isinstance(caught.value.__cause__, LookupError)
    import traceback

    shown = "".join(traceback.format_exception(caught.value))
    assert 'raise LookupError("the floor is missing")' in shown  # the line in the environment
    assert "wrapped_envs.py" in shown
    with pytest.raises(ResetNeededError):
        envs.step(NOTHING)
    with pytest.raises(ResetNeededError):
        envs.reset(options={"reset_mask": np.array([True, False, False, False])})
    envs.reset()
    assert envs.step(NOTHING)[0][:, 0].tolist() == [1, 1, 1, 1]
    with pytest.raises(WorkerError, match="environment 0 raised LookupError: cannot start"):
        envs.reset(options={"fail": True})
    envs.reset()
    with pytest.raises(
        WorkerError, match=r"environment 3 raised ValueError: obs has shape \(3,\); the space says \(2,\)"
    ):
        envs.step([0, 0, 0, 6])
    envs.reset()
    with pytest.raises(WorkerError, match=r"environment 0 raised .*Unpicklable"):
        envs.step([5, 0, 0, 0])
    envs.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_environment_that_cannot_be_made(backend):
    with pytest.raises(LookupError, match="there is no such level"):
        make_vec([FaultyEnv, lambda: FaultyEnv("init")], backend=backend, num_threads=2)
    if backend == "process":
        with pytest.raises(WorkerError, match=r"which has environment 1, ended with exit code 7") as caught:
            make_vec([FaultyEnv, lambda: FaultyEnv("exit")], backend=backend, num_threads=2)
        assert caught.value.exit_code == 7
    else:
        with pytest.raises(SystemExit):
            make_vec([FaultyEnv, lambda: FaultyEnv("exit")], backend=backend, num_threads=2)


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_an_environment_that_is_never_made(backend, monkeypatch):
    monkeypatch.setattr("metarl_core.vector.wrapped.vector._START_SECONDS", 2.0)
    with pytest.raises(WorkerTimeoutError, match="environment 1 did not answer in time"):
        make_vec([FaultyEnv, lambda: FaultyEnv("hang")], backend=backend, num_threads=2, timeout=0.5)


def test_a_step_without_infos_pickles_nothing(monkeypatch):
    envs = made()
    out = envs.make_buffers()

    def no(*arguments):
        raise AssertionError("pickled")

    monkeypatch.setattr("pickle.loads", no)
    monkeypatch.setattr("cloudpickle.dumps", no)
    for step in range(1, 50):
        assert envs.step(NOTHING, out=out)[0].tolist() == [[step, step]] * 4
    envs.close()


def test_a_process_that_ends_in_a_step():
    for action, how, code in [(2, "exit code 3", 3), (4, "signal SIGKILL", -9)]:
        envs = made()
        begin = time.monotonic()
        with pytest.raises(WorkerError, match=f"while environment 3 was in a call, ended with {how}") as caught:
            envs.step([0, 0, 0, action])
        assert caught.value.env_id == 3
        assert caught.value.exit_code == code
        with pytest.raises(WorkerError, match=f"of no use any more: .*{how}"):
            envs.step(NOTHING)
        with pytest.raises(WorkerError, match=f"of no use any more: .*{how}"):
            envs.reset()
        assert time.monotonic() - begin < 5
        envs.close()
        with pytest.raises(ClosedError):
            envs.reset()


def test_a_process_that_is_killed_between_steps():
    for call in ("step", "reset", "render_mode"):
        envs = made()
        victim = envs._workers[1].pid
        os.kill(victim, signal.SIGKILL)
        time.sleep(0.05)
        if call == "render_mode":
            envs.close()  # closing does not mind
            continue
        with pytest.raises(
            WorkerError, match=f"process {victim}, which has environments 2 to 3, ended with signal SIGKILL"
        ):
            envs.step(NOTHING) if call == "step" else envs.reset()
        envs.close()


def test_a_process_killed_while_it_steps():
    envs = made()
    victim = envs._workers[0].pid
    killer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
    killer.start()
    begin = time.monotonic()
    with pytest.raises(WorkerError, match="while environment 1 was in a call, ended with signal SIGKILL"):
        envs.step([0, 3, 0, 0])
    took = time.monotonic() - begin
    killer.join()
    envs.close()
    print(f"told {took - 0.3:.3f} s after the kill")
    assert took < 3


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_an_environment_that_hangs(backend):
    envs = made(backend, timeout=0.5)
    begin = time.monotonic()
    with pytest.raises(WorkerTimeoutError, match="environment 1 did not answer in time") as caught:
        envs.step([0, 3, 0, 0])
    took = time.monotonic() - begin
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.env_id == 1
    assert 0.5 <= took < 3
    with pytest.raises(WorkerError, match="of no use any more"):
        envs.reset()
    begin = time.monotonic()
    envs.close()
    assert time.monotonic() - begin < 3
    print(f"{backend}: told after {took:.2f} s, closed in {time.monotonic() - begin:.2f} s")


def test_close_while_another_thread_waits():
    envs = made()
    errors = []

    def step():
        try:
            envs.step([3, 0, 0, 0])
        except WorkerError as error:
            errors.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    time.sleep(0.2)
    begin = time.monotonic()
    envs.close()  # a call is running: it closes when that ends
    assert not envs.closed
    os.kill(envs._workers[0].pid, signal.SIGKILL)
    thread.join(10)
    assert not thread.is_alive()
    assert len(errors) == 1
    assert envs.closed
    assert time.monotonic() - begin < 5


def test_close_ends_a_process_that_hangs():
    envs = made()
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        envs.step([3, 0, 0, 0])
    timer.join()
    begin = time.monotonic()
    envs.close()  # one still sleeps
    assert 4 < time.monotonic() - begin < 8  # it had its time to close


def test_infos_that_cannot_be_pickled():
    envs = made()
    with pytest.raises(WorkerError, match="raised TypeError: what the environment gave cannot be pickled"):
        envs.step([7, 0, 0, 0])
    envs.reset()
    envs.step(NOTHING)
    envs.close()


def test_what_cannot_be_sent_to_a_process():
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot be sent to a process .*pickle.*; use backend='thread' or 'serial'"):
        make_vec(lambda: FaultyEnv(lock), 1, backend="process")
    envs = made()
    with pytest.raises(TypeError, match="pickle"):
        envs.reset(options={"lock": lock})
    envs.reset()
    envs.step(NOTHING)
    envs.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_close(backend):
    envs = made(backend)
    envs.close()
    envs.close()
    for use in (
        lambda: envs.step(NOTHING),
        envs.reset,
        lambda: envs.call("steps"),
        lambda: envs.set_tasks(None),
    ):
        with pytest.raises(ClosedError):
            use()
    lost = made(backend)
    del lost  # garbage is closed, too; the fixture looks


def test_two_threads_on_one_environment_get_an_error_not_a_race():
    envs = made()
    thread = threading.Thread(target=envs.step, args=([8, 0, 0, 0],))
    thread.start()
    time.sleep(0.15)
    for use in (lambda: envs.step(NOTHING), envs.reset, lambda: envs.call("steps")):
        with pytest.raises(RuntimeError, match="in use by another thread"):
            use()
    thread.join()
    assert envs.step(NOTHING)[0][:, 0].tolist() == [2, 2, 2, 2]
    envs.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_interrupt(backend):
    envs = made(backend)
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        envs.step([8, 8, 0, 0])
    took = time.monotonic() - begin
    timer.join()
    assert took < 0.35
    with pytest.raises(ResetNeededError):
        envs.step(NOTHING)
    envs.reset()  # waits for what is still running, and forgets it
    assert envs.step(NOTHING)[0][:, 0].tolist() == [1, 1, 1, 1]
    envs.close()


def test_a_forked_child_is_refused_and_leaves_the_workers_alone():
    envs = made()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(20)
            with pytest.raises(RuntimeError, match="belong to the process that made it"):
                envs.step(NOTHING)
            envs.close()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert envs.step(NOTHING)[1].tolist() == [1, 1, 1, 1]
    envs.close()


SCRIPT = """
    import os, sys, time
    import numpy as np
    import gymnasium
    import metarl_core

    class Slow(gymnasium.Env):  # a class of __main__, and no "if __name__ == '__main__'"
        observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        def reset(self, seed=None, options=None):
            return np.zeros(1, np.float32), {"pid": os.getpid()}
        def step(self, action):
            while action:
                time.sleep(0.01)
            return np.zeros(1, np.float32), 0.0, False, False, {}

    envs = metarl_core.make_vec(Slow, 2, backend="process", num_threads=2)
    obs, info = envs.reset()
    print(*info["pid"], flush=True)
"""


def script(end):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT) + textwrap.dedent(end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def gone(pid, seconds):
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_a_script_that_just_ends():
    process = script("envs.step([0, 0])")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    assert all(gone(pid, 2) for pid in out.split())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_caller_that_is_ended_takes_its_workers_along(number):
    process = script("envs.step([1, 1])")
    pids = process.stdout.readline().split()
    assert len(pids) == 2
    time.sleep(0.3)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as the terminal does: the workers get it, too
    else:
        process.send_signal(number)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    if number == signal.SIGINT:
        assert err.count("KeyboardInterrupt") == 1, err  # one traceback, not one for each worker
        assert "Traceback" in err
        assert err.count("Traceback") == 1
    assert all(gone(pid, 8) for pid in pids), "a worker goes on"
    print(f"{signal.Signals(number).name}: all gone after {time.monotonic() - begin:.2f} s")


def test_waiting_does_not_spin():
    envs = make_vec(FaultyEnv, 2, backend="process", num_threads=2)
    envs.reset()
    before = time.process_time()
    envs.step([8, 8])
    used = time.process_time() - before
    print(f"0.4 s of waiting cost {used * 1e3:.1f} ms of CPU time")
    assert used < 0.1
    envs.close()


def test_a_failure_is_both_kinds_of_error():
    assert issubclass(WorkerError, metarl_core.MetarlError)
    assert issubclass(WorkerError, RuntimeError)
    assert issubclass(WorkerTimeoutError, TimeoutError)


def test_many_more_rows_than_workers():
    before = len(children())
    envs = make_vec(DictEnv, 33, backend="process", num_threads=2, seed=1)
    assert envs.num_threads == 2
    assert len(children()) == before + 2
    assert len({worker.pid for worker in envs._workers}) == 2
    envs.reset()
    envs.step(envs.action_space.sample())
    envs.close()
