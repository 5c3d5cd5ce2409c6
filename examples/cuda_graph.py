"""Prioritized sampling and priority updates inside a CUDA graph.

The whole step (draw, weights, a stand-in for the TD errors, update) is recorded once and replayed: no Python and no
launch by launch work in the loop. Every replay draws anew, as the draw counter lies on the device; beta is read from
memory, so its schedule goes on, too. Needs a GPU and torch: python examples/cuda_graph.py
"""

from __future__ import annotations

import sys

import torch

from metarl_core import SumTree

CAPACITY, BATCH, STEPS = 1 << 20, 4096, 1000


def main() -> int:
    if not torch.cuda.is_available():
        print("this example needs a GPU that torch can use", file=sys.stderr)
        return 2
    tree = SumTree(CAPACITY, seed=0, device="cuda")
    tree.set(torch.arange(CAPACITY, device="cuda"), torch.ones(CAPACITY, device="cuda"))

    # What a graph writes must stay where it is: the results get memory of their own.
    indices = torch.zeros(BATCH, dtype=torch.int64, device="cuda")
    probabilities = torch.zeros(BATCH, dtype=torch.float64, device="cuda")
    weights = torch.zeros(BATCH, dtype=torch.float32, device="cuda")
    beta = torch.full((1,), 0.4, dtype=torch.float64, device="cuda")
    td_errors = torch.zeros(BATCH, device="cuda")

    def step() -> None:
        tree.sample(BATCH, beta=beta, out=(indices, probabilities, weights))
        td_errors.copy_((indices % 100 + 1) / 100 * weights)  # a learner's step would be here
        tree.update(indices, td_errors)

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    for number in range(STEPS):
        beta.fill_(0.4 + 0.6 * number / STEPS)
        graph.replay()
    tree.check()  # raises what went wrong on the device
    print(f"{STEPS} replays, total priority {tree.total:.1f} of {CAPACITY} leaves, largest {tree.max:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
