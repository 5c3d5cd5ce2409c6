"""Checkpoints: exact, checked, atomic, and loaded without running code."""

from __future__ import annotations

import pickle
import random
import signal
import struct
import subprocess
import sys
import time
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl_core import CheckpointCorruptError, CheckpointFormatError, CheckpointVersionError
from metarl_core.runs import read_checkpoint, write_checkpoint


def same(a, b):
    """Equal in type, structure and every bit."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, dict):
        same(list(a), list(b))
        same(list(a.values()), list(b.values()))
    elif isinstance(a, float):
        assert struct.pack("<d", a) == struct.pack("<d", b)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    elif type(a).__module__ == "torch":
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        same(raw_bytes(a), raw_bytes(b))
    else:
        assert a == b


def raw_bytes(tensor):
    import torch

    return tensor.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def example_state():
    rng = np.random.default_rng(3)
    generator_state = rng.bit_generator.state
    return {
        "step": 12_345,
        "huge": 1 << 5000,
        "negative": -(2**64),
        "floats": [0.1, -0.0, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"), 1.0, 2.0**53 + 2],
        "odd nan": struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0],
        "text": 'quotes " \\ \n \ud800 äß\0',
        "bytes": bytes(range(256)),
        "none": None,
        "bools": (True, False),
        7: {None: 1, True: 2, (1, "x"): 3, 2.5: 4},
        "empty": [{}, [], (), OrderedDict()],
        "ordered": OrderedDict([("b", 1), ("a", 2)]),
        "bit generator": generator_state,
        "mt": np.random.RandomState(5).get_state(legacy=False),
        "python random": random.Random(1).getstate(),
        "arrays": [
            np.array([0, 2**64 - 1], np.uint64),
            np.array([[True], [False]]),
            np.arange(24, dtype=np.float16).reshape(2, 3, 4)[:, ::-1, ::2],
            np.asfortranarray(rng.standard_normal((5, 7))),
            np.array(3.5),
            np.zeros((0, 4), np.int8),
            np.array([1, 2], ">i4"),
            np.array(["a", "öß"]),
            np.array([1 + 2j], np.complex64),
            np.array(["2020-01-01"], "datetime64[D]"),
            np.array([np.nan, -np.nan, np.inf], np.float32),
        ],
        "scalars": [np.float32(0.1), np.uint64(2**64 - 1), np.bool_(True), np.int64(-5)],
    }


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "c.ckpt"
    assert write_checkpoint(path, example_state()) == path.stat().st_size
    same(example_state(), read_checkpoint(path))
    rng = np.random.default_rng(0)
    rng.bit_generator.state = read_checkpoint(path)["bit generator"]
    assert rng.random() == np.random.default_rng(3).random()


def test_loaded_arrays_are_writable_and_own_their_memory(tmp_path):
    path = tmp_path / "c.ckpt"
    write_checkpoint(path, [np.arange(5), np.arange(5)])
    first, second = read_checkpoint(path)
    first[:] = 9
    np.testing.assert_array_equal(second, np.arange(5))
    np.testing.assert_array_equal(read_checkpoint(path)[0], np.arange(5))


def test_torch_state_round_trips_bit_for_bit(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
    state = {
        "model": OrderedDict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "generator": torch.get_rng_state(),
        "tensors": [
            torch.tensor(2.5, dtype=torch.bfloat16),
            torch.randn(3, 4).to(torch.float16).t(),
            torch.tensor([True, False]),
            torch.tensor([[1 + 2j]]).conj(),
            torch.zeros(0, 3),
            torch.tensor(7, dtype=torch.uint8),
            torch.randn(2, dtype=torch.float64, requires_grad=True),
        ],
    }
    path = tmp_path / "c.ckpt"
    write_checkpoint(path, state)
    loaded = read_checkpoint(path)
    same(state["generator"], loaded["generator"])
    same(state["tensors"], loaded["tensors"])
    same(state["model"], loaded["model"])
    same(state["optimizer"], loaded["optimizer"])
    assert 0 in loaded["optimizer"]["state"]  # int keys stay ints

    twin = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    twin.load_state_dict(loaded["model"])
    twin_optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3)
    twin_optimizer.load_state_dict(loaded["optimizer"])
    batch = torch.randn(16, 4)
    for network, optim in ((model, optimizer), (twin, twin_optimizer)):
        optim.zero_grad()
        network(batch).square().mean().backward()
        optim.step()
    same([p.detach() for p in model.parameters()], [p.detach() for p in twin.parameters()])


_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=20)
    | st.integers(0, 2**64 - 1).map(np.uint64)
    | st.lists(st.floats(width=32), max_size=6).map(lambda v: np.array(v, np.float32))
)
_keys = st.text(max_size=8) | st.integers() | st.booleans() | st.none()


@given(st.recursive(_leaves, lambda s: st.lists(s) | st.lists(s).map(tuple) | st.dictionaries(_keys, s), max_leaves=20))
def test_any_nested_state_round_trips(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("c") / "c.ckpt"
    write_checkpoint(path, state)
    same(state, read_checkpoint(path))


@pytest.mark.parametrize(
    "bad",
    [
        {"x": [object()]},
        {"x": [np.array([object()])]},
        {"x": [namedtuple("P", "a")(1)]},  # noqa: PYI024
        {"x": [{1, 2}]},
        {"x": [np.array([(1, 2)], [("a", int), ("b", int)])]},
    ],
)
def test_what_cannot_be_kept_exactly_is_refused_and_the_old_file_stays(tmp_path, bad):
    path = tmp_path / "c.ckpt"
    write_checkpoint(path, {"old": 1})
    with pytest.raises(TypeError, match=r"state\['x'\]\[0\]"):
        write_checkpoint(path, bad)
    assert read_checkpoint(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.ckpt"]


def test_a_cycle_is_an_error_not_a_crash(tmp_path):
    state = []
    state.append(state)
    with pytest.raises(ValueError, match="nested deeper"):
        write_checkpoint(tmp_path / "c.ckpt", state)


def test_every_flipped_bit_and_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "c.ckpt"
    write_checkpoint(path, {"replay": {"obs": np.arange(6, dtype=np.int16)}, "step": 5})
    good = path.read_bytes()
    broken = tmp_path / "broken.ckpt"
    refused = (CheckpointCorruptError, CheckpointFormatError, CheckpointVersionError)
    for position in range(len(good)):
        for bit in range(8):
            data = bytearray(good)
            data[position] ^= 1 << bit
            broken.write_bytes(data)
            with pytest.raises(refused):
                read_checkpoint(broken)
    for length in range(len(good)):
        broken.write_bytes(good[:length])
        with pytest.raises(refused):
            read_checkpoint(broken)
    broken.write_bytes(good + b"\0")
    with pytest.raises(refused):
        read_checkpoint(broken)
    print(f"{len(good) * 8} flipped bits and {len(good)} truncations refused")


def test_the_damaged_section_is_named(tmp_path):
    path = tmp_path / "c.ckpt"
    write_checkpoint(path, {"replay": {"obs": np.arange(6)}})
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointCorruptError, match=r"state\['replay'\]\['obs'\]: checksum differs"):
        read_checkpoint(path)


def _file(index: bytes, data: bytes = b"") -> bytes:
    import zlib

    return (
        b"METARLCK"
        + struct.pack("<I", 1)
        + data
        + index
        + struct.pack("<QI", len(index), zlib.crc32(index))
        + b"KCLRATEM"
    )


@pytest.mark.parametrize(
    "index",
    [
        b'{"tree":{"a":0},"sections":[{"dtype":"<f8","shape":[1099511627776],"nbytes":8796093022208,"crc32":0,"path":"x"}]}',
        b'{"tree":{"a":0},"sections":[{"dtype":"<f8","shape":[1099511627776],"nbytes":0,"crc32":0,"path":"x"}]}',
        b'{"tree":{"a":0},"sections":[{"dtype":"|O","shape":[0],"nbytes":0,"crc32":0,"path":"x"}]}',
        b'{"tree":{"a":0},"sections":[{"dtype":"<f8","shape":[-1],"nbytes":-8,"crc32":0,"path":"x"}]}',
        b'{"tree":{"a":5},"sections":[]}',
        b'{"tree":{"T":0},"sections":[{"dtype":"load","shape":[0],"nbytes":0,"crc32":0,"path":"x"}]}',
        b'{"tree":{"eval":"1"},"sections":[]}',
        b'{"tree":' + b"[" * 100_000 + b"]" * 100_000 + b',"sections":[]}',
        b'{"tree":' + b'{"l":[' * 5000 + b"]}" * 5000 + b',"sections":[]}',
        b'{"tree":{"d":[[{"l":[]},1]]},"sections":[]}',
        b"[]",
        b"not json",
    ],
)
def test_a_forged_index_is_refused_before_anything_is_allocated(tmp_path, index):
    path = tmp_path / "c.ckpt"
    path.write_bytes(_file(index))
    with pytest.raises(CheckpointCorruptError):
        read_checkpoint(path)


def test_pickles_other_files_and_newer_formats_are_told_apart(tmp_path):
    path = tmp_path / "c.ckpt"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointFormatError, match="not a metarl_core checkpoint"):
        read_checkpoint(path)
    write_checkpoint(path, 1)
    data = bytearray(path.read_bytes())
    data[8:12] = struct.pack("<I", 2)
    path.write_bytes(data)
    with pytest.raises(CheckpointVersionError, match="format version 2"):
        read_checkpoint(path)


def fixture_state():
    """What tests/data/checkpoint-v1.ckpt holds."""
    return {
        "step": 2**70,
        "rate": 0.1,
        "name": "cder",
        1: (None, True, b"\0\xff", float("inf")),
        "keys": np.array([1, 2**63], np.uint64),
        "half": np.array([[0.5], [-2.0]], np.float16),
        "mask": np.array([True, False]),
    }


def test_checkpoints_of_format_1_keep_loading_and_the_format_has_not_drifted(tmp_path):
    """The fixture was written by version 0.1.0; a change of the layout needs a new format version and a new fixture."""
    fixture = Path(__file__).parents[1] / "data" / "checkpoint-v1.ckpt"
    same(fixture_state(), read_checkpoint(fixture))
    write_checkpoint(tmp_path / "now.ckpt", fixture_state())
    assert (tmp_path / "now.ckpt").read_bytes() == fixture.read_bytes()


_SAVER = """
import sys
import numpy as np
from metarl_core.runs import write_checkpoint
print("ready", flush=True)
for i in range(int(sys.argv[2]), 10**9):
    write_checkpoint(sys.argv[1], {"i": i, "data": np.full(200_000, i)})
"""


def test_sigkill_at_any_moment_leaves_the_old_or_the_new_checkpoint(tmp_path):
    path = tmp_path / "c.ckpt"
    write_checkpoint(path, {"i": 0, "data": np.full(200_000, 0)})
    rng = random.Random(0)
    last, cut_short = 0, 0
    for _ in range(12):
        saver = subprocess.Popen([sys.executable, "-c", _SAVER, str(path), str(last + 1)], stdout=subprocess.PIPE)
        with saver:
            saver.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.08))
            saver.send_signal(signal.SIGKILL)
        state = read_checkpoint(path)
        assert state["i"] >= last
        assert np.all(state["data"] == state["i"])
        last = state["i"]
        cut_short += (tmp_path / ".c.ckpt.tmp").exists()
    print(f"{last} saves, 12 kills, {cut_short} of them in the middle of a save")
    assert last > 0


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "c.ckpt"
    script = """
import resource, signal, sys
import numpy as np
from metarl_core.runs import read_checkpoint, write_checkpoint
write_checkpoint(sys.argv[1], {"old": True})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_checkpoint(sys.argv[1], {"data": np.zeros(1_000_000)})
except OSError as error:
    print("refused:", error)
assert read_checkpoint(sys.argv[1]) == {"old": True}
"""
    out = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("refused:")
    assert [p.name for p in tmp_path.iterdir()] == ["c.ckpt"]


def test_saving_needs_little_memory_beyond_the_data(tmp_path):
    script = """
import resource, sys
import numpy as np
from metarl_core.runs import write_checkpoint
data = np.ones(8_000_000)
write_checkpoint(sys.argv[1], {"warm": np.ones(10)})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_checkpoint(sys.argv[1], {"data": data})
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / data.nbytes)
"""
    out = subprocess.run(
        [sys.executable, "-c", script, str(Path(tmp_path) / "c")], capture_output=True, text=True, check=True
    )
    print(f"saving 64 MB raised the peak by {float(out.stdout):.1%} of it")
    assert float(out.stdout) < 0.1
