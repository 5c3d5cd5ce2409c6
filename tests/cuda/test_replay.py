"""The replay buffer in a GPU's memory against the CPU's, bit for bit; captured graphs; weights of probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from buffer_pairs import pair, to_gpu
from device_replay_helpers import assert_same_batch, rows

import metarl_core
from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, importance_weights

torch = pytest.importorskip("torch")

FIELDS = {
    "image": ((4, 84, 84), np.uint8),
    "obs": ((17,), np.float32),
    "wide": ((3,), np.float64),
    "flags": ((3,), bool),
    "action": ((), np.int64),
    "reward": ((), np.float32),
}
SMALL = {"obs": ((4,), np.float32), "action": ((), np.int64), "reward": ((), np.float32), "done": ((), bool)}


def assert_same(gpu, cpu):
    np.testing.assert_array_equal(gpu.priorities(), cpu.priorities())
    ours, theirs = gpu.state_dict(), cpu.state_dict()
    for name in ("written", "draws", "stale_updates", "running_max_priority", "scale_exponent"):
        assert ours[name] == theirs[name], name
    np.testing.assert_array_equal(ours["masses"], theirs["masses"])
    for name, column in theirs["columns"].items():
        np.testing.assert_array_equal(ours["columns"][name], column, err_msg=name)


@pytest.mark.parametrize(("capacity", "fields"), [(300, FIELDS), (5000, SMALL), (200_000, SMALL)])
@pytest.mark.parametrize("batch_size", [64, 5000])
def test_same_bits_as_the_cpu(capacity, fields, batch_size):
    gpu, cpu = pair(capacity, fields, seed=5)
    rng = np.random.default_rng(capacity)
    old = None
    for step in range(5):
        given = rows(rng, fields, min(capacity // 2 + step, 30_000))
        gpu.add(**(to_gpu(given) if step % 2 else given))  # also from host memory
        cpu.add(**given)
        ours, theirs = gpu.sample(batch_size, beta=0.6), cpu.sample(batch_size, beta=0.6)
        assert_same_batch(ours, theirs)
        errors = rng.standard_normal(batch_size) * 10.0 ** (step - 2)
        gpu.update_priorities(ours, torch.from_numpy(errors).cuda())
        cpu.update_priorities(theirs, errors)
        if old is not None:
            gpu.update_priorities(old[0], torch.from_numpy(errors.astype(np.float32)).cuda())
            cpu.update_priorities(old[1], errors.astype(np.float32))
        old = ours, theirs
        assert_same(gpu, cpu)
        for mode in ("stratified", "iid", "uniform"):
            assert_same_batch(gpu.sample(100, mode=mode), cpu.sample(100, mode=mode))
    gpu.check()


@pytest.mark.parametrize("batch_size", [256, 8192])
def test_a_replayed_graph_does_what_eager_calls_do(batch_size):
    capacity, count = 20_000, 3000

    def make():
        buffer = PrioritizedReplayBuffer(capacity, SMALL, device="cuda", seed=1)
        buffer.add(**given)
        return buffer, buffer.sample(batch_size)

    given = to_gpu(rows(np.random.default_rng(0), SMALL, count))
    beta = torch.full((1,), 0.4, dtype=torch.float64, device="cuda")
    (graph_buffer, graph_batch), (eager_buffer, eager_batch) = make(), make()

    def step(buffer, batch, tensors):
        buffer.sample(batch_size, beta=beta, out=batch)
        buffer.add(**given)
        buffer.update_priorities(batch, tensors["weights"] * tensors["reward"])

    graph_tensors, eager_tensors = graph_batch.torch(), eager_batch.torch()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(graph_buffer, graph_batch, graph_tensors)
        with pytest.raises(RuntimeError, match="pass out="):
            graph_buffer.sample(batch_size)
    for replay in range(20):
        beta.fill_(0.4 + 0.03 * replay)
        graph.replay()
        step(eager_buffer, eager_batch, eager_tensors)
        for name, tensor in graph_tensors.items():
            assert torch.equal(tensor, eager_tensors[name]), (replay, name)
    torch.cuda.synchronize()
    assert graph_buffer.to_bytes() == eager_buffer.to_bytes()
    graph_buffer.check()
    assert len(graph_buffer) == capacity  # the ring went round


def test_calls_on_two_streams_are_in_order():
    gpu, cpu = pair(50_000, SMALL)
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    rng = np.random.default_rng(3)
    for _ in range(20):
        given = rows(rng, SMALL, 5000)
        tensors = to_gpu(given)
        torch.cuda.synchronize()
        with torch.cuda.stream(first):
            gpu.add(**tensors)
            batch = gpu.sample(1000)
            errors = batch.torch()["reward"] * 7
            errors.record_stream(second)
        second.wait_stream(first)
        gpu.update_priorities(batch, errors, stream=second.cuda_stream)
        cpu.add(**given)
        expected = cpu.sample(1000)
        cpu.update_priorities(expected, expected["reward"] * 7)
    torch.cuda.synchronize()
    assert_same(gpu, cpu)
    gpu.check()


def test_checkpoints_go_from_one_to_the_other(tmp_path):
    gpu, cpu = pair(1000, FIELDS)
    given = rows(np.random.default_rng(0), FIELDS, 700)
    for buffer in (gpu, cpu):
        buffer.add(**given)
        buffer.add(**given)
        buffer.sample(5)
    gpu.save(tmp_path / "gpu")
    cpu.save(tmp_path / "cpu")
    assert (tmp_path / "gpu").read_bytes() == (tmp_path / "cpu").read_bytes()
    assert_same_batch(PrioritizedReplayBuffer.load(tmp_path / "cpu", device="cuda").sample(50), cpu.sample(50))


def test_errors_are_found_on_the_device_and_leave_it_usable():
    gpu, cpu = pair(100, SMALL)
    gpu.sample(4)
    with pytest.raises(BufferEmptyError):
        gpu.check()
    given = rows(np.random.default_rng(0), SMALL, 50)
    for buffer in (gpu, cpu):
        buffer.add(**given)
    gpu.update_priorities(torch.tensor([3, 50]).cuda(), torch.ones(2).cuda())
    with pytest.raises(IndexError, match="index 50 at position 1 out of range for size 50"):
        gpu.check()
    gpu.update_priorities(torch.tensor([3, 4]).cuda(), torch.tensor([1.0, np.nan]).cuda())
    with pytest.raises(ValueError, match=r"td_errors\[1\] is nan"):
        gpu.check()
    assert_same(gpu, cpu)
    with pytest.raises(TypeError, match=r"indices is a \S*ndarray in host memory; must be on cuda:0"):
        gpu.update_priorities(np.arange(4), np.ones(4))
    with pytest.raises(MemoryError, match=r"cannot allocate \d+ bytes on cuda:0 for a replay buffer of .* are free"):
        [PrioritizedReplayBuffer(10_000_000, FIELDS, device="cuda") for _ in range(40)]


@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
@pytest.mark.parametrize("given", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_importance_weights(normalization, given, dtype):
    rng = np.random.default_rng(0)
    for n in (1, 1000, 100_000):
        probabilities = (rng.random(n) ** 3 / n).astype(given) + given(1e-12)
        for beta in (0.0, 0.4, 1.0):
            expected = importance_weights(probabilities, n, beta, normalization, dtype=dtype)
            tensor = torch.from_numpy(probabilities).cuda()
            found = metarl_core.importance_weights(tensor, n, beta, normalization, dtype=dtype)
            np.testing.assert_array_equal(torch.from_dlpack(found).cpu().numpy(), expected)
