"""PrefetchSampler: the same bits whatever the timing, real overlap, and every failure an exception."""

import copy
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref

import numpy as np
import pytest

from metarl_core import BufferEmptyError, ClosedError, PrefetchSampler, PrioritizedReplayBuffer, ReplayBuffer

FIELDS = {"x": ((), np.float32), "obs": ((3,), np.float64)}


def make(cls=PrioritizedReplayBuffer, rows=200, capacity=256, seed=5):
    buffer = cls(capacity, FIELDS, seed=seed)
    if rows:
        buffer.add(**columns(0, rows))
    return buffer


def columns(start, n):
    x = np.arange(start, start + n, dtype=np.float32)
    return {"x": x, "obs": np.stack([x, 2 * x, 3 * x], axis=1).astype(np.float64)}


def td_errors(batch):
    return 0.1 + (batch["x"] % 17)


def reference(buffer, steps, depth, batch_size, with_adds):
    """The definition in plain order: draw k follows update k - depth and precedes the adds of later steps."""
    drawn = [buffer.sample(batch_size) for _ in range(depth)]
    out = []
    for k in range(steps):
        batch = drawn[k]
        out.append(batch)
        if with_adds and k % 3 == 0:
            buffer.add(**columns(1000 + 10 * k, 10))
        buffer.update_priorities(batch, td_errors(batch))
        drawn.append(buffer.sample(batch_size))
    return out


def learn(sampler, steps, with_adds, nap):
    out = []
    for k in range(steps):
        batch = next(sampler)
        nap()
        out.append(batch)
        if with_adds and k % 3 == 0:
            sampler.add(**columns(1000 + 10 * k, 10))
        nap()
        sampler.update_priorities(batch, td_errors(batch))
        nap()
    return out


def same(left, right):
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("with_adds", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_same_bits_whatever_the_timing(depth, with_adds):
    expected = reference(make(), 40, depth, 16, with_adds)
    for trial in range(3):
        worker_random, learner_random = random.Random(trial), random.Random(100 + trial)

        def transform(batch, dice=worker_random):
            time.sleep(dice.choice([0, 0, 0.0005, 0.003]))
            return batch

        def nap(dice=learner_random):
            time.sleep(dice.choice([0, 0, 0.0005, 0.003]))

        with PrefetchSampler(make(), 16, depth, transform) as sampler:
            got = learn(sampler, 40, with_adds, nap)
        assert same(got, expected)
    # The draws do depend on the updates: a learner that makes none sees other batches.
    assert not same(reference(make(), 40, depth, 16, with_adds), list(_take(PrefetchSampler(make(), 16, depth), 40)))


def _take(iterator, n):
    with iterator:
        for _ in range(n):
            yield next(iterator)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_uniform_buffer_needs_no_updates(depth):
    plain = make(ReplayBuffer)
    expected = [plain.sample(8) for _ in range(20)]
    assert same(list(_take(PrefetchSampler(make(ReplayBuffer), 8, depth), 20)), expected)


def test_arguments_of_sample_count_for_the_draws_posted_later():
    expected = make()
    wanted = [expected.sample(8, beta=beta).weights for beta in (0.2, 0.2, 0.9, 0.9)]
    with PrefetchSampler(make(), 8, 2, beta=0.2) as sampler:
        got = [next(sampler).weights]
        sampler.sample_kwargs["beta"] = 0.9
        got += [next(sampler).weights for _ in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_sampling_overlaps_with_learning():
    """The transform of batch 1 ends while the learner works on batch 0: each waits for an event of the other."""
    learning, transformed = threading.Event(), threading.Event()
    order = []

    def transform(batch):
        k = len(order)
        order.append(("transform", k, threading.current_thread().name))
        if k == 1:
            assert learning.wait(30)
            transformed.set()
        return batch

    with PrefetchSampler(make(), 8, 2, transform) as sampler:
        first = next(sampler)
        learning.set()
        assert transformed.wait(30), "nothing happened while the learner was busy"
        sampler.update_priorities(first, td_errors(first))
        next(sampler)
    assert [entry[1] for entry in order[:2]] == [0, 1]
    assert {entry[2] for entry in order} == {"metarl-prefetch"}


def test_a_long_transform_does_not_delay_draws():
    go = threading.Event()
    transformed = []

    def transform(batch):
        transformed.append(batch)
        if len(transformed) == 2:
            assert go.wait(30)
        return batch

    buffer = make()
    with PrefetchSampler(buffer, 8, 2, transform) as sampler:
        next(sampler)
        while len(transformed) < 2:
            time.sleep(0.001)
        sampler.wait()  # both draws were made although the second transform goes on
        sampler.add(**columns(500, 1))
        go.set()
        next(sampler)


def test_transformed_batches_stand_for_their_batch():
    buffer, plain = make(), make()
    with PrefetchSampler(buffer, 8, 1, lambda batch: (batch["x"] * 2,)) as sampler:
        (doubled,) = value = next(sampler)
        batch = plain.sample(8)
        assert np.array_equal(doubled, 2 * batch["x"])
        assert np.array_equal(sampler.batch.indices, batch.indices)
        sampler.add(**columns(500, 200))  # overwrites most of what was sampled
        plain.add(**columns(500, 200))
        sampler.update_priorities(value, np.full(8, 9.0))
        plain.update_priorities(batch, np.full(8, 9.0))
        assert np.array_equal(buffer.priorities(), plain.priorities())
        assert buffer.stale_updates == plain.stale_updates > 0


def test_torch_transform():
    torch = pytest.importorskip("torch")
    with PrefetchSampler(make(), 8, transform=lambda batch: batch.torch()) as sampler:
        for _ in range(5):
            tensors = next(sampler)
            assert isinstance(tensors["x"], torch.Tensor)
            assert torch.equal(tensors["x"], torch.from_numpy(sampler.batch["x"]))
            sampler.update_priorities(tensors, tensors["x"].abs())


def test_an_empty_buffer_is_an_error_that_can_be_mended():
    buffer = make(rows=0)
    with PrefetchSampler(buffer, 8, 3) as sampler:
        for _ in range(3):
            with pytest.raises(BufferEmptyError, match="empty buffer"):
                next(sampler)
        sampler.add(**columns(0, 200))
        got = [next(sampler) for _ in range(5)]
    plain = make()
    assert same(got, [plain.sample(8) for _ in range(5)])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_errors_of_the_transform_come_with_their_traceback(depth):
    def broken_on_the_third(batch, count=[]):  # noqa: B006
        count.append(0)
        if len(count) == 3:
            raise LookupError("third batch")
        return batch

    plain = make()
    expected = [plain.sample(8) for _ in range(6)]
    with PrefetchSampler(make(), 8, depth, broken_on_the_third) as sampler:
        got = [next(sampler), next(sampler)]
        with pytest.raises(LookupError, match="third batch") as caught:
            next(sampler)
        assert "broken_on_the_third" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        got += [next(sampler) for _ in range(3)]
    assert same(got, expected[:2] + expected[3:])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_any_exception_of_the_worker_is_raised_and_not_a_hang(error):
    def transform(batch):
        raise error("from the worker")

    with PrefetchSampler(make(), 8, 2, transform) as sampler:
        for _ in range(3):
            with pytest.raises(error, match="from the worker"):
                next(sampler)


def test_errors_of_sample_itself():
    with PrefetchSampler(make(), 8, 2, beta=-1.0) as sampler:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"beta is -1\.0"):
                next(sampler)
        sampler.sample_kwargs["beta"] = 0.5
        assert len(next(sampler)["x"]) == 8


def test_errors_of_updates_leave_the_sampler_usable():
    with PrefetchSampler(make(), 8, 2) as sampler:
        batch = next(sampler)
        with pytest.raises(ValueError, match=r"td_errors\[3\] is nan"):
            sampler.update_priorities(batch, [1, 1, 1, np.nan, 1, 1, 1, 1])
        sampler.update_priorities(batch, td_errors(batch))
        next(sampler)
        with pytest.raises(KeyError, match="missing field 'obs'"):
            sampler.add(x=1.0)
        next(sampler)


def test_bad_arguments():
    buffer = make()
    for name in ("batch_size", "depth"):
        good = {"batch_size": 8, "depth": 2}
        with pytest.raises(ValueError, match=f"{name} is 0; must be >= 1"):
            PrefetchSampler(buffer, **{**good, name: 0})
        with pytest.raises(TypeError, match=f"{name} must be an integer, got float"):
            PrefetchSampler(buffer, **{**good, name: 1.5})
        with pytest.raises(TypeError, match=f"{name} must be an integer, got bool"):
            PrefetchSampler(buffer, **{**good, name: True})
    with pytest.raises(TypeError, match="transform must be callable or None, got int"):
        PrefetchSampler(buffer, 8, 2, 3)
    with pytest.raises(ValueError, match="out cannot be used"):
        PrefetchSampler(buffer, 8, out={})
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.copy(PrefetchSampler(buffer, 8))


def test_closed():
    sampler = PrefetchSampler(make(), 8)
    batch = next(sampler)
    sampler.close()
    sampler.close()
    for call in (
        lambda: next(sampler),
        sampler.wait,
        lambda: sampler.add(**columns(0, 1)),
        lambda: sampler.update_priorities(batch, td_errors(batch)),
        sampler.__enter__,
    ):
        with pytest.raises(ClosedError, match="PrefetchSampler is closed"):
            call()
    assert workers() == 0
    PrefetchSampler(make(), 8).close()  # never started


def workers():
    return sum(thread.name == "metarl-prefetch" for thread in threading.enumerate())


def await_no_worker():
    deadline = time.monotonic() + 30
    while workers() and time.monotonic() < deadline:
        time.sleep(0.005)
    return workers() == 0


def test_the_worker_starts_late_and_ends_with_the_sampler():
    buffer = make()
    sampler = PrefetchSampler(buffer, 8)
    assert workers() == 0
    next(sampler)
    assert workers() == 1
    alive, kept = weakref.ref(sampler), weakref.ref(buffer)
    del sampler, buffer
    gc.collect()
    assert alive() is None
    assert await_no_worker()
    assert kept() is None


def test_a_transform_that_holds_the_sampler_does_not_keep_it_alive():
    class Learner:
        def __init__(self):
            self.sampler = PrefetchSampler(make(), 8, 2, self.transform)

        def transform(self, batch):
            return batch["x"]

    learner = Learner()
    next(learner.sampler)
    learner.sampler.wait()
    alive = weakref.ref(learner)
    del learner
    deadline = time.monotonic() + 30
    while alive() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.005)
    assert alive() is None
    assert await_no_worker()


def run_script(text, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(text)], capture_output=True, text=True, timeout=60, **kwargs
    )


PRELUDE = """
import os, signal, sys, threading, time, warnings
import numpy as np
import metarl_core as mc
buffer = mc.PrioritizedReplayBuffer(1000, {"x": ((), np.float32)})
buffer.add(x=np.arange(500, dtype=np.float32))
"""


@pytest.mark.parametrize(
    "ending",
    ["pass", "sys.exit(0)", "del sampler", "import atexit; atexit.register(lambda: next(sampler))", "buffer = None"],
)
def test_the_interpreter_exits_at_any_time(ending):
    done = run_script(
        f"""
        sampler = mc.PrefetchSampler(buffer, 400, 3, lambda batch: batch["x"].sum())
        for _ in range(20):
            next(sampler)
            sampler.update_priorities(sampler.batch, np.ones(400))
        print("learned", flush=True)
        {ending}
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "learned\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_an_error():
    done = run_script(
        """
        sampler = mc.PrefetchSampler(buffer, 32, 2)
        next(sampler)
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads
        child = os.fork()
        if child == 0:
            begin = time.monotonic()
            for call in (lambda: next(sampler), sampler.wait, lambda: sampler.add(x=1.0)):
                try:
                    call()
                except RuntimeError as error:
                    assert "forked child" in str(error)
                else:
                    os._exit(2)
            sampler.close()
            assert time.monotonic() - begin < 1
            sys.exit(7)  # through atexit
        status = os.waitpid(child, 0)[1]
        next(sampler)
        print(os.waitstatus_to_exitcode(status))
        """
    )
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_in_next_leaves_the_sampler_usable():
    done = run_script(
        """
        plain = mc.PrioritizedReplayBuffer(1000, {"x": ((), np.float32)})
        plain.add(x=np.arange(500, dtype=np.float32))
        blocked = threading.Event()
        open_gate = threading.Event()
        def transform(batch):
            blocked.set()
            open_gate.wait(30)
            return batch
        sampler = mc.PrefetchSampler(buffer, 32, 2, transform)
        def interrupt():
            blocked.wait(30)
            time.sleep(0.2)
            global sent
            sent = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            next(sampler)
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - sent < 0.2)
        open_gate.set()
        for _ in range(4):
            assert np.array_equal(next(sampler)["x"], plain.sample(32)["x"])
        print("usable")
        """
    )
    assert (done.returncode, done.stdout) == (0, "interrupted True\nusable\n"), done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_interrupts_at_random_moments_never_lose_or_repeat_a_batch():
    """A storm of signals whose handler raises; what was not returned is returned by the next call."""
    plain = make(ReplayBuffer, seed=9)
    expected = [plain.sample(4)["x"] for _ in range(3000)]

    class StormError(Exception):
        pass

    armed = False

    def handler(number, frame):
        if armed:
            raise StormError

    previous = signal.signal(signal.SIGALRM, handler)
    hits, got = 0, []
    sampler = PrefetchSampler(make(ReplayBuffer, seed=9), 4, 2)
    # The worker starts undisturbed: an exception in Thread.start leaves CPython a thread that ends in a KeyError.
    got.append(next(sampler)["x"])
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        while len(got) < len(expected):
            batch = None
            try:
                armed = True
                batch = next(sampler)
                armed = False
            except StormError:
                armed = False
                hits += 1
                # Interrupted behind the last step of next(): the batch is known to the sampler all the same.
                if batch is None and sampler._num_returned == len(got) + 1:
                    batch = sampler.batch
            if batch is not None:
                got.append(batch["x"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        sampler.close()
    assert hits > 10
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_out_is_refused_when_it_comes_later():
    with PrefetchSampler(make(), 4) as sampler:
        batch = next(sampler)
        sampler.sample_kwargs["out"] = batch
        with pytest.raises(ValueError, match="out cannot be used"):
            next(sampler)
        del sampler.sample_kwargs["out"]
        assert len(next(sampler).indices) == 4


@pytest.mark.parametrize(
    "call",
    [
        lambda sampler, batch: sampler.wait(),
        lambda sampler, batch: sampler.add(**columns(0, 1)),
        lambda sampler, batch: sampler.update_priorities(batch, td_errors(batch)),
        lambda sampler, batch: next(sampler),
    ],
)
def test_a_transform_cannot_wait_for_itself(call):
    samplers = []
    with PrefetchSampler(make(), 4, transform=lambda batch: call(samplers[0], batch)) as sampler:
        samplers.append(sampler)
        with pytest.raises(RuntimeError, match="called by its own transform"):
            next(sampler)
