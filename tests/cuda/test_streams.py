"""Captured graphs, streams and exchange of memory with torch."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from metarl_core import SumTree

torch = pytest.importorskip("torch")

CAPACITY = 50_000


def filled(seed=1):
    tree = SumTree(CAPACITY, seed, device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    tree.set(torch.arange(CAPACITY, device="cuda"), torch.rand(CAPACITY, generator=generator, device="cuda"))
    return tree


def outputs(batch):
    return (
        torch.zeros(batch, dtype=torch.int64, device="cuda"),
        torch.zeros(batch, dtype=torch.float64, device="cuda"),
        torch.zeros(batch, dtype=torch.float32, device="cuda"),
    )


def everything(tree):
    return torch.from_dlpack(tree.get(torch.arange(CAPACITY, device="cuda"))).cpu()


@pytest.mark.parametrize("batch", [256, 8192])
def test_a_replayed_graph_does_what_eager_calls_do(batch):
    def step(tree, out, beta):
        tree.sample(batch, beta=beta, out=out)
        tree.update(out[0], (out[1] * 1e4).sqrt() + out[2])

    graph_tree, eager_tree = filled(), filled()
    graph_out, eager_out = outputs(batch), outputs(batch)
    beta = torch.full((1,), 0.4, dtype=torch.float64, device="cuda")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(graph_tree, graph_out, beta)
        with pytest.raises(RuntimeError, match="pass out="):
            graph_tree.sample(batch)
    for replay in range(20):
        beta.fill_(0.4 + 0.03 * replay)
        graph.replay()
        step(eager_tree, eager_out, 0.4 + 0.03 * replay)
        for ours, theirs in zip(graph_out, eager_out, strict=True):
            assert torch.equal(ours, theirs), replay
    torch.cuda.synchronize()
    assert torch.equal(everything(graph_tree), everything(eager_tree))
    assert graph_tree.total == eager_tree.total
    graph_tree.check()


def test_calls_on_two_streams_are_in_order():
    batch, rounds = 4096, 200
    tree, one_stream = filled(), filled()
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    torch.cuda.synchronize()
    for _ in range(rounds):
        with torch.cuda.stream(first):
            indices, probabilities = (torch.from_dlpack(array) for array in tree.sample(batch))
            values = (probabilities * 1e4).float()
            # torch makes the second stream wait when the tree asks it for the arrays; the tree waits for itself.
            tree.update(indices, values, stream=second.cuda_stream)
        drawn, shares = (torch.from_dlpack(array) for array in one_stream.sample(batch))
        one_stream.update(drawn, (shares * 1e4).float())
    torch.cuda.synchronize()
    assert torch.equal(everything(tree), everything(one_stream))
    tree.check()


def test_a_consumer_on_another_stream_waits_for_the_result():
    tree = filled()
    busy, other = torch.cuda.Stream(), torch.cuda.Stream()
    matrix = torch.rand(4096, 4096, device="cuda")
    expected = SumTree(CAPACITY, 1)
    expected.set(np.arange(CAPACITY), everything(filled()).numpy())
    torch.cuda.synchronize()
    for _ in range(20):
        with torch.cuda.stream(busy):
            for _ in range(8):
                matrix @ matrix  # the draw comes late
            drawn, _ = tree.sample(1000)
        with torch.cuda.stream(other):
            copy = torch.from_dlpack(drawn).clone()
        other.synchronize()
        np.testing.assert_array_equal(copy.cpu().numpy(), expected.sample(1000)[0])
        busy.synchronize()


def test_memory_is_returned():
    def free_bytes():
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.mem_get_info()[0]

    def sample_and_drop():
        tree = filled()
        views = [torch.from_dlpack(array) for array in tree.sample(100_000)]
        del tree
        assert int(views[0].max()) < CAPACITY

    sample_and_drop()  # kernels, ours and torch's, are loaded and keep memory of their own
    before = free_bytes()
    for _ in range(30):
        sample_and_drop()
    assert free_bytes() >= before - (8 << 20)


def test_array_interface():
    tree = filled()
    drawn, _ = tree.sample(100)
    as_tensor = torch.as_tensor(drawn, device="cuda")
    assert as_tensor.data_ptr() == drawn.__cuda_array_interface__["data"][0]
    assert torch.equal(as_tensor, torch.from_dlpack(drawn))
    assert torch.from_dlpack(drawn).data_ptr() == as_tensor.data_ptr()
