"""The CUDA backend's Python module without a GPU: its kernels on the emulator, bit for bit against the CPU's tree."""

from __future__ import annotations

import gc
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from emulated_cuda import CAPTURING, FAILING, ArrayInterface, emulated, needs_emulator

import metarl_core
from metarl_core import BufferEmptyError, _core

pytestmark = needs_emulator


def pair(capacity: int, seed: int = 3):
    return emulated.SumTree(capacity, seed), metarl_core.SumTree(capacity, seed)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def assert_same(device, cpu) -> None:
    everything = np.arange(cpu.capacity)
    np.testing.assert_array_equal(device.get(everything).numpy(), cpu.get(everything))
    assert (device.total, device.min, device.max, len(device)) == (cpu.total, cpu.min, cpu.max, len(cpu))


@pytest.mark.parametrize("capacity", [1, 33, 1024, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_set_sample_find_get(capacity, dtype):
    device, cpu = pair(capacity)
    rng = np.random.default_rng(capacity)
    for step in range(4):
        indices = rng.integers(0, capacity, 40)  # with duplicates
        priorities = (rng.random(40) ** 3 * 10.0 ** (2 * step)).astype(dtype)
        (device.set if step % 2 else device.update)(indices, priorities)
        cpu.set(indices, priorities)
        assert_same(device, cpu)
        for mode in ("stratified", "iid", "uniform"):
            ours, theirs = device.sample(29, mode=mode), cpu.sample(29, mode=mode)
            np.testing.assert_array_equal(ours[0].numpy(), theirs[0])
            np.testing.assert_array_equal(ours[1].numpy(), theirs[1])
        mass = rng.random(17) * cpu.total
        np.testing.assert_array_equal(device.find(mass).numpy(), cpu.find(mass))
    device.check()


@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_are_those_of_the_replay_buffer(normalization, beta):
    n, batch = 600, 64
    buffer = metarl_core.PrioritizedReplayBuffer(
        n, {"x": ((), np.float32)}, alpha=1.0, seed=5, num_envs=n, weight_normalization=normalization
    )
    buffer.add(x=np.zeros(n, np.float32))
    priorities = (np.random.default_rng(0).random(n) + 0.01).astype(np.float32)
    buffer.update_priorities(np.arange(n), priorities)
    device = emulated.SumTree(n, 5)
    device.set(np.arange(n), np.ones(n))  # what new transitions get
    device.set(np.arange(n), np.maximum(priorities, np.float32(1e-6)))
    for given in (beta, np.array([beta])):
        expected = buffer.sample(batch, beta=beta)
        indices, probabilities, weights = device.sample(batch, beta=given, normalization=normalization)
        np.testing.assert_array_equal(indices.numpy(), expected.indices)
        np.testing.assert_array_equal(probabilities.numpy(), expected.probabilities)
        np.testing.assert_array_equal(weights.numpy(), expected.weights)


def test_large_batches_take_the_kernels_of_several_blocks():
    device, cpu = pair(70_000)
    rng = np.random.default_rng(1)
    indices, priorities = rng.integers(0, 70_000, 5000), rng.random(5000)
    device.set(indices, priorities)
    cpu.set(indices, priorities)
    assert_same(device, cpu)
    for normalization in ("max", "sum"):
        drawn, probabilities, weights = device.sample(1500, beta=0.5, normalization=normalization)
        expected = cpu.sample(1500)
        np.testing.assert_array_equal(drawn.numpy(), expected[0])
        np.testing.assert_array_equal(probabilities.numpy(), expected[1])
        assert weights.numpy().min() > 0


def test_invalidate():
    device, cpu = pair(300)
    everything = np.arange(300)
    device.set(everything, np.ones(300))
    device.invalidate(np.arange(10, 300))
    cpu.set(np.arange(10), np.ones(10))
    assert len(device) == 10
    assert device.total == cpu.total
    drawn = device.sample(100)[0].numpy()
    assert set(drawn) == set(range(10))
    assert np.all(device.get(np.arange(10, 300)).numpy() == 0)


def test_all_zero_priorities_are_drawn_uniformly():
    device, cpu = pair(50)
    for tree in (device, cpu):
        tree.set(np.arange(20), np.zeros(20))
    indices, probabilities, weights = device.sample(40, beta=0.7)
    expected = cpu.sample(40)
    np.testing.assert_array_equal(indices.numpy(), expected[0])
    np.testing.assert_array_equal(probabilities.numpy(), expected[1])
    np.testing.assert_array_equal(weights.numpy(), np.ones(40, np.float32))


def test_out_is_written_and_returned():
    device, cpu = pair(100)
    for tree in (device, cpu):
        tree.set(np.arange(100), np.arange(100.0))
    out = np.zeros(8, np.int64), np.zeros(8), np.zeros(8, np.float32)
    returned = device.sample(8, beta=0.5, out=out)
    assert all(ours is given for ours, given in zip(returned, out, strict=True))
    expected = cpu.sample(8)
    np.testing.assert_array_equal(out[0], expected[0])
    np.testing.assert_array_equal(out[1], expected[1])
    assert np.all(out[2] > 0)
    indices = np.zeros(8, np.int64)
    assert device.sample(8, out=(indices, None))[1] is None
    np.testing.assert_array_equal(indices, cpu.sample(8)[0])
    assert device.find(np.array([5.0]), out=indices[:1]) is not None
    assert indices[0] == cpu.find(5.0)
    priorities = np.zeros(8)
    device.get(np.arange(8), out=priorities)
    np.testing.assert_array_equal(priorities, np.arange(8.0))


def test_results_of_one_call_are_arguments_of_the_next():
    device, cpu = pair(100)
    for tree in (device, cpu):
        tree.set(np.arange(100), np.arange(100.0))
    indices, _ = device.sample(16)
    device.set(indices, device.get(indices))
    drawn, _ = cpu.sample(16)
    cpu.set(drawn, cpu.get(drawn))
    assert_same(device, cpu)


# ---- errors ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("indices", "priorities", "error", "message"),
    [
        (ints(3, 100), [1.0, 1.0], IndexError, r"call number 1 .*index 100 at position 1 out of range for size 100"),
        (ints(3, -1), [1.0, 1.0], IndexError, r"index -1 at position 1"),
        (ints(3, 4), [1.0, np.nan], ValueError, r"priority nan at position 1; must be finite and >= 0"),
        (ints(3, 4), [-2.0, 1.0], ValueError, r"priority -2.0 at position 0"),
        (ints(3, 4), [np.inf, 1.0], ValueError, r"priority inf at position 0"),
    ],
)
def test_check_raises_what_the_device_found(indices, priorities, error, message):
    device, cpu = pair(100)
    for tree in (device, cpu):
        tree.set(np.arange(100), np.ones(100))
    device.set(indices, np.array(priorities))
    assert_same(device, cpu)  # nothing changed
    with pytest.raises(error, match=message):
        device.check()
    device.check()  # once


def test_other_errors_of_the_device():
    device = emulated.SumTree(10)
    assert not device.sample(4)[1].numpy().any()
    with pytest.raises(BufferEmptyError, match="no item is valid"):
        device.check()
    device.set(np.arange(10), np.ones(10))
    device.find(np.array([1.0, 10.0]))
    with pytest.raises(ValueError, match=r"mass 10.0 at position 1; must be in \[0, total\)"):
        device.check()
    assert device.get(ints(0, 10)).numpy().tolist() == [1.0, 0.0]
    with pytest.raises(IndexError, match="index 10 at position 1 out of range for size 10"):
        device.check()
    device.sample(4, beta=np.array([-0.5]))
    with pytest.raises(ValueError, match=r"beta is -0.5"):
        device.check()


def test_bad_arguments_raise_at_once():
    device = emulated.SumTree(10)
    device.set(np.arange(10), np.ones(10))
    good = ints(1, 2)
    cases = [
        (lambda: device.set([1, 2], np.ones(2)), TypeError, r"indices is a list; must be an array on emulated:0"),
        (lambda: device.set(good.astype(np.int32), np.ones(2)), TypeError, "indices is of int32; must be of int64"),
        (lambda: device.set(good, np.ones(2, int)), TypeError, "priorities is of int64; must be of float32 or float64"),
        (lambda: device.set(good, np.ones(3)), ValueError, r"indices has shape \(2,\), priorities has shape \(3,\)"),
        (lambda: device.set(good[None], np.ones(2)), ValueError, "indices has 2 axes; must have one"),
        (lambda: device.set(np.arange(8)[::2], np.ones(4)), ValueError, "indices has a stride of 2 elements"),
        (lambda: device.sample(0), ValueError, "batch_size is 0"),
        (lambda: device.sample(4, mode="without_replacement"), ValueError, "mode is 'without_replacement'.*on a GPU"),
        (lambda: device.sample(4, beta=-1.0), ValueError, "beta is -1.0"),
        (lambda: device.sample(4, beta=np.ones(2)), ValueError, "beta has 2 elements"),
        (lambda: device.sample(4, beta=0.5, normalization="all"), ValueError, "normalization is 'all'"),
        (lambda: device.sample(4, out=(good,)), TypeError, "out must be a tuple of 2 arrays"),
        (lambda: device.sample(4, out=(good, None)), ValueError, r"out\[0\] has shape \(2,\); must have shape \(4,\)"),
        (lambda: device.sample(2, out=(np.ones(2), None)), TypeError, r"out\[0\] is of float64; must be of int64"),
        (lambda: device.sample(2, stream=-3), ValueError, "stream is -3"),
        (lambda: emulated.SumTree(0), ValueError, "capacity is 0"),
        (lambda: emulated.SumTree(5, device=7), RuntimeError, "there is no cuda:7"),
        (lambda: emulated.SumTree(2**31), MemoryError, "at most"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    read_only = ints(0, 0)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match=r"out\[0\] is read-only"):
        device.sample(2, out=(read_only, None))
    assert device.total == 10
    device.check()


def test_memory_is_allocated_at_construction_and_said_when_it_does_not_fit():
    assert 8.4 * 1e6 < emulated.SumTree(1_000_000).nbytes < 8.6 * 1e6
    message = r"cannot allocate \d+ bytes on emulated:1 for a sum tree of 2000000000 leaves"
    with pytest.raises(MemoryError, match=message):
        emulated.SumTree(2_000_000_000, device=1)


# ---- other libraries -------------------------------------------------------------------------------------------------
def test_dlpack_export():
    device = emulated.SumTree(10)
    device.set(np.arange(10), np.ones(10))
    indices, probabilities = device.sample(6)
    assert indices.__dlpack_device__() == (1, 0)
    assert 'dltensor"' in repr(indices.__dlpack__())
    assert 'dltensor_versioned"' in repr(indices.__dlpack__(max_version=(1, 0)))
    values = np.from_dlpack(probabilities)
    np.testing.assert_array_equal(values, probabilities.numpy())
    del device, probabilities
    gc.collect()
    assert values.tolist() == [0.1] * 6  # the export holds the memory
    for arguments, error in (
        ({"stream": 0}, ValueError),
        ({"copy": True}, BufferError),
        ({"dl_device": (2, 0)}, BufferError),
    ):
        with pytest.raises(error):
            indices.__dlpack__(**arguments)
    assert (indices.shape, indices.dtype, indices.device, len(indices)) == ((6,), np.int64, "emulated:0", 6)
    assert repr(indices) == "DeviceArray(shape=(6,), dtype=int64, device='emulated:0')"


def test_torch_reads_and_is_read():
    torch = pytest.importorskip("torch")
    device, cpu = pair(50)
    indices, priorities = torch.arange(50), torch.rand(50)
    device.set(indices, priorities)
    cpu.set(indices.numpy(), priorities.numpy())
    drawn, probabilities = (torch.from_dlpack(array) for array in device.sample(7))
    expected = cpu.sample(7)
    np.testing.assert_array_equal(drawn.numpy(), expected[0])
    np.testing.assert_array_equal(probabilities.numpy(), expected[1])
    out = torch.zeros(7, dtype=torch.int64), torch.zeros(7, dtype=torch.float64)
    device.sample(7, out=out)
    np.testing.assert_array_equal(out[0].numpy(), cpu.sample(7)[0])
    with pytest.raises((BufferError, RuntimeError), match="grad"):
        device.set(indices, priorities.requires_grad_())


def test_cuda_array_interface():
    device, cpu = pair(50)
    indices, priorities = np.arange(50), np.arange(50, dtype=np.float32)
    device.set(ArrayInterface(indices), ArrayInterface(priorities, stream=7))
    cpu.set(indices, priorities)
    assert_same(device, cpu)
    drawn = device.sample(5)[0]
    interface = drawn.__cuda_array_interface__
    assert {key: interface[key] for key in ("shape", "typestr", "strides", "version", "stream")} == {
        "shape": (5,),
        "typestr": "<i8",
        "strides": None,
        "version": 3,
        "stream": 1,
    }
    assert interface["data"][1] is False
    for bad, error, message in (
        (ArrayInterface(np.arange(8)[::2]), ValueError, "stride of 2"),
        (ArrayInterface(np.arange(4, dtype=">i8")), TypeError, "typestr '>i8'"),
        (ArrayInterface(np.arange(4), mask=object()), TypeError, "mask"),
        (ArrayInterface(np.zeros((2, 2), np.int64)), ValueError, "2 axes"),
    ):
        with pytest.raises(error, match=message):
            device.set(bad, np.ones(4))


def test_memory_elsewhere_is_refused():
    device = emulated.SumTree(10)
    elsewhere = SimpleNamespace(__dlpack_device__=lambda: (2, 1), __dlpack__=lambda **_: pytest.fail("was exported"))
    with pytest.raises(TypeError, match=r"indices is a \S*SimpleNamespace in cuda:1; must be on emulated:0"):
        device.set(elsewhere, np.ones(1))
    pointer_elsewhere = ArrayInterface(np.arange(1), data=(64, False))  # the interface names no device
    with pytest.raises(TypeError, match=r"indices is a \S*ArrayInterface in cuda:7; must be on emulated:0"):
        device.set(pointer_elsewhere, np.ones(1))
    with pytest.raises(TypeError, match=r"priorities is a \S*ArrayInterface in cuda:7; must be on emulated:0"):
        device.set(np.arange(1), ArrayInterface(np.ones(1), data=(64, False)))
    with pytest.raises(TypeError, match=r"out\[0\] is a \S*ArrayInterface in cuda:7; must be on emulated:0"):
        device.sample(1, out=(pointer_elsewhere, None))
    assert len(device) == 0
    device.set(ArrayInterface(np.zeros(0, np.int64), data=(0, False)), np.ones(0))  # no elements, no memory


def test_producers_before_dlpack_1_are_read():
    class Old:
        def __init__(self, array):
            self.array = array

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

        def __dlpack__(self, stream=None):
            return self.array.__dlpack__(stream=stream)

    device, cpu = pair(10)
    device.set(Old(np.arange(10)), Old(np.ones(10)))
    cpu.set(np.arange(10), np.ones(10))
    assert_same(device, cpu)


# ---- streams and memory ----------------------------------------------------------------------------------------------
def test_recording_a_graph_allocates_and_reads_nothing():
    device, cpu = pair(100)
    for tree in (device, cpu):
        tree.set(np.arange(100), np.arange(100.0))
    out = np.zeros(8, np.int64), np.zeros(8), np.zeros(8, np.float32)
    device.sample(8, beta=0.5, out=out, stream=CAPTURING)
    device.update(out[0], out[1], stream=CAPTURING)
    drawn, probabilities = cpu.sample(8)
    np.testing.assert_array_equal(out[0], drawn)
    cpu.set(drawn, probabilities)
    with pytest.raises(RuntimeError, match=r"records a graph.*pass out="):
        device.sample(8, stream=CAPTURING)
    with pytest.raises(RuntimeError, match=r"pass out="):
        device.get(out[0], stream=CAPTURING)
    assert_same(device, cpu)


def test_dropped_results_are_used_again_on_their_stream():
    device = emulated.SumTree(10)
    device.set(np.arange(10), np.ones(10))

    def place(array):
        return array.__cuda_array_interface__["data"][0]

    first = place(device.sample(4)[0])
    assert place(device.sample(4)[0]) == first
    held = device.sample(4)[0]
    assert place(held) == first
    assert place(device.sample(4)[0]) != first
    assert place(device.sample(4, stream=5)[0]) != first
    del held
    assert place(device.sample(4)[0]) == first


@pytest.mark.parametrize("stream", [None, 5])
def test_arguments_are_held_until_the_work_is_done(stream):
    device = emulated.SumTree(10)
    owner = ArrayInterface(np.arange(10))
    before = sys.getrefcount(owner)
    device.set(owner, np.ones(10), stream=stream)
    assert sys.getrefcount(owner) == before + 1
    device.set(np.arange(10), np.ones(10), stream=stream)  # the emulator is done at once: this call lets go
    assert sys.getrefcount(owner) == before
    device.set(owner, np.ones(10), stream=CAPTURING)  # who records a graph holds them
    assert sys.getrefcount(owner) == before


def test_our_own_arrays_are_not_held_on_the_stream_that_uses_their_memory_again():
    device = emulated.SumTree(10)
    device.set(np.arange(10), np.ones(10))
    drawn, probabilities = device.sample(4)
    place = drawn.__cuda_array_interface__["data"][0]
    device.set(drawn, probabilities)
    del drawn
    assert device.sample(4)[0].__cuda_array_interface__["data"][0] == place


def test_a_device_that_fails_for_good_does_not_end_the_process():
    device = emulated.SumTree(10)
    owner = ArrayInterface(np.arange(10))
    before = sys.getrefcount(owner)
    device.set(owner, np.ones(10), stream=FAILING)
    with pytest.raises(RuntimeError, match="the device has failed"):
        device.set(np.arange(10), np.ones(10))
    del device  # which waits for the device in vain
    gc.collect()
    assert sys.getrefcount(owner) == before


def test_the_module_is_the_one_of_the_core():
    assert emulated.list_devices()[0][0].startswith("emulated:0")
    assert not issubclass(emulated.SumTree, _core.SumTree)
    with pytest.raises(TypeError, match="__init__ was not called"):
        emulated.SumTree.__new__(emulated.SumTree).check()
