"""Buffers used from several threads, and Ctrl-C in long calls."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer, SumTree, importance_weights

FIELDS = {"a": ((), np.int64), "image": ((64, 64), np.uint8), "b": ((), np.int64)}


def rows(first, n):
    a = np.arange(first, first + n)
    image = np.broadcast_to((a % 256).astype(np.uint8)[:, None, None], (n, 64, 64))
    return {"a": a, "image": image, "b": -a}


def whole(columns):
    return (columns["b"] == -columns["a"]).all() and (columns["image"] == (columns["a"] % 256)[:, None, None]).all()


def run_all(*functions):
    """Run the functions, each in a thread; raise what one of them raised."""
    errors = []

    def guard(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guard, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_every_method_at_once(cls):
    """Adding, sampling, updating, snapshots and clearing: no torn row, no bad index, no lost count."""
    buffer = cls(500, FIELDS, seed=1)
    stop = threading.Event()
    counts = {"add": 0, "sample": 0, "snapshot": 0, "clear": 0}

    def add(first):
        for k in range(150):
            slots = buffer.add(**rows(first + 20 * k, 20))
            assert ((slots >= 0) & (slots < 500)).all()
            counts["add"] += 1

    def learn():
        while not stop.is_set():
            try:
                batch = buffer.sample(64)
            except BufferEmptyError:
                continue
            assert whole(batch)
            assert np.isfinite(batch.weights).all()
            buffer.update_priorities(batch, np.abs(batch["a"]) % 7 + 0.5)
            counts["sample"] += 1

    def look():
        while not stop.is_set():
            assert whole(buffer.state_dict()["columns"])
            counts["snapshot"] += 1
            assert 0 <= len(buffer) <= 500

    def forget():
        for _ in range(10):
            buffer.clear()
            counts["clear"] += 1
            time.sleep(0.01)

    def finish():
        try:
            run_all(lambda: add(0), lambda: add(10**6), forget)
            deadline = time.monotonic() + 30
            while min(counts["sample"], counts["snapshot"]) < 3 and time.monotonic() < deadline:
                time.sleep(0.001)
        finally:
            stop.set()

    run_all(learn, learn, look, finish)
    assert counts["add"] == 300
    assert counts["clear"] == 10
    assert min(counts.values()) >= 3
    print(f"{cls.__name__}: {counts}")


def test_the_order_of_one_thread_is_kept_beside_others():
    buffer = ReplayBuffer(40_000, FIELDS | {"image": ((), np.uint8)})

    def add(thread):
        for k in range(500):
            a = np.arange(20 * k, 20 * k + 20) + 10**6 * thread
            buffer.add(a=a, image=np.zeros(20, np.uint8), b=-a)

    run_all(*(lambda k=k: add(k) for k in range(4)))
    a = buffer.state_dict()["columns"]["a"]
    assert len(a) == 40_000
    for thread in range(4):
        own = a[a // 10**6 == thread] - 10**6 * thread
        assert np.array_equal(own, np.arange(10_000))


def test_large_calls_release_the_gil():
    """While one thread samples in the core, another one runs Python code."""
    tree = SumTree(2**20)
    tree.set(np.arange(2**20), np.ones(2**20))
    buffer = PrioritizedReplayBuffer(10_000, FIELDS)
    buffer.add(**rows(0, 10_000))
    indices, errors = np.arange(10_000).repeat(100), np.ones(1_000_000)
    state, probabilities = buffer.state_dict(), np.full(1_000_000, 1e-3)
    for call in (
        lambda: tree.sample(1_000_000),
        lambda: buffer.sample(10_000),
        lambda: buffer.update_priorities(indices, errors),
        lambda: buffer.state_dict(),
        lambda: buffer.load_state_dict(state),
        lambda: buffer.priorities(indices),
        lambda: importance_weights(probabilities, 1_000, 0.4),
    ):
        inside, ticks = threading.Event(), 0

        def work(call=call, inside=inside):
            inside.set()
            for _ in range(5):
                call()
            inside.clear()

        thread = threading.Thread(target=work)
        previous = sys.getswitchinterval()
        sys.setswitchinterval(100)  # nobody is asked for the GIL: it changes hands only where it is released
        try:
            thread.start()
            inside.wait(30)
            while inside.is_set():
                ticks += 1
                time.sleep(0)
        finally:
            sys.setswitchinterval(previous)
            thread.join()
        assert ticks > 5


SAMPLING = {
    "prioritized": """
        buffer = mc.PrioritizedReplayBuffer(1_000_000, {"x": ((32,), np.float32)})
        buffer.add(x=np.zeros((1_000_000, 32), np.float32))
        call = lambda: buffer.sample(8_000_000)
        """,
    "uniform": """
        buffer = mc.ReplayBuffer(1_000_000, {"x": ((32,), np.float32)})
        buffer.add(x=np.zeros((1_000_000, 32), np.float32))
        call = lambda: buffer.sample(8_000_000)
        """,
    "sequences": """
        fields = {"x": ((8,), np.float32), "terminated": ((), bool), "truncated": ((), bool)}
        buffer = mc.ReplayBuffer(1_000_000, fields, sequence_length=20)
        flags = np.zeros(1_000_000, bool)
        buffer.add(x=np.zeros((1_000_000, 8), np.float32), terminated=flags, truncated=flags)
        call = lambda: buffer.sample(1_000_000)
        """,
    "uniform-with-hidden-slots": """
        buffer = mc.ReplayBuffer(4_000_000, {"t": ((), np.uint8)}, task_field="t")
        buffer.add(t=np.arange(4_000_000) % 250)
        buffer.clear_task(100)
        call = lambda: buffer.sample(20_000_000)
        """,
    "uniform-without-replacement": """
        buffer = mc.ReplayBuffer(20_000_000, {"x": ((), np.uint8)})
        buffer.add(x=np.zeros(20_000_000, np.uint8))
        call = lambda: buffer.sample(10_000_000, mode="without_replacement")
        """,
    "without-replacement": """
        buffer = mc.PrioritizedReplayBuffer(8_000_000, {"x": ((), np.uint8)})
        buffer.add(x=np.zeros(8_000_000, np.uint8))
        call = lambda: buffer.sample(7_000_000, mode="without_replacement")
        """,
    "task": """
        buffer = mc.PrioritizedReplayBuffer(4_000_000, {"t": ((), np.uint8)}, task_field="t")
        buffer.add(t=np.arange(4_000_000) % 2)
        call = lambda: buffer.sample(20_000_000, task=1, mode="iid")
        """,
    "task-without-replacement": """
        buffer = mc.PrioritizedReplayBuffer(8_000_000, {"t": ((), np.uint8)}, task_field="t")
        buffer.add(t=np.arange(8_000_000) % 2)
        call = lambda: buffer.sample(3_900_000, task=1, mode="without_replacement")
        """,
}

READING = {
    "priorities": """
        buffer = mc.PrioritizedReplayBuffer(4_000_000, {"x": ((), np.uint8)})
        buffer.add(x=np.zeros(4_000_000, np.uint8))
        indices = np.random.default_rng(0).integers(0, 4_000_000, 60_000_000)
        call = lambda: buffer.priorities(indices)
        """,
    "state": """
        buffer = mc.ReplayBuffer(3_000_000, {"x": ((64,), np.float32)})
        buffer.add(x=np.zeros((3_000_000, 64), np.float32))
        call = lambda: buffer.state_dict()
        """,
    "load-state": """
        buffer = mc.PrioritizedReplayBuffer(8_000_000, {"t": ((), np.uint8)}, task_field="t")
        buffer.add(t=np.arange(8_000_000) % 3)
        state = buffer.state_dict()
        call = lambda: buffer.load_state_dict(state)
        """,
    "importance-weights": """
        buffer = mc.PrioritizedReplayBuffer(10, {"x": ((), np.uint8)})
        buffer.add(x=np.zeros(10, np.uint8))
        p = np.full(60_000_000, 1e-6)
        call = lambda: mc.importance_weights(p, 1_000_000, 0.4, "sum")
        """,
}

# What Ctrl-C leaves of these is the work on the first `k` rows: done(k) does it on the twin, k = count() of them.
WRITING = {
    "add": """
        rows = np.arange(8 * 20_000_000, dtype=np.int64).reshape(-1, 8)
        buffer = mc.PrioritizedReplayBuffer(20_000_000, {"x": ((8,), np.int64)})
        call = lambda: buffer.add(x=rows)
        count = lambda: len(buffer)
        done = lambda k: twin.add(x=rows[:k])
        """,
    "add-converted": """
        rows = np.arange(64 * 1_500_000, dtype=np.float64).reshape(-1, 64)
        buffer = mc.PrioritizedReplayBuffer(1_500_000, {"x": ((64,), np.float32)})
        call = lambda: buffer.add(x=rows)
        count = lambda: len(buffer)
        done = lambda k: twin.add(x=rows[:k])
        """,
    "add-more-than-fits": """
        rows = np.arange(30_000_000, dtype=np.int64)
        buffer = mc.PrioritizedReplayBuffer(12_000_000, {"x": ((), np.int64)})
        call = lambda: buffer.add(x=rows)
        count = lambda: buffer.state_dict()["written"]
        # Whole rounds of the ring are left out at first; a call that ended as the signal came counts them too.
        done = lambda k: twin.add(x=rows if k == len(rows) else rows[12_000_000 : 12_000_000 + k])
        """,
    "add-tasks": """
        buffer = mc.PrioritizedReplayBuffer(4_000_000, {"t": ((), np.uint8)}, task_field="t")
        rows = np.random.default_rng(0).integers(0, 200, 4_000_000).astype(np.uint8)
        call = lambda: buffer.add(t=rows)
        count = lambda: len(buffer)
        done = lambda k: twin.add(t=rows[:k])
        """,
    "add-reservoir": """
        buffer = mc.ReplayBuffer(1_000_000, {"x": ((), np.int64)}, eviction="reservoir")
        rows = np.arange(20_000_000)
        call = lambda: buffer.add(x=rows)
        count = lambda: buffer.state_dict()["written"]
        done = lambda k: twin.add(x=rows[:k])
        """,
    "add-steps": """
        fields = {"obs": ((), np.int64), "reward": ((), np.float32), "next_obs": ((), np.int64)}
        fields |= {"terminated": ((), bool), "truncated": ((), bool)}
        buffer = mc.PrioritizedReplayBuffer(16_000_000, fields, n_step=3, next_obs="next")
        obs = np.arange(12_000_000)
        rows = {"obs": obs, "reward": np.ones(len(obs), np.float32), "next_obs": obs + 1}
        rows |= {"terminated": obs % 100 == 99, "truncated": np.zeros(len(obs), bool)}
        call = lambda: buffer.add(**rows)
        count = lambda: len(buffer)
        done = lambda k: twin.add(**{name: column[:k] for name, column in rows.items()})
        """,
    "update": """
        n = 10_000_000
        buffer = mc.PrioritizedReplayBuffer(n, {"x": ((), np.uint8)})
        buffer.add(x=np.zeros(n, np.uint8))
        indices = np.random.default_rng(0).permutation(n)
        errors = np.random.default_rng(1).uniform(2, 3, n).astype(np.float32)
        call = lambda: buffer.update_priorities(indices, errors)
        count = lambda: np.count_nonzero(buffer.priorities(indices) > 1)
        done = lambda k: twin.update_priorities(indices[:k], errors[:k])
        """,
    "update-converted": """
        n = 4_000_000
        buffer = mc.PrioritizedReplayBuffer(n, {"x": ((), np.uint8)})
        buffer.add(x=np.zeros(n, np.uint8))
        indices = np.arange(60_000_000, dtype=np.uint32) % n
        errors = np.full(len(indices), 2.0)
        call = lambda: buffer.update_priorities(indices, errors)
        count = lambda: min(np.count_nonzero(buffer.priorities() > 1), n)
        done = lambda k: twin.update_priorities(indices[:k], errors[:k])
        """,
    "update-tasks": """
        n = 4_000_000
        buffer = mc.PrioritizedReplayBuffer(n, {"t": ((), np.uint8)}, task_field="t")
        buffer.add(t=np.arange(n) % 100)
        indices = np.random.default_rng(0).permutation(n)
        errors = np.random.default_rng(1).uniform(2, 3, n).astype(np.float32)
        call = lambda: buffer.update_priorities(indices, errors)
        count = lambda: np.count_nonzero(buffer.priorities(indices) > 1)
        done = lambda k: twin.update_priorities(indices[:k], errors[:k])
        """,
}

TREES = {
    "set": "tree.set(indices, priorities)",
    "set-one-value": "tree.set(indices, 2.5)",
    "find": "tree.find(np.random.default_rng(0).uniform(0, tree.total, n))",
    "sample": "tree.sample(5 * n)",
    "sample-uniform": "tree.sample(3 * n, mode='uniform')",
    "sample-without-replacement": "tree.sample(n // 2, mode='without_replacement')",
}

INTERRUPTED = """
import copy, os, signal, threading, time
import numpy as np
import metarl_core as mc
{setup}
def interrupt():
    time.sleep(0.15)
    os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=interrupt)
begin = time.perf_counter()
thread.start()
try:
    call()
except KeyboardInterrupt:
    # From when the signal was due: a call that keeps the GIL keeps the other thread from sending it.
    print(f"{{time.perf_counter() - begin - 0.15:.3f}}")
{check}
"""


WHOLE = """
import copy, time
import numpy as np
import metarl_core as mc
{setup}
begin = time.perf_counter()
call()
print(f"{{time.perf_counter() - begin:.3f}}")
"""


def seconds(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def check_ctrl_c(kind, setup, check):
    setup = textwrap.dedent(setup)
    code = INTERRUPTED.format(setup=setup, check=textwrap.dedent(check))
    attempts = []
    while len(attempts) < 3 and not (attempts and attempts[-1] < 0.2):  # other programs may have the processor
        attempts.append(seconds(code))
        print(f"{kind}: ended {attempts[-1]:.3f} s after the signal was due")
    if min(attempts) >= 0.2:  # a machine with no time to spare: measure against what the whole call takes there
        whole = seconds(WHOLE.format(setup=setup))
        print(f"{kind}: takes {whole:.3f} s as a whole")
        assert min(attempts) < whole / 4


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", [*SAMPLING, *READING])
def test_ctrl_c_ends_a_long_call_that_reads_and_changes_nothing(kind):
    check = """
        state, expected = buffer.to_bytes(), twin.to_bytes()
        assert state == expected
        for mode in ("stratified", "without_replacement"):
            assert np.array_equal(buffer.sample(10, mode=mode).indices, twin.sample(10, mode=mode).indices)
        """
    check_ctrl_c(kind, textwrap.dedent((SAMPLING | READING)[kind]) + "twin = copy.deepcopy(buffer)", check)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", WRITING)
def test_ctrl_c_ends_a_long_write_after_the_first_rows(kind):
    check = """
        k = count()  # 0 if the signal came while the arguments were still being checked
        if k > 0:
            done(k)
        assert buffer.to_bytes() == twin.to_bytes()
        """
    check_ctrl_c(kind, textwrap.dedent(WRITING[kind]) + "twin = copy.deepcopy(buffer)", check)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", TREES)
def test_ctrl_c_ends_a_long_call_of_the_tree(kind):
    setup = f"""
        n = 10_000_000
        trees = [mc.SumTree(n, seed=3) for _ in range(2)]
        indices = np.random.default_rng(0).permutation(n)
        priorities = np.random.default_rng(1).uniform(2, 3, n)
        for tree in trees:
            tree.set(indices[::-1], np.ones(n))
        tree, twin = trees
        call = lambda: {TREES[kind]}
        """
    check = """
        k = np.count_nonzero(tree.get(indices) > 1)
        if k > 0:
            assert "set" in KIND and k < n
            twin.set(indices[:k], priorities[:k] if KIND == "set" else 2.5)
        assert np.array_equal(tree.get(indices), twin.get(indices)) and tree.total == twin.total
        for mode in ("stratified", "uniform", "without_replacement"):
            for found, expected in zip(tree.sample(1000, mode=mode), twin.sample(1000, mode=mode), strict=True):
                assert np.array_equal(found, expected)
        """.replace("KIND", repr(kind))
    check_ctrl_c(kind, setup, check)


def longest_pause(buffer, batch, short_call):
    """While a thread samples a lot and another makes short calls: seconds of a sample, longest wait for the GIL."""
    seconds = []
    begun = threading.Event()

    def sample():
        begun.set()
        start = time.perf_counter()
        buffer.sample(len(batch.indices), out=batch)
        seconds.append(time.perf_counter() - start)

    def call():
        begun.wait()
        while not seconds:
            short_call()

    threads = [threading.Thread(target=sample), threading.Thread(target=call)]
    pause, last = 0.0, time.perf_counter()
    for thread in threads:
        thread.start()
    while True:
        now = time.perf_counter()
        pause, last = max(pause, now - last), now
        if seconds:
            break
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    return seconds[0], pause


SHORT_CALLS = {
    "len": len,
    "add": lambda buffer: buffer.add(x=1.0, y=np.ones(4)),
    "sample": lambda buffer: buffer.sample(1),
    "update_priorities": lambda buffer: buffer.update_priorities([0], [1.0]),
    "priorities": lambda buffer: buffer.priorities([0]),
    "stale_updates": lambda buffer: buffer.stale_updates,
}


@pytest.mark.parametrize("name", SHORT_CALLS)
def test_who_waits_for_the_buffer_does_not_hold_the_interpreter(name):
    buffer = PrioritizedReplayBuffer(1000, {"x": ((), np.float64), "y": ((4,), np.float64)}, stratified=False)
    buffer.add(x=np.arange(1000.0), y=np.ones((1000, 4)))
    batch = buffer.sample(4_000_000)
    pauses = []
    for _ in range(5):
        seconds, pause = longest_pause(buffer, batch, lambda: SHORT_CALLS[name](buffer))
        pauses.append(f"{1e3 * pause:.0f} of {1e3 * seconds:.0f} ms")
        if pause < seconds / 3:
            return
    pytest.fail("the interpreter stood still for " + ", ".join(pauses))
