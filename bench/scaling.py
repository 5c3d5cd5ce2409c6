"""Cost of the replay against capacity, batch size and threads: measures, then writes CSV files and plots.

    python bench/scaling.py [--quick] [--out FOLDER]     (FOLDER: docs/images by default)

Least of many short measurements, so that what else runs on the machine counts little. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import metarl_core
from metarl_core import _core

ALPHA, BETA = 0.6, 0.4
CHUNK = 1 << 16
IMAGE = ((4, 84, 84), np.uint8)
Rows = list[tuple[str, int, float]]


def least_seconds(call: Callable[[], Any], budget: float) -> float:
    """Return the least time of one call over many blocks of at least 0.2 ms."""
    call()
    calls, best, end = 1, float("inf"), time.perf_counter() + budget
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        elapsed = time.perf_counter() - start
        best = min(best, elapsed / calls)
        if elapsed < 2e-4:
            calls *= 2
    return best


def updates(capacity: int, batch: int) -> Callable[[], tuple[Any, Any]]:
    """Return batches of random places with ever other priorities."""
    rng = np.random.default_rng(0)
    count = max(2, min(512, (1 << 19) // batch))
    places = [rng.integers(0, capacity, batch) for _ in range(count)]
    values = [rng.lognormal(0.0, 1.0, batch).astype(np.float32) for _ in range(count + 1)]
    step = 0

    def following() -> tuple[Any, Any]:
        nonlocal step
        step += 1
        return places[step % count], values[step % (count + 1)]

    return following


def filled_buffer(capacity: int) -> Any:
    """Return a buffer of small transitions with log-normal priorities."""
    observation = ((4,), np.float32)
    fields = {"obs": observation, "action": ((), np.int64), "reward": ((), np.float32), "next_obs": observation}
    buffer = metarl_core.PrioritizedReplayBuffer(capacity, fields, alpha=ALPHA, beta=BETA, seed=0)
    rng = np.random.default_rng(0)
    for start in range(0, capacity, CHUNK):
        n = min(CHUNK, capacity - start)
        obs = np.zeros((n, 4), np.float32)
        buffer.add(obs=obs, action=np.zeros(n, np.int64), reward=obs[:, 0], next_obs=obs)
        buffer.update_priorities(np.arange(start, start + n), rng.lognormal(0.0, 1.0, n).astype(np.float32))
    return buffer


def measure_buffer(buffer: Any, batch: int, budget: float) -> dict[str, float]:
    """Return nanoseconds a transition of sampling and of updating."""
    following = updates(buffer.capacity, batch)
    sample = least_seconds(lambda: buffer.sample(batch), budget)
    update = least_seconds(lambda: buffer.update_priorities(*following()), budget)
    return {"sample": sample / batch * 1e9, "update": update / batch * 1e9}


def against_capacity(capacities: list[int], budget: float) -> Rows:
    """Measure at batch size 256."""
    rows = []
    for capacity in capacities:
        buffer = filled_buffer(capacity)
        rows += [(name, capacity, value) for name, value in measure_buffer(buffer, 256, budget).items()]
    return rows


def against_batch(batches: list[int], capacity: int, budget: float) -> Rows:
    """Measure with one buffer."""
    buffer = filled_buffer(capacity)
    return [(name, b, value) for b in batches for name, value in measure_buffer(buffer, b, budget).items()]


def against_threads(capacity: int, budget: float) -> Rows:
    """Measure gigabytes of images a second for batches of 256."""
    rows = []
    block = np.random.default_rng(0).integers(0, 256, (64, *IMAGE[0]), np.uint8)
    for threads in range(1, _core.available_cpus() + 1):
        buffer = metarl_core.ReplayBuffer(capacity, {"obs": IMAGE, "next_obs": IMAGE}, num_threads=threads)
        for _ in range(capacity // 64):
            buffer.add(obs=block, next_obs=block)
        size = 256 * 2 * block[0].nbytes
        rows.append(("sample", threads, size / least_seconds(lambda b=buffer: b.sample(256), budget) / 1e9))  # type: ignore[misc]
        rows.append(
            ("add", threads, 64 * 2 * block[0].nbytes / least_seconds(
                lambda b=buffer: b.add(obs=block, next_obs=block), budget) / 1e9)  # type: ignore[misc]
        )  # fmt: skip
    return rows


def write(folder: Path, name: str, rows: Rows, x: str, y: str, logarithmic: bool) -> None:
    """Write NAME.csv and NAME.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["work", x, y])
        writer.writerows((work, value, f"{figure:.3f}") for work, value, figure in rows)
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for work in dict.fromkeys(row[0] for row in rows):
        points = [(value, figure_) for name_, value, figure_ in rows if name_ == work]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=work)
    if logarithmic:
        axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / f"{name}.png", dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure and write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller buffers, shorter measurements")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "images")
    arguments = parser.parse_args()
    quick, budget = arguments.quick, 0.05 if arguments.quick else 0.5
    capacities = [1 << k for k in range(10, 17 if quick else 25, 2)]
    rows = against_capacity(capacities, budget)
    write(arguments.out, "scaling_capacity", rows, "capacity", "ns a transition (batch 256)", True)
    batches = [1 << k for k in range(3, 11 if quick else 16)]
    exponent = 14 if quick else 20
    rows = against_batch(batches, 1 << exponent, budget)
    write(arguments.out, "scaling_batch", rows, "batch size", f"ns a transition (capacity 2^{exponent})", True)
    rows = against_threads(1 << (9 if quick else 13), budget)
    write(arguments.out, "scaling_threads", rows, "threads", "GB of images a second", False)


if __name__ == "__main__":
    main()
