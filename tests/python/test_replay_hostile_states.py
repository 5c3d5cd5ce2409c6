"""States and files that nobody saved: refused, or safe to go on from, and never dear in memory."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from metarl_core import ReplayBuffer
from metarl_core.errors import CheckpointCorruptError
from metarl_core.replay.state import buffer_config

FIELDS = {
    "obs": ((2,), np.float32),
    "reward": ((), np.float32),
    "next_obs": ((2,), np.float32),
    "terminated": ((), bool),
    "truncated": ((), bool),
}


def rows(first, n, length=50):
    step = np.arange(first, first + n)
    obs = np.repeat(step[:, None], 2, axis=1).astype(np.float32)
    end = step % length == length - 1
    return {"obs": obs, "reward": step, "next_obs": obs + 1, "terminated": end, "truncated": np.zeros(n, bool)}


def sequences(capacity=64, **options):
    return ReplayBuffer(capacity, FIELDS, **{"sequence_length": 8, "stride": 2, **options})


# Of stream 0: last, position, ended, number of candidates, then slot, number and position of each.
@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (6, 2**40),  # a start in the future: its sequence would never be complete
        (6, 3),  # not where a sequence starts
        (6, 0),  # of a sequence that is complete long since
        (9, 18),  # the same start twice
        (1, 2**40),  # more steps than were ever written
        (0, -1),  # starts that wait in a chain that is none
    ],
)
def test_candidates_of_sequences_are_those_of_an_open_chain(entry, value):
    b = sequences()
    b.add(**rows(0, 25))
    state = b.state_dict()
    assert state["streams"][0, :4].tolist() == [24, 25, 0, 4]
    assert state["streams"][0, 6::3][:4].tolist() == [18, 20, 22, 24]
    before = b.to_bytes()
    state["streams"][0, entry] = value
    with pytest.raises(ValueError, match="stream 0 is out of range"):
        b.load_state_dict(state)
    assert b.to_bytes() == before


def test_a_stream_whose_newest_slot_was_overwritten_can_be_saved_and_loaded():
    b = sequences(num_envs=2)
    b.add(env_ids=np.zeros(5, int), **rows(0, 5))
    b.add(env_ids=np.ones(80, int), **rows(0, 80, 1000))
    state = b.state_dict()
    assert state["streams"][0, [0, 3]].tolist() == [-1, 0]
    other = ReplayBuffer.from_bytes(b.to_bytes())
    for each in (b, other):
        each.add(env_ids=np.arange(60) % 2, **rows(200, 60))
    assert b.to_bytes() == other.to_bytes()


def test_sequences_as_long_as_the_ring_keep_no_more_starts_than_slots():
    b = sequences(16, sequence_length=16, stride=1, frame_stack=1, next_obs="next")
    for first in range(0, 60, 5):
        b.add(**rows(first, 5, 1000))
    other = ReplayBuffer.from_bytes(b.to_bytes())
    for each in (b, other):
        each.add(**rows(60, 1, 61))
    assert b.to_bytes() == other.to_bytes()
    assert len(b) == 15


def run(code):
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


# Which allocation fails depends on the room that is left.
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
@pytest.mark.parametrize("room", [k << 18 for k in range(2, 26, 3)])
def test_tasks_survive_an_allocation_that_fails(room):
    run(f"""
        import resource
        import numpy as np
        from metarl_core import PrioritizedReplayBuffer

        n = 1 << 16
        fields = {{"x": ((), np.float32), "task_id": ((), np.uint16)}}
        b = PrioritizedReplayBuffer(1 << 22, fields, task_field="task_id")
        x, task = np.arange(n, dtype=np.float32), np.ones(n, np.uint16)
        b.add(x=x, task_id=task)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (used + {room}, hard))
        for _ in range(30):
            b.add(x=x, task_id=task)
        try:
            b.sample(8, 0.4, task=1)
        except MemoryError:
            pass
        else:
            raise SystemExit("the limit was not reached")
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        assert len(b) == 31 * n
        assert (b.sample(8, 0.4, task=1)["task_id"] == 1).all()
    """)


def saved_as(b, **config):
    return b._to_bytes({**buffer_config(b), **config})


LINKED = [{"sequence_length": 8}, {"n_step": 3}, {"next_obs": "next"}, {"autoreset_mode": "next_step"}]


@pytest.mark.parametrize("options", LINKED)
def test_no_memory_for_streams_that_a_file_does_not_hold(options):
    b = ReplayBuffer(64, FIELDS, **options)
    b.add(**rows(0, 20))
    with pytest.raises(CheckpointCorruptError, match="header: num_envs is 20000000, which 'streams' of shape"):
        ReplayBuffer.from_bytes(saved_as(b, num_envs=20_000_000))
    plain = ReplayBuffer(64, FIELDS)
    plain.add(**rows(0, 20))
    with pytest.raises(CheckpointCorruptError, match="header: num_envs is 20000000, which 'streams' of shape None"):
        ReplayBuffer.from_bytes(saved_as(plain, num_envs=20_000_000, **options))


@pytest.mark.parametrize(("options", "each"), [({"n_step": 3}, 1), ({"next_obs": "next"}, 2)])
def test_more_environments_than_the_capacity_has_room_for_are_corrupt(options, each):
    b = ReplayBuffer(64, FIELDS, num_envs=20, **options)
    b.add(**rows(0, 20))
    assert ReplayBuffer.from_bytes(saved_as(b, capacity=20 * each)).capacity == 20 * each
    message = rf"header: num_envs is 20; must be in \[1, 19\], so that the capacity, {20 * each - 1}, has room"
    with pytest.raises(CheckpointCorruptError, match=message):
        ReplayBuffer.from_bytes(saved_as(b, capacity=20 * each - 1))


@pytest.mark.parametrize("config", [{"capacity": 0}, {"capacity": "a"}, {"n_step": 2**40}])
def test_a_header_that_describes_no_buffer_is_corrupt(config):
    b = ReplayBuffer(64, FIELDS)
    with pytest.raises(CheckpointCorruptError, match="the checkpoint's header: "):
        ReplayBuffer.from_bytes(saved_as(b, **config))


def test_a_buffer_larger_than_the_machine_is_not_called_corrupt():
    with pytest.raises(MemoryError, match=r"cannot allocate [0-9]+ bytes"):
        ReplayBuffer.from_bytes(saved_as(ReplayBuffer(64, FIELDS), capacity=2**50))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes there")
def test_memory_of_loading_follows_what_the_file_holds():
    run("""
        import resource
        import numpy as np
        from metarl_core import ReplayBuffer
        from metarl_core.replay.state import buffer_config

        b = ReplayBuffer(64, {"task_id": ((), np.uint16)}, task_field="task_id")
        b.add(task_id=np.arange(50) % 3)
        b.clear_task(1)
        data = b._to_bytes({**buffer_config(b), "capacity": 1 << 26})
        ReplayBuffer.from_bytes(b.to_bytes())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        loaded = ReplayBuffer.from_bytes(data)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert loaded.capacity == 1 << 26 and loaded.sample(5, task=2)["task_id"].tolist() == [2] * 5
        assert grown < 32 << 10, f"{grown} kB"
    """)
