"""gymnax: environments in JAX, compiled for the CPU; one call per step, and a scan over many steps in one call."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, import_jax
from .check_env import Trace
from .env_base import EnvContestant, draw_actions

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


class GymnaxEnvs(EnvContestant):
    """A jitted, vmapped ``step`` with its own autoreset (the observation of an end is that of the next episode)."""

    autoreset = "same_step"

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.jax = jax = import_jax()
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

        self.start, self.advance = jax.jit(start), jax.jit(advance, donate_argnums=0)
        self.raw_advance = advance
        self.carry: Any = None

    def reset(self) -> Any:
        """Reset with a fixed key."""
        self.carry, obs = self.start(self.jax.random.PRNGKey(0))
        return obs

    def action(self, actions: Array) -> Any:
        """A JAX array."""
        shaped = actions if actions.dtype.kind == "f" else actions.astype(np.int32)
        return self.jax.numpy.asarray(shaped)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """One compiled call; wait for the result."""
        self.carry, result = self.advance(self.carry, actions)
        self.jax.block_until_ready(result)
        return tuple(result)


class GymnaxScan(GymnaxEnvs):
    """``lax.scan`` over a block of steps in one compiled call.

    So that no part of a step can be left out, the sums of observations, rewards and ends of every step are returned.
    """

    notes = "many steps in one call, returns sums only"

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        jax = self.jax

        def summed(carry: Any, actions: Any) -> Any:
            carry, result = self.raw_advance(carry, actions)
            return carry, tuple(value.sum() for value in result)

        self.scan_all = jax.jit(lambda carry, actions: jax.lax.scan(self.raw_advance, carry, actions))
        self.scan = jax.jit(lambda carry, actions: jax.lax.scan(summed, carry, actions), donate_argnums=0)
        self.block = max(8, min(1024, (1 << 18) // self.num_envs))

    def trace(self, actions: Array) -> Trace:
        """Record the whole scan."""
        first = self.reset()
        self.carry, result = self.scan_all(self.carry, self.action(actions))
        obs, reward, terminated, truncated = (np.asarray(value) for value in result)
        return Trace(
            np.concatenate([np.asarray(first)[None], obs]),
            actions,
            reward,
            terminated,
            truncated,
            self.autoreset,
            self.tasks,
        )

    def prepare(self, actions: Array) -> Any:
        """One JAX array for the block."""
        return self.action(actions)

    def run(self, prepared: Any) -> Any:
        """One compiled call; wait for the result."""
        self.carry, sums = self.scan(self.carry, prepared)
        self.jax.block_until_ready(sums)
        return sums

    def _fitting(self, steps: int, seconds: float) -> int:
        """Compile for the block that is measured."""
        del seconds
        self.run(self.prepare(draw_actions(self.env_id, steps, self.num_envs, self.rng)))
        return steps

    def verify(self, result: Any) -> None:
        """The sums must be finite."""
        super().verify([np.repeat(np.asarray(value)[-1:], self.num_envs) for value in result])


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
