"""Tasks of replay buffers in a GPU's memory, against the CPU's, bit for bit; captured graphs."""

from __future__ import annotations

import numpy as np
import pytest
from buffer_pairs import to_gpu
from device_replay_helpers import LinkedRows, TaskRows, assert_same_batch, assert_same_tasks, linked_fields

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer

torch = pytest.importorskip("torch")

KINDS = [ReplayBuffer, PrioritizedReplayBuffer]


def task_pair(kind, capacity, fields=TaskRows.FIELDS, **options):
    options = {"task_field": "task_id", "seed": 4, **options}
    return kind(capacity, fields, device="cuda", **options), kind(capacity, fields, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("capacity", "most", "batch"), [(60, 90, 30), (5000, 4000, 1000), (1_000_000, 200_000, 50_000)]
)
def test_same_bits_as_the_cpu(kind, capacity, most, batch):
    gpu, cpu = task_pair(kind, capacity)
    made = TaskRows(capacity)
    rng = np.random.default_rng(capacity)
    old = None
    for step in range(12):
        given = made.next(int(rng.integers(1, most)))
        gpu.add(**(to_gpu(given) if step % 2 else given))  # also from host memory
        cpu.add(**given)
        tasks = list(cpu.task_counts())
        weights = np.zeros(9)
        weights[tasks] = np.arange(len(tasks)) + 0.5
        for k, (ours, theirs) in enumerate(
            (
                ("balanced", "balanced"),
                ({tasks[0]: 0.3, tasks[-1]: 2.0}, {tasks[0]: 0.3, tasks[-1]: 2.0}),
                (torch.from_numpy(weights).cuda(), weights),
                (torch.from_numpy(weights).float().cuda(), weights),
            )
        ):
            mode = ("stratified", "iid", "uniform")[(step + k) % 3]
            sampled = (
                gpu.sample(batch, beta=0.5, mode=mode, task_weights=ours),
                cpu.sample(batch, beta=0.5, mode=mode, task_weights=theirs),
            )
            assert_same_batch(*sampled)
        errors = (rng.standard_normal(batch) * 10.0 ** (3 * (step % 5 - 2))).astype(np.float32)
        for pair in (sampled, old):
            if pair is not None:  # some of whose slots were overwritten
                gpu.update_priorities(pair[0], torch.from_numpy(errors).cuda())
                cpu.update_priorities(pair[1], errors)
        old = sampled
        assert_same_tasks(gpu, cpu)
    gpu.check()


@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
def test_many_tasks(normalization):
    gpu, cpu = task_pair(PrioritizedReplayBuffer, 30_000, weight_normalization=normalization)
    rng = np.random.default_rng(0)
    for step in range(8):
        tasks = (rng.random(9000) ** 3 * 60_000).astype(np.int32)
        given = {"x": rng.random((9000, 3)).astype(np.float32), "task_id": tasks}
        gpu.add(**to_gpu(given))
        cpu.add(**given)
        chosen = {task: 1.0 / (task + 1) for task in cpu.task_counts()}
        for mixture in ("balanced", chosen):
            ours = gpu.sample(20_000, beta=0.7, task_weights=mixture)
            theirs = cpu.sample(20_000, beta=0.7, task_weights=mixture)
            assert_same_batch(ours, theirs)
        errors = (rng.standard_normal(20_000) * 10.0**step).astype(np.float32)
        gpu.update_priorities(ours, torch.from_numpy(errors).cuda())
        cpu.update_priorities(theirs, errors)
    assert_same_tasks(gpu, cpu)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{"n_step": 3}, {"frame_stack": 3, "next_obs": "next"}, {"sequence_length": 5, "stride": 2}], ids=str
)
@pytest.mark.parametrize(("capacity", "num_envs"), [(60, 1), (5000, 1), (3000, 200)])
def test_links(kind, options, capacity, num_envs):
    stack = options.get("frame_stack", 1)
    fields = {**linked_fields(stack), "task_id": ((), np.uint8)}
    gpu, cpu = task_pair(kind, capacity, fields, num_envs=num_envs, **options)
    made = LinkedRows(linked_fields(stack), num_envs, stack, seed=capacity)
    rng = np.random.default_rng(1)
    for step in range(12):
        for _ in range(1 if num_envs == 1 else 6):
            given = made.next(int(rng.integers(1, capacity)) if num_envs == 1 else 1)
            given["task_id"] = ((np.arange(len(given["reward"])) // 7 + step) % 6).astype(np.uint8)
            gpu.add(**to_gpu(given))
            cpu.add(**given)
        if len(cpu) == 0:
            continue
        ours, theirs = gpu.sample(200, task_weights="balanced"), cpu.sample(200, task_weights="balanced")
        assert_same_batch(ours, theirs)
        errors = rng.standard_normal(200).astype(np.float32)
        gpu.update_priorities(ours, torch.from_numpy(errors).cuda())
        cpu.update_priorities(theirs, errors)
        assert_same_tasks(gpu, cpu)
    task = next(iter(cpu.task_counts()))
    assert gpu.clear_task(task) == cpu.clear_task(task)
    assert_same_tasks(gpu, cpu)
    gpu.check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_replayed_graph_does_what_eager_calls_do(kind):
    made = TaskRows(3)
    static = to_gpu(made.next(64))
    weights = torch.zeros(9, dtype=torch.float64, device="cuda")
    weights[static["task_id"].long().unique()] = 1.0
    buffers = [kind(500, TaskRows.FIELDS, task_field="task_id", device="cuda") for _ in range(2)]
    for buffer in buffers:
        buffer.add(**static)
    batches = [[buffer.sample(32, task_weights=mixture) for mixture in ("balanced", weights)] for buffer in buffers]

    def step(buffer, drawn):
        buffer.add(**static)
        buffer.sample(32, task_weights="balanced", out=drawn[0])
        buffer.sample(32, task_weights=weights, out=drawn[1])
        buffer.update_priorities(drawn[0], drawn[0].torch()["weights"])

    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(buffers[0], batches[0])
    for _ in range(40):
        for name, value in to_gpu(made.next(64)).items():
            static[name].copy_(value)
        weights.zero_()
        weights[static["task_id"].long().unique()] = 1.0
        graph.replay()
        step(buffers[1], batches[1])
        for ours, theirs in zip(*batches, strict=True):
            for name, tensor in ours.torch().items():
                assert torch.equal(tensor, theirs.torch()[name]), name
    torch.cuda.synchronize()
    assert buffers[0].to_bytes() == buffers[1].to_bytes()
    buffers[0].check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"n_step": 3}], ids=str)
def test_checkpoints_go_from_one_to_the_other(kind, options, tmp_path):
    fields = {**linked_fields(1), "task_id": ((), np.int32)} if options else TaskRows.FIELDS
    gpu, cpu = task_pair(kind, 3000, fields, **options)
    links, tasks = LinkedRows(linked_fields(1), 1, 1, seed=2), TaskRows(2)

    def go_on(buffers, calls):
        for _ in range(calls):
            given = tasks.next(700)
            if options:
                given = {**links.next(700), "task_id": given["task_id"]}
            for buffer in buffers:
                buffer.add(**(given if type(buffer) is type(cpu) else to_gpu(given)))

    go_on((gpu, cpu), 7)  # the ring goes round, and tasks leave their slots
    gpu.save(tmp_path / "gpu")
    cpu.save(tmp_path / "cpu")
    loaded = kind.load(tmp_path / "cpu", device="cuda")
    on_cpu = kind.load(tmp_path / "gpu")
    dicted = kind(3000, fields, task_field="task_id", seed=4, device="cuda", **options)
    dicted.load_state_dict(cpu.state_dict())
    go_on((gpu, cpu, loaded, on_cpu, dicted), 4)
    for buffer in (gpu, loaded, dicted):
        assert_same_tasks(buffer, cpu)
    expected = cpu.sample(300, task_weights="balanced")
    for buffer in (gpu, loaded, dicted, on_cpu):
        assert_same_batch(buffer.sample(300, task_weights="balanced"), expected)
    for buffer in (gpu, loaded, dicted):
        buffer.check()


def test_errors():
    gpu, cpu = task_pair(PrioritizedReplayBuffer, 50)
    rows = TaskRows(0).next(20)
    gpu.add(**to_gpu(rows))
    cpu.add(**rows)
    gpu.sample(4, task_weights=torch.tensor([0.0, 1.0, -1.0], device="cuda"))
    with pytest.raises(ValueError, match=r"task_weights\[2\] is -1.0; must be finite and >= 0"):
        gpu.check()
    gpu.sample(4, task=1234)
    with pytest.raises(BufferEmptyError, match="cannot sample task 1234"):
        gpu.check()
    rows["task_id"][3] = -2
    gpu.add(**to_gpu(rows))
    with pytest.raises(ValueError, match=r"task_id\[3\] is -2; must be in \[0, 65535\]"):
        gpu.check()
    assert_same_tasks(gpu, cpu)
    assert_same_batch(gpu.sample(8, task_weights="balanced"), cpu.sample(8, task_weights="balanced"))
