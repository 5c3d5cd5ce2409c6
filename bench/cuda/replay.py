"""The loop of an agent on a GPU: add rows, sample a batch, update its priorities; and each call alone.

    make bench-cuda

A row is one kind of call at one capacity and batch size, timed as in sum_tree.py. ``loop`` adds as many rows as it
samples. ``graph`` rows replay a captured call. ``roofline`` is the time that the bytes which a call must touch take at
the copy bandwidth measured here, over the time it took: those of sum_tree.py for the tree, and for a transition its
packed row, in sectors of 32 bytes, once in the buffer and once in a batch. A buffer whose tree fits into the GPU's
cache can be above 100 % of that. A capacity for which there is no room is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from measuring import captured, left_out, run, seconds_of
from sum_tree import BATCHES, QUICK_BATCHES, call_bytes

from metarl_core import PrioritizedReplayBuffer

CAPACITIES = (1 << 20, 10_000_000, 100_000_000)
# HalfCheetah's: 17 numbers an observation, 6 an action.
FIELDS = {
    "obs": ((17,), "float32"),
    "action": ((6,), "float32"),
    "reward": ((), "float32"),
    "next_obs": ((17,), "float32"),
    "terminated": ((), "bool"),
}
ROW_BYTES = 17 * 4 + 6 * 4 + 4 + 17 * 4 + 1


def loop_bytes(capacity: int, batch: int, kind: str) -> int:
    """Bytes that a call must move: see the head of this file."""
    sectors = (ROW_BYTES + 31) // 32 * 32
    sampled = call_bytes(capacity, batch, "sample") + batch * (sectors + ROW_BYTES)
    updated = call_bytes(capacity, batch, "update") + batch * 32
    added = call_bytes(capacity, batch, "update") + batch * (sectors + ROW_BYTES + 32)
    return {"sample": sampled, "update": updated, "add": added, "loop": sampled + updated + added}[kind]


def random_rows(count: int) -> dict[str, Any]:
    """Values of every field, on the GPU."""
    import torch

    return {
        name: torch.rand((count, *shape), device="cuda") < 0.01
        if dtype == "bool"
        else torch.rand((count, *shape), device="cuda")
        for name, (shape, dtype) in FIELDS.items()
    }


def fill(buffer: Any, count: int) -> None:
    """Add that many rows at least: a draw from an empty buffer is an error, which ``check`` raises."""
    portion = 1 << 18
    rows = random_rows(portion)
    for _ in range(count // portion + 1):
        buffer.add(**rows)


def calls_of(buffer: Any, batch: int) -> dict[str, Callable[[], Any]]:
    """The calls to be timed, on a full buffer."""
    import torch

    rows = random_rows(batch)
    sampled = buffer.sample(batch)
    errors = torch.rand(batch, device="cuda") + 0.01

    def loop() -> None:
        buffer.add(**rows)
        buffer.sample(batch, beta=0.4, out=sampled)
        buffer.update_priorities(sampled, errors)

    return {
        "add": lambda: buffer.add(**rows),
        "sample": lambda: buffer.sample(batch, beta=0.4, out=sampled),
        "update": lambda: buffer.update_priorities(sampled, errors),
        "loop": loop,
    }


def measure(capacity: int, batches: Sequence[int], bandwidth: float, rows: list[dict[str, Any]]) -> None:
    """Every call at one capacity."""
    try:
        buffer = PrioritizedReplayBuffer(capacity, FIELDS, device="cuda")
    except MemoryError as error:
        left_out(f"{capacity:,} transitions", error)
        return
    fill(buffer, capacity)
    buffer.check()
    for batch in batches:
        calls = calls_of(buffer, batch)
        calls |= {f"{kind} graph": captured(call) for kind, call in list(calls.items())}
        for kind, call in calls.items():
            seconds = seconds_of(call)
            roofline = loop_bytes(capacity, batch, kind.split()[0]) / bandwidth / seconds
            row = {"call": kind, "capacity": capacity, "batch": batch, "microseconds": seconds * 1e6}
            rows.append(row | {"calls_per_second": 1 / seconds, "roofline": roofline})
            print(
                f"  {kind:13} {capacity:>11,} {batch:>7,} {seconds * 1e6:>10.1f} us {1 / seconds:>10.0f} /s "
                f"{batch / seconds / 1e6:>10.1f} M/s {roofline:9.1%}",
                flush=True,
            )
    buffer.check()


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
        f"  {'call':13} {'capacity':>11} {'batch':>7} {'time':>13} {'calls':>13} {'items':>14} {'roofline':>9}",
        measure_all,
    )


if __name__ == "__main__":
    sys.exit(main())
