"""Tasks of the replay buffers of the CUDA backend on the emulator, bit for bit against the CPU's."""

from __future__ import annotations

import numpy as np
import pytest
from device_replay_helpers import (
    LinkedRows,
    TaskRows,
    assert_same_batch,
    assert_same_tasks,
    linked_fields,
)
from emulated_cuda import CAPTURING, emulated, needs_emulator
from sampling_oracles import NORMALIZATIONS

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer, StaleIndexError
from metarl_core.replay import device_buffer

pytestmark = needs_emulator

KINDS = [ReplayBuffer, PrioritizedReplayBuffer]
MODES = ["stratified", "iid", "uniform"]


@pytest.fixture(autouse=True)
def emulator(monkeypatch):
    monkeypatch.setattr(device_buffer, "cuda_module", lambda _: emulated)


def pair(kind, capacity, fields=TaskRows.FIELDS, **options):
    options = {"task_field": "task_id", "seed": 4, **options}
    return kind(capacity, fields, device="cuda", **options), kind(capacity, fields, **options)


def mixtures(tasks):
    """Ways to name tasks of those that are present, some of which get nothing."""
    tasks = list(tasks)
    weights = np.zeros(max(tasks) + 1)
    weights[tasks] = np.arange(1, len(tasks) + 1) ** 1.5
    yield {"task": tasks[-1]}
    yield {"task_weights": "balanced"}
    yield {"task_weights": {tasks[0]: 0.3, tasks[-1]: 1e-3, 99: 0.0}}
    yield {"task_weights": weights.tolist()}
    yield {"task_weights": weights}  # on the emulator this lies on the device
    yield {"task_weights": weights.astype(np.float32)}


def draw_both(device, cpu, n, **arguments):
    ours, theirs = device.sample(n, **arguments), cpu.sample(n, **arguments)
    assert_same_batch(ours, theirs)
    return ours, theirs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capacity", [1, 7, 600])
def test_mixed_sequences(kind, capacity):
    device, cpu = pair(kind, capacity)
    made = TaskRows(capacity)
    rng = np.random.default_rng(capacity)
    old = None
    for step in range(12):
        rows = made.next(int(rng.integers(1, 2 * capacity if step == 7 else max(capacity // 2, 1) + 1)))
        device.add(**rows)
        cpu.add(**rows)
        assert_same_tasks(device, cpu)
        for k, mixture in enumerate(mixtures(cpu.task_counts())):
            if k % 3 == step % 3:
                sampled = draw_both(
                    device, cpu, 21, mode=MODES[(step + k) % 3], beta=[0.0, 0.4, 1.0][step % 3], **mixture
                )
        draw_both(device, cpu, 21)
        errors = rng.standard_normal(21) * 10.0 ** (3 * (step % 5 - 2))
        for batch in (sampled, old):
            if batch is not None:
                device.update_priorities(batch[0], errors)
                cpu.update_priorities(batch[1], errors)
        old = sampled
    assert_same_tasks(device, cpu)
    device.check()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("n", [60, 700])
def test_weights(normalization, n):
    device, cpu = pair(PrioritizedReplayBuffer, 500, weight_normalization=normalization, alpha=1.0, eps=0.0)
    rows = TaskRows(1).next(640)
    errors = np.random.default_rng(2).random(500) * (np.random.default_rng(3).random(500) > 0.2)
    errors[rows["task_id"][140:] == rows["task_id"][140]] = 0.0  # a task without mass
    for buffer in (device, cpu):
        buffer.add(**rows)
        buffer.update_priorities(np.arange(500), errors)
    assert_same_tasks(device, cpu)
    for k, mixture in enumerate(mixtures(cpu.task_counts())):
        for mode in MODES:
            draw_both(device, cpu, n, beta=[0.0, 0.4, 1.0][(k + MODES.index(mode)) % 3], mode=mode, **mixture)
    if normalization == "none":
        device.sample(n, beta=200.0, mode="uniform", task_weights="balanced")
        with pytest.raises(ValueError, match=r"beta is 200.0; the weight of an item overflows float32"):
            device.check()
        with pytest.raises(ValueError, match="overflows float32"):
            cpu.sample(n, beta=200.0, mode="uniform", task_weights="balanced")
    draw_both(device, cpu, n, task_weights="balanced")
    for buffer in (device, cpu):
        buffer.update_priorities(np.arange(500), np.zeros(500))
    draw_both(device, cpu, n, task_weights="balanced")  # nothing has mass
    device.check()


@pytest.mark.parametrize("kind", KINDS)
def test_many_rows_and_many_tasks(kind):
    """Several chunks, regions that are made anew, more changes than the list holds, several launches a call."""
    device, cpu = pair(kind, 5000)
    rng = np.random.default_rng(0)
    for step, n in enumerate((2500, 500, 7000, 300, 5000)):
        tasks = rng.integers(0, 400, n) ** 2 % 65536 if step != 2 else np.full(n, 7)
        rows = {"x": rng.random((n, 3)).astype(np.float32), "task_id": tasks.astype(np.int32)}
        device.add(**rows)
        cpu.add(**rows)
        sampled = draw_both(device, cpu, 600, task_weights="balanced")
        weights = {task: 1.0 / (task + 1) for task in cpu.task_counts()}
        draw_both(device, cpu, 600, task_weights=weights)  # of so many tasks they are copied over
        many = rng.integers(0, len(cpu), 2500)
        for (ours, theirs), count in ((sampled, 600), ((many, many), 2500)):
            errors = rng.standard_normal(count) * 10.0 ** (3 * step - 6)
            device.update_priorities(ours, errors)
            cpu.update_priorities(theirs, errors)
        assert_same_tasks(device, cpu)
    device.check()


def test_a_buffer_too_large_for_one_block():
    device, cpu = pair(PrioritizedReplayBuffer, 300_000, {"task_id": ((), np.uint16)})
    rng = np.random.default_rng(0)
    for step in range(3):
        rows = {"task_id": (rng.random(900) ** 3 * 2000).astype(np.uint16)}
        for buffer in (device, cpu):
            buffer.add(**rows)
        ours, theirs = draw_both(device, cpu, 100, task_weights="balanced")
        errors = rng.standard_normal(100) * 10.0**step
        device.update_priorities(ours, errors)
        cpu.update_priorities(theirs, errors)
    assert_same_tasks(device, cpu)


@pytest.mark.parametrize(
    ("capacity", "width", "counts"),
    [(700, 1, (500, (1 << 18) + 500, 300)), (300, 1 << 18, (200, 270)), ((1 << 17) + 300, 1, (200, 1 << 18))],
    ids=["long", "wide", "large"],
)
def test_so_many_rows_that_the_cpu_takes_them_in_portions(capacity, width, counts):
    """Ctrl-C may come between two of them, so tasks leave and join portion by portion there."""
    device, cpu = pair(ReplayBuffer, capacity, {"task_id": ((), np.uint8), "x": ((width,), np.uint8)})
    rng = np.random.default_rng(0)
    for n in counts:
        rows = {"task_id": rng.integers(0, 5, n).astype(np.uint8), "x": np.zeros((n, width), np.uint8)}
        device.add(**rows)
        cpu.add(**rows)
        assert_same_tasks(device, cpu)
        draw_both(device, cpu, 50, task_weights="balanced")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.uint64])
def test_dtypes(dtype):
    fields = {"task_id": ((), dtype), "x": ((), np.uint8)}
    device, cpu = pair(ReplayBuffer, 50, fields)
    largest = int(min(np.iinfo(dtype).max, 65535))
    for value in (0, 3, largest):
        for buffer in (device, cpu):
            buffer.add(task_id=np.full(20, value, dtype), x=np.arange(20, dtype=np.uint8))
    draw_both(device, cpu, 30, task_weights="balanced")
    assert_same_tasks(device, cpu)
    bad = -1 if np.dtype(dtype).kind == "i" else int(np.iinfo(dtype).max)
    if 0 <= bad <= 65535:
        return
    rows = {"task_id": np.array([1, bad], dtype), "x": np.zeros(2, np.uint8)}
    device.add(**rows)
    message = rf"task_id\[1\] is {bad}; must be in \[0, 65535\]"
    with pytest.raises(ValueError, match="call number .* of this buffer: " + message):
        device.check()
    with pytest.raises(ValueError, match=message):
        cpu.add(**rows)
    assert_same_tasks(device, cpu)
    device.add(task_id=np.array([bad], dtype), x=np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match=rf"task_id is {bad}; must be"):
        device.check()
    draw_both(device, cpu, 30, task_weights="balanced")


LINKS = [
    {"n_step": 3},
    {"next_obs": "next", "n_step": 2},
    {"frame_stack": 3, "autoreset_mode": "next_step"},
    {"sequence_length": 4, "burn_in": 1},
    {"sequence_length": 6, "stride": 2, "next_obs": "next"},
    {"sequence_length": 3, "stride": 1, "frame_stack": 3},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", LINKS, ids=str)
@pytest.mark.parametrize(("capacity", "num_envs"), [(24, 1), (60, 3)])
def test_links(kind, options, capacity, num_envs):
    stack = options.get("frame_stack", 1)
    fields = {**linked_fields(stack), "task_id": ((), np.uint8)}
    device, cpu = pair(kind, capacity, fields, num_envs=num_envs, **options)
    made = LinkedRows(linked_fields(stack), num_envs, stack, seed=capacity)
    rng = np.random.default_rng(1)
    old = None
    for step in range(16):
        n = int(rng.integers(1, 3 * capacity if step == 11 else 12)) if num_envs == 1 else 1
        rows = made.next(n)
        rows["task_id"] = ((np.arange(len(rows["reward"])) // 5 + step) % (1 + step % 6)).astype(np.uint8)
        device.add(**rows)
        cpu.add(**rows)
        assert_same_tasks(device, cpu)
        if len(cpu) == 0:
            continue
        sampled = draw_both(device, cpu, 15, beta=0.5, task_weights="balanced", mode=MODES[step % 3])
        errors = (rng.standard_normal(15) * 10.0 ** (2 * (step % 5 - 2))).astype(np.float32)
        for batch in (sampled, old):
            if batch is not None:
                device.update_priorities(batch[0], errors)
                cpu.update_priorities(batch[1], errors)
        old = sampled
    assert_same_tasks(device, cpu)
    device.check()


def test_a_bad_task_of_a_linked_buffer_changes_nothing():
    fields = {**linked_fields(3), "task_id": ((), np.int32)}
    device, cpu = pair(PrioritizedReplayBuffer, 60, fields, frame_stack=3)
    made = LinkedRows(linked_fields(3), 1, 3, seed=0)
    rows = {**made.next(20), "task_id": np.arange(20, dtype=np.int32) % 3}
    for buffer in (device, cpu):
        buffer.add(**rows)
    broken = {**made.next(20), "task_id": np.arange(20, dtype=np.int32)}
    broken["next_obs"][3, 0] += 1
    broken["task_id"][[5, 9]] = 70_000, -1
    device.add(**broken)
    with pytest.raises(ValueError, match=r"task_id\[5\] is 70000; must be in \[0, 65535\]"):
        device.check()
    with pytest.raises(ValueError, match=r"task_id\[5\] is 70000; must be in \[0, 65535\]"):
        cpu.add(**broken)
    assert_same_tasks(device, cpu)
    broken["task_id"][[5, 9]] = 0
    device.add(**broken)
    with pytest.raises(ValueError, match="'next_obs' of row 3 is not 'obs' moved on"):
        device.check()
    assert_same_tasks(device, cpu)
    draw_both(device, cpu, 9, task_weights="balanced")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"n_step": 2}, {"sequence_length": 3, "next_obs": "next"}], ids=str)
def test_clear_task_and_checkpoints(kind, options, tmp_path):
    fields = {**linked_fields(1), "task_id": ((), np.int16)}
    device, cpu = pair(kind, 80, fields, **options)
    made = LinkedRows(linked_fields(1), 1, 1, seed=3)

    def add(buffers, n=30):
        rows = {**made.next(n), "task_id": (made.rng.integers(0, 5, n) ** 2).astype(np.int16)}
        for buffer in buffers:
            buffer.add(**rows)

    for _ in range(4):
        add((device, cpu))
    old = draw_both(device, cpu, 12, task_weights="balanced")
    task = max(cpu.task_counts(), key=cpu.task_counts().get)
    assert device.clear_task(task) == cpu.clear_task(task) > 0
    assert device.clear_task(task) == cpu.clear_task(task)
    assert device.clear_task(12_345) == 0
    assert_same_tasks(device, cpu)
    device.update_priorities(old[0], np.ones(12))
    cpu.update_priorities(old[1], np.ones(12))
    assert_same_tasks(device, cpu)
    add((device, cpu))
    device.save(tmp_path / "device")
    cpu.save(tmp_path / "cpu")
    assert (tmp_path / "device").read_bytes() == (tmp_path / "cpu").read_bytes()
    assert device.to_bytes() == cpu.to_bytes()
    loaded = kind.load(tmp_path / "cpu", device="cuda")
    assert loaded.task_field == "task_id"
    on_cpu = kind.load(tmp_path / "device")
    dicted, restored = (kind(80, fields, task_field="task_id", seed=4, device="cuda", **options) for _ in range(2))
    add((dicted,), 75)
    dicted.load_state_dict(cpu.state_dict())
    restored.restore(tmp_path / "device")
    buffers = (device, loaded, on_cpu, device.cpu(), dicted, restored)
    for _ in range(3):
        add((cpu, *buffers))
        expected = cpu.sample(12, task_weights="balanced")
        for buffer in buffers:
            assert_same_batch(buffer.sample(12, task_weights="balanced"), expected)
            buffer.update_priorities(expected.indices, np.arange(12.0))
        cpu.update_priorities(expected.indices, np.arange(12.0))
    for buffer in (device, loaded, dicted, restored):
        assert_same_tasks(buffer, cpu)
    for buffer in (device, cpu):
        buffer.clear()
    assert device.task_counts() == {}
    assert device.task_masses() == {}
    add((device, cpu), 40)
    assert_same_tasks(device, cpu)
    draw_both(device, cpu, 12, task_weights="balanced")
    device.check()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_graph_records(kind):
    """On the capturing stream the emulator refuses to allocate, to wait and to read back."""
    device, cpu = pair(kind, 200)
    made = TaskRows(5)
    weights = np.zeros(9)
    rows = made.next(64)
    for buffer in (device, cpu):
        buffer.add(**rows)
    out = device.sample(32, task_weights="balanced")
    cpu.sample(32, task_weights="balanced")
    for step in range(10):
        rows = made.next(64)
        device.add(**rows, stream=CAPTURING)
        cpu.add(**rows)
        tasks = list(cpu.task_counts())
        weights[:] = 0
        weights[tasks] = np.arange(len(tasks)) + 1.0
        for mixture in ({"task_weights": "balanced"}, {"task_weights": weights}, {"task_weights": {tasks[0]: 1}}):
            assert device.sample(32, out=out, stream=CAPTURING, **mixture) is out
            theirs = cpu.sample(32, **mixture)
            assert_same_batch(out, theirs)
        errors = np.linspace(0.1, 10.0**step, 32)
        device.update_priorities(out, errors, stream=CAPTURING)
        cpu.update_priorities(theirs, errors)
    assert_same_tasks(device, cpu)
    with pytest.raises(RuntimeError, match="cannot copy task_weights of 129 tasks"):
        device.sample(32, out=out, task_weights=dict.fromkeys(range(129), 1.0), stream=CAPTURING)
    device.check()


@pytest.mark.parametrize("kind", KINDS)
def test_errors(kind):
    device, cpu = pair(kind, 50)
    for buffer in (device, cpu):
        buffer.add(x=np.zeros((6, 3), np.float32), task_id=np.array([1, 1, 4, 4, 4, 8], np.int32))
    for arguments, message in (
        ({"task": 70_000}, r"task is 70000; must be in \[0, 65535\]"),
        ({"task": 1, "task_weights": "balanced"}, "task and task_weights are both given"),
        ({"task_weights": "even"}, "task_weights is 'even'; must be 'balanced'"),
        ({"task_weights": {1: -1.0}}, r"task_weights\[1\] is -1.0; must be finite and >= 0"),
        ({"task_weights": [0.0, 0.0]}, "task_weights has no weight above 0"),
        ({"task_weights": {1: 1.0}, "mode": "without_replacement"}, "mode is 'without_replacement'"),
    ):
        with pytest.raises(ValueError, match=message):
            device.sample(3, **arguments)
    for arguments, error, message in (
        ({"task": 3}, BufferEmptyError, "cannot sample task 3: it had no transitions; tasks present now: 1, 4, 8"),
        ({"task_weights": {8: 1.0, 9: 2.0}}, BufferEmptyError, "cannot sample task 9"),
        ({"task_weights": [0.0, 1.0, 1.0]}, BufferEmptyError, "cannot sample task 2"),
        ({"task_weights": np.array([0.0, 1.0, -1.0])}, ValueError, r"task_weights\[2\] is -1.0; must be finite"),
        ({"task_weights": np.array([0.0, np.nan])}, ValueError, r"task_weights\[1\] is nan; must be finite"),
        ({"task_weights": np.zeros(9)}, ValueError, "task_weights has no weight above 0"),
    ):
        ours = device.sample(3, **arguments)
        for name in ("indices", "weights", "probabilities"):
            assert not ours[name].numpy().any()
        with pytest.raises(error, match="call number .* of this buffer: " + message):
            device.check()
        with pytest.raises(error, match=message.split(" it had")[0]):
            cpu.sample(3, **arguments)
    with pytest.raises(TypeError, match="task_weights is of int64"):
        device.sample(3, task_weights=np.ones(9, np.int64))
    draw_both(device, cpu, 9, task_weights="balanced")  # none of these counted
    old = device.sample(4, task_weights="balanced"), cpu.sample(4, task_weights="balanced")
    for buffer in (device, cpu):
        buffer.add(x=np.zeros((50, 3), np.float32), task_id=np.full(50, 2, np.int32))
    device.update_priorities(old[0], np.ones(4), strict=True)
    with pytest.raises(StaleIndexError):
        device.check()
    with pytest.raises(StaleIndexError):
        cpu.update_priorities(old[1], np.ones(4), strict=True)
    device.update_priorities(np.array([0, 50]), np.ones(2))
    with pytest.raises(IndexError):
        device.check()
    assert_same_tasks(device, cpu)
    device.clear()
    device.sample(3, task_weights="balanced")
    with pytest.raises(BufferEmptyError):
        device.check()
    plain = kind(5, TaskRows.FIELDS, device="cuda")
    assert plain.task_field is None
    for call in (plain.task_counts, plain.task_masses, lambda: plain.clear_task(1)):
        with pytest.raises(ValueError, match="made without task_field"):
            call()
    with pytest.raises(ValueError, match="task_weights needs a buffer that was made with task_field"):
        plain.sample(3, task_weights="balanced")
    with pytest.raises(TypeError, match="task_field must name a field of an integer dtype"):
        kind(5, TaskRows.FIELDS, task_field="x", device="cuda")


def test_memory_is_as_the_docstring_says():
    for kind, each in ((ReplayBuffer, 16), (PrioritizedReplayBuffer, 24.6)):
        with_tasks, without = (
            kind(400_000, TaskRows.FIELDS, task_field=field, device="cuda").nbytes for field in ("task_id", None)
        )
        fixed = 65_536 * (12 + 32)
        assert with_tasks - without == pytest.approx(400_000 * each + fixed, rel=0.02)
