"""A cloned policy on goals that it never saw, by the number of episodes that it may look at.

    python experiments/cloning.py [--seeds 10]

Sixteen point robots to learn from, eight held out, goals drawn anew for every seed; eight demonstrations of each, in
which 0.6 of the actions that are taken are uniform ones; 2,000 gradient steps. Prints a Markdown table: interquartile
mean over the seeds of the mean return of one greedy episode on every held-out goal, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core import stats
from metarl_core.agents.meta import ClonedPolicy, CloningConfig, demonstrate
from metarl_core.tasks import MetaTask, Task

TRAINING, HELD_OUT, DEMONSTRATIONS, UPDATES = 16, 8, 8, 2000
EPISODES = (0, 1, 5, 10, 40)


def goals(name: str, count: int, rng: np.random.Generator) -> MetaTask:
    """Point robots with uniform goals."""
    places = rng.uniform(-0.5, 0.5, (count, 2))
    return MetaTask(
        [Task(f"{name} {i}", "PointRobot-v0", {"goal_x": x, "goal_y": y}) for i, (x, y) in enumerate(places)]
    )


def expert(task: Task) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Straight to the goal."""
    goal = np.array([task.params["goal_x"], task.params["goal_y"]], np.float32)
    return lambda obs: np.clip(goal - obs, -0.1, 0.1)


def returns_of(policy: ClonedPolicy, tasks: MetaTask, episodes: int | None) -> float:
    """Mean over the tasks, after so many episodes of each; None: the policy does not look at tasks."""
    found = []
    for task in tasks:
        if episodes is not None:
            policy.adapt(task, episodes=episodes)
        found.append(policy.evaluate(task, episodes=1).mean())
    return float(np.mean(found))


def run(seed: int) -> dict[str, float]:
    """Every figure of one seed."""
    rng = np.random.default_rng(seed)
    training, held_out = goals("goal", TRAINING, rng), goals("new", HELD_OUT, rng)
    shown = demonstrate(training, expert, episodes=DEMONSTRATIONS, noise=0.6, seed=seed)
    found = {}
    for conditioned in (True, False):
        policy = ClonedPolicy(shown, CloningConfig(), conditioned=conditioned, seed=seed)
        policy.fit(UPDATES)
        if conditioned:
            found.update({f"{count}": returns_of(policy, held_out, count) for count in EPISODES})
        else:
            found["not conditioned"] = returns_of(policy, held_out, None)
    best = demonstrate(held_out, expert, episodes=1, seed=seed)
    found["expert"] = float(np.mean([best.datasets[task.name].returns.mean() for task in held_out]))
    return found


def main() -> None:
    """Run the seeds one after another, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0 on")
    rows = [run(seed) for seed in range(parser.parse_args().seeds)]
    print(f"{len(rows)} seeds\n\n| | return [95 %] |\n| --- | --- |")
    for name in rows[0]:
        values = [np.array([row[name] for row in rows])]
        interval = stats.bootstrap_interval(stats.iqm, values)
        label = f"conditioned, {name} episodes" if name.isdigit() else name
        print(f"| {label} | {float(stats.iqm(values)):.3g} [{interval.low:.3g}, {interval.high:.3g}] |")


if __name__ == "__main__":
    main()
