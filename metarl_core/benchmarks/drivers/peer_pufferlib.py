"""pufferlib: CartPole in C, stepped in one call on one core."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import numpy as np

from .base import Array, Driver, Factory
from .env_base import EnvContestant


class PufferCartPole(EnvContestant):
    """Its CartPole: at most 200 steps, resets within the step, arrays that the next step overwrites."""

    autoreset = "same_step"
    notes = "episodes of at most 200 steps; overwrites the arrays that it returned"

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        # Its drawing functions are not linked (see bench/peers/pufferlib_build.py).
        sys.setdlopenflags(os.RTLD_LAZY)
        module = importlib.import_module("pufferlib.ocean.cartpole.cartpole")
        self.envs = module.Cartpole(num_envs=self.num_envs, report_interval=1 << 30)

    def reset(self) -> Any:
        """Reset with a fixed seed."""
        return self.envs.reset(seed=1)[0]

    def action(self, actions: Array) -> Any:
        """float32, as its buffer of actions."""
        return actions.astype(np.float32)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """``step``."""
        obs, reward, terminated, truncated, _ = self.envs.step(actions)
        return obs, reward, terminated, truncated

    def run(self, prepared: Any) -> Any:
        """``step`` as a user calls it."""
        step, result = self.envs.step, None
        for actions in prepared:
            result = step(actions)
        return result


class Pufferlib(Driver):
    """pufferlib."""

    name = "pufferlib"
    packages = ("raylib", "numpy")

    def versions(self) -> dict[str, str]:
        """Its version is in its source only."""
        return {"pufferlib": "3.0.0 (CartPole alone, from source)", **super().versions()}

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """CartPole only."""
        if workload != "env" or params["env_id"] != "CartPole-v1" or params.get("tasks"):
            return {}
        return {"pufferlib": lambda: PufferCartPole(params)}


DRIVER = Pufferlib()
