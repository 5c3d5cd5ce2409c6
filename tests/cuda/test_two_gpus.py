"""Trees, buffers and arguments on the second GPU, while the first one is torch's current device."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from device_replay_helpers import assert_same_batch, rows

from metarl_core import PrioritizedReplayBuffer, SumTree

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU alone")
SECOND = "cuda:1"
FIELDS = {"obs": ((4,), np.float32), "action": ((), np.int64), "done": ((), bool)}


def to_second(array):
    return torch.from_numpy(np.ascontiguousarray(array)).to(SECOND)


def host(array):
    return torch.from_dlpack(array).cpu().numpy()


@pytest.mark.parametrize("on_stream", [False, True])
def test_a_tree(on_stream):
    gpu, cpu = SumTree(5000, 3, device=SECOND), SumTree(5000, 3)
    stream = {"stream": torch.cuda.Stream(SECOND).cuda_stream} if on_stream else {}
    rng = np.random.default_rng(0)
    for _ in range(10):
        indices, priorities = rng.integers(0, 5000, 3000), rng.random(3000)
        gpu.set(to_second(indices), to_second(priorities), **stream)
        cpu.set(indices, priorities)
        for ours, theirs in zip(gpu.sample(500, **stream), cpu.sample(500), strict=True):
            np.testing.assert_array_equal(host(ours), theirs)
    gpu.check()
    assert (gpu.total, len(gpu)) == (cpu.total, len(cpu))
    assert torch.cuda.current_device() == 0


def test_a_replay_buffer():
    gpu = PrioritizedReplayBuffer(3000, FIELDS, seed=1, device=SECOND)
    cpu = PrioritizedReplayBuffer(3000, FIELDS, seed=1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        given = rows(rng, FIELDS, 1000)
        gpu.add(**{name: to_second(value) for name, value in given.items()})
        cpu.add(**given)
        ours, theirs = gpu.sample(400, beta=0.5), cpu.sample(400, beta=0.5)
        assert all(tensor.device == torch.device(SECOND) for tensor in ours.torch().values())
        assert_same_batch(ours, theirs)
        errors = rng.standard_normal(400).astype(np.float32)
        gpu.update_priorities(ours, to_second(errors))
        cpu.update_priorities(theirs, errors)
    gpu.check()
    np.testing.assert_array_equal(gpu.priorities(), cpu.priorities())


def test_arrays_of_the_other_gpu_are_refused():
    class OnlyInterface:
        def __init__(self, tensor):
            self.tensor = tensor
            self.__cuda_array_interface__ = tensor.__cuda_array_interface__

    tree = SumTree(10, device=SECOND)
    first, ones = torch.arange(4, device="cuda:0"), torch.ones(4, device=SECOND)
    with pytest.raises(TypeError, match=r"indices is a \S*Tensor in cuda:0; must be on cuda:1"):
        tree.set(first, ones)
    with pytest.raises(TypeError, match="indices is a OnlyInterface in cuda:0; must be on cuda:1"):
        tree.set(OnlyInterface(first), ones)
    tree.set(OnlyInterface(first.to(SECOND)), ones)
    tree.check()
    assert len(tree) == 4


def test_a_process_that_uses_the_second_gpu_starts_nothing_on_the_first():
    code = """
import ctypes
from metarl_core import SumTree, make_vec
tree = SumTree(100, device="cuda:1")
tree.sample(4)
assert len(tree) == 0
envs = make_vec("CartPole-v1", 4, device="cuda:1")
envs.reset(seed=0)[0].numpy()
del tree, envs
flags, active = ctypes.c_uint(), ctypes.c_int()
assert ctypes.CDLL("libcuda.so.1").cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active)) == 0
print(active.value)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"
