"""Training CDER: everything on the CPU, networks alone on the GPU, everything on the GPU, with recorded gradient steps.

    make bench-cuda

A row is a training loop with one number of instances, after a warm-up: environment steps and gradient steps a second
over some seconds, the GPU being waited for at their ends, the host's looks included. Each step of all instances is
followed by one learning phase.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import run

from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.config import resolve_config
from metarl_core.agents.device.loop import DeviceTrainer
from metarl_core.agents.loop import Trainer
from metarl_core.agents.training_loop import TrainingLoop
from metarl_core.runs import RunWriter

ENVIRONMENTS = {"CartPole-v1": [], "DeepSea-v0": ["size=20"], "MinAtar/Breakout-v1": ["optimizer=adam"]}
SIZES = (64, 1024)
LOOPS: dict[str, tuple[type[TrainingLoop], list[str]]] = {
    "CPU": (Trainer, []),
    "networks on GPU": (Trainer, ["device=cuda"]),
    "GPU": (DeviceTrainer, ["device=cuda"]),
    "GPU, graphs": (DeviceTrainer, ["device=cuda", "cuda_graphs=true"]),
}
WARM_UP_UPDATES = 64


def measure_loop(loop: type[TrainingLoop], env_id: str, num_envs: int, options: list[str], seconds: float) -> Any:
    """Return environment steps and gradient steps a second, and the seconds that were measured."""
    import torch

    never = 10**12
    common = [f"num_envs={num_envs}", f"train_every={num_envs}", "batch_size=256", "return_check=none"]
    common += [f"{name}={never}" for name in ("total_steps", "log_interval", "checkpoint_interval")]
    config = resolve_config("cder", env_id, None, [*common, *ENVIRONMENTS[env_id], *options])
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder) / "run", config.to_dict()) as writer:
        trainer = loop(config, writer)

        def wait() -> None:
            if config.device == "cuda":
                torch.cuda.synchronize()

        try:
            with flushed_denormals():
                while trainer.agent.updates < WARM_UP_UPDATES:
                    trainer.advance()
                wait()
                steps, updates, started = trainer.step, trainer.agent.updates, time.perf_counter()
                while time.perf_counter() < started + seconds:
                    trainer.advance()
                wait()
                elapsed = time.perf_counter() - started
            return (trainer.step - steps) / elapsed, (trainer.agent.updates - updates) / elapsed, elapsed
        finally:
            trainer.envs.close()


def main() -> int:
    """Return the exit status: 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", metavar="ID", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row, at least")

    def measure_all(args: argparse.Namespace, bandwidth: float, rows: list[dict[str, Any]]) -> None:  # noqa: ARG001
        for env_id in args.envs:
            for size in args.sizes:
                for where, (loop, options) in LOOPS.items():
                    steps, updates, elapsed = measure_loop(loop, env_id, size, options, args.seconds)
                    rows.append({"environment": env_id, "num_envs": size, "where": where, "seconds": elapsed})
                    rows[-1] |= {"steps_per_second": steps, "updates_per_second": updates}
                    print(f"  {env_id:20} {where:16} {size:>6,} {steps:>14,.0f} {updates:>12,.0f}", flush=True)

    return run(parser, f"  {'environment':20} {'where':16} {'envs':>6} {'steps/s':>14} {'updates/s':>12}", measure_all)


if __name__ == "__main__":
    sys.exit(main())
