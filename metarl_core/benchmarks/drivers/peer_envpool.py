"""envpool: C++ environments behind a thread pool, in its synchronous mode."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from .base import Array, Driver, Factory
from .env_base import EnvContestant
from .reference_env import pendulum_clipped_late

# Its Taxi is the one without rain, as ours by default.
IDS = {"Taxi-v4": "Taxi-v3"}
WITHOUT = ("DeepSea-v0", "MinAtar/Breakout-v1", "PointRobot-v0", "Maze-v0")


def image_of(obs: Any) -> Any:
    """Return MiniGrid's image; other observations are arrays already."""
    return obs["image"] if isinstance(obs, dict) else obs


class EnvpoolEnvs(EnvContestant):
    """``envpool.make(..., env_type="gymnasium")`` with as many threads as cores were given."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        warnings.simplefilter("ignore")
        if self.env_id == "Pendulum-v1":
            self.reference = pendulum_clipped_late
            self.notes = "its Pendulum-v1 limits the rate only after it moved the angle, unlike Gymnasium's"
        envpool = importlib.import_module("envpool")
        self.envs = envpool.make(
            IDS.get(self.env_id, self.env_id),
            env_type="gymnasium",
            num_envs=self.num_envs,
            num_threads=self.threads,
            seed=0,
        )

    def reset(self) -> Any:
        """Reset."""
        return image_of(self.envs.reset()[0])

    def action(self, actions: Array) -> Any:
        """The dtype that its environments take without a conversion."""
        return actions if actions.dtype.kind == "f" else actions.astype("int32")

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """``step``."""
        obs, reward, terminated, truncated, _ = self.envs.step(actions)
        return image_of(obs), reward, terminated, truncated

    def run(self, prepared: Any) -> Any:
        """``step`` as a user calls it."""
        step, result = self.envs.step, None
        for actions in prepared:
            result = step(actions)
        return None if result is None else (image_of(result[0]), *result[1:])


class Envpool(Driver):
    """envpool."""

    name = "envpool"
    packages = ("envpool", "gymnasium", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Everything but DeepSea."""
        if workload != "env" or params["env_id"] in WITHOUT:
            return {}
        if params.get("tasks") or params.get("autoreset", "next_step") != "next_step":
            return {}
        return {"envpool": lambda: EnvpoolEnvs(params)}


DRIVER = Envpool()
