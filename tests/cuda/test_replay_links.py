"""What links transitions in the replay buffer in a GPU's memory, against the CPU's, bit for bit; captured graphs."""

from __future__ import annotations

import numpy as np
import pytest
from buffer_pairs import pair, to_gpu
from device_replay_helpers import LinkedRows, assert_same_batch, assert_same_linked, linked_fields

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer

torch = pytest.importorskip("torch")

LINKS = [
    {"n_step": 3},
    {"next_obs": "next"},
    {"next_obs": "next", "n_step": 3, "gamma": 0.9},
    {"frame_stack": 4},
    {"frame_stack": 3, "n_step": 2},
    {"autoreset_mode": "next_step", "n_step": 4},
]


@pytest.mark.parametrize("options", LINKS, ids=str)
@pytest.mark.parametrize(("capacity", "num_envs"), [(50, 1), (5000, 1), (60, 8), (20_000, 3000)])
def test_same_bits_as_the_cpu(capacity, num_envs, options):
    stack = options.get("frame_stack", 1)
    fields = linked_fields(stack)
    gpu, cpu = pair(capacity, fields, num_envs=num_envs, seed=5, **options)
    made = LinkedRows(fields, num_envs, stack, seed=capacity)
    rng = np.random.default_rng(1)
    old = None
    for step in range(12):
        given = made.next(int(rng.integers(1, capacity // 2)) if num_envs == 1 else 1)
        gpu.add(**(to_gpu(given) if step % 2 else given))  # also from host memory
        cpu.add(**given)
        if len(cpu) == 0:
            continue
        ours, theirs = gpu.sample(200, beta=0.5), cpu.sample(200, beta=0.5)
        assert_same_batch(ours, theirs)
        errors = (rng.standard_normal(200) * 10.0 ** (step % 5 - 2)).astype(np.float32)
        for sampled in ((ours, theirs), old):
            if sampled is not None:  # some of whose slots were overwritten
                gpu.update_priorities(sampled[0], torch.from_numpy(errors).cuda())
                cpu.update_priorities(sampled[1], errors)
        old = ours, theirs
        assert_same_linked(gpu, cpu)
    gpu.check()


@pytest.mark.parametrize("options", [{"n_step": 3}, {"frame_stack": 3, "n_step": 2}], ids=str)
def test_a_replayed_graph_does_what_eager_calls_do(options):
    stack = options.get("frame_stack", 1)
    fields = linked_fields(stack)
    made = LinkedRows(fields, 16, stack, seed=3)
    static = to_gpu(made.next(1))
    buffers = [PrioritizedReplayBuffer(400, fields, num_envs=16, device="cuda", **options) for _ in range(2)]
    for buffer in buffers:
        buffer.add(**static)
    batches = [buffer.sample(64) for buffer in buffers]

    def step(buffer, batch):
        buffer.add(**static)
        buffer.sample(64, out=batch)
        buffer.update_priorities(batch, batch.torch()["weights"])

    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(buffers[0], batches[0])
    for _ in range(40):
        for name, value in to_gpu(made.next(1)).items():
            static[name].copy_(value)
        graph.replay()
        step(buffers[1], batches[1])
        for name, tensor in batches[0].torch().items():
            assert torch.equal(tensor, batches[1].torch()[name]), name
    torch.cuda.synchronize()
    assert buffers[0].to_bytes() == buffers[1].to_bytes()
    buffers[0].check()


SEQUENCES = [
    {"sequence_length": 5, "burn_in": 2, "stride": 1, "recurrent_fields": ["image"]},
    {"sequence_length": 6, "burn_in": 1, "stride": 3, "next_obs": "next"},
    {"sequence_length": 3, "stride": 2, "frame_stack": 3},
]


@pytest.mark.parametrize("options", SEQUENCES, ids=str)
@pytest.mark.parametrize(("capacity", "num_envs"), [(60, 1), (6000, 1), (2000, 30)])
def test_sequences(capacity, num_envs, options):
    stack, length = options.get("frame_stack", 1), options["sequence_length"]
    fields = linked_fields(stack)
    gpu, cpu = pair(capacity, fields, num_envs=num_envs, seed=5, **options)
    made = LinkedRows(fields, num_envs, stack, seed=capacity)
    rng = np.random.default_rng(1)
    for step in range(12):
        for _ in range(1 if num_envs == 1 else 10):
            given = made.next(int(rng.integers(1, capacity // 2)) if num_envs == 1 else 1)
            gpu.add(**to_gpu(given))
            cpu.add(**given)
        assert_same_linked(gpu, cpu)
        if len(cpu) == 0:
            continue
        ours, theirs = gpu.sample(100, beta=0.5), cpu.sample(100, beta=0.5)
        assert_same_batch(ours, theirs)
        errors = rng.standard_normal((100, length)) * 10.0 ** (step % 5 - 2)
        gpu.update_priorities(ours, torch.from_numpy(errors).cuda())
        cpu.update_priorities(theirs, errors)
        assert_same_linked(gpu, cpu)
    gpu.check()


def test_stacks_that_do_not_move_on_change_nothing():
    fields = linked_fields(3)
    gpu, cpu = pair(60, fields, frame_stack=3)
    made = LinkedRows(fields, 1, 3, seed=0)
    batch, broken = made.next(20), made.next(20)
    for buffer in (gpu, cpu):
        buffer.add(**batch)
    broken["next_obs"][[7, 11], 0] += 1
    gpu.add(**to_gpu(broken))
    with pytest.raises(ValueError, match="'next_obs' of row 7 is not 'obs' moved on by one frame"):
        gpu.check()
    assert_same_linked(gpu, cpu)


@pytest.mark.parametrize("options", [*LINKS[1:5], {"sequence_length": 5, "stride": 2, "frame_stack": 2}], ids=str)
def test_checkpoints_go_from_one_to_the_other(options, tmp_path):
    stack = options.get("frame_stack", 1)
    fields = linked_fields(stack)
    gpu, cpu = pair(800, fields, num_envs=20, **options)
    made = LinkedRows(fields, 20, stack, seed=6)

    def go_on(buffers, calls):
        for _ in range(calls):
            given = made.next(1)
            for buffer in buffers:
                buffer.add(**(given if type(buffer) is type(cpu) else to_gpu(given)))

    go_on((gpu, cpu), 70)  # the ring goes round, and episodes are under way
    gpu.save(tmp_path / "gpu")
    cpu.save(tmp_path / "cpu")
    loaded = PrioritizedReplayBuffer.load(tmp_path / "cpu", device="cuda")
    on_cpu = PrioritizedReplayBuffer.load(tmp_path / "gpu")
    dicted = PrioritizedReplayBuffer(800, fields, num_envs=20, device="cuda", **options)
    dicted.load_state_dict(cpu.state_dict())
    go_on((gpu, cpu, loaded, on_cpu, dicted), 50)
    for buffer in (gpu, loaded, dicted):
        assert_same_linked(buffer, cpu)
    expected = cpu.sample(200, beta=0.5)
    for buffer in (gpu, loaded, dicted, on_cpu):
        assert_same_batch(buffer.sample(200, beta=0.5), expected)
    for buffer in (gpu, loaded, dicted):
        buffer.check()


@pytest.mark.parametrize("options", [{}, {"n_step": 3}, {"frame_stack": 3}, {"sequence_length": 4}], ids=str)
def test_uniform_buffers(options):
    stack = options.get("frame_stack", 1)
    fields = linked_fields(stack)
    gpu = ReplayBuffer(3000, fields, seed=2, device="cuda", **options)
    cpu = ReplayBuffer(3000, fields, seed=2, **options)
    made = LinkedRows(fields, 1, stack, seed=0)
    for _ in range(5):
        given = made.next(1300)
        gpu.add(**to_gpu(given))
        cpu.add(**given)
        for mode in ("stratified", "iid"):
            ours, theirs = gpu.sample(700, mode=mode), cpu.sample(700, mode=mode)
            assert_same_batch(ours, theirs)
        gpu.update_priorities(ours, torch.ones(700).cuda())
        assert_same_linked(gpu, cpu)
    gpu.check()
