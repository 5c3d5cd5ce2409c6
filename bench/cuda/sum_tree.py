"""Sampling and updating a sum tree on a GPU: ours, a plain torch sampler, and TorchRL's CUDA tree where there is one.

    make bench-cuda

A row is one kind of call at one capacity and batch size: the median time of a call over repeats of a loop that is long
against the clock, the GPU being waited for at its ends alone. ``graph`` rows replay a captured call. ``roofline`` is
the time that the bytes which a call must touch take at the copy bandwidth measured here, over the time it took: a
descent reads a line of 128 bytes a level, an update reads and writes a sector of 32 bytes a level. A tree that fits
into the GPU's cache can be above 100 % of that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from measuring import captured, left_out, run, seconds_of

from metarl_core import SumTree

CAPACITIES = (1 << 20, 10_000_000, 100_000_000)
BATCHES = (256, 1024, 4096, 16_384, 65_536)
QUICK_BATCHES = (256, 65_536)


def call_bytes(capacity: int, batch: int, kind: str) -> int:
    """Bytes that a call must move: see the head of this file."""
    levels, sums = 0, (capacity + 31) // 32
    while sums > 1:
        sums = (sums + 15) // 16
        levels += 1
    if kind == "sample":
        return batch * (128 + levels * 128 + 8 + 8 + 4)
    return batch * (8 + 4 + 2 * 32 * (levels + 3))


class Ours:
    """``metarl_core.SumTree``."""

    name = "metarl_core"

    def __init__(self, capacity: int, priorities: Any) -> None:
        import torch

        self.torch = torch
        self.tree = SumTree(capacity, device="cuda")
        self.tree.set(torch.arange(capacity, device="cuda"), priorities)

    def sample(self, batch: int) -> Callable[[], Any]:
        """Return a call that draws a batch."""
        out = tuple(
            self.torch.zeros(batch, dtype=getattr(self.torch, dtype), device="cuda")
            for dtype in ("int64", "float64", "float32")
        )
        return lambda: self.tree.sample(batch, beta=0.4, out=out)

    def update(self, indices: Any, priorities: Any) -> Callable[[], Any]:
        """Return a call that sets priorities."""
        return lambda: self.tree.update(indices, priorities)

    def check(self) -> None:
        """Raise what a call found on the device."""
        self.tree.check()


class CumulativeSum:
    """Stratified draws by torch.cumsum and torch.searchsorted, weights in float32."""

    name = "torch cumsum"

    def __init__(self, capacity: int, priorities: Any) -> None:
        import torch

        self.torch = torch
        self.capacity = capacity
        self.priorities = priorities.clone()

    def sample(self, batch: int) -> Callable[[], Any]:
        """Return a call that draws a batch."""
        torch = self.torch
        steps = torch.arange(batch, device="cuda", dtype=torch.float64)

        def call() -> Any:
            sums = torch.cumsum(self.priorities, 0, dtype=torch.float64)
            at = (steps + torch.rand(batch, device="cuda", dtype=torch.float64)) * (sums[-1] / batch)
            indices = torch.searchsorted(sums, at).clamp_(max=self.capacity - 1)
            probabilities = self.priorities[indices] / sums[-1]
            weights = (self.capacity * probabilities) ** -0.4
            return indices, weights / weights.max()

        return call

    def update(self, indices: Any, priorities: Any) -> Callable[[], Any]:
        """Return a call that sets priorities."""

        def call() -> None:
            self.priorities[indices] = priorities

        return call

    def check(self) -> None:
        """Nothing is checked on the device."""


class TorchRL:
    """TorchRL's sum segment tree on the device: the draw and nothing else, as it has no weights."""

    name = "torchrl"

    def __init__(self, capacity: int, priorities: Any) -> None:
        import torch
        from torchrl._torchrl import CudaSumSegmentTreeFp32

        self.torch = torch
        self.tree = CudaSumSegmentTreeFp32(capacity, torch.device("cuda"))
        self.tree[torch.arange(capacity, device="cuda")] = priorities

    def sample(self, batch: int) -> Callable[[], Any]:
        """Return a call that draws a batch."""
        torch, capacity = self.torch, self.tree.capacity
        total = self.tree.query(0, capacity)
        return lambda: self.tree.scan_lower_bound(torch.rand(batch, device="cuda") * total)

    def update(self, indices: Any, priorities: Any) -> Callable[[], Any]:
        """Return a call that sets priorities."""

        def call() -> None:
            self.tree[indices] = priorities

        return call

    def check(self) -> None:
        """Nothing is checked on the device."""


def measure(capacity: int, batches: Sequence[int], bandwidth: float, rows: list[dict[str, Any]]) -> None:
    """Every library at one capacity."""
    import torch

    generator = torch.Generator("cuda").manual_seed(0)
    priorities = torch.rand(capacity, generator=generator, device="cuda") + 0.01
    for library in (Ours, CumulativeSum, TorchRL):
        try:
            subject = library(capacity, priorities)
        except (ImportError, AttributeError, RuntimeError, TypeError) as error:
            left_out(f"{library.name} {capacity:,}", error)
            continue
        for batch in batches:
            indices = torch.randint(capacity, (batch,), generator=generator, device="cuda")
            values = torch.rand(batch, generator=generator, device="cuda") + 0.01
            calls = {"sample": subject.sample(batch), "update": subject.update(indices, values)}
            if library is Ours:
                calls |= {f"{kind} graph": captured(call) for kind, call in list(calls.items())}
            for kind, call in calls.items():
                seconds = seconds_of(call)
                row = {"library": library.name, "call": kind, "capacity": capacity, "batch": batch}
                row |= {"microseconds": seconds * 1e6, "items_per_second": batch / seconds}
                if library is Ours:
                    row["roofline"] = call_bytes(capacity, batch, kind.split()[0]) / bandwidth / seconds
                rows.append(row)
                share = f"{row['roofline']:9.1%}" if "roofline" in row else ""
                print(
                    f"  {library.name:13} {kind:13} {capacity:>11,} {batch:>7,} {seconds * 1e6:>10.1f} us "
                    f"{batch / seconds / 1e6:>10.1f} M/s {share}",
                    flush=True,
                )
        subject.check()
        del subject, calls, call
        torch.cuda.empty_cache()


def main() -> int:
    """Return the exit status: 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacities", type=int, nargs="+", default=list(CAPACITIES))
    parser.add_argument("--batches", type=int, nargs="+")

    def measure_all(args: argparse.Namespace, bandwidth: float, rows: list[dict[str, Any]]) -> None:
        for capacity in args.capacities:
            measure(capacity, args.batches or (QUICK_BATCHES if args.quick else BATCHES), bandwidth, rows)

    return run(
        parser,
        f"  {'library':13} {'call':13} {'capacity':>11} {'batch':>7} {'time':>13} {'items':>14} {'roofline':>9}",
        measure_all,
    )


if __name__ == "__main__":
    sys.exit(main())
