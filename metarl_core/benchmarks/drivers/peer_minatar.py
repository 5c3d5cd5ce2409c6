"""minatar: the package that defines MinAtar's games, in Python."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, UnsupportedError
from .env_base import MAX_PYTHON_ENVS, PYTHON_CHECKED_STEPS, EnvContestant


class MinAtarEnvs(EnvContestant):
    """One object per environment, stepped in a loop; an ended one is reset by the next step, as ours."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        if self.num_envs > MAX_PYTHON_ENVS:
            raise UnsupportedError(f"one Python object per environment: not run above {MAX_PYTHON_ENVS}")
        self.checked_steps = PYTHON_CHECKED_STEPS
        environment = importlib.import_module("minatar").Environment
        game = self.env_id.removeprefix("MinAtar/").split("-")[0].lower()
        self.envs = [environment(game) for _ in range(self.num_envs)]
        for row, env in enumerate(self.envs):
            env.seed(row)
        self.codes = self.envs[0].minimal_action_set()
        self.ended = [False] * self.num_envs

    def reset(self) -> Any:
        """Reset all."""
        for env in self.envs:
            env.reset()
        self.ended = [False] * self.num_envs
        return np.stack([env.state() for env in self.envs])

    def action(self, actions: Array) -> Any:
        """The game's numbers of the actions."""
        return [self.codes[action] for action in actions.tolist()]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """Step all and stack."""
        rewards, ended = [], []
        for env, action, reset in zip(self.envs, actions, self.ended, strict=True):
            if reset:
                env.reset()
            reward, end = (0.0, False) if reset else env.act(action)
            rewards.append(reward)
            ended.append(bool(end))
        self.ended = ended
        obs = np.stack([env.state() for env in self.envs])
        return obs, np.array(rewards, np.float64), np.array(ended), np.zeros(self.num_envs, bool)


class MinAtar(Driver):
    """minatar."""

    name = "minatar"
    packages = ("minatar", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Its own games only."""
        if workload != "env" or not params["env_id"].startswith("MinAtar/"):
            return {}
        return {"minatar": lambda: MinAtarEnvs(params)}


DRIVER = MinAtar()
