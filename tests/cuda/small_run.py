"""Every kernel of the tree once or more, on little data: what compute-sanitizer watches."""

from __future__ import annotations

import torch

from metarl_core import SumTree


def main() -> None:
    for capacity, batch in ((5000, 300), (70_000, 5000)):  # one block, and several
        tree = SumTree(capacity, device="cuda")
        for step in range(3):
            indices = torch.randint(capacity, (batch,), device="cuda")
            priorities = torch.rand(batch, device="cuda") * 10.0 ** (4 * step - 4)
            tree.set(indices, priorities if step else priorities.double())
            for mode in ("stratified", "iid", "uniform"):
                for normalization in ("max", "batch_max", "sum", "none"):
                    tree.sample(batch, mode=mode, beta=0.5, normalization=normalization)
            tree.find(torch.rand(batch, device="cuda", dtype=torch.float64) * tree.total)
            tree.get(indices)
            tree.invalidate(indices[::2].contiguous())
        tree.check()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
