"""SharedWriters: rows of several processes arrive once and whole, whoever dies."""

import copy
import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from metarl_core import ClosedError, PrioritizedReplayBuffer, ReplayBuffer, SharedWriters

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX shared memory")

METHODS = [method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()]
FIELDS = {"writer": ((), np.int32), "number": ((), np.int64), "image": ((256,), np.uint8)}


def rows(writer, first, n):
    number = np.arange(first, first + n)
    image = np.repeat((number % 251).astype(np.uint8), 256).reshape(n, 256)
    return {"writer": np.full(n, writer, np.int32), "number": number, "image": image}


def write(handle, index, first, last, most):
    """Process of one writer: rows [first, last) in adds of random sizes."""
    dice = random.Random(index)
    while first < last:
        n = min(dice.randint(1, most), last - first)
        handle.add(**rows(index, first, n))
        first += n
    handle.close()


def start(method, target, *args):
    process = multiprocessing.get_context(method).Process(target=target, args=args, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads
        process.start()
    return process


def take(buffer, next_number):
    """Check the rows in the buffer against the numbers that come next of each writer, and remove them."""
    columns = buffer.state_dict()["columns"]
    assert (columns["image"] == (columns["number"] % 251)[:, None]).all(), "a torn row"
    for writer in range(len(next_number)):
        numbers = columns["number"][columns["writer"] == writer]
        assert np.array_equal(numbers, np.arange(next_number[writer], next_number[writer] + len(numbers)))
        next_number[writer] += len(numbers)
    buffer.clear()


@pytest.mark.parametrize("method", METHODS)
def test_every_row_arrives_once_and_in_order(method):
    count, last = 4, 10_000
    buffer = ReplayBuffer(50_000, FIELDS)
    next_number = [0] * count
    with SharedWriters(buffer, count, slots=500) as writers:
        begin = time.monotonic()
        processes = [start(method, write, writers.writer(i, timeout=60), i, 0, last, 40) for i in range(count)]
        drained = 0
        while drained < count * last:
            drained += (moved := writers.drain())
            if not moved:
                assert time.monotonic() - begin < 120
                time.sleep(0.001)
            elif len(buffer) > 40_000 or drained == count * last:
                take(buffer, next_number)
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
        assert next_number == [last] * count
        assert writers.drain() == 0
        assert [(s.pid, s.alive, s.rows, s.drained, s.dropped) for s in writers.stats()] == [
            (0, False, last, last, 0)
        ] * count
    print(f"{method}: {count} writers, {last:,} rows each, all once and in order")


def keep_writing(handle, index, first):
    dice = random.Random(first)
    while True:
        n = dice.randint(1, 30)
        handle.add(**rows(index, first, n))
        first += n
        if dice.random() < 0.1:
            time.sleep(dice.random() * 0.001)


def kill_writers(kills):
    count = 3
    buffer = ReplayBuffer(20_000, FIELDS)
    next_number = [0] * count
    dice = random.Random(kills)
    with SharedWriters(buffer, count, slots=200) as writers:
        processes = [start("fork", keep_writing, writers.writer(i), i, 0) for i in range(count)]
        try:
            for kill in range(kills):
                pause = time.monotonic() + dice.random() * 0.03
                others = list(next_number)
                while time.monotonic() < pause or (kill == 0 and min(next_number) < 1000):
                    writers.drain()
                    take(buffer, next_number)
                victim = dice.randrange(count)
                os.kill(processes[victim].pid, signal.SIGKILL)
                processes[victim].join(30)
                assert processes[victim].exitcode == -signal.SIGKILL
                stats = writers.stats()[victim]
                assert not stats.alive
                # Everything published arrives, whether it was drained before the death or after.
                writers.drain()
                take(buffer, next_number)
                assert next_number[victim] == stats.rows == writers.stats()[victim].drained
                processes[victim] = start("fork", keep_writing, writers.writer(victim), victim, stats.rows)
                assert others is not next_number
            # All go on, those with a new process too.
            goal = [number + 1000 for number in next_number]
            deadline = time.monotonic() + 60
            while any(number < wanted for number, wanted in zip(next_number, goal, strict=True)):
                assert time.monotonic() < deadline
                writers.drain()
                take(buffer, next_number)
            assert writers.alive() == [True] * count
        finally:
            for process in processes:
                process.kill()
                process.join()
    return sum(next_number)


@pytest.mark.skipif("fork" not in METHODS, reason="needs fork")
def test_killed_writers_lose_at_most_their_last_add():
    print(f"5 writers killed, {kill_writers(5)} rows arrived in order, none torn")


@pytest.mark.slow
@pytest.mark.skipif("fork" not in METHODS, reason="needs fork")
def test_many_killed_writers():
    print(f"100 writers killed, {kill_writers(100)} rows arrived in order, none torn")


def test_the_checks_are_the_buffers():
    fields = {"x": ((2,), np.float32), "k": ((), np.uint8)}
    buffer = ReplayBuffer(100, fields, num_envs=3)
    with SharedWriters(buffer, 2, slots=8) as writers:
        handle = writers.writer(0)
        good = {"x": np.zeros((3, 2)), "k": np.arange(3)}
        for change in (
            {"x": np.zeros((3, 3))},
            {"k": np.array([0, 1, 300])},
            {"k": np.array([0.5, 1, 2])},
            {"x": np.full((3, 2), 1e300)},
            {"y": 1},
            {"k": np.arange(4)},
            {"env_ids": [0, 1, 3]},
            {"env_ids": [0, 1]},
            {"env_ids": [0.5, 1, 2]},
            {"x": np.zeros((2, 2)), "k": np.arange(2)},
        ):
            with pytest.raises((KeyError, ValueError, TypeError)) as expected:
                buffer.add(**{**good, **change})
            with pytest.raises(expected.type) as got:
                handle.add(**{**good, **change})
            assert str(got.value) == str(expected.value)
        with pytest.raises(TypeError, match="keyword arguments only"):
            handle.add(1)
        with pytest.raises(KeyError, match="missing field 'k'"):
            handle.add(x=np.zeros((3, 2)))
        assert writers.drain() == 0
        handle.add(**good)
        handle.add(x=[1.0, 2.0], k=7, env_ids=2)
        with pytest.raises(ValueError, match="add got 9 rows; the lane has slots for 8"):
            handle.add(x=np.zeros((9, 2)), k=np.arange(9), env_ids=np.arange(9) % 3)
        assert writers.drain() == 4
        assert buffer.state_dict()["columns"]["k"].tolist() == [0, 1, 2, 7]


def test_nested_fields_and_tasks():
    fields = {
        "obs": {"image": ((2, 2), np.uint8), "pose": (((3,), np.float32), ((), np.float64))},
        "task_id": ((), int),
    }
    plain, shared = (PrioritizedReplayBuffer(50, fields, task_field="task_id") for _ in range(2))
    with SharedWriters(shared, 1) as writers:
        handle = pickle.loads(pickle.dumps(writers.writer(0)))
        row = {"obs": {"image": np.ones((2, 2), np.uint8), "pose": ([1, 2, 3], 4.5)}, "task_id": 3}
        for bad in ({"obs": {"image": np.ones((2, 2), np.uint8)}}, {"task_id": -1}, {"task_id": 2**40}):
            with pytest.raises((KeyError, ValueError, TypeError)) as expected:
                plain.add(**{**row, **bad})
            with pytest.raises(expected.type) as got:
                handle.add(**{**row, **bad})
            assert str(got.value) == str(expected.value)
        for task in (3, 5):
            plain.add(**{**row, "task_id": task})
            handle.add(**{**row, "task_id": task})
        assert writers.drain() == 2
    left, right = plain.sample(8), shared.sample(8)
    assert np.array_equal(left["task_id"], right["task_id"])
    assert np.array_equal(left["obs"]["pose"][1], right["obs"]["pose"][1])


def episodes(writer, num_steps):
    dice = np.random.default_rng(writer)
    for step in range(num_steps):
        yield {
            "obs": np.full((2, 3), 100 * writer + step, np.float32) + np.array([[0], [0.5]], np.float32),
            "next_obs": np.full((2, 3), 100 * writer + step + 1, np.float32) + np.array([[0], [0.5]], np.float32),
            "reward": dice.normal(size=2),
            "terminated": dice.random(2) < 0.1,
            "truncated": dice.random(2) < 0.1,
            "env_ids": np.array([2 * writer, 2 * writer + 1]),
        }


def test_environments_of_writers_are_followed_as_if_added_here():
    obs = ((3,), np.float32)
    fields = {
        "obs": obs,
        "next_obs": obs,
        "reward": ((), np.float32),
        "terminated": ((), bool),
        "truncated": ((), bool),
    }

    def make():
        return PrioritizedReplayBuffer(500, fields, num_envs=4, n_step=3, gamma=0.9, next_obs="next", seed=1)

    plain, shared = make(), make()
    with pytest.raises(ValueError, match="num_writers is 5 and the buffer's num_envs 4"):
        SharedWriters(shared, 5)
    with SharedWriters(shared, 2, slots=100) as writers:
        handles = [pickle.loads(pickle.dumps(writers.writer(i))) for i in range(2)]
        for k in range(3):
            for index, handle in enumerate(handles):
                for row in list(episodes(index, 60))[20 * k : 20 * (k + 1)]:
                    handle.add(**row)
                    plain.add(**row)
            assert writers.drain() == 80
    for _ in range(5):
        left, right = plain.sample(64), shared.sample(64)
        assert all(np.array_equal(left[name], right[name]) for name in left)


def test_what_frame_stacks_need_is_checked_in_the_writer():
    obs = ((3, 2), np.uint8)
    fields = {"obs": obs, "next_obs": obs, "terminated": ((), bool), "truncated": ((), bool)}
    buffer = ReplayBuffer(100, fields, frame_stack=3, next_obs="next")
    row = {"obs": np.arange(6).reshape(3, 2), "terminated": False, "truncated": False}
    with SharedWriters(buffer, 1) as writers:
        handle = writers.writer(0)
        with pytest.raises(ValueError, match="moved on by one frame") as expected:
            buffer.add(**row, next_obs=row["obs"])
        with pytest.raises(ValueError, match="moved on by one frame") as got:
            handle.add(**row, next_obs=row["obs"])
        assert str(got.value) == str(expected.value)
        handle.add(**row, next_obs=np.arange(2, 8).reshape(3, 2))
        assert writers.drain() == 1


def test_a_full_lane_waits_and_times_out():
    buffer = ReplayBuffer(100, FIELDS)
    with SharedWriters(buffer, 1, slots=10) as writers:
        handle = writers.writer(0, timeout=0.1)
        handle.add(**rows(0, 0, 8))
        begin = time.monotonic()
        with pytest.raises(TimeoutError, match=r"lane 0 had no room for 3 rows within 0\.1 s"):
            handle.add(**rows(0, 8, 3))
        assert 0.1 <= time.monotonic() - begin < 5
        handle.add(**rows(0, 8, 2))
        handle.timeout = 0
        with pytest.raises(TimeoutError):
            handle.add(**rows(0, 10, 1))
        assert writers.stats()[0][2:] == (10, 0, 4)
        assert writers.drain(4) == 4
        assert writers.drain(0) == 0
        handle.add(**rows(0, 10, 4))
        assert writers.drain() == 10
        take(buffer, [0])
        for timeout in (-1, float("nan")):
            with pytest.raises(ValueError, match=r"timeout is .*; must be None or >= 0"):
                handle.timeout = timeout
        assert handle.timeout == 0
        assert writers.writer(0).timeout is None


def test_one_handle_at_a_time_has_a_lane():
    with SharedWriters(ReplayBuffer(100, FIELDS), 2) as writers:
        first, second = writers.writer(1), writers.writer(1)
        first.add(**rows(0, 0, 1))
        assert [s.pid for s in writers.stats()] == [0, os.getpid()]
        assert writers.alive() == [False, True]
        with pytest.raises(RuntimeError, match="lane 1 is in use by another handle of this process"):
            second.add(**rows(0, 1, 1))
        process = start(METHODS[-1], write, writers.writer(1), 1, 0, 1, 1)
        process.join(60)
        assert process.exitcode == 1
        first.close()
        second.add(**rows(0, 1, 1))
        with pytest.raises(ClosedError, match="this writer is closed"):
            first.add(**rows(0, 2, 1))
        del second
        gc.collect()
        writers.writer(1).add(**rows(0, 2, 1))
        assert writers.drain() == 3


def test_bad_arguments():
    buffer = ReplayBuffer(100, FIELDS)
    for name in ("num_writers", "slots"):
        with pytest.raises(ValueError, match=f"{name} is 0; must be >= 1"):
            SharedWriters(buffer, **{"num_writers": 1, name: 0})
        with pytest.raises(TypeError, match=f"{name} must be an integer, got float"):
            SharedWriters(buffer, **{"num_writers": 1, name: 1.5})
    with pytest.raises(MemoryError):
        SharedWriters(buffer, 4, 2**40)
    with pytest.raises(FileNotFoundError):
        SharedWriters(buffer, 1, folder="/nonexistent")
    with SharedWriters(buffer, 2) as writers:
        for index in (-1, 2):
            with pytest.raises(IndexError, match=f"index {index} out of range for 2 writers"):
                writers.writer(index)
        with pytest.raises(ValueError, match="max_rows is -1; must be >= 0"):
            writers.drain(-1)
        with pytest.raises(TypeError, match="cannot be pickled"):
            copy.copy(writers)
        other = ReplayBuffer(10, {"x": ((), np.float32)})
        handle = SharedWriters(other, 1).writer(0)
        arguments = handle.__reduce__()[1]
        with pytest.raises(RuntimeError, match="made for other fields"):
            type(handle)(str(writers.path), *arguments[1:]).add(x=1.0)


def test_close_removes_the_file_and_ends_the_writers(tmp_path):
    buffer = ReplayBuffer(100, FIELDS)
    writers = SharedWriters(buffer, 1, folder=tmp_path)
    handle, late = writers.writer(0), writers.writer(0)
    handle.add(**rows(0, 0, 1))
    assert oct(writers.path.stat().st_mode & 0o777) == "0o600"
    writers.close()
    writers.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ClosedError, match="the learner has closed"):
        handle.add(**rows(0, 1, 1))
    with pytest.raises(FileNotFoundError):
        late.add(**rows(0, 1, 1))
    for call in (writers.drain, writers.stats, lambda: writers.writer(0), writers.__enter__):
        with pytest.raises(ClosedError, match="SharedWriters are closed"):
            call()
    dropped = SharedWriters(buffer, 1, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    del dropped
    gc.collect()
    assert list(tmp_path.iterdir()) == []


LEARNER = """
import multiprocessing, os, signal, sys, time, threading
import numpy as np
import metarl_core as mc

def work(handle, ready):
    handle.add(x=np.zeros(4))
    ready.set()
    try:
        while True:
            handle.add(x=np.zeros(4))
    except BaseException as error:
        print(type(error).__name__, error, flush=True)

def main(method, ending):
    context = multiprocessing.get_context(method)
    writers = mc.SharedWriters(mc.ReplayBuffer(100, {"x": ((), np.float64)}), 1, slots=16, folder=sys.argv[1])
    ready = context.Event()
    process = context.Process(target=work, args=(writers.writer(0), ready))
    process.start()
    assert ready.wait(30)
    time.sleep(0.2)
    if ending == "exit":
        writers.close()
        process.join()
    elif ending == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif ending == "ctrl-c":
        begin = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        process.join()
        print("within 0.2 s:", time.monotonic() - begin < 0.2, flush=True)

if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3])
"""


@pytest.mark.parametrize(
    ("method", "ending", "expected"),
    [
        ("fork", "exit", "ClosedError the learner has closed its SharedWriters\n"),
        ("spawn", "exit", "ClosedError the learner has closed its SharedWriters\n"),
        ("fork", "leave", "ClosedError the learner has closed its SharedWriters\n"),
        ("fork", "kill", "ClosedError the learner's process is gone\n"),
        ("fork", "ctrl-c", "KeyboardInterrupt \nwithin 0.2 s: True\n"),
    ],
)
def test_the_end_of_the_learner_and_interrupts(method, ending, expected, tmp_path):
    script, folder = tmp_path / "learner.py", tmp_path / "lanes"
    folder.mkdir()
    script.write_text(LEARNER, encoding="utf-8")
    # communicate() waits until the writer has closed its end of the pipes, too.
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), str(folder), method, ending],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(timeout=60)
    print(method, ending, out)
    assert (out, err) == (expected, "")
    left = list(folder.iterdir())
    assert len(left) == (1 if ending == "kill" else 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_files_of_killed_learners_are_removed_later():
    code = """
    import os, signal
    import numpy as np
    import metarl_core as mc
    writers = mc.SharedWriters(mc.ReplayBuffer(100, {"x": ((), np.float64)}), 1)
    print(writers.path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    path = Path(done.stdout.strip())
    assert path.exists()
    with SharedWriters(ReplayBuffer(100, FIELDS), 1) as writers:
        assert writers.path.exists()
        assert not path.exists()


@pytest.mark.skipif("fork" not in METHODS, reason="needs fork")
def test_a_forked_child_neither_drains_nor_removes(tmp_path):
    writers = SharedWriters(ReplayBuffer(100, FIELDS), 1, folder=tmp_path)
    handle = writers.writer(0)
    handle.add(**rows(0, 0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        failures = 0
        try:
            writers.drain()
            failures += 1
        except RuntimeError:
            pass
        try:
            handle.add(**rows(0, 1, 1))  # the lane is the parent's
            failures += 2
        except RuntimeError:
            pass
        handle.close()
        writers.close()
        os._exit(failures)
    assert os.waitpid(child, 0)[1] == 0
    assert writers.path.exists()
    handle.add(**rows(0, 1, 1))
    assert writers.drain() == 2
    assert writers.alive() == [True]


@pytest.mark.slow
@pytest.mark.skipif("fork" not in METHODS, reason="needs fork")
@pytest.mark.parametrize("batch", [1, 32])
def test_throughput(batch):
    """Printed, not checked: rows a second from two writers with 4-float observations into a prioritized buffer."""
    obs = ((4,), np.float32)
    fields = {"obs": obs, "next_obs": obs, "action": ((), np.int64), "reward": ((), np.float32), "done": ((), bool)}
    buffer = PrioritizedReplayBuffer(100_000, fields)
    total, count = 200_000 * (1 if batch == 1 else 10), 2
    with SharedWriters(buffer, count, slots=8192) as writers:
        processes = [start("fork", pour, writers.writer(i), batch, total // count) for i in range(count)]
        while sum(s.rows for s in writers.stats()) == 0:
            time.sleep(0.001)
        begin, drained = time.perf_counter(), 0
        while drained < total:
            moved = writers.drain()
            drained += moved
            if moved < 1000:
                time.sleep(0.0005)
        seconds = time.perf_counter() - begin
        for process in processes:
            process.join(30)
    print(f"{count} writers, {batch} rows an add: {total / seconds:,.0f} rows/s")


def pour(handle, batch, total):
    obs = np.zeros((batch, 4), np.float32)
    zeros = np.zeros(batch)
    action = np.zeros(batch, np.int64)
    done = np.zeros(batch, bool)
    for _ in range(total // batch):
        handle.add(obs=obs, next_obs=obs, action=action, reward=zeros, done=done)
