"""What closes IMT's TD target while a round's trunks begin anew: returns of the slow copies and of what they follow.

    python experiments/imt_targets.py --env PointRobot-v0 --rounds 2,5,10

With ``target_update=polyak`` the slow copies go from the submodels of before the round to those that began at the
common trunk, through mixtures of their weights. Whether such mixtures are worth anything is measured here: mean return
of greedy episodes on the training tasks, each network on its own, after some gradient steps of step 2; and how far the
slow copies' values are from those of before the round, over these values' standard deviation. One tuning seed, no
validation tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.imt import ImtLearner
from metarl_core.agents.imt.task_rows import TaskRows
from metarl_core.tasks import task_family

STEPS = (5, 20, 50, 100, 150, 200, 300, 500)
TASKS, EPISODES = 12, 4


def greedy_return(learner: ImtLearner, q: Callable[[Tensor], Tensor], episodes: int = EPISODES) -> float:
    """Mean return of greedy episodes, network k on training task k."""
    actors = learner.make_actors(learner.train_tasks, 123, per_task=episodes)

    @torch.no_grad()
    def act(obs: Tensor) -> Tensor:
        return q(obs.view(TASKS, episodes, -1)).flatten(0, 1).argmax(dim=1)

    return float(actors.first_episodes(act)[0].mean())


def probed_step_two(learner: ImtLearner) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Train step 2 of a round, and print a row of the table after some of its gradient steps."""
    models, number, done = learner.models, len(learner.rounds) + 1, 0
    obs = learner._sample(learner.replay, TASKS).next_obs
    with torch.no_grad():
        before = models.target_q(obs).clone()

    def row() -> None:
        with torch.no_grad():
            distance = (models.target_q(obs) - before).square().mean().sqrt() / before.std(dim=(1, 2)).mean()
        slow, online = greedy_return(learner, models.target_q), greedy_return(learner, models.q)
        print(f"| {number} | {done} | {slow:.2f} | {online:.2f} | {distance:.2f} |", flush=True)

    def tick(stepped: TaskRows | None) -> None:
        nonlocal done
        done += stepped is None
        if stepped is None and done in STEPS:
            row()

    row()
    learner.tick = tick
    try:
        return learner.train_submodels()
    finally:
        learner.tick = lambda _: None


class Probed(ImtLearner):
    """A learner whose slow copies are looked at in some rounds."""

    probed: tuple[int, ...] = ()

    def train_submodels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Step 2, with the table's rows in the rounds that are asked for."""
        number = len(self.rounds) + 1
        if number not in self.probed:
            return super().train_submodels()
        self.probed = tuple(each for each in self.probed if each != number)
        return probed_step_two(self)


def main() -> None:
    """Train to the last of the rounds and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="PointRobot-v0")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--rounds", default="2,5")
    args = parser.parse_args()
    rounds = tuple(int(number) for number in args.rounds.split(","))
    family = task_family(args.env, split="extrapolation")
    print("| round | gradient steps | return, slow copies | return, submodels | distance of values |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    with Probed(args.env, family.sample_tasks(TASKS, "train", args.seed), seed=args.seed) as learner:
        learner.probed = rounds
        learner.pretrain()
        while len(learner.rounds) < max(rounds):
            learner.round()


if __name__ == "__main__":
    main()
