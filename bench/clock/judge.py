"""When a training run has solved CartPole-v1, and how long it took: the same code inside every contestant's process.

It needs NumPy and Gymnasium alone, since it runs in the peers' environments too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

EPISODES = 100
THRESHOLD = 475.0
"""Gymnasium's reward threshold of CartPole-v1."""

LONGEST = 500
"""Steps, and so the return, of an episode that is never lost."""

SEEDS, CHECK_SEEDS = 1_000_000, 2_000_000
"""Seeds of the first episode of an evaluation and of its repetition; the others' follow."""

Greedy = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Observations float32 [B, 4] -> actions [B]."""


class Episodes:
    """Greedy episodes of Gymnasium's CartPole-v1 from fixed seeds, played side by side.

    Args:
        first_seed: of the first episode; episode ``i`` starts from ``first_seed + i``.
        count: how many.
    """

    def __init__(self, first_seed: int, count: int = EPISODES) -> None:
        self.first_seed = first_seed
        self.envs = [gymnasium.make("CartPole-v1", disable_env_checker=True) for _ in range(count)]

    def play(self, greedy: Greedy, at_least: float = 0.0) -> float | None:
        """Mean return of the episodes; None as soon as it can no longer be ``at_least``.

        What is missing to the longest episode only grows, so giving up early never changes what is decided.
        """
        spare = (LONGEST - at_least) * len(self.envs)
        running = list(range(len(self.envs)))
        obs = np.stack([env.reset(seed=self.first_seed + i)[0] for i, env in enumerate(self.envs)])
        total = missing = 0
        for step in range(1, LONGEST + 1):
            going = []
            for row, action in zip(running, greedy(obs[running]), strict=True):
                obs[row], _, terminated, truncated, _ = self.envs[row].step(int(action))
                if terminated or truncated:
                    total += step
                    missing += LONGEST - step
                else:
                    going.append(row)
            if missing > spare:
                return None
            running = going
            if not running:
                break
        return total / len(self.envs)


class Judge:
    """Counts the seconds of training and decides when it is over.

    Solved: the mean return of 100 greedy episodes is at least 475, and so is that of 100 others from other seeds.
    The clock stands still meanwhile.

    Args:
        greedy: the policy under training, without exploration.
        every: environment steps between two evaluations.
        max_steps: environment steps after which a run that has not solved it ends.
        clocks: wall clock and this process's CPU clock, seconds.
    """

    def __init__(
        self,
        greedy: Greedy,
        every: int,
        max_steps: int,
        clocks: tuple[Callable[[], float], ...] = (time.perf_counter, time.process_time),
    ) -> None:
        self.greedy, self.every, self.max_steps, self._clocks = greedy, every, max_steps, clocks
        self.first, self.second = Episodes(SEEDS), Episodes(CHECK_SEEDS)
        self.spent = [0.0] * len(clocks)
        self.steps = self.evaluations = self.repeated = 0
        self.returns: tuple[float, float] | None = None
        self._due = every
        self._since = [clock() for clock in clocks]

    def start(self) -> None:
        """Let the clock run."""
        self._since = [clock() for clock in self._clocks]

    def over(self, steps: int) -> bool:
        """Hear that ``steps`` environment steps are done, evaluate if it is time; True ends the training."""
        if steps < self._due and steps < self.max_steps:
            return False
        now = [clock() for clock in self._clocks]
        self.spent = [spent + end - begin for spent, end, begin in zip(self.spent, now, self._since, strict=True)]
        self._due += self.every
        self.steps = steps
        solved = self._solved()
        self.start()
        return solved or steps >= self.max_steps

    def _solved(self) -> bool:
        self.evaluations += 1
        mean = self.first.play(self.greedy, THRESHOLD)
        if mean is None:
            return False
        self.repeated += 1
        again = self.second.play(self.greedy, THRESHOLD)
        if again is None:
            return False
        self.returns = mean, again
        return True

    def result(self) -> dict[str, Any]:
        """What a worker reports of its run."""
        return {
            "solved": self.returns is not None,
            "steps": self.steps,
            "seconds": self.spent[0],
            "cpu_seconds": self.spent[1],
            "evaluations": self.evaluations,
            "repeated": self.repeated,
            "return": self.returns[0] if self.returns else None,
            "return_again": self.returns[1] if self.returns else None,
        }


def fingerprint() -> str:
    """Length and observations of an episode of fixed actions: the same where the environment is."""
    env = gymnasium.make("CartPole-v1")
    obs, _ = env.reset(seed=0)
    total, steps, ended = np.abs(obs).astype(np.float64), 0, False
    while not ended:
        obs, _, terminated, truncated, _ = env.step(steps % 3 % 2)
        total += np.abs(obs)
        steps += 1
        ended = terminated or truncated
    return f"{steps} {' '.join(f'{value:.4f}' for value in total)}"
