"""Clock and final evaluation of a training run: the same code inside every contestant's process.

It needs NumPy, Gymnasium and the package that defines the environment: it runs in other virtual environments too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

EPISODES = 100
FIRST_SEED = 1_000_000
LONGEST = 2000
"""Steps after which an episode of the evaluation ends: a greedy policy may stand still for ever."""

Greedy = Callable[[NDArray[Any]], NDArray[Any]]
"""Observations [B, ...] -> actions [B]."""


class Clock:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._since = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        """Wall and CPU seconds since then."""
        return {"seconds": time.perf_counter() - self._since[0], "cpu_seconds": time.process_time() - self._since[1]}


def define_environment(env_id: str) -> None:
    """Let Gymnasium know the environments of the package that defines this one."""
    if env_id.startswith("MinAtar/") and env_id not in gymnasium.registry:
        from minatar.gym import register_envs

        register_envs()


def evaluate(env_id: str, greedy: Greedy, episodes: int = EPISODES, longest: int = LONGEST) -> float:
    """Mean return of greedy episodes, played side by side in the package's own environment from fixed seeds.

    Args:
        env_id: Gymnasium's.
        greedy: the policy.
        episodes: how many.
        longest: steps after which an episode is cut.
    """
    define_environment(env_id)
    envs = [gymnasium.make(env_id, disable_env_checker=True) for _ in range(episodes)]
    obs = np.stack([env.reset(seed=FIRST_SEED + i)[0] for i, env in enumerate(envs)])
    running = list(range(episodes))
    total = 0.0
    for _ in range(longest):
        going = []
        for row, action in zip(running, greedy(obs[running]), strict=True):
            obs[row], reward, terminated, truncated, _ = envs[row].step(int(action))
            total += float(reward)
            if not (terminated or truncated):
                going.append(row)
        running = going
        if not running:
            break
    return total / episodes
