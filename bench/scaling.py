"""Cost of replay and environments against size and threads: measures, then writes CSV files and plots.

    python bench/scaling.py [--quick] [--suite replay|env] [--out FOLDER]     (FOLDER: docs/images by default)

Least of many short measurements, so that what else runs on the machine counts little. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import metarl_core
from metarl_core import _core

ALPHA, BETA = 0.6, 0.4
CHUNK = 1 << 16
ENVIRONMENTS = (
    "CartPole-v1",
    "Pendulum-v1",
    "FrozenLake-v1",
    "MinAtar/Breakout-v1",
    "Acrobot-v1",
    "DeepSea-v0",
    "Taxi-v4",
)
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


def against_leaves(capacities: list[int], budget: float) -> Rows:
    """Measure nanoseconds an index of trees at batch sizes 256 and 8192."""
    rows = []
    for capacity in capacities:
        tree = metarl_core.SumTree(capacity, seed=0)
        rng = np.random.default_rng(0)
        for start in range(0, capacity, CHUNK):
            n = min(CHUNK, capacity - start)
            tree.set(np.arange(start, start + n), rng.lognormal(0.0, 1.0, n))
        for batch in (256, 8192):
            following = updates(capacity, batch)
            sample = least_seconds(lambda tree=tree, batch=batch: tree.sample(batch), budget)  # type: ignore[misc]
            update = least_seconds(lambda tree=tree, f=following: tree.set(*f()), budget)  # type: ignore[misc]
            rows += [
                (f"sample {batch}", capacity, sample / batch * 1e9),
                (f"update {batch}", capacity, update / batch * 1e9),
            ]
    return rows


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


def env_call(env_id: str, num_envs: int, threads: int, mode: str = "next_step") -> Callable[[], Any]:
    """Return a call that takes one step with fresh random actions, into the caller's arrays."""
    envs = metarl_core.make_vec(
        env_id, num_envs, num_threads=threads, autoreset_mode=mode, dense_final_obs=True, seed=0
    )
    envs.reset(seed=0)
    space, rng = envs.single_action_space, np.random.default_rng(0)
    count = max(8, min(2048, (1 << 20) // num_envs))
    if hasattr(space, "n"):
        actions = [rng.integers(space.n, size=num_envs) for _ in range(count)]
    else:
        low, high = space.low, space.high
        actions = [rng.uniform(low, high, (num_envs, *space.shape)).astype(np.float32) for _ in range(count)]
    out = envs.make_buffers()
    step = 0

    def call() -> Any:
        nonlocal step
        step += 1
        return envs.step(actions[step % count], out=out)

    for _ in range(min(count, 300)):  # episodes of all ages
        call()
    return call


def against_num_envs(env_ids: Sequence[str], sizes: Sequence[int], budget: float) -> Rows:
    """Measure millions of steps a second on one thread."""
    return [(env_id, n, n / least_seconds(env_call(env_id, n, 1), budget) / 1e6) for env_id in env_ids for n in sizes]


def env_threads(env_ids: Sequence[str], num_envs: int, budget: float) -> Rows:
    """Measure how many times as fast as one thread several are."""
    rows = []
    for env_id in env_ids:
        for mode in ("next_step", "same_step"):
            one = 0.0
            for threads in range(1, _core.available_cpus() + 1):
                seconds = least_seconds(env_call(env_id, num_envs, threads, mode), budget)
                one = one or seconds
                rows.append((f"{env_id} {mode}", threads, one / seconds))
    return rows


def write(folder: Path, name: str, rows: Rows, x: str, y: str, logarithmic: bool, logarithmic_y: bool = False) -> None:
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
    if logarithmic_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(folder / f"{name}.png", dpi=120)
    plt.close(figure)


def environments(quick: bool, budget: float, out: Path) -> None:
    """Measure the environments."""
    sizes = [1 << k for k in range(0, 13 if quick else 18, 4 if quick else 2)]
    rows = against_num_envs(ENVIRONMENTS, sizes, budget)
    write(out, "scaling_envs", rows, "num_envs", "M steps a second, one thread", True, True)
    rows = env_threads(ENVIRONMENTS[:4], 1 << (12 if quick else 16), budget)
    write(out, "scaling_env_threads", rows, "threads", "times as fast as one thread", False)


def replay(quick: bool, budget: float, out: Path) -> None:
    """Measure the replay."""
    capacities = [1 << k for k in range(10, 17 if quick else 25, 2)]
    rows = against_capacity(capacities, budget)
    write(out, "scaling_capacity", rows, "capacity", "ns a transition (batch 256)", True)
    leaves = [*(capacity for capacity in capacities if capacity >= 1 << 14), *([] if quick else [100_000_000])]
    write(out, "scaling_tree", against_leaves(leaves, budget), "leaves", "ns an index", True)
    batches = [1 << k for k in range(3, 11 if quick else 16)]
    exponent = 14 if quick else 20
    rows = against_batch(batches, 1 << exponent, budget)
    write(out, "scaling_batch", rows, "batch size", f"ns a transition (capacity 2^{exponent})", True)
    rows = against_threads(1 << (9 if quick else 13), budget)
    write(out, "scaling_threads", rows, "threads", "GB of images a second", False)


def main() -> None:
    """Measure and write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller buffers, shorter measurements")
    parser.add_argument("--suite", choices=["replay", "env", "all"], default="all")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "images")
    arguments = parser.parse_args()
    quick, budget = arguments.quick, 0.05 if arguments.quick else 0.5
    if arguments.suite != "env":
        replay(quick, budget, arguments.out)
    if arguments.suite != "replay":
        environments(quick, budget, arguments.out)


if __name__ == "__main__":
    main()
