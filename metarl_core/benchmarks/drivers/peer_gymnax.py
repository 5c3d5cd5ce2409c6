"""gymnax: environments in JAX, compiled for the CPU; one call per step, and a scan over many steps in one call."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Driver, Factory
from .jax_envs import JaxEnvs, Scanned

IDS = {
    "FrozenLake-v1": "FrozenLake-misc",
    "DeepSea-v0": "DeepSea-bsuite",
    "Catch-v0": "Catch-bsuite",
    "MinAtar/Breakout-v1": "Breakout-MinAtar",
    "PointRobot-v0": "PointRobot-misc",
    "Maze-v0": "MetaMaze-misc",
}
# Of the same kind as ours, but not the same.
OWN_RULES = {
    "PointRobot-v0": "its point robot: goals on a half circle, a new start where the goal is reached",
    "Maze-v0": "its MetaMaze: one map for all, a new start where the goal is reached",
}
MISSING = ("CliffWalking-v1", "Taxi-v4", "MiniGrid-Empty-8x8-v0", "MiniGrid-DoorKey-8x8-v0")


class GymnaxEnvs(JaxEnvs):
    """Its ``step`` with its own autoreset."""

    def functions(self) -> tuple[Any, Any]:
        """Make the environment, with tasks where they are asked for."""
        jax = self.jax
        gymnax = importlib.import_module("gymnax")
        extra = {"size": self.size} if self.size else {}
        env, env_params = gymnax.make(IDS.get(self.env_id, self.env_id), **extra)
        if self.env_id in OWN_RULES:
            self.own_rules = True
            self.notes = "; ".join(note for note in (self.notes, OWN_RULES[self.env_id]) if note)
        num_envs, axis = self.num_envs, None
        if self.tasks is not None:
            tasks = {name: jax.numpy.asarray(values, np.float32) for name, values in self.tasks.items()}
            tasks["total_mass"] = tasks["masscart"] + tasks["masspole"]
            tasks["polemass_length"] = tasks["masspole"] * tasks["length"]
            # The others are the same for all: one array each, too.
            whole = jax.tree_util.tree_map(lambda value: jax.numpy.full(num_envs, value), env_params)
            env_params, axis = whole.replace(**tasks), 0

        def advance(carry: Any, actions: Any) -> Any:
            key, state = carry
            key, now = jax.random.split(key)
            keys = jax.random.split(now, num_envs)
            step = jax.vmap(env.step, in_axes=(0, 0, 0, axis))
            obs, state, reward, terminated, truncated, _ = step(keys, state, actions, env_params)
            return (key, state), (obs, reward, terminated, truncated)

        def start(key: Any) -> Any:
            key, now = jax.random.split(key)
            obs, state = jax.vmap(env.reset, in_axes=(0, axis))(jax.random.split(now, num_envs), env_params)
            return (key, state), obs

        return start, advance


class GymnaxScan(Scanned, GymnaxEnvs):
    """The same in blocks of steps."""


class Gymnax(Driver):
    """gymnax."""

    name = "gymnax"
    packages = ("gymnax", "jax", "jaxlib", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Everything that it has, in both ways."""
        if workload != "env" or params["env_id"] in MISSING:
            return {}
        return {"gymnax": lambda: GymnaxEnvs(params), "gymnax scan": lambda: GymnaxScan(params)}


DRIVER = Gymnax()
