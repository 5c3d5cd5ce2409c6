"""save, load, restore, to_bytes and pickle of the replay buffers."""

import copy
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from checkpoint_helpers import FIELDS, KINDS, crc32c, fill, make, rows, same_bits

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer
from metarl_core.errors import (
    CheckpointCorruptError,
    CheckpointFormatError,
    CheckpointMismatchError,
    CheckpointVersionError,
)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_buffer_goes_on_with_the_same_bits(tmp_path, kind):
    buffer = fill(make(kind), 70)
    path = tmp_path / "buffer.ckpt"
    buffer.save(path)
    assert names(tmp_path) == ["buffer.ckpt"]
    restored = fill(make(kind), 31)
    restored.restore(path)
    others = [
        type(buffer).load(path),
        restored,
        pickle.loads(pickle.dumps(buffer)),
        copy.deepcopy(buffer),
        type(buffer).from_bytes(buffer.to_bytes()),
        make(kind),
    ]
    others[-1].load_state_dict(pickle.loads(pickle.dumps(buffer.state_dict())))
    for other in others:
        assert other.to_bytes() == buffer.to_bytes() == path.read_bytes()
    for step in range(20):
        expected = buffer.sample(16)
        for other in others:
            same_bits(other.sample(16), expected)
        if kind.endswith(("tasks", "reservoir")):
            by_task = buffer.sample(16, task_weights="balanced")
            for other in others:
                same_bits(other.sample(16, task_weights="balanced"), by_task)
        for each in [buffer, *others]:
            each.update_priorities(expected.indices, np.arange(16) + step)
            each.add(**rows(kind, 1000 + 7 * step, 7))
    for other in others:
        assert other.to_bytes() == buffer.to_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written", [0, 1, 3, 63, 64, 65, 200])
def test_every_fill_level(kind, written):
    buffer = fill(make(kind), written)
    other = type(buffer).from_bytes(buffer.to_bytes())
    assert len(other) == len(buffer)
    assert other.to_bytes() == buffer.to_bytes()


def test_beta_is_in_the_file_but_need_not_agree(tmp_path):
    buffer = fill(PrioritizedReplayBuffer(50, FIELDS, beta=0.7), 50)
    buffer.save(tmp_path / "a")
    assert PrioritizedReplayBuffer.load(tmp_path / "a").beta == 0.7
    other = PrioritizedReplayBuffer(50, FIELDS, beta=0.2)
    other.restore(str(tmp_path / "a"))
    assert other.beta == 0.2
    assert len(other) == 50


def test_batches_from_before_a_restore_are_stale(tmp_path):
    buffer = fill(make("prioritized"), 40)
    buffer.save(tmp_path / "a")
    batch = buffer.sample(8)
    buffer.restore(tmp_path / "a")
    before = buffer.priorities()
    buffer.update_priorities(batch, np.full(8, 100.0))
    np.testing.assert_array_equal(buffer.priorities(), before)


class Unchanged:
    def __init__(self, buffer):
        self.buffer = buffer

    def __enter__(self):
        self.before = self.buffer.to_bytes()

    def __exit__(self, *exception):
        assert self.buffer.to_bytes() == self.before


def test_another_configuration(tmp_path):
    buffer = fill(make("prioritized"), 20)
    other = PrioritizedReplayBuffer(61, {**FIELDS, "more": ((), bool)}, seed=9, alpha=0.9)
    other.save(tmp_path / "a")
    with Unchanged(buffer), pytest.raises(CheckpointMismatchError) as caught:
        buffer.restore(tmp_path / "a")
    for part in ("capacity is 61 in the checkpoint and 60 in this buffer", "seed is 9", "alpha is 0.9", "fields is"):
        assert part in str(caught.value)
    assert "eps" not in str(caught.value)
    make("uniform").save(tmp_path / "b")
    with Unchanged(buffer), pytest.raises(CheckpointMismatchError, match="kind is 'uniform'"):
        buffer.restore(tmp_path / "b")
    with pytest.raises(CheckpointMismatchError, match="kind is 'uniform' in the checkpoint and 'prioritized'"):
        PrioritizedReplayBuffer.load(tmp_path / "b")


def test_other_files(tmp_path):
    buffer = fill(make("prioritized"), 20)
    path = tmp_path / "a"
    for content, message in [
        (pickle.dumps({"a": 1}), "pickle"),
        (b"", "empty"),
        (b"PK\x03\x04zip", "zip"),
        (b"hello world", "signature"),
        ((Path(__file__).parents[1] / "data/checkpoint-v1.ckpt").read_bytes(), "training run"),
    ]:
        path.write_bytes(content)
        with Unchanged(buffer), pytest.raises(CheckpointFormatError, match=message):
            buffer.restore(path)
        with pytest.raises(CheckpointFormatError, match=message):
            PrioritizedReplayBuffer.load(path)
    with pytest.raises(FileNotFoundError):
        buffer.restore(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        buffer.restore(tmp_path)
    with pytest.raises(FileNotFoundError):
        buffer.save(tmp_path / "none" / "a")
    with pytest.raises(IsADirectoryError):
        buffer.save(tmp_path)


def test_newer_versions(tmp_path):
    data = bytearray(fill(make("uniform"), 5).to_bytes())
    data[8:12] = struct.pack("<I", 2)
    data[36:40] = struct.pack("<I", crc32c(data[:36]))
    with pytest.raises(CheckpointVersionError, match="format version 2; this version reads up to 1"):
        ReplayBuffer.from_bytes(bytes(data))
    data[36] ^= 1
    with pytest.raises(CheckpointCorruptError, match="prologue"):
        ReplayBuffer.from_bytes(bytes(data))


def test_every_flipped_byte_of_a_small_file_is_found(tmp_path):
    live = fill(PrioritizedReplayBuffer(4, {"x": ((2,), np.float32)}), 7)
    before = live.to_bytes()
    small = fill(PrioritizedReplayBuffer(4, {"x": ((2,), np.float32)}), 3)
    good = small.to_bytes()
    path = tmp_path / "a"
    for i in range(len(good)):
        bad = bytearray(good)
        bad[i] ^= 1 << (i % 8)
        expected = CheckpointFormatError if i < 8 else CheckpointCorruptError
        with pytest.raises(expected):
            PrioritizedReplayBuffer.from_bytes(bytes(bad))
        path.write_bytes(bad)
        with pytest.raises(expected):
            live.restore(path)
    for n in range(len(good)):
        with pytest.raises((CheckpointFormatError, CheckpointCorruptError)):
            PrioritizedReplayBuffer.from_bytes(good[:n])
    assert live.to_bytes() == before
    print(f"{len(good)} flipped bytes and {len(good)} truncations, all found")


def test_a_damaged_column_is_named(tmp_path):
    buffer = fill(make("prioritized"), 60)
    data = bytearray(buffer.to_bytes())
    frame = buffer.state_dict()["columns"]["frame"].tobytes()
    data[data.index(frame) + 100] ^= 1
    (tmp_path / "a").write_bytes(data)
    with Unchanged(buffer), pytest.raises(CheckpointCorruptError, match="'columns/frame': checksum differs"):
        buffer.restore(tmp_path / "a")


def test_ctrl_c_ends_a_save_and_leaves_the_old_file(tmp_path):
    buffer = ReplayBuffer(6_000, {"frame": ((64, 64, 4), np.float32)})
    for _ in range(6):
        buffer.add(frame=np.ones((1_000, 64, 64, 4), np.float32))
    path = tmp_path / "a"
    path.write_bytes(b"old")
    sent = 0.0

    def interrupt():
        nonlocal sent
        time.sleep(0.05)
        sent = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        buffer.save(path)
    late = time.perf_counter() - sent
    thread.join()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]
    print(f"Ctrl-C ended a save after {1e3 * late:.0f} ms")
    assert late < 0.6  # 0.2 s on an idle machine
    assert len(buffer) == 6_000


def test_saving_lets_other_threads_of_the_interpreter_run(tmp_path):
    buffer = fill(make("prioritized"), 60)
    stop = threading.Event()
    errors = []

    def work():
        try:
            while not stop.is_set():
                len(buffer)
                batch = buffer.sample(4)
                buffer.update_priorities(batch, np.ones(4))
                buffer.add(**rows("prioritized", 5, 3))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        buffer.save(tmp_path / "a")
        PrioritizedReplayBuffer.load(tmp_path / "a")
        pickle.dumps(buffer)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors


_FULL = """
import resource, signal, sys
import numpy as np
from metarl_core import ReplayBuffer
buffer = ReplayBuffer(1000, {"x": ((100,), np.float64)})
buffer.add(x=np.ones((1000, 100)))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    buffer.save(sys.argv[1])
except OSError as error:
    print(type(error).__name__, error.errno, error.filename == sys.argv[1])
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    fill(make("uniform"), 20).save(path)
    before = path.read_bytes()
    run = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.split() == ["OSError", "27", "True"]  # EFBIG
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a"]
    print(
        f"a file size limit as the full disk: {run.stdout.split()[0]}; "
        f"the old {len(before):,} bytes are there, and no other file"
    )


_PEAK = """
import sys
import numpy as np
from metarl_core import PrioritizedReplayBuffer

def resident(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024

n = 40_000
buffer = PrioritizedReplayBuffer(n, {"obs": ((84, 84), np.uint8), "x": ((9,), np.float32), "y": ((), np.int64)})
for _ in range(n // 1000):
    buffer.add(obs=np.ones((1000, 84, 84), np.uint8), x=np.ones((1000, 9)), y=np.arange(1000))
data = n * (84 * 84 + 44)
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
if sys.argv[2] == "save":
    buffer.save(sys.argv[1])
else:
    del buffer
    before = resident("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    buffer = PrioritizedReplayBuffer.load(sys.argv[1])
print((resident("VmHWM") - before) / data)
"""


def test_saving_and_loading_need_little_more_than_the_data(tmp_path):
    def extra(what):
        command = [sys.executable, "-c", _PEAK, str(tmp_path / "a"), what]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return float(run.stdout)

    saving, loading = extra("save"), extra("load")
    print(f"memory at the peak: {1 + saving:.3f} x the data while saving, {loading:.3f} x while loading")
    assert saving < 0.1
    assert loading < 1.1
