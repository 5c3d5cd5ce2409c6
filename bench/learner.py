"""Throughput of the learners: gradient updates and environment steps a second, where the time goes, torch.compile.

    python bench/learner.py [--updates N] [--algorithms cder,bootdqn,...] [--environments DeepSea-v0,...] [--compile]
                            [--json FILE]

Each row is a training loop with the shipped configuration of the algorithm for the environment and one thread: medians
over blocks of updates, after a warm-up. ``act`` is acting, stepping and storing; ``sample`` drawing the batch and
writing priorities back; ``learn`` loss, gradient and optimiser. ``--compile`` adds rows with ``compile=true``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.config import resolve_config
from metarl_core.agents.loop import Trainer
from metarl_core.runs import RunWriter

ALGORITHMS = ("cder", "bootdqn", "ddqn-per", "rnd", "icm", "noveld", "dltv")
ENVIRONMENTS = {
    "DeepSea-v0": ["size=20"],
    "MountainCar-v0": [],
    "MinAtar/Breakout-v1": ["optimizer=adam"],
    "MiniGrid-DoorKey-8x8-v0": ["optimizer=adam"],
}
BLOCKS = 8
_PARTS = ("act_us", "sample_us", "learn_us")


class Clock:
    """Adds up the time inside wrapped methods."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, owner: Any, name: str) -> None:
        """Count the time of ``owner.name`` from now on."""
        method: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **named)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(owner, name, timed)


def measure(algorithm: str, environment: str, updates: int, compiled: bool) -> dict[str, Any]:
    """Run one training loop and time it."""
    options = [*ENVIRONMENTS.get(environment, []), f"compile={compiled}", "total_steps=10000000"]
    if algorithm == "cder":
        options.append("return_check=none")
    config = resolve_config(algorithm, environment, None, options)
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder) / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        act, learn = Clock(), Clock()
        act.wrap(trainer, "act")
        learn.wrap(trainer.agent, "learn")

        def play(count: int) -> None:
            end = trainer.agent.updates + count
            while trainer.agent.updates < end:
                trainer.act()
                trainer.learn()

        with flushed_denormals():
            start = time.perf_counter()
            play(updates // 4)
            warm_up = time.perf_counter() - start
            blocks = []
            for _ in range(BLOCKS):
                act.seconds = learn.seconds = 0.0
                before, steps = trainer.agent.updates, trainer.step
                start = time.perf_counter()
                play(updates // BLOCKS)
                seconds, done = time.perf_counter() - start, trainer.agent.updates - before
                sample = seconds - act.seconds - learn.seconds
                parts = [1e6 * part / done for part in (seconds, act.seconds, sample, learn.seconds)]
                blocks.append([*parts, (trainer.step - steps) / seconds])
        trainer.envs.close()
    total, acting, sampling, learning, steps_per_second = (
        statistics.median(column) for column in zip(*blocks, strict=True)
    )
    return {
        "algorithm": algorithm,
        "environment": environment,
        "compile": compiled,
        "updates_per_second": 1e6 / total,
        "steps_per_second": steps_per_second,
        "act_us": acting,
        "sample_us": sampling,
        "learn_us": learning,
        "warm_up_seconds": warm_up,
    }


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS))
    parser.add_argument("--environments", default=",".join(ENVIRONMENTS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print("| environment | algorithm | compiled | updates/s | steps/s | act us | sample us | learn us | warm-up s |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for environment in args.environments.split(","):
        for algorithm in args.algorithms.split(","):
            for compiled in (False, True) if args.compile else (False,):
                row = measure(algorithm, environment, args.updates, compiled)
                rows.append(row)
                figures = [f"{row[name]:.0f}" for name in ("updates_per_second", "steps_per_second", *_PARTS)]
                cells = [environment, algorithm, "yes" if compiled else "no", *figures, f"{row['warm_up_seconds']:.1f}"]
                print(f"| {' | '.join(cells)} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
