"""Replay in a forked child: a random stream of its own, or an error, never the parent's numbers and never a hang."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, SumTree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FIELDS = {"x": ((), np.float32)}


def in_child(function):
    """Return what a function returns in a forked child; an exception there is returned as (type name, message)."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads
        child = os.fork()
    if child == 0:
        try:
            result = function()
        except BaseException as error:
            result = (type(error).__name__, str(error))
        with os.fdopen(write, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        result = pickle.load(file)
    assert os.waitpid(child, 0)[1] == 0
    return result


def filled(cls, **kwargs):
    buffer = cls(1000, FIELDS, seed=3, **kwargs)
    buffer.add(x=np.arange(1000, dtype=np.float32))
    return buffer


def filled_tree():
    tree = SumTree(1000, seed=3)
    tree.set(np.arange(1000), np.linspace(1, 2, 1000))
    return tree


KINDS = {
    "uniform": (lambda: filled(ReplayBuffer), lambda buffer: buffer.sample(64).indices.tobytes()),
    "prioritized": (lambda: filled(PrioritizedReplayBuffer), lambda buffer: buffer.sample(64).indices.tobytes()),
    "tree": (filled_tree, lambda tree: tree.sample(64)[0].tobytes()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_children_have_streams_of_their_own(kind):
    make, draw = KINDS[kind]
    replay, untouched = make(), make()
    assert draw(replay) == draw(untouched)
    drawn = [in_child(lambda: draw(replay)) for _ in range(3)]
    drawn.append(in_child(lambda: in_child(lambda: draw(replay))))  # of a child's child
    drawn.append(in_child(lambda: [draw(replay), draw(replay)][1]))
    drawn += [draw(replay), draw(replay)]
    assert len(set(drawn)) == len(drawn)
    # The parent's numbers are those of a process that never forked.
    assert drawn[-2:] == [draw(untouched), draw(untouched)]
    # What the child makes itself has the numbers of its seed.
    assert in_child(lambda: draw(make())) == draw(make())


def test_a_child_works_as_the_parent_would():
    buffer = filled(PrioritizedReplayBuffer)

    def work():
        buffer.add(x=np.full(10, -1.0))
        batch = buffer.sample(64)
        buffer.update_priorities(batch, np.arange(64))
        return len(buffer), float(buffer.running_max_priority)

    assert in_child(work) == (1000, 63.0)
    assert buffer.running_max_priority == 1.0
    assert (buffer.sample(1000)["x"] >= 0).all()


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_the_stream_is_part_of_the_state(cls):
    buffer = filled(cls)

    def work():
        buffer.sample(8)
        copies = [copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer)), filled(cls)]
        copies[2].load_state_dict(buffer.state_dict())
        expected = buffer.sample(64).indices
        return pickle.dumps(buffer), all(np.array_equal(c.sample(64).indices, expected) for c in copies)

    data, equal = in_child(work)
    assert equal
    restored = pickle.loads(data)  # the child's buffer, now in the parent
    buffer.sample(8)
    buffer.sample(64)
    assert not np.array_equal(restored.sample(64).indices, buffer.sample(64).indices)


def test_a_state_of_the_parent_brings_the_parents_stream():
    buffer = filled(ReplayBuffer)
    state = buffer.state_dict()

    def work():
        buffer.sample(8)
        buffer.load_state_dict(state)
        return buffer.sample(64).indices.tobytes()

    assert in_child(work) == buffer.sample(64).indices.tobytes()


SCRIPT = """
import os, sys
import numpy as np
import metarl_core as mc
buffer = mc.PrioritizedReplayBuffer(1000, {"x": ((), np.float32)}, seed=3)
buffer.add(x=np.arange(1000, dtype=np.float32))
for _ in range(3):
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild:
            os.waitpid(grandchild, 0)
        print(buffer.sample(8).indices.tolist(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_the_lineage_is_the_same_in_every_run():
    def run():
        return subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)

    first = run().stdout
    assert first == run().stdout
    assert len(set(first.splitlines())) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_while_another_thread_is_inside_is_an_error_within_a_second(kind):
    make, _ = KINDS[kind]
    replay = make()
    stop = threading.Event()
    draw = replay.sample

    def hammer():
        while not stop.is_set():
            draw(300_000)

    def use():
        begin = time.monotonic()
        try:
            draw(8)
            result = "worked"
        except RuntimeError as error:
            result = "refused" if "in use by another thread when the process was forked" in str(error) else str(error)
            with pytest.raises(RuntimeError, match="in use by another thread"):
                len(replay)
        return result, time.monotonic() - begin

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        results = []
        deadline = time.monotonic() + 60
        while not any(result[0] == "refused" for result in results) and time.monotonic() < deadline:
            time.sleep(0.001)
            results.append(in_child(use))
    finally:
        stop.set()
        thread.join()
    assert {result[0] for result in results} <= {"worked", "refused"}
    assert results[-1][0] == "refused"
    assert max(result[1] for result in results) < 1.0
    print(f"{kind}: {len(results)} forks, slowest answer {max(result[1] for result in results):.3f} s")
    # The parent goes on.
    draw(8)


def test_subprocesses_do_not_change_the_parents_numbers():
    buffer, untouched = filled(ReplayBuffer), filled(ReplayBuffer)
    subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=60)
    assert np.array_equal(buffer.sample(64).indices, untouched.sample(64).indices)


def test_multiprocessing_children():
    code = """
    import multiprocessing, warnings
    import numpy as np
    import metarl_core as mc
    warnings.simplefilter("ignore", DeprecationWarning)
    buffer = mc.ReplayBuffer(1000, {"x": ((), np.float32)}, seed=3)
    buffer.add(x=np.arange(1000, dtype=np.float32))
    def draw(_):
        return buffer.sample(16).indices.tolist()
    with multiprocessing.get_context("fork").Pool(3, maxtasksperchild=1) as pool:
        drawn = pool.map(draw, range(9), chunksize=1)
    assert len({tuple(d) for d in drawn}) == 9
    assert draw(0) not in drawn
    print("ok")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "ok\n", done.stderr
