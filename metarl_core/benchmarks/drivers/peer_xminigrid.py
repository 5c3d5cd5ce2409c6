"""xminigrid: MiniGrid's levels in JAX, compiled for the CPU; one call per step, and a scan over many steps."""

from __future__ import annotations

import importlib
from typing import Any

from .base import Driver, Factory
from .jax_envs import JaxEnvs, Scanned

IDS = {"MiniGrid-Empty-8x8-v0": "MiniGrid-Empty-8x8", "MiniGrid-DoorKey-8x8-v0": "MiniGrid-DoorKey-8x8"}
# Its numbers of MiniGrid's actions (left, right, forward, pick up, drop, toggle); it has no seventh, `done`, for which
# it toggles here.
ACTIONS = (2, 1, 0, 3, 4, 5, 5)


class XMiniGridEnvs(JaxEnvs):
    """Its ``step`` with its ``GymAutoResetWrapper``."""

    own_rules = True
    notes = "sees through walls; images of two numbers a cell, of ours three; no action done"

    def functions(self) -> tuple[Any, Any]:
        """Make the level."""
        jax, num_envs = self.jax, self.num_envs
        env, params = importlib.import_module("xminigrid").make(IDS[self.env_id])
        env = importlib.import_module("xminigrid.wrappers").GymAutoResetWrapper(env)
        numbers = jax.numpy.asarray(ACTIONS)

        def advance(timestep: Any, actions: Any) -> Any:
            timestep = jax.vmap(env.step, in_axes=(None, 0, 0))(params, timestep, numbers[actions])
            last = timestep.last()
            terminated = last & (timestep.discount == 0)
            return timestep, (timestep.observation, timestep.reward, terminated, last & ~terminated)

        def start(key: Any) -> Any:
            timestep = jax.vmap(env.reset, in_axes=(None, 0))(params, jax.random.split(key, num_envs))
            return timestep, timestep.observation

        return start, advance


class XMiniGridScan(Scanned, XMiniGridEnvs):
    """The same in blocks of steps."""

    notes = f"{Scanned.notes}; {XMiniGridEnvs.notes}"


class XMiniGrid(Driver):
    """xminigrid."""

    name = "xminigrid"
    packages = ("xminigrid", "jax", "jaxlib", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """The two levels of the benchmark, in both ways."""
        if workload != "env" or params["env_id"] not in IDS:
            return {}
        return {"xminigrid": lambda: XMiniGridEnvs(params), "xminigrid scan": lambda: XMiniGridScan(params)}


DRIVER = XMiniGrid()
