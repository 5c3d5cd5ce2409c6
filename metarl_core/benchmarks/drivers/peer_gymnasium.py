"""Gymnasium: its own vector entry point where it has one (CartPole), SyncVectorEnv elsewhere."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from .base import Driver, Factory, UnsupportedError
from .env_base import BSUITE, MAX_PYTHON_ENVS, PYTHON_CHECKED_STEPS, EnvContestant

WITHOUT = ("MinAtar/Breakout-v1", "MiniGrid-Empty-8x8-v0", "MiniGrid-DoorKey-8x8-v0", "PointRobot-v0", "Maze-v0")


class GymnasiumEnvs(EnvContestant):
    """``gymnasium.make_vec`` in one of its modes."""

    def __init__(self, params: dict[str, Any], mode: str) -> None:
        super().__init__(params)
        if mode == "sync" and self.num_envs > MAX_PYTHON_ENVS:
            raise UnsupportedError(f"one Python object per environment: not run above {MAX_PYTHON_ENVS}")
        if mode == "sync":
            self.checked_steps = PYTHON_CHECKED_STEPS
        warnings.simplefilter("ignore")
        gymnasium = importlib.import_module("gymnasium")
        self.autoreset = params.get("autoreset", "next_step")
        arguments: dict[str, Any] = {}
        if mode == "sync":
            chosen = gymnasium.vector.AutoresetMode({"next_step": "NextStep", "same_step": "SameStep"}[self.autoreset])
            arguments["vector_kwargs"] = {"autoreset_mode": chosen}
        elif self.autoreset != "next_step":
            raise UnsupportedError("its own vector entry point has NEXT_STEP autoreset only")
        self.envs = gymnasium.make_vec(self.env_id, self.num_envs, vectorization_mode=mode, **arguments)

    def reset(self) -> Any:
        """Reset with a fixed seed."""
        return self.envs.reset(seed=0)[0]

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


class Gymnasium(Driver):
    """Gymnasium."""

    name = "gymnasium"
    packages = ("gymnasium", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Everything but bsuite's."""
        if workload != "env" or params["env_id"] in (*BSUITE, *WITHOUT) or params.get("tasks"):
            return {}
        found: dict[str, Factory] = {"gymnasium sync": lambda: GymnasiumEnvs(params, "sync")}
        if params["env_id"] == "CartPole-v1":
            found["gymnasium vector"] = lambda: GymnasiumEnvs(params, "vector_entry_point")
        return found


DRIVER = Gymnasium()
