"""minigrid: the package that defines MiniGrid's levels, in Python."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from .base import Driver, Factory, UnsupportedError
from .env_base import MAX_PYTHON_ENVS, PYTHON_CHECKED_STEPS, EnvContestant


class MiniGridEnvs(EnvContestant):
    """Its environments in Gymnasium's ``SyncVectorEnv``, with the image as observation."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        if self.num_envs > MAX_PYTHON_ENVS:
            raise UnsupportedError(f"one Python object per environment: not run above {MAX_PYTHON_ENVS}")
        self.checked_steps = PYTHON_CHECKED_STEPS
        warnings.simplefilter("ignore")
        gymnasium = importlib.import_module("gymnasium")
        wrapper = importlib.import_module("minigrid.wrappers").ImgObsWrapper
        makers = [lambda: wrapper(gymnasium.make(self.env_id))] * self.num_envs
        self.envs = gymnasium.vector.SyncVectorEnv(makers)

    def reset(self) -> Any:
        """Reset with a fixed seed."""
        return self.envs.reset(seed=0)[0]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """``step``."""
        obs, reward, terminated, truncated, _ = self.envs.step(actions)
        return obs, reward, terminated, truncated


class MiniGrid(Driver):
    """minigrid."""

    name = "minigrid"
    packages = ("minigrid", "gymnasium", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Its own levels only."""
        if workload != "env" or not params["env_id"].startswith("MiniGrid-"):
            return {}
        return {"minigrid": lambda: MiniGridEnvs(params)}


DRIVER = MiniGrid()
