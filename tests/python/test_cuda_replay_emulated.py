"""The prioritized replay buffer of the CUDA backend on the emulator, bit for bit against the CPU's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from device_replay_helpers import assert_same_batch, assert_same_state, host, rows
from emulated_cuda import CAPTURING, ArrayInterface, emulated, needs_emulator

import metarl_core
from metarl_core import BufferEmptyError, CheckpointMismatchError, PrioritizedReplayBuffer, StaleIndexError
from metarl_core.replay import buffers, device_buffer
from metarl_core.replay.batch import Batch

pytestmark = needs_emulator

FLAT = {"obs": ((4,), np.float32), "action": ((), np.int64), "reward": ((), np.float32), "done": ((), bool)}
MANY = {
    "image": ((3, 20, 20), np.uint8),  # an array of its own
    "obs": ((5,), np.float32),
    "wide": ((3,), np.float64),
    "flags": ((3,), bool),
    "action": ((), np.int64),
    "small": ((), np.int8),
    "half": ((7,), np.float16),
    "complex": ((), np.complex64),
}


@pytest.fixture(autouse=True)
def emulator(monkeypatch):
    monkeypatch.setattr(device_buffer, "cuda_module", lambda _: emulated)


def pair(capacity, fields=None, **options):
    fields = FLAT if fields is None else fields
    device = PrioritizedReplayBuffer(capacity, fields, device="cuda", **options)
    return device, PrioritizedReplayBuffer(capacity, fields, **options)


def assert_same(device, cpu):
    ours, theirs = device.state_dict(), cpu.state_dict()
    theirs.pop("valid", None)  # after a batch larger than the buffer it says that all slots are valid
    assert_same_state(ours, theirs)
    assert len(device) == len(cpu)
    assert device.running_max_priority == cpu.running_max_priority
    assert device.stale_updates == cpu.stale_updates
    np.testing.assert_array_equal(device.priorities(), cpu.priorities())


@pytest.mark.parametrize("capacity", [1, 7, 100, 1500])
@pytest.mark.parametrize("fields", [FLAT, MANY], ids=["flat", "many"])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_mixed_sequences(capacity, fields, alpha):
    device, cpu = pair(capacity, fields, alpha=alpha, seed=3)
    rng = np.random.default_rng(capacity)
    old = None
    for step in range(7):
        n = int(rng.integers(1, 2 * capacity if step == 4 else max(capacity // 2, 1) + 1))  # also more than fits
        batch = rows(rng, fields, n)
        device.add(**batch)
        cpu.add(**batch)
        ours, theirs = device.sample(33, beta=0.5), cpu.sample(33, beta=0.5)
        assert_same_batch(ours, theirs)
        errors = (rng.standard_normal(33) * 10.0 ** (step - 3)).astype(np.float32 if step % 2 else np.float64)
        device.update_priorities(ours, errors)
        cpu.update_priorities(theirs, errors)
        if old is not None:  # some of whose slots were overwritten
            device.update_priorities(old[0], errors)
            cpu.update_priorities(old[1], errors)
        old = ours, theirs
        assert_same(device, cpu)
        indices = rng.integers(0, len(cpu), 20)  # with duplicates
        device.update_priorities(indices, np.arange(20.0))
        cpu.update_priorities(indices, np.arange(20.0))
        assert_same(device, cpu)
        for mode in ("stratified", "iid", "uniform"):
            assert_same_batch(device.sample(9, mode=mode), cpu.sample(9, mode=mode))
    device.check()


@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights(normalization, beta):
    device, cpu = pair(200, weight_normalization=normalization, beta=beta, stratified=False)
    batch = rows(np.random.default_rng(0), FLAT, 150)
    errors = np.random.default_rng(1).random(150) ** 4
    for buffer in (device, cpu):
        buffer.add(**batch)
        buffer.update_priorities(np.arange(150), errors)
    for given in (None, np.array([beta])):  # an array on the device
        assert_same_batch(device.sample(64, beta=given), cpu.sample(64))


def test_large_batches_take_the_kernels_of_several_blocks():
    device, cpu = pair(6000, {"x": ((3,), np.float32), "y": ((), np.uint8)}, alpha=0.7)
    rng = np.random.default_rng(2)
    for _ in range(2):
        batch = rows(rng, device.columns, 4000)
        device.add(**batch)
        cpu.add(**batch)
    indices, errors = rng.integers(0, 6000, 2500), rng.standard_normal(2500) * 50
    device.update_priorities(indices, errors)
    cpu.update_priorities(indices, errors)
    assert_same_batch(device.sample(700), cpu.sample(700))
    assert_same(device, cpu)


def test_more_fields_than_one_launch_copies():
    fields = {f"f{i}": ((i % 3 + 1,), np.int16) for i in range(30)}
    device, cpu = pair(20, fields)
    for _ in range(3):
        batch = rows(np.random.default_rng(5), fields, 15)
        device.add(**batch)
        cpu.add(**batch)
        assert_same_batch(device.sample(10), cpu.sample(10))


@pytest.mark.parametrize(
    "options",
    [
        {"eps": 0.0},
        {"eps": 0.5, "max_priority": 2.0},
        {"max_priority": 1e-3, "eps": 1e-4},
        {"alpha": 30.0, "eps": 1e-20, "max_priority": 100.0},  # powers underflow
    ],
)
def test_limits_of_priorities(options):
    device, cpu = pair(64, **options)
    batch = rows(np.random.default_rng(0), FLAT, 40)
    for errors in (np.zeros(20), np.array([0.0, 1e-9, -3.0, 80.0, 1e-20] * 4), np.full(20, 1e-12)):
        for buffer in (device, cpu):
            buffer.add(**batch)
            buffer.update_priorities(np.arange(20), errors)
        assert_same(device, cpu)
        assert_same_batch(device.sample(12), cpu.sample(12))


def test_masses_that_fit_a_batch_of_stale_slots_too():
    device, cpu = pair(50, alpha=0.6)
    batch = rows(np.random.default_rng(0), FLAT, 30)
    errors = np.random.default_rng(1).random(16) * 1e4
    held = []
    for buffer in (device, cpu):
        buffer.add(**batch)
        held.append(buffer.sample(16))
        buffer.add(**batch)
        buffer.update_priorities(held[-1], errors)
    assert cpu.stale_updates > 0
    assert_same(device, cpu)
    for buffer, sampled in zip((device, cpu), held, strict=True):
        buffer.clear()
        buffer.update_priorities(sampled, errors)  # all stale
        buffer.add(**batch)
        buffer.update_priorities(sampled, errors)
    assert_same(device, cpu)
    assert_same_batch(device.sample(16), cpu.sample(16))
    device.check()


def test_strict_updates():
    device, cpu = pair(10)
    batch = rows(np.random.default_rng(0), FLAT, 10)
    for buffer in (device, cpu):
        buffer.add(**batch)
    sampled = device.sample(8), cpu.sample(8)
    device.update_priorities(sampled[0], np.ones(8), strict=True)
    cpu.update_priorities(sampled[1], np.ones(8), strict=True)
    for buffer in (device, cpu):
        buffer.add(**batch)
    device.update_priorities(sampled[0], np.full(8, 9.0), strict=True)
    with pytest.raises(StaleIndexError, match=r"call number 4 of this buffer: index \d+ at position 0 is not in the"):
        device.check()
    with pytest.raises(StaleIndexError):
        cpu.update_priorities(sampled[1], np.full(8, 9.0), strict=True)
    assert_same(device, cpu)


def test_beta_schedules():
    schedule = metarl_core.LinearSchedule(0.4, 1.0, 5)
    device, cpu = pair(20, beta=schedule)
    batch = rows(np.random.default_rng(0), FLAT, 20)
    for buffer in (device, cpu):
        buffer.add(**batch)
        buffer.update_priorities(np.arange(20), np.arange(20.0))
    for _ in range(6):
        assert device.beta == cpu.beta
        assert_same_batch(device.sample(5), cpu.sample(5))
    device.beta = cpu.beta = 0.25
    assert_same_batch(device.sample(5), cpu.sample(5))
    with pytest.raises(ValueError, match="beta"):
        device.beta = -1.0


def test_nested_fields():
    fields = {
        "obs": {"image": ((2, 3), np.uint8), "state": (((2,), np.float32), ((), np.int64))},
        "reward": ((), np.float64),
    }
    device, cpu = pair(12, fields)
    for step in range(3):
        obs = {
            "image": np.full((5, 2, 3), step, np.uint8),
            "state": (np.full((5, 2), step / 2, np.float32), np.arange(5)),
        }
        for buffer in (device, cpu):
            buffer.add(obs=obs, reward=np.arange(5.0))
    ours, theirs = device.sample(6), cpu.sample(6)
    np.testing.assert_array_equal(ours["obs"]["image"].numpy(), theirs["obs"]["image"])
    np.testing.assert_array_equal(ours["obs"]["state"][1].numpy(), theirs["obs"]["state"][1])
    again = device.sample(6, out=ours)
    assert again is ours
    np.testing.assert_array_equal(ours["obs"]["state"][0].numpy(), cpu.sample(6)["obs"]["state"][0])
    assert_same(device, cpu)


class HostArray:
    """An array that only copies to NumPy: in host memory, for the emulator too."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


def test_rows_in_host_memory_are_converted_as_on_the_cpu():
    device, cpu = pair(10)
    one = {"obs": [1.0, 2.0, 3.0, 4.0], "action": 3, "reward": 0.1, "done": True}
    device.add(**one)
    cpu.add(**one)
    several = {
        "obs": HostArray(np.arange(24.0).reshape(6, 4)[:, ::-1]),  # float64, reversed
        "action": [1, 2, 3, 4, 5, 6],
        "reward": HostArray(np.arange(12.0)[::2]),
        "done": [True, False] * 3,
    }
    for _ in range(3):
        device.add(**several)
        cpu.add(**{name: np.asarray(value) for name, value in several.items()})
    assert_same(device, cpu)
    with pytest.raises(TypeError, match="'action' expected int64, got float64"):
        device.add(**(one | {"action": 0.5}))
    with pytest.raises(TypeError, match=r"1 of 4 columns on emulated:0 and the others in host memory"):
        device.add(**(several | {"action": np.arange(6)}))
    with pytest.raises(RuntimeError, match="records a graph, which cannot copy from host memory"):
        device.add(**one, stream=CAPTURING)
    assert_same(device, cpu)


# ---- errors ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("indices", "errors", "error", "message"),
    [
        (
            [3, 30],
            [1.0, 1.0],
            IndexError,
            "call number 1 of this buffer: index 30 at position 1 out of range for size 30",
        ),
        ([-1, 3], [1.0, 1.0], IndexError, "index -1 at position 0 out of range for size 30"),
        ([1, 2], [1.0, math.nan], ValueError, r"td_errors\[1\] is nan; must be finite"),
        ([1, 2], [-math.inf, 1.0], ValueError, r"td_errors\[0\] is -inf; must be finite"),
        ([1, 2], [1e39, 1.0], ValueError, r"td_errors\[0\] is 1e\+39; overflows float32"),
    ],
)
def test_bad_updates_change_nothing(indices, errors, error, message):
    device, cpu = pair(100)
    batch = rows(np.random.default_rng(0), FLAT, 30)
    for buffer in (device, cpu):
        buffer.add(**batch)
    device.update_priorities(np.array(indices), np.array(errors))
    assert_same(device, cpu)
    with pytest.raises(error, match=message):
        device.check()
    device.check()  # once
    if error is IndexError and indices[1] == 30:  # which is there when the error is found
        device.update_priorities(np.array(indices), np.array(errors))
        device.add(**batch)
        with pytest.raises(IndexError, match="index 30 at position 1 had not been written yet"):
            device.check()
    with pytest.raises(error):
        cpu.update_priorities(np.array(indices), np.array(errors))


def test_powers_that_overflow():
    device, cpu = pair(10, alpha=20.0)
    batch = rows(np.random.default_rng(0), FLAT, 10)
    for buffer in (device, cpu):
        buffer.add(**batch)
    device.update_priorities(np.arange(2), np.array([1.0, 1e20]))
    with pytest.raises(ValueError, match=r"td_errors\[1\] is 1e\+20; to the power of alpha it overflows"):
        device.check()
    with pytest.raises(ValueError, match="overflows"):
        cpu.update_priorities(np.arange(2), np.array([1.0, 1e20]))
    assert_same(device, cpu)


def test_samples_of_nothing_and_weights_that_overflow():
    device, cpu = pair(10, weight_normalization="none")
    batch = device.sample(4)
    assert not any(host(value).any() for value in batch.values())
    with pytest.raises(BufferEmptyError, match="call number 0 of this buffer: cannot sample"):
        device.check()
    given = rows(np.random.default_rng(0), FLAT, 10)
    for buffer in (device, cpu):
        buffer.add(**given)
        buffer.update_priorities(np.arange(10), np.array([100.0] + [1.0] * 9))
    for beta in (200.0, np.array([200.0])):
        device.sample(8, beta=beta)
        with pytest.raises(ValueError, match=r"beta is 200.0; the weight of an item overflows float32"):
            device.check()
    with pytest.raises(ValueError, match="overflows float32"):
        cpu.sample(8, beta=200.0)
    assert_same(device, cpu)
    assert_same_batch(device.sample(8), cpu.sample(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eviction": "reservoir"}, "eviction is 'reservoir'"),
        ({"storage": "mmap:folder"}, "storage is 'mmap:folder'"),
        ({"num_threads": 2}, "num_threads is 2"),
    ],
)
def test_options_that_are_missing(options, message):
    with pytest.raises(NotImplementedError, match=message):
        PrioritizedReplayBuffer(100, FLAT, device="cuda", **options)


def test_bad_arguments_raise_at_once():
    device, cpu = pair(10)
    good = rows(np.random.default_rng(0), FLAT, 3)
    device.add(**good)
    cpu.add(**good)
    index, error = np.arange(2), np.ones(2)
    new = PrioritizedReplayBuffer
    cases = [
        (lambda: new(0, FLAT, device="cuda"), ValueError, "capacity is 0"),
        (lambda: new(2**31, FLAT, device="cuda"), MemoryError, r"at most 2\*\*31 - 1"),
        (lambda: new(10, FLAT, alpha=-1.0, device="cuda"), ValueError, "alpha"),
        (lambda: new(10, FLAT, other=3, device="cuda"), TypeError, "other"),
        (lambda: new(10, {"s": ((), "S5")}, device="cuda"), TypeError, "dtype of field 's' is .*; on a GPU it must be"),
        (lambda: new(10, {"stream": ((), bool)}, device="cuda"), ValueError, "'stream' is reserved"),
        (lambda: new(10**9, FLAT, device="cuda"), MemoryError, r"cannot allocate \d+ bytes on emulated:0 for a"),
        (lambda: device.add(obs=good["obs"]), KeyError, "missing field 'action'"),
        (lambda: device.add(**good, more=error), KeyError, "unknown field 'more'"),
        (
            lambda: device.add(**(good | {"obs": good["obs"][:, :3].copy()})),
            ValueError,
            r"'obs' has shape \(3, 3\); must",
        ),
        (lambda: device.add(**(good | {"obs": good["obs"][:2]})), ValueError, "all must have the same"),
        (
            lambda: device.add(**(good | {"reward": np.ones(3)})),
            TypeError,
            "'reward' is of float64; must be",
        ),
        (lambda: device.add(**(good | {"obs": good["obs"][:, ::-1]})), ValueError, "'obs' has gaps or another order"),
        (lambda: device.add(**good, env_ids=index), NotImplementedError, "env_ids"),
        (lambda: device.sample(0), ValueError, "batch_size is 0"),
        (lambda: device.sample(4, mode="without_replacement"), ValueError, "mode is 'without_replacement'.*on a GPU"),
        (lambda: device.sample(4, beta=-1.0), ValueError, "beta is -1.0"),
        (lambda: device.sample(4, out=[]), TypeError, "out must be a Batch or a dict, got list"),
        (lambda: device.sample(4, out={}), KeyError, r"out\['obs'\] is missing"),
        (
            lambda: device.sample(4, out=device.sample(5)),
            ValueError,
            r"out\['obs'\] has shape \(5, 4\); must",
        ),
        (lambda: device.update_priorities(index, np.ones(3)), ValueError, r"indices has shape \(2,\), td_errors has"),
        (lambda: device.update_priorities(index.astype(np.int32), error), TypeError, "indices is of int32"),
        (lambda: device.update_priorities([1, 2], error), TypeError, "indices is a list"),
        (lambda: device.update_priorities(Batch(), error), TypeError, "not sampled from a buffer"),
        (lambda: device.priorities([3]), IndexError, "index 3 at position 0 out of range for size 3"),
    ]
    for call, kind, message in cases:
        with pytest.raises(kind, match=message):
            call()
    cpu.sample(5)  # as above
    assert_same(device, cpu)
    device.check()


def test_num_envs():
    device, cpu = pair(12, num_envs=3)
    batch = rows(np.random.default_rng(0), FLAT, 3)
    for _ in range(5):
        device.add(**batch)
        cpu.add(**batch)
    with pytest.raises(ValueError, match="add got 2 rows; with num_envs = 3"):
        device.add(**rows(np.random.default_rng(0), FLAT, 2))
    assert_same(device, cpu)


# ---- out= and graphs -------------------------------------------------------------------------------------------------
def test_out_is_written_and_returned():
    device, cpu = pair(30, MANY)
    batch = rows(np.random.default_rng(0), MANY, 30)
    device.add(**batch)
    cpu.add(**batch)
    reused = device.sample(6)
    assert_same_batch(reused, cpu.sample(6))
    assert device.sample(6, out=reused) is reused
    assert_same_batch(reused, cpu.sample(6))
    mine = {name: np.zeros_like(host(value)) for name, value in reused.items()}
    assert device.sample(6, out=mine) is mine
    assert_same_batch(mine, cpu.sample(6))
    with pytest.raises(ValueError, match="share memory"):
        device.sample(6, out=mine | {"weights": mine["probabilities"].view(np.float32)[:6]})
    assert_same(device, cpu)


def test_recording_a_graph_allocates_and_reads_nothing():
    device, cpu = pair(30)
    batch = rows(np.random.default_rng(0), FLAT, 20)
    errors = np.linspace(-5, 5, 8)
    device.add(**batch)
    cpu.add(**batch)
    out = device.sample(8)
    expected = cpu.sample(8)
    for _ in range(3):
        device.sample(8, beta=np.array([0.7]), out=out, stream=CAPTURING)
        device.update_priorities(out, errors, stream=CAPTURING)
        device.add(**batch, stream=CAPTURING)
        device.update_priorities(out, errors, stream=CAPTURING)
        expected = cpu.sample(8, beta=0.7)
        assert_same_batch(out, expected)
        cpu.update_priorities(expected, errors)
        cpu.add(**batch)
        cpu.update_priorities(expected, errors)
    assert_same(device, cpu)
    with pytest.raises(RuntimeError, match=r"records a graph.*pass out="):
        device.sample(8, stream=CAPTURING)
    device.check()


# ---- states and checkpoints ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [0, 20, 70])
def test_checkpoints_go_from_one_to_the_other(n, tmp_path):
    device, cpu = pair(50, MANY, seed=9)
    batch, more = rows(np.random.default_rng(0), MANY, n // 2), rows(np.random.default_rng(1), MANY, 7)
    for buffer in (device, cpu):
        if n > 0:
            buffer.add(**batch)
            buffer.add(**batch)
            buffer.update_priorities(np.arange(20), np.arange(20.0) ** 3)
            buffer.sample(5)
    assert device.to_bytes() == cpu.to_bytes()
    device.save(tmp_path / "device")
    cpu.save(tmp_path / "cpu")
    assert (tmp_path / "device").read_bytes() == (tmp_path / "cpu").read_bytes()
    loaded = PrioritizedReplayBuffer.load(tmp_path / "cpu", device="cuda")
    assert isinstance(loaded, device_buffer.DevicePrioritizedReplayBuffer)
    restored = PrioritizedReplayBuffer(50, MANY, seed=9, device="cuda")
    restored.add(**more)
    restored.restore(tmp_path / "cpu")
    dicted = PrioritizedReplayBuffer(50, MANY, seed=9, device="cuda")
    dicted.load_state_dict(cpu.state_dict())
    on_cpu = PrioritizedReplayBuffer.load(tmp_path / "device")
    assert type(on_cpu) is PrioritizedReplayBuffer
    for buffer in (loaded, restored, dicted, device, on_cpu, device.cpu()):
        other = PrioritizedReplayBuffer.load(tmp_path / "cpu")
        for goes_on in (buffer, other):
            goes_on.add(**more)
            goes_on.update_priorities(np.arange(7), np.full(7, 1e5))
        assert_same_batch(buffer.sample(30), other.sample(30))
        if type(buffer) is not PrioritizedReplayBuffer:
            assert_same(buffer, other)
            buffer.check()


def test_states_of_other_buffers_are_refused():
    device, _ = pair(20)
    other = PrioritizedReplayBuffer(20, FLAT, alpha=0.3)
    before = device.to_bytes()
    with pytest.raises(CheckpointMismatchError, match=r"alpha is 0.3 in the state"):
        device.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="'format'"):
        device.load_state_dict({})
    assert device.to_bytes() == before


def test_batches_from_before_clear_are_stale():
    device, cpu = pair(20)
    batch = rows(np.random.default_rng(0), FLAT, 20)
    held = []
    for buffer in (device, cpu):
        buffer.add(**batch)
        held.append(buffer.sample(10))
        buffer.clear()
    assert len(device) == 0
    for buffer, sampled in zip((device, cpu), held, strict=True):
        buffer.add(**batch)
        buffer.update_priorities(sampled, np.full(10, 100.0))
    assert device.stale_updates == 10
    assert_same(device, cpu)
    assert_same_batch(device.sample(10), cpu.sample(10))


# ---- other -----------------------------------------------------------------------------------------------------------
def test_the_class_keeps_its_signature():
    import inspect

    parameters = inspect.signature(PrioritizedReplayBuffer).parameters
    assert list(parameters)[:3] == ["capacity", "fields", "alpha"]
    assert "device" in parameters
    assert buffers.PrioritizedReplayBuffer is PrioritizedReplayBuffer


def test_properties():
    device, _ = pair(1000, MANY, seed=4)
    assert (device.capacity, device.seed, device.device, len(device)) == (1000, 4, "emulated:0", 0)
    assert device.columns.keys() == device.fields.keys() == MANY.keys()
    row = 1200 + 5 * 4 + 24 + 3 + 8 + 1 + 14 + 8
    assert row + 12 < device.bytes_per_transition < row + 40
    assert device.nbytes // 1000 == device.bytes_per_transition


def test_torch_reads_a_batch_in_place():
    torch = pytest.importorskip("torch")
    device, cpu = pair(20)
    batch = {name: torch.from_numpy(value) for name, value in rows(np.random.default_rng(0), FLAT, 20).items()}
    device.add(**batch)
    cpu.add(**{name: value.numpy() for name, value in batch.items()})
    sampled = device.sample(5)
    tensors = sampled.torch()
    expected = cpu.sample(5)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name])
    device.sample(5, out=sampled)
    np.testing.assert_array_equal(tensors["obs"].numpy(), cpu.sample(5)["obs"])
    device.update_priorities(sampled, torch.ones(5))
    device.check()


def test_cuda_array_interface_of_several_axes():
    device, cpu = pair(20)
    batch = rows(np.random.default_rng(0), FLAT, 6)
    device.add(**{name: ArrayInterface(value) for name, value in batch.items()})
    cpu.add(**batch)
    assert_same(device, cpu)
    obs = device.sample(3)["obs"]
    assert obs.__cuda_array_interface__["shape"] == (3, 4)
    assert repr(obs) == "DeviceArray(shape=(3, 4), dtype=float32, device='emulated:0')"
    assert np.from_dlpack(obs).shape == (3, 4)
