"""What the benchmarks of this folder have in common: the clock, the measured bandwidth, the GPU that they need."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metarl_core._cuda_module import cuda_devices

REPEATS, QUICK_REPEATS = 7, 3
LOOP_SECONDS = 0.02
_repeats = REPEATS


def seconds_of(call: Callable[[], Any]) -> float:
    """Median time of a call, everything warm."""
    import torch

    def loop(times: int) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(times):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / times

    loop(3)
    times = max(3, min(2000, int(LOOP_SECONDS / max(loop(3), 1e-7))))
    return statistics.median(loop(times) for _ in range(_repeats))


def seconds_waiting(call: Callable[[], Any]) -> float:
    """Median time of a call that waits for the device itself, everything warm."""
    call()
    times = []
    for _ in range(_repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def left_out(what: str, why: object) -> None:
    """Say that a row is not measured."""
    print(f"  {what}: left out: {str(why).splitlines()[0] if str(why) else type(why).__name__}", flush=True)


def copy_bandwidth() -> float:
    """Bytes read and written a second by a copy of 1 GiB."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_of(lambda: target.copy_(source))


def captured(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call as a graph to be replayed."""
    import torch

    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def run(parser: argparse.ArgumentParser, header: str, measure: Callable[..., None]) -> int:
    """Measure everything on the first GPU; print, and write the rows where ``--json`` says.

    Args:
        parser: Knows the benchmark's own arguments.
        header: Of the printed table.
        measure: Called with the arguments, the copy bandwidth in bytes a second, and a list for the rows.

    Returns:
        The exit status: 2 without a GPU, or without a torch that can use it.
    """
    global _repeats
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    parser.add_argument("--quick", action="store_true", help="some rows alone, with fewer repeats")
    args = parser.parse_args()
    _repeats = QUICK_REPEATS if args.quick else REPEATS
    devices, problem = cuda_devices()
    if not devices:
        print(f"bench/cuda needs a GPU: {problem}", file=sys.stderr)
        return 2
    try:
        import torch
    except ImportError:
        print("bench/cuda needs torch: pip install 'metarl-core[agents]'", file=sys.stderr)
        return 2
    if not torch.cuda.is_available():
        print(f"bench/cuda needs a torch that can use {devices[0]}", file=sys.stderr)
        return 2
    bandwidth = copy_bandwidth()
    print(f"{devices[0]}, torch {torch.__version__}, copy bandwidth {bandwidth / 1e12:.2f} TB/s")
    print(header)
    rows: list[dict[str, Any]] = []
    try:
        measure(args, bandwidth, rows)
    finally:  # what was measured before an error is not lost
        if args.json:
            report = {"device": devices[0], "copy_bytes_per_second": bandwidth, "rows": rows}
            args.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 0
