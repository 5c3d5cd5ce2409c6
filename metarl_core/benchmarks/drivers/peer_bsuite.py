"""bsuite: the package that defines DeepSea and Catch; one Python object per environment, stepped in a loop."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, UnsupportedError
from .env_base import BSUITE, MAX_PYTHON_ENVS, PYTHON_CHECKED_STEPS, EnvContestant


class BsuiteEnvs(EnvContestant):
    """``DeepSea`` or ``Catch`` objects; the step after the last one of an episode resets, as in NEXT_STEP mode."""

    checked_steps = PYTHON_CHECKED_STEPS

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        if self.num_envs > MAX_PYTHON_ENVS:
            raise UnsupportedError(f"one Python object per environment: not run above {MAX_PYTHON_ENVS}")
        if self.env_id == "Catch-v0":
            catch = importlib.import_module("bsuite.environments.catch")
            self.envs = [catch.Catch(seed=row) for row in range(self.num_envs)]
        else:
            deep_sea = importlib.import_module("bsuite.environments.deep_sea")
            self.envs = [deep_sea.DeepSea(self.size, mapping_seed=42) for _ in range(self.num_envs)]

    def reset(self) -> Any:
        """Reset all."""
        return np.stack([env.reset().observation for env in self.envs])

    def action(self, actions: Array) -> Any:
        """A list of Python integers."""
        return actions.tolist()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """Step all and stack."""
        steps = [env.step(action) for env, action in zip(self.envs, actions, strict=True)]
        last = np.array([step.last() for step in steps])
        reward = np.array([step.reward or 0.0 for step in steps])
        return np.stack([step.observation for step in steps]), reward, last, np.zeros_like(last)


class Bsuite(Driver):
    """bsuite."""

    name = "bsuite"
    packages = ("bsuite", "dm-env", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Its own only."""
        return {"bsuite": lambda: BsuiteEnvs(params)} if workload == "env" and params["env_id"] in BSUITE else {}


DRIVER = Bsuite()
