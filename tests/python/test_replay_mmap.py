"""Buffers in memory-mapped files: opened again, after a crash at any moment, and used wrongly."""

import contextlib
import copy
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from checkpoint_helpers import FIELDS, KINDS, STACK_FIELDS, STREAM_FIELDS, STREAMS, TASKS, fill, rows, same_bits

import metarl_core as mc
from metarl_core import PrioritizedReplayBuffer, ReplayBuffer

MAPPED_KINDS = [kind for kind in KINDS if "reservoir" not in kind]
CAPACITY = 60
_OF_THE_BATCH = ("indices", "weights", "probabilities")


def make(kind, folder=None, capacity=CAPACITY, **other):
    cls = ReplayBuffer if kind.startswith("uniform") else PrioritizedReplayBuffer
    name = kind.partition("-")[2]
    fields = FIELDS if name not in STREAMS else STACK_FIELDS if name == "stacked" else STREAM_FIELDS
    options = {**STREAMS, **TASKS}.get(name, {})
    storage = "memory" if folder is None else f"mmap:{folder}"
    return cls(capacity, fields, seed=5, storage=storage, **{**options, **other})


def contents(buffer):
    """Every item that can be sampled, by its index."""
    found = {}
    if len(buffer) == 0:
        return found
    copy_of = type(buffer).from_bytes(buffer.to_bytes())
    for _ in range(60):
        batch = copy_of.sample(64, mode="uniform")
        for i, index in enumerate(batch.indices.tolist()):
            item = {name: batch[name][i].tobytes() for name in batch if name not in _OF_THE_BATCH}
            assert found.setdefault(index, item) == item
        if len(found) == len(buffer):
            return found
    raise AssertionError(f"{len(found)} of {len(buffer)} items seen")


@pytest.mark.parametrize("kind", MAPPED_KINDS)
def test_what_was_flushed_is_there_again_and_goes_on_with_the_same_bits(kind, tmp_path):
    memory = fill(make(kind), 90)
    with fill(make(kind, tmp_path / "replay"), 90) as mapped:
        assert mapped.storage == f"mmap:{tmp_path / 'replay'}"
        same_bits(mapped.sample(16), memory.sample(16))
    again = make(kind, tmp_path / "replay")
    assert len(again) == len(memory)
    for first in (90, 130):
        same_bits(again.sample(16), memory.sample(16))
        again.add(**rows(kind, first, 7))
        memory.add(**rows(kind, first, 7))
        batch = memory.sample(16)
        same_bits(again.sample(16), batch)
        for buffer in (again, memory):
            buffer.update_priorities(batch.indices, np.arange(16.0))
    assert again.to_bytes() == memory.to_bytes()


def crash(buffer):
    """Return the files as a killed process leaves them: the mapped pages are the kernel's."""
    return {path.name: path.read_bytes() for path in Path(buffer.storage[5:]).iterdir() if path.name != "metarl.lock"}


def lay_out(folder, files):
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("kind", MAPPED_KINDS)
@pytest.mark.parametrize("after", [0, 1, 2, 9, 31, 200])
def test_a_crash_costs_no_more_than_what_was_written_since(kind, after, tmp_path):
    for number, before in enumerate((0, 5, 21, 47, 90)):
        mapped = make(kind, tmp_path / f"live-{number}")
        fill(mapped, before)
        mapped.flush()
        flushed = contents(mapped)
        for first in range(before, before + after, 3):
            mapped.add(**rows(kind, first, min(3, before + after - first)))
        lay_out(tmp_path / f"crashed-{number}", crash(mapped))
        again = make(kind, tmp_path / f"crashed-{number}")
        found = contents(again)
        assert found.items() <= flushed.items()  # nothing torn, nothing that was not flushed
        envs = 2 if kind.partition("-")[2] in STREAMS else 1
        # At most 7 slots more than were written are announced; tails and first frames of episodes take some too.
        slots = 2 * after * envs + 7 + 4 * envs if after else 0
        assert len(found) >= len(flushed) - slots
        if after == 0:
            assert found == flushed
        # And it goes on: after a whole ring of new rows it holds what a buffer holds that never crashed.
        twin = make(kind)
        for first in range(1000, 1000 + 2 * CAPACITY, 3):
            again.add(**rows(kind, first, 3))
            twin.add(**rows(kind, first, 3))
        assert sorted(map(str, contents(again).values())) == sorted(map(str, contents(twin).values()))
        again.close()
        assert contents(make(kind, tmp_path / f"crashed-{number}")) != {}


@pytest.mark.parametrize("kind", ["prioritized", "uniform-stacked", "prioritized-sequence", "prioritized-tasks"])
def test_a_power_failure_may_write_back_any_part_of_the_columns(kind, tmp_path):
    """Sectors of the columns are old or new at random; the announcement was on the disk before any of them."""
    rng = np.random.default_rng(0)
    for number in range(12):
        mapped = make(kind, tmp_path / f"live-{number}")
        fill(mapped, 90 + number)
        mapped.flush()
        flushed, old = contents(mapped), crash(mapped)
        for first in range(90 + number, 90 + number + 3 * number, 3):
            mapped.add(**rows(kind, first, 3))
        new = crash(mapped)
        for name, data in new.items():
            if "rows" in name or "column" in name:
                sectors = np.frombuffer(old[name], np.uint8).copy()
                fresh = np.frombuffer(data, np.uint8)
                for begin in range(0, len(sectors), 64):
                    if rng.random() < 0.5:
                        sectors[begin : begin + 64] = fresh[begin : begin + 64]
                new[name] = sectors.tobytes()
        lay_out(tmp_path / f"crashed-{number}", new)
        again = make(kind, tmp_path / f"crashed-{number}")
        assert contents(again).items() <= flushed.items()
        again.add(**rows(kind, 1000, 40))
        again.sample(32)


def test_a_torn_announcement_leaves_the_one_before(tmp_path):
    mapped = make("uniform", tmp_path / "live")
    mapped.add(**rows("uniform", 0, CAPACITY))
    mapped.flush()
    mapped.add(**rows("uniform", CAPACITY, 3))
    files = crash(mapped)
    intent = next(name for name in files if "intent" in name)
    whole = files[intent]
    lost = []
    for record in (0, 4096):  # the one in use, and the other one, which was never written
        for size in (1, 15, 31):
            folder = tmp_path / f"torn-{record}-{size}"
            torn = bytearray(whole)
            torn[record : record + size] = bytes(b ^ 0xFF for b in whole[record : record + size])
            files[intent] = bytes(torn)
            lay_out(folder, files)
            lost.append(CAPACITY - len(make("uniform", folder)))
    assert sorted(set(lost)) == [0, 7]


def test_restore_replaces_the_files_in_one_step(tmp_path):
    source = fill(make("prioritized"), 70)
    source.save(tmp_path / "other.ckpt")
    mapped = fill(make("prioritized", tmp_path / "replay"), 40)
    mapped.flush()
    before = {path.name for path in (tmp_path / "replay").iterdir()}
    mapped.restore(tmp_path / "other.ckpt")
    assert mapped.to_bytes() == source.to_bytes()
    after = {path.name for path in (tmp_path / "replay").iterdir()}
    assert len(before) == len(after) == 5
    assert not {name for name in before & after if name.endswith(".bin")}
    lay_out(tmp_path / "crashed", crash(mapped))  # restore is durable by itself
    assert make("prioritized", tmp_path / "crashed").to_bytes() == source.to_bytes()
    # A damaged file changes nothing.
    damaged = bytearray((tmp_path / "other.ckpt").read_bytes())
    damaged[-100] ^= 1
    (tmp_path / "other.ckpt").write_bytes(damaged)
    state = mapped.to_bytes()
    with pytest.raises(mc.CheckpointCorruptError):
        mapped.restore(tmp_path / "other.ckpt")
    assert mapped.to_bytes() == state
    assert {path.name for path in (tmp_path / "replay").iterdir()} == after
    other = fill(make("prioritized"), 20)
    mapped.load_state_dict(other.state_dict())
    assert mapped.to_bytes() == other.to_bytes()
    mapped.close()
    assert make("prioritized", tmp_path / "replay").to_bytes() == other.to_bytes()


def test_flushes_and_restores_at_the_same_time(tmp_path):
    """Whatever is flushed or restored meanwhile, the state always names files that are there."""
    source = fill(make("prioritized"), 30)
    source.save(tmp_path / "other.ckpt")
    mapped = fill(make("prioritized", tmp_path / "replay"), 40)
    stop = threading.Event()
    failures = []

    def flush():
        try:
            while not stop.is_set():
                mapped.flush()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=flush)
    thread.start()
    for number in range(30):
        mapped.restore(tmp_path / "other.ckpt")
        with contextlib.suppress(FileNotFoundError):  # files go while they are copied; then another moment is as good
            files = crash(mapped)
            state = make("prioritized", lay_out(tmp_path / f"crashed-{number}", files))
            assert len(state) == 30
    stop.set()
    thread.join()
    assert not failures


@pytest.mark.parametrize("kind", ["uniform", "uniform-shared", "uniform-stacked"])
@pytest.mark.parametrize("added", [1, 40, 150, 700])
def test_large_adds_announce_what_they_took(kind, added, tmp_path):
    capacity = 2000
    mapped = make(kind, tmp_path / "live", capacity=capacity)
    for first in range(0, 1200, 100):
        mapped.add(**rows(kind, first, 100))
    mapped.flush()
    before = len(mapped)
    taken = mapped.add(**rows(kind, 1200, added))
    lay_out(tmp_path / "crashed", crash(mapped))
    lost = before - len(make(kind, tmp_path / "crashed", capacity=capacity))
    # Shared observations and stacks take a few slots more for every episode of 9 or 13 steps.
    most = len(taken) * (1 if kind == "uniform" else 1.6) + capacity // 8 + 8
    assert lost <= most, (lost, most)
    if before + len(taken) > capacity:
        assert lost >= min(len(taken), capacity) - (capacity - before)


def test_a_clear_that_nothing_follows_costs_nothing(tmp_path):
    mapped = fill(make("uniform", tmp_path / "replay"), 90)
    mapped.flush()
    mapped.clear()
    lay_out(tmp_path / "crashed", crash(mapped))
    assert len(make("uniform", tmp_path / "crashed")) == CAPACITY
    mapped.flush()
    lay_out(tmp_path / "flushed", crash(mapped))
    assert len(make("uniform", tmp_path / "flushed")) == 0


def test_copies_are_in_memory(tmp_path):
    mapped = fill(make("prioritized-n_step", tmp_path / "replay"), 70)
    mapped.save(tmp_path / "file.ckpt")
    copies = [copy.deepcopy(mapped), pickle.loads(pickle.dumps(mapped))]
    copies.append(PrioritizedReplayBuffer.load(tmp_path / "file.ckpt"))
    for other in copies:
        assert other.storage == "memory"
        assert other.to_bytes() == mapped.to_bytes()
    assert make("prioritized-n_step").storage == "memory"


def test_clear_is_never_half_done(tmp_path):
    mapped = fill(make("prioritized", tmp_path / "replay"), 90)
    mapped.flush()
    mapped.clear()
    mapped.add(**rows("prioritized", 500, 3))
    lay_out(tmp_path / "crashed", crash(mapped))
    assert len(make("prioritized", tmp_path / "crashed")) == 0  # any slot may have been overwritten
    mapped.flush()
    lay_out(tmp_path / "flushed", crash(mapped))
    assert len(make("prioritized", tmp_path / "flushed")) == 3


def test_one_buffer_at_a_time_has_a_folder(tmp_path):
    mapped = make("uniform", tmp_path / "replay")
    with pytest.raises(mc.StorageInUseError, match="storage of another buffer"):
        make("uniform", tmp_path / "replay")
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_replay_mmap import make\n"
    code += f"make('uniform', {str(tmp_path / 'replay')!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StorageInUseError" in other.stderr
    mapped.close()
    assert len(make("uniform", tmp_path / "replay")) == 0


def test_a_forked_child_is_refused_and_leaves_the_files(tmp_path):
    mapped = fill(make("prioritized", tmp_path / "replay"), 20)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        lines = []
        for call in (lambda: mapped.sample(4), lambda: mapped.add(**rows("prioritized", 0, 1)), mapped.flush):
            try:
                call()
                lines.append("no error")
            except RuntimeError as error:
                lines.append(str(error)[:30])
        del mapped
        os.write(writing, "\n".join(lines).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000).decode().split("\n") == ["this buffer's files (storage='m"[:30]] * 3
    os.close(reading)
    os.close(writing)
    mapped.add(**rows("prioritized", 20, 20))
    mapped.close()
    assert len(make("prioritized", tmp_path / "replay")) == 40


def test_a_child_that_lives_longer_does_not_keep_the_folder(tmp_path):
    mapped = fill(make("uniform", tmp_path / "replay"), 20)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # until the parent closes its end
        os._exit(0)
    os.close(reading)
    mapped.close()
    assert len(make("uniform", tmp_path / "replay")) == 20
    os.close(writing)
    os.waitpid(child, 0)


@pytest.mark.parametrize("mapped", [False, True])
def test_after_close_everything_raises(mapped, tmp_path):
    buffer = fill(make("prioritized", tmp_path / "replay" if mapped else None), 20)
    batch = buffer.sample(4)
    state = buffer.state_dict()
    buffer.close()
    buffer.close()
    for call in (
        lambda: len(buffer),
        lambda: buffer.add(**rows("prioritized", 0, 1)),
        lambda: buffer.sample(4),
        lambda: buffer.update_priorities(batch, np.ones(4)),
        buffer.clear,
        buffer.flush,
        buffer.to_bytes,
        buffer.state_dict,
        buffer.priorities,
        lambda: buffer.load_state_dict(state),
        lambda: buffer.save(tmp_path / "x"),
    ):
        with pytest.raises(mc.ClosedError, match="this buffer is closed"):
            call()
    assert not (tmp_path / "x").exists()
    assert buffer.capacity == CAPACITY


@pytest.mark.parametrize(
    ("storage", "error", "match"),
    [
        ("disk", ValueError, "storage is 'disk'; must be 'memory' or 'mmap:FOLDER'"),
        ("mmap:", ValueError, "storage is 'mmap:'; must be"),
        (None, TypeError, "storage must be a str, got NoneType"),
        (Path("x"), TypeError, "storage must be a str, got"),
        ("mmap:a\0b", ValueError, "NUL"),
        ("mmap:/nowhere/at/all", FileNotFoundError, "/nowhere/at/all"),
    ],
)
def test_bad_storage(storage, error, match):
    with pytest.raises(error, match=match):
        ReplayBuffer(10, FIELDS, storage=storage)


def test_other_wrong_uses(tmp_path):
    with pytest.raises(ValueError, match="eviction is 'reservoir'; with storage='mmap:FOLDER' it must be 'fifo'"):
        ReplayBuffer(10, FIELDS, eviction="reservoir", storage=f"mmap:{tmp_path / 'x'}")
    with pytest.raises(ValueError, match=r"flush\(\) needs storage='mmap:FOLDER'"):
        ReplayBuffer(10, FIELDS).flush()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        ReplayBuffer(10, FIELDS, storage=f"mmap:{tmp_path / 'file'}")


def test_another_configuration_is_refused_and_the_files_stay(tmp_path):
    fill(make("prioritized", tmp_path / "replay"), 30).close()
    with pytest.raises(mc.CheckpointMismatchError, match=r"alpha is 0.6 in the folder and 0.3 in this buffer"):
        make("prioritized", tmp_path / "replay", alpha=0.3)
    with pytest.raises(mc.CheckpointMismatchError, match="kind is 'prioritized' in the folder"):
        make("uniform", tmp_path / "replay")
    # The folder is free again, also while the error is being handled. What changes nothing but the time may differ.
    try:
        make("prioritized", tmp_path / "replay", alpha=0.3)
    except mc.CheckpointMismatchError:
        assert len(make("prioritized", tmp_path / "replay")) == 30
    assert len(make("prioritized", tmp_path / "replay", beta=lambda draws: 1.0, num_threads=1)) == 30


def test_damaged_folders_are_refused(tmp_path):
    with fill(make("prioritized", tmp_path / "replay"), 30) as buffer:
        buffer.flush()
        files = crash(buffer)
    rows_file = next(name for name in files if "rows" in name)
    intent = next(name for name in files if "intent" in name)
    flipped = bytearray(files["metarl-state.ckpt"])
    flipped[len(flipped) // 2] ^= 4
    for number, (name, data, error) in enumerate(
        [
            ("metarl-state.ckpt", bytes(flipped), mc.CheckpointCorruptError),
            ("metarl-state.ckpt", b"", mc.CheckpointFormatError),
            (rows_file, files[rows_file][:-1], mc.CheckpointCorruptError),
            (rows_file, None, FileNotFoundError),
            (intent, None, FileNotFoundError),
            (intent, b"", mc.CheckpointCorruptError),
            (intent, b"\1" * len(files[intent]), mc.CheckpointCorruptError),
            ("metarl-state.ckpt", None, mc.CheckpointCorruptError),
        ]
    ):
        folder = tmp_path / f"damaged-{number}"
        lay_out(folder, {**files, name: b"" if data is None else data})
        if data is None:
            (folder / name).unlink()
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "metarl.lock"}
        with pytest.raises(error, match=name):
            make("prioritized", folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "metarl.lock"} == before
    with pytest.raises(mc.CheckpointFormatError, match="part of a folder; open that as storage='mmap:FOLDER'"):
        PrioritizedReplayBuffer.load(tmp_path / "replay" / "metarl-state.ckpt")


def test_files_of_an_interrupted_restore_are_removed(tmp_path):
    fill(make("uniform", tmp_path / "replay"), 30).close()
    for name in ("metarl-7-rows.bin", "metarl-7-intent.bin"):
        (tmp_path / "replay" / name).write_bytes(b"left over")
    (tmp_path / "replay" / "metarl-notes.bin").write_bytes(b"not ours")
    assert len(make("uniform", tmp_path / "replay")) == 30
    names = {path.name for path in (tmp_path / "replay").iterdir()}
    assert "metarl-notes.bin" in names
    assert not {name for name in names if name.startswith("metarl-7-")}


def test_a_full_disk_is_an_error_when_the_buffer_is_made(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    try:
        with pytest.raises(OSError, match="rows"):
            ReplayBuffer(10**6, {"x": ((), np.float64)}, storage=f"mmap:{tmp_path / 'replay'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in (tmp_path / "replay").iterdir()] == ["metarl.lock"]


def test_larger_than_the_memory_that_it_uses(tmp_path):
    """Pages of the files are the kernel's to drop: resident memory is bounded by what was touched, not by the files."""
    buffer = ReplayBuffer(40_000, {"x": ((8192,), np.uint8)}, storage=f"mmap:{tmp_path / 'replay'}")
    assert sum(path.stat().st_size for path in (tmp_path / "replay").iterdir()) > 40_000 * 8192
    for first in range(0, 40_000, 1000):
        buffer.add(x=np.full((1000, 8192), first // 1000, np.uint8))
    buffer.flush()
    for path in (tmp_path / "replay").iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    batch = buffer.sample(512)
    assert (batch["x"] == (batch.indices // 1000)[:, None]).all()
    buffer.close()
    shutil.rmtree(tmp_path / "replay")


_WRITER = """
import sys, numpy as np
from metarl_core import PrioritizedReplayBuffer
fields = {"x": ((64,), np.int64), "frame": ((512,), np.uint8), "number": ((), np.int64)}
buffer = PrioritizedReplayBuffer(5_000, fields, storage="mmap:" + sys.argv[1])
number = int(sys.argv[2])
rng = np.random.default_rng(number)
print("ready", len(buffer), flush=True)
while True:
    n = int(rng.integers(1, 60))
    k = np.arange(number, number + n)
    buffer.add(x=np.repeat(k[:, None], 64, 1), frame=np.repeat(k[:, None] % 251, 512, 1).astype(np.uint8), number=k)
    number += n
    batch = buffer.sample(16)
    buffer.update_priorities(batch, rng.normal(size=16))
    if rng.random() < 0.1:
        buffer.flush()
        print(number, flush=True)
"""


def kill_while_writing(folder, kills):
    """Kill a process that adds and flushes, again and again; return rows checked and the largest loss of one kill."""
    fields = {"x": ((64,), np.int64), "frame": ((512,), np.uint8), "number": ((), np.int64)}
    rng = random.Random(0)
    number, checked, most_lost = 0, 0, 0
    for _ in range(kills):
        command = [sys.executable, "-c", _WRITER, str(folder), str(number)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout.readline().startswith("ready")
        time.sleep(rng.uniform(0, 0.15))
        os.kill(writer.pid, signal.SIGKILL)
        lines = writer.stdout.read().split("\n")
        writer.wait()
        writer.stdout.close()
        flushed = max([number, *(int(line) for line in lines[:-1])])
        with PrioritizedReplayBuffer(5_000, fields, storage=f"mmap:{folder}") as buffer:
            columns = buffer.state_dict()
            valid = np.unpackbits(columns["valid"].view(np.uint8), bitorder="little") if "valid" in columns else None
            rows = columns["columns"]
            keep = slice(None) if valid is None else valid[: len(rows["number"])].astype(bool)
            held = rows["number"][keep]
            assert (rows["x"][keep] == held[:, None]).all()
            assert (rows["frame"][keep] == (held % 251)[:, None]).all()
            assert len(np.unique(held)) == len(held) == len(buffer)
            if len(held):
                # A flush whose line was not printed any more may be newer.
                assert held.max() >= flushed - 1
                number = int(held.max()) + 1
                most_lost = max(most_lost, min(number, 5_000) - len(held))
                assert held.min() >= number - 5_000
            checked += len(held)
    return checked, most_lost


def test_a_killed_writer_leaves_what_it_flushed(tmp_path):
    checked, lost = kill_while_writing(tmp_path / "replay", 8)
    print(f"8 kills: {checked} rows checked, at most {lost} of 5,000 lost at once")


@pytest.mark.slow
def test_many_killed_writers(tmp_path):
    kills = int(os.environ.get("METARL_KILLS", "200"))
    checked, lost = kill_while_writing(tmp_path / "replay", kills)
    print(
        f"{kills} kills while adding and flushing: {checked:,} rows checked, none torn, each once; "
        f"at most {lost} of 5,000 lost at once"
    )
    assert checked > kills * 1000
