"""What links transitions in the replay buffer of the CUDA backend, on the emulator: bit for bit against the CPU's."""

from __future__ import annotations

import numpy as np
import pytest
from device_replay_helpers import LinkedRows, assert_same_batch, assert_same_linked, linked_fields
from emulated_cuda import CAPTURING, emulated, needs_emulator

from metarl_core import CheckpointMismatchError, PrioritizedReplayBuffer
from metarl_core.replay import device_buffer

pytestmark = needs_emulator

LINKS = [
    {"n_step": 3},
    {"n_step": 4, "gamma": 0.5, "autoreset_mode": "next_step"},
    {"next_obs": "next"},
    {"next_obs": "next", "n_step": 3, "gamma": 0.9},
    {"frame_stack": 4},
    {"frame_stack": 3, "n_step": 2},
    {"frame_stack": 3, "autoreset_mode": "next_step", "n_step": 5},
    {"autoreset_mode": "next_step"},
]


@pytest.fixture(autouse=True)
def emulator(monkeypatch):
    monkeypatch.setattr(device_buffer, "cuda_module", lambda _: emulated)


def pair(capacity, fields, **options):
    device = PrioritizedReplayBuffer(capacity, fields, device="cuda", **options)
    return device, PrioritizedReplayBuffer(capacity, fields, **options)


def name_of(options):
    return "-".join(f"{name}={value}" for name, value in options.items())


@pytest.mark.parametrize("options", LINKS, ids=name_of)
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("capacity", [16, 50])
def test_mixed_sequences(capacity, options, num_envs):
    fields = linked_fields(options.get("frame_stack", 1))
    device, cpu = pair(capacity, fields, num_envs=num_envs, seed=5, **options)
    made = LinkedRows(fields, num_envs, options.get("frame_stack", 1), seed=capacity)
    rng = np.random.default_rng(1)
    old = None
    for step in range(16):
        for _ in range(1 if num_envs == 1 else 4):
            batch = made.next(int(rng.integers(1, 3 * capacity if step == 13 else 12)) if num_envs == 1 else 1)
            device.add(**batch)
            cpu.add(**batch)
        assert_same_linked(device, cpu)
        if len(cpu) == 0:
            continue
        ours, theirs = device.sample(19, beta=0.5), cpu.sample(19, beta=0.5)
        assert_same_batch(ours, theirs)
        errors = (rng.standard_normal(19) * 10.0 ** (step % 5 - 2)).astype(np.float32)
        for sampled in ((ours, theirs), old):
            if sampled is not None:  # some of whose slots were overwritten
                device.update_priorities(sampled[0], errors)
                cpu.update_priorities(sampled[1], errors)
        old = ours, theirs
        assert_same_linked(device, cpu)
        for mode in ("iid", "uniform"):
            assert_same_batch(device.sample(7, mode=mode), cpu.sample(7, mode=mode))
    assert cpu.stale_updates > 0
    device.check()


def test_rewards_in_double_precision_and_nested_fields():
    fields = {
        "obs": {"a": ((2, 3), np.float32), "b": ((), np.int16)},
        "next_obs": {"a": ((2, 3), np.float32), "b": ((), np.int16)},
        "reward": ((), np.float64),
        "terminated": ((), bool),
    }
    device, cpu = pair(40, fields, n_step=3, frame_stack={"obs.a": 2})
    rng = np.random.default_rng(0)
    frames = rng.random((41, 3)).astype(np.float32)
    stacks = np.stack([frames[:-1], frames[1:]], axis=1)
    numbers = np.arange(41).astype(np.int16)
    batch = {
        "obs": {"a": stacks[:-1].copy(), "b": numbers[:39]},
        "next_obs": {"a": stacks[1:].copy(), "b": numbers[1:40]},
        "reward": rng.standard_normal(39),
        "terminated": rng.random(39) < 0.2,
    }
    for _ in range(3):
        device.add(**batch)
        cpu.add(**batch)
        assert_same_linked(device, cpu)
        ours, theirs = device.sample(20), cpu.sample(20)
        for name in ("reward", "discount", "indices"):
            np.testing.assert_array_equal(ours[name].numpy(), theirs[name], err_msg=name)
        for group in ("obs", "next_obs"):
            for name in ("a", "b"):
                np.testing.assert_array_equal(ours[group][name].numpy(), theirs[group][name])
    device.check()


@pytest.mark.parametrize(("options", "count"), [({"n_step": 2, "next_obs": "next"}, 5000), ({"frame_stack": 2}, 3000)])
def test_batches_of_more_rows_than_one_part_takes(options, count):
    fields = linked_fields(options.get("frame_stack", 1))
    device, cpu = pair(12_000, fields, alpha=0.7, **options)
    made = LinkedRows(fields, 1, options.get("frame_stack", 1), seed=2)
    for _ in range(3):
        batch = made.next(count)
        device.add(**batch)
        cpu.add(**batch)
    assert_same_linked(device, cpu)
    assert_same_batch(device.sample(600), cpu.sample(600))


def test_environments_that_wait_for_one_another_longer_than_the_ring_lasts():
    fields = linked_fields(1)
    for capacity, options in ((18, {"next_obs": "next"}), (9, {"n_step": 2})):
        device, cpu = pair(capacity, fields, num_envs=9, **options)  # each overwrites what another one would continue
        made = LinkedRows(fields, 9, 1, seed=4)
        for _ in range(30):
            batch = made.next(1)
            device.add(**batch)
            cpu.add(**batch)
            assert_same_linked(device, cpu)
        assert_same_batch(device.sample(8), cpu.sample(8))


def test_stacks_that_do_not_move_on_change_nothing():
    fields = linked_fields(3)
    device, cpu = pair(60, fields, frame_stack=3)
    made = LinkedRows(fields, 1, 3, seed=0)
    batch, other = made.next(20), made.next(20)
    for buffer in (device, cpu):
        buffer.add(**batch)
    broken = other | {"next_obs": other["next_obs"].copy()}
    broken["next_obs"][[7, 11], 0] += 1
    device.add(**broken)
    assert_same_linked(device, cpu)
    message = "'next_obs' of row 7 is not 'obs' moved on by one frame"
    with pytest.raises(ValueError, match=f"call number 1 of this buffer: {message}"):
        device.check()
    with pytest.raises(ValueError, match=message):
        cpu.add(**broken)
    for buffer in (device, cpu):
        buffer.add(**other)
    assert_same_linked(device, cpu)
    device.check()


def test_a_sample_of_nothing():
    device = PrioritizedReplayBuffer(30, linked_fields(2), frame_stack=2, n_step=3, device="cuda")
    batch = device.sample(4)
    assert "discount" in batch
    assert not any(value.numpy().any() for value in batch.values())
    assert len(device) == 0


@pytest.mark.parametrize("options", [{"n_step": 3}, {"frame_stack": 3, "n_step": 2}], ids=name_of)
def test_recording_a_graph_allocates_and_reads_nothing(options):
    stack = options.get("frame_stack", 1)
    fields = linked_fields(stack)
    device, cpu = pair(40, fields, num_envs=4, **options)
    made = LinkedRows(fields, 4, stack, seed=1)
    for _ in range(5):
        batch = made.next(1)
        for buffer in (device, cpu):
            buffer.add(**batch)
    out, expected = device.sample(8), cpu.sample(8)
    assert_same_batch(out, expected)
    errors = np.linspace(-5, 5, 8)
    for _ in range(12):
        batch = made.next(1)
        device.add(**batch, stream=CAPTURING)
        assert device.sample(8, out=out, stream=CAPTURING) is out
        device.update_priorities(out, errors, stream=CAPTURING)
        cpu.add(**batch)
        expected = cpu.sample(8)
        assert_same_batch(out, expected)
        cpu.update_priorities(expected, errors)
    assert_same_linked(device, cpu)
    device.check()


@pytest.mark.parametrize("options", LINKS, ids=name_of)
def test_checkpoints_go_from_one_to_the_other(options, tmp_path):
    stack = options.get("frame_stack", 1)
    fields = linked_fields(stack)
    device, cpu = pair(50, fields, num_envs=2, **options)
    made = LinkedRows(fields, 2, stack, seed=6)
    for _ in range(40):
        batch = made.next(1)
        for buffer in (device, cpu):
            buffer.add(**batch)
    device.save(tmp_path / "device")
    cpu.save(tmp_path / "cpu")
    loaded = PrioritizedReplayBuffer.load(tmp_path / "cpu", device="cuda")
    on_cpu = PrioritizedReplayBuffer.load(tmp_path / "device")
    dicted = PrioritizedReplayBuffer(50, fields, num_envs=2, device="cuda", **options)
    dicted.load_state_dict(cpu.state_dict())
    for _ in range(30):
        batch = made.next(1)
        for buffer in (device, cpu, loaded, on_cpu, dicted):
            buffer.add(**batch)
    for buffer in (device, loaded, dicted):
        assert_same_linked(buffer, cpu)
    expected = cpu.sample(30)
    for buffer in (device, loaded, dicted):
        assert_same_batch(buffer.sample(30), expected)
    assert_same_batch(on_cpu.sample(30), expected)
    other = PrioritizedReplayBuffer(50, fields, num_envs=1, device="cuda", **options)
    with pytest.raises(CheckpointMismatchError, match="num_envs is 2 in the"):
        other.restore(tmp_path / "cpu")


def test_clear_begins_all_streams_anew():
    fields = linked_fields(2)
    device, cpu = pair(50, fields, num_envs=2, frame_stack=2)
    made = LinkedRows(fields, 2, 2, seed=6)
    for round_ in range(2):
        for _ in range(20):
            batch = made.next(1)
            for buffer in (device, cpu):
                buffer.add(**batch)
        assert_same_linked(device, cpu)
        assert_same_batch(device.sample(9), cpu.sample(9))
        if round_ == 0:
            for buffer in (device, cpu):
                buffer.clear()
            assert len(device) == 0


@pytest.mark.parametrize(
    ("capacity", "options", "message"),
    [
        (5, {"frame_stack": 3}, r"capacity is 5; with these options it must be in \[10,"),
        (2**30 + 1, {"n_step": 3}, r"capacity is 1073741825; with these options it must be in \[6, 1073741824\]"),
        (20, {"next_obs": "next", "num_envs": 11}, r"num_envs is 11; must be in \[1, 10\]"),
        (20, {"n_step": 0}, "n_step is 0; must be >= 1"),
        (20, {"n_step": 30}, "n_step is 30; must be at most the capacity, 20"),
        (20, {"n_step": 3, "gamma": 2.0}, "gamma is 2.0"),
    ],
)
def test_bad_arguments(capacity, options, message):
    fields = linked_fields(options.get("frame_stack", 1))
    if capacity > 2**30:
        fields = {"terminated": ((), bool), "reward": ((), np.float32)}
    with pytest.raises(ValueError, match=message):
        PrioritizedReplayBuffer(capacity, fields, device="cuda", **options)


SEQUENCES = [
    {"sequence_length": 4},
    {"sequence_length": 5, "burn_in": 2, "stride": 1, "recurrent_fields": ["image"], "priority_mix": 0.7},
    {"sequence_length": 6, "burn_in": 1, "stride": 3, "next_obs": "next", "recurrent_fields": ["image", "reward"]},
    {"sequence_length": 3, "stride": 2, "frame_stack": 3},
]


@pytest.mark.parametrize("options", SEQUENCES, ids=name_of)
@pytest.mark.parametrize(("capacity", "num_envs"), [(24, 1), (60, 3), (400, 1)])
def test_sequences(capacity, num_envs, options):
    stack, length = options.get("frame_stack", 1), options["sequence_length"]
    fields = linked_fields(stack)
    device, cpu = pair(capacity, fields, num_envs=num_envs, seed=5, **options)
    made = LinkedRows(fields, num_envs, stack, seed=capacity)
    rng = np.random.default_rng(1)
    old = None
    for step in range(14):
        for _ in range(1 if num_envs == 1 else 6):
            batch = made.next(int(rng.integers(1, 3 * capacity if step == 9 else 30)) if num_envs == 1 else 1)
            device.add(**batch)
            cpu.add(**batch)
        assert_same_linked(device, cpu)
        if len(cpu) == 0:
            continue
        ours, theirs = device.sample(11, beta=0.5), cpu.sample(11, beta=0.5)
        assert_same_batch(ours, theirs)
        shape = (11, length) if step % 3 else (11,)
        errors = (rng.standard_normal(shape) * 10.0 ** (step % 5 - 2)).astype(np.float32 if step % 2 else np.float64)
        for sampled in ((ours, theirs), old):
            if sampled is not None:  # some of whose slots were overwritten
                device.update_priorities(sampled[0], errors)
                cpu.update_priorities(sampled[1], errors)
        old = ours, theirs
        assert_same_linked(device, cpu)
    assert_same_batch(device.sample(11, beta=0.5, out=ours), cpu.sample(11, beta=0.5))
    device.check()


def test_errors_of_steps():
    fields = linked_fields(1)
    device, cpu = pair(40, fields, sequence_length=4, burn_in=1)
    made = LinkedRows(fields, 1, 1, seed=0)
    batch = made.next(40)
    for buffer in (device, cpu):
        buffer.add(**batch)
    ours, theirs = device.sample(6), cpu.sample(6)
    for buffer, sampled in ((device, ours), (cpu, theirs)):  # the first step does not count
        buffer.update_priorities(sampled, np.array([[np.nan, 1.0, -2.0, 3.0]] * 6))
        buffer.update_priorities(sampled["indices"], np.array([[np.inf, 3.0, 1.0, 1.0]] * 6))  # all steps exist
    assert_same_linked(device, cpu)
    device.check()
    device.update_priorities(ours, np.array([[1.0] * 4] * 3 + [[1.0, np.inf, 1.0, 1.0]] + [[1.0] * 4] * 2))
    with pytest.raises(ValueError, match=r"td_errors\[3\] is inf; must be finite"):
        device.check()
    assert_same_linked(device, cpu)
    with pytest.raises(ValueError, match=r"td_errors has shape \(6, 3\); must have shape \(6, 4\)"):
        device.update_priorities(ours, np.ones((6, 3)))


def test_checkpoints_of_sequences(tmp_path):
    fields = linked_fields(2)
    options = {"sequence_length": 5, "stride": 2, "frame_stack": 2, "num_envs": 3}
    device, cpu = pair(80, fields, **options)
    made = LinkedRows(fields, 3, 2, seed=6)
    for _ in range(31):
        batch = made.next(1)
        for buffer in (device, cpu):
            buffer.add(**batch)
    device.save(tmp_path / "device")
    cpu.save(tmp_path / "cpu")
    loaded = PrioritizedReplayBuffer.load(tmp_path / "cpu", device="cuda")
    on_cpu = PrioritizedReplayBuffer.load(tmp_path / "device")
    for _ in range(30):
        batch = made.next(1)
        for buffer in (device, cpu, loaded, on_cpu):
            buffer.add(**batch)
    assert_same_linked(loaded, cpu)
    expected = cpu.sample(30)
    assert_same_batch(loaded.sample(30), expected)
    assert_same_batch(on_cpu.sample(30), expected)
