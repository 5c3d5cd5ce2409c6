"""The uniform replay buffer of the CUDA backend on the emulator, bit for bit against the CPU's."""

from __future__ import annotations

import numpy as np
import pytest
from device_replay_helpers import LinkedRows, assert_same_batch, assert_same_linked, linked_fields, rows
from emulated_cuda import CAPTURING, emulated, needs_emulator

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer, StaleIndexError
from metarl_core.replay import device_buffer
from metarl_core.replay.seeding import make_seeded

pytestmark = needs_emulator

FLAT = {"obs": ((4,), np.float32), "action": ((), np.int64), "done": ((), bool)}


@pytest.fixture(autouse=True)
def emulator(monkeypatch):
    monkeypatch.setattr(device_buffer, "cuda_module", lambda _: emulated)


def pair(capacity, fields, **options):
    return ReplayBuffer(capacity, fields, device="cuda", **options), ReplayBuffer(capacity, fields, **options)


@pytest.mark.parametrize("capacity", [1, 7, 100, 1500])
def test_mixed_sequences(capacity):
    device, cpu = pair(capacity, FLAT, seed=3)
    assert isinstance(device, device_buffer.DeviceReplayBuffer)
    assert not isinstance(device, device_buffer.DevicePrioritizedReplayBuffer)
    rng = np.random.default_rng(capacity)
    for step in range(6):
        batch = rows(rng, FLAT, int(rng.integers(1, 2 * capacity if step == 4 else max(capacity // 2, 1) + 1)))
        device.add(**batch)
        cpu.add(**batch)
        for mode in (None, "stratified", "iid", "uniform"):
            ours, theirs = device.sample(33, mode=mode), cpu.sample(33, mode=mode)
            assert_same_batch(ours, theirs)
        device.update_priorities(ours, np.ones(33))
        cpu.update_priorities(theirs, np.ones(33))
        assert_same_linked(device, cpu)
    device.sample(33, out=ours, stream=CAPTURING)
    assert_same_batch(ours, cpu.sample(33))
    device.check()


@pytest.mark.parametrize(
    "options",
    [
        {"n_step": 3},
        {"next_obs": "next", "n_step": 2},
        {"frame_stack": 3, "autoreset_mode": "next_step"},
        {"sequence_length": 4, "burn_in": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("num_envs", [1, 3])
def test_links_and_checkpoints(num_envs, options, tmp_path):
    stack = options.get("frame_stack", 1)
    fields = linked_fields(stack)
    device, cpu = pair(50, fields, num_envs=num_envs, **options)
    made = LinkedRows(fields, num_envs, stack, seed=1)
    for _ in range(30):
        batch = made.next(5 if num_envs == 1 else 1)
        device.add(**batch)
        cpu.add(**batch)
    assert_same_linked(device, cpu)
    assert_same_batch(device.sample(20), cpu.sample(20))
    device.save(tmp_path / "device")
    cpu.save(tmp_path / "cpu")
    loaded = ReplayBuffer.load(tmp_path / "cpu", device="cuda")
    on_cpu = ReplayBuffer.load(tmp_path / "device")
    dicted = ReplayBuffer(50, fields, num_envs=num_envs, device="cuda", **options)
    dicted.load_state_dict(cpu.state_dict())
    for _ in range(10):
        batch = made.next(5 if num_envs == 1 else 1)
        for buffer in (cpu, loaded, on_cpu, dicted):
            buffer.add(**batch)
    assert_same_linked(loaded, cpu)
    expected = cpu.sample(20)
    for buffer in (loaded, on_cpu, dicted):
        assert_same_batch(buffer.sample(20), expected)


def test_updates_check_their_arguments_and_change_nothing():
    device, cpu = pair(10, FLAT)
    with pytest.raises(BufferEmptyError):
        cpu.sample(3)
    device.sample(3)
    with pytest.raises(BufferEmptyError, match="cannot sample"):
        device.check()
    batch = rows(np.random.default_rng(0), FLAT, 8)
    for buffer in (device, cpu):
        buffer.add(**batch)
    sampled = device.sample(6), cpu.sample(6)
    assert_same_batch(*sampled)
    for indices, errors, error, message in (
        (np.array([3, 8]), np.ones(2), IndexError, "index 8 at position 1 out of range for size 8"),
        (np.array([3, 4]), np.array([1.0, np.nan]), ValueError, r"td_errors\[1\] is nan; must be finite"),
    ):
        device.update_priorities(indices, errors)
        with pytest.raises(error, match=message):
            device.check()
        with pytest.raises(error):
            cpu.update_priorities(indices, errors)
    for buffer in (device, cpu):
        buffer.add(**batch)
    device.update_priorities(sampled[0], np.ones(6))
    cpu.update_priorities(sampled[1], np.ones(6))
    device.check()
    device.update_priorities(sampled[0], np.ones(6), strict=True)
    with pytest.raises(StaleIndexError):
        device.check()
    with pytest.raises(StaleIndexError):
        cpu.update_priorities(sampled[1], np.ones(6), strict=True)
    for buffer in (device, cpu):
        buffer.clear()
        buffer.add(**batch)
    assert_same_linked(device, cpu)
    assert_same_batch(device.sample(6), cpu.sample(6))
    assert not hasattr(device, "priorities")


def test_arguments():
    with pytest.raises(TypeError, match="alpha"):
        ReplayBuffer(10, FLAT, alpha=0.5, device="cuda")
    with pytest.raises(NotImplementedError, match="eviction is 'reservoir'"):
        ReplayBuffer(10, FLAT, eviction="reservoir", device="cuda")
    device = ReplayBuffer(10, FLAT, device="cuda")
    with pytest.raises(ValueError, match="mode is 'without_replacement'"):
        device.sample(3, mode="without_replacement")
    assert type(ReplayBuffer(10, FLAT, device="cpu")) is ReplayBuffer
    assert type(PrioritizedReplayBuffer(10, FLAT)) is PrioritizedReplayBuffer


def test_buffers_for_other_libraries_without_a_seed(tmp_path):
    """What is drawn is a seed on a GPU, which has no random streams, and a random stream on the CPU."""
    on_gpu = make_seeded(ReplayBuffer, 8, FLAT, seed=None, drawn=5, device="cuda")
    on_cpu = make_seeded(ReplayBuffer, 8, FLAT, seed=None, drawn=5)
    assert (on_gpu.seed, on_cpu.seed) == (5, 0)
    assert make_seeded(ReplayBuffer, 8, FLAT, seed=3, drawn=5, device="cuda").seed == 3
    on_cpu.save(tmp_path / "replay")
    with pytest.raises(NotImplementedError, match="was made without a seed"):
        ReplayBuffer.load(tmp_path / "replay", device="cuda")
