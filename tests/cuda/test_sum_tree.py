"""The tree in a GPU's memory against the CPU's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_cuda import ArrayInterface

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, SumTree

torch = pytest.importorskip("torch")

CAPACITIES = [1, 31, 1024, 5000, 70_000, 1 << 20]


def to_gpu(array):
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


def host(array):
    return torch.from_dlpack(array).cpu().numpy()


def pair(capacity, seed=3):
    return SumTree(capacity, seed, device="cuda"), SumTree(capacity, seed)


def assert_same(gpu, cpu):
    everything = np.arange(cpu.capacity)
    np.testing.assert_array_equal(host(gpu.get(to_gpu(everything))), cpu.get(everything))
    assert (gpu.total, gpu.min, gpu.max, len(gpu)) == (cpu.total, cpu.min, cpu.max, len(cpu))


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [200, 2048, 20_000])
def test_same_bits_as_the_cpu(capacity, dtype, batch):
    gpu, cpu = pair(capacity)
    rng = np.random.default_rng(capacity + batch)
    for step in range(6):
        indices = rng.integers(0, capacity, batch)  # with duplicates
        priorities = (rng.random(batch) ** 3 * 10.0 ** (3 - step)).astype(dtype)  # the scale is lowered and raised
        gpu.set(to_gpu(indices), to_gpu(priorities))
        cpu.set(indices, priorities)
        assert_same(gpu, cpu)
        for mode in ("stratified", "iid", "uniform"):
            drawn, probabilities = gpu.sample(batch, mode=mode)
            expected = cpu.sample(batch, mode=mode)
            np.testing.assert_array_equal(host(drawn), expected[0])
            np.testing.assert_array_equal(host(probabilities), expected[1])
        mass = rng.random(batch) * cpu.total
        np.testing.assert_array_equal(host(gpu.find(to_gpu(mass))), cpu.find(mass))
    gpu.check()


@pytest.mark.parametrize(("capacity", "batch"), [(300, 200), (70_000, 50_000)])  # in one launch, and in several
def test_leaves_that_are_taken_back(capacity, batch):
    gpu, cpu = pair(capacity)
    rng = np.random.default_rng(capacity)
    everything = rng.permutation(capacity)
    priorities = 0.5 + rng.random(capacity) / 2
    gone, kept = everything[:batch], everything[batch:]
    gpu.set(to_gpu(everything), to_gpu(priorities[everything]))
    gpu.invalidate(to_gpu(np.concatenate([gone, gone[:20]])))
    cpu.set(kept, priorities[kept])
    assert_same(gpu, cpu)
    for _ in range(3):
        for ours, theirs in zip(gpu.sample(1000), cpu.sample(1000), strict=True):
            np.testing.assert_array_equal(host(ours), theirs)
    gpu.invalidate(to_gpu(np.array([kept[0], capacity])))
    with pytest.raises(IndexError, match=f"index {capacity} at position 1"):
        gpu.check()
    assert_same(gpu, cpu)


def test_all_threads_at_one_leaf():
    gpu, cpu = pair(5000)
    for n in (1000, 100_000):
        indices, priorities = np.full(n, 7), np.random.default_rng(n).random(n)
        gpu.set(to_gpu(indices), to_gpu(priorities))
        cpu.set(indices, priorities)
        assert_same(gpu, cpu)


@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("batch", [64, 4096])
def test_weights_are_those_of_the_replay_buffer(normalization, beta, batch):
    n = 6000
    buffer = PrioritizedReplayBuffer(
        n, {"x": ((), np.float32)}, alpha=1.0, seed=5, num_envs=n, weight_normalization=normalization
    )
    buffer.add(x=np.zeros(n, np.float32))
    priorities = (np.random.default_rng(0).random(n) + 0.01).astype(np.float32)
    buffer.update_priorities(np.arange(n), priorities)
    gpu = SumTree(n, 5, device="cuda")
    gpu.set(to_gpu(np.arange(n)), to_gpu(np.ones(n)))  # what new transitions get
    gpu.set(to_gpu(np.arange(n)), to_gpu(np.maximum(priorities, np.float32(1e-6))))
    expected = buffer.sample(batch, beta=beta)
    indices, probabilities, weights = gpu.sample(batch, beta=beta, normalization=normalization)
    np.testing.assert_array_equal(host(indices), expected.indices)
    np.testing.assert_array_equal(host(probabilities), expected.probabilities)
    np.testing.assert_array_equal(host(weights), expected.weights)


def test_errors_are_found_on_the_device_and_leave_it_usable():
    gpu, cpu = pair(100)
    gpu.sample(4)
    with pytest.raises(BufferEmptyError):
        gpu.check()
    for tree, put in ((gpu, to_gpu), (cpu, np.asarray)):
        tree.set(put(np.arange(100)), put(np.ones(100)))
    gpu.set(to_gpu(np.array([3, 100])), to_gpu(np.ones(2)))
    with pytest.raises(IndexError, match="index 100 at position 1"):
        gpu.check()
    gpu.set(to_gpu(np.array([3, 4])), to_gpu(np.array([1.0, np.nan])))
    with pytest.raises(ValueError, match="priority nan at position 1"):
        gpu.check()
    assert_same(gpu, cpu)


def test_bad_arguments_raise_at_once():
    gpu, _ = pair(10)
    with pytest.raises(TypeError, match=r"indices is a \S*ndarray in host memory; must be on cuda:0"):
        gpu.set(np.arange(4), np.ones(4))
    with pytest.raises(TypeError, match=r"priorities is a \S*Tensor in host memory"):
        gpu.set(torch.arange(4).cuda(), torch.ones(4))
    host_memory = ArrayInterface(np.arange(4))
    with pytest.raises(TypeError, match="indices is a ArrayInterface in host memory; must be on cuda:0"):
        gpu.set(host_memory, torch.ones(4).cuda())
    gpu.check()  # the device is still usable
    with pytest.raises(MemoryError, match=r"cannot allocate \d+ bytes on cuda:0 for a sum tree .* MiB are free"):
        [SumTree(2**31 - 1, device="cuda") for _ in range(40)]
    with pytest.raises(RuntimeError, match="there is no cuda:99"):
        SumTree(10, device="cuda:99")
