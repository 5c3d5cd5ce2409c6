"""Processor time of a gradient step of IMT on images: step 2 (trunks, embeddings, TD) and the tuning of last layers.

    python bench/imt_images.py [--environments MinAtar/Breakout-v1,...] [--tasks K] [--steps N] [--blocks N]

The shipped configuration, one thread. Medians over blocks, in milliseconds of processor time, which other work on the
machine changes less than the time by the clock.
"""

from __future__ import annotations

import argparse
import statistics
import time

from metarl_core.agents.common.devices import flushed_denormals
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.tasks import MetaTask, Task

ENVIRONMENTS = ("MinAtar/Breakout-v1", "MinAtar/Freeway-v1", "MinAtar/Seaquest-v1", "MiniGrid-DoorKey-5x5-v0")


def measure(env_id: str, tasks: int, steps: int, blocks: int) -> tuple[float, float]:
    """Milliseconds of a gradient step of step 2 and of the last layers, medians over blocks after a warm-up."""
    parameter = {"map_seed": 1} if "MiniGrid" in env_id else {"sticky_action_prob": 0.05}
    family = MetaTask(
        [Task(f"{i}", env_id, {name: scale * i for name, scale in parameter.items()}) for i in range(tasks)]
    )
    config = ImtConfig(
        reference_steps=1024, pretrain_updates=1, steps_per_round=200, submodel_updates=steps, head_updates=steps
    )
    with ImtLearner(family, config=config) as learner, flushed_denormals():
        learner.pretrain()
        learner.collect(learner.actors, learner.replay, 1.0)
        trunks, heads = [], []
        for _ in range(blocks + 1):
            times = [time.process_time()]
            for part in (learner.train_submodels, learner.tune_last_layers):
                part()
                times.append(time.process_time())
            trunks.append(1e3 * (times[1] - times[0]) / steps)
            heads.append(1e3 * (times[2] - times[1]) / steps)
    return statistics.median(trunks[1:]), statistics.median(heads[1:])


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", default=",".join(ENVIRONMENTS))
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=5)
    args = parser.parse_args()
    print("| environment | tasks | step 2, ms | last layers, ms |")
    print("| --- | ---: | ---: | ---: |")
    for environment in args.environments.split(","):
        trunks, heads = measure(environment, args.tasks, args.steps, args.blocks)
        print(f"| {environment} | {args.tasks} | {trunks:.1f} | {heads:.1f} |", flush=True)


if __name__ == "__main__":
    main()
