"""Training CDER and IMT: all on the CPU, networks alone on the GPU, all on the GPU, with recorded gradient steps.

    make bench-cuda

A row is a training loop with one number of instances, after a warm-up: environment steps and gradient steps a second
over some seconds, the GPU being waited for at their ends, the host's looks included. Each step of all instances is
followed by one learning phase. CartPole-tasks is IMT on 8 tasks, rounds without their ends: 64 steps of all instances,
64 gradient steps of step 2 and 64 of the last layers; a gradient step is one of all submodels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import run

from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.config import resolve_config
from metarl_core.agents.device.loop import DeviceTrainer
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.loop import Trainer
from metarl_core.agents.training_loop import TrainingLoop
from metarl_core.runs import RunWriter
from metarl_core.tasks import task_family

ENVIRONMENTS = {"CartPole-v1": [], "DeepSea-v0": ["size=20"], "MinAtar/Breakout-v1": ["optimizer=adam"]}
SIZES = (64, 1024)
LOOPS: dict[str, tuple[type[TrainingLoop], list[str]]] = {
    "CPU": (Trainer, []),
    "networks on GPU": (Trainer, ["device=cuda"]),
    "GPU": (DeviceTrainer, ["device=cuda"]),
    "GPU, graphs": (DeviceTrainer, ["device=cuda", "cuda_graphs=true"]),
}
IMT = "CartPole-tasks"
QUICK_ENVIRONMENTS = ("CartPole-v1", IMT)
IMT_PLACES = {"CPU": ("cpu", "cpu"), "networks on GPU": ("cuda", "cpu"), "GPU": ("cuda", "cuda")}
WARM_UP_UPDATES = 64


def _rates(count: Callable[[], tuple[int, int]], work: Callable[[], None], seconds: float, on_gpu: bool) -> Any:
    """Return what ``count`` counts a second while ``work`` is done again and again, and the seconds that it took."""
    import torch

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    wait()
    before, started = count(), time.perf_counter()
    while time.perf_counter() < started + seconds:
        work()
    wait()
    elapsed = time.perf_counter() - started
    return *((now - then) / elapsed for now, then in zip(count(), before, strict=True)), elapsed


def measure_imt(place: tuple[str, str], num_envs: int, seconds: float) -> Any:
    """The same as :func:`measure_loop` of IMT; devices of the networks, and of environments and replay."""
    tasks, per_task = 8, max(1, num_envs // 8)
    config = ImtConfig(envs_per_task=per_task, steps_per_round=64 * per_task, submodel_updates=64, head_updates=64)
    parameters = task_family("CartPole-v1").sample_tasks(tasks, "train")
    device, core_device = place
    with ImtLearner("CartPole-v1", parameters, config, device=device, core_device=core_device) as learner:

        def work() -> None:
            learner.collect(learner.actors, learner.replay, 0.1)
            learner.train_submodels()
            learner.tune_last_layers()

        with flushed_denormals():
            learner.pretrain()
            work()
            return _rates(lambda: (tasks * learner.actors.steps, learner.updates), work, seconds, device == "cuda")


def measure_loop(loop: type[TrainingLoop], env_id: str, num_envs: int, options: list[str], seconds: float) -> Any:
    """Return environment steps and gradient steps a second, and the seconds that were measured."""
    never = 10**12
    common = [f"num_envs={num_envs}", f"train_every={num_envs}", "batch_size=256", "return_check=none"]
    common += [f"{name}={never}" for name in ("total_steps", "log_interval", "checkpoint_interval")]
    config = resolve_config("cder", env_id, None, [*common, *ENVIRONMENTS[env_id], *options])
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder) / "run", config.to_dict()) as writer:
        trainer = loop(config, writer)
        try:
            with flushed_denormals():
                while trainer.agent.updates < WARM_UP_UPDATES:
                    trainer.advance()
                return _rates(
                    lambda: (trainer.step, trainer.agent.updates), trainer.advance, seconds, config.device == "cuda"
                )
        finally:
            trainer.envs.close()


def main() -> int:
    """Return the exit status: 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*ENVIRONMENTS, IMT]
    parser.add_argument("--envs", nargs="+", metavar="ID", choices=names)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, help="of each row, at least (3; 1 in a quick run)")

    def measure_all(args: argparse.Namespace, bandwidth: float, rows: list[dict[str, Any]]) -> None:  # noqa: ARG001
        seconds = args.seconds or (1.0 if args.quick else 3.0)
        for env_id in args.envs or (QUICK_ENVIRONMENTS if args.quick else names):
            for size in args.sizes or (SIZES[-1:] if args.quick else SIZES):
                for where in IMT_PLACES if env_id == IMT else LOOPS:
                    if env_id == IMT:
                        steps, updates, elapsed = measure_imt(IMT_PLACES[where], size, seconds)
                    else:
                        loop, options = LOOPS[where]
                        steps, updates, elapsed = measure_loop(loop, env_id, size, options, seconds)
                    rows.append({"environment": env_id, "num_envs": size, "where": where, "seconds": elapsed})
                    rows[-1] |= {"steps_per_second": steps, "updates_per_second": updates}
                    print(f"  {env_id:20} {where:16} {size:>6,} {steps:>14,.0f} {updates:>12,.0f}", flush=True)

    return run(parser, f"  {'environment':20} {'where':16} {'envs':>6} {'steps/s':>14} {'updates/s':>12}", measure_all)


if __name__ == "__main__":
    sys.exit(main())
