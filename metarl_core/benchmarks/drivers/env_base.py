"""The environment work: step batches of environments with random actions."""

from __future__ import annotations

import gc
import time
from typing import Any

import numpy as np

from .base import Array, Contestant, UnsupportedError, checksum, require
from .check_env import Reference, Trace, check_trace

NUM_ACTIONS = {
    "CartPole-v1": 2,
    "MountainCar-v0": 3,
    "Acrobot-v1": 3,
    "FrozenLake-v1": 4,
    "CliffWalking-v1": 4,
    "Taxi-v4": 6,
    "DeepSea-v0": 2,
    "Catch-v0": 3,
    "MinAtar/Breakout-v1": 3,
    "MiniGrid-Empty-8x8-v0": 7,
    "MiniGrid-DoorKey-8x8-v0": 7,
    "Maze-v0": 4,
}
# Those that bsuite defines.
BSUITE = ("DeepSea-v0", "Catch-v0")
# CartPole's parameters that differ between environments, and their ranges.
TASK_RANGES = {
    "gravity": (5.0, 15.0),
    "masscart": (0.5, 2.0),
    "masspole": (0.05, 0.3),
    "length": (0.3, 1.0),
    "force_mag": (5.0, 15.0),
}
ACTIONS_OF_A_BLOCK = 1 << 19
# One Python object per environment: the rate does not grow with their number, the time to make them does.
MAX_PYTHON_ENVS = 256
PYTHON_CHECKED_STEPS = 1 << 13


def draw_actions(env_id: str, steps: int, num_envs: int, rng: np.random.Generator) -> Array:
    """Return fresh random actions: int64[steps, num_envs], or float32[steps, num_envs, size]."""
    if env_id == "Pendulum-v1":
        return rng.uniform(-2.0, 2.0, (steps, num_envs, 1)).astype(np.float32)
    if env_id == "PointRobot-v0":
        return rng.uniform(-0.1, 0.1, (steps, num_envs, 2)).astype(np.float32)
    return rng.integers(0, NUM_ACTIONS[env_id], (steps, num_envs), dtype=np.int64)


def draw_tasks(num_envs: int) -> dict[str, Array]:
    """Return one task per environment, float64 by parameter, the same for everybody."""
    rng = np.random.default_rng(11)
    return {name: rng.uniform(low, high, num_envs) for name, (low, high) in TASK_RANGES.items()}


class EnvContestant(Contestant):
    """A batch of environments.

    Actions are drawn for each block of steps, outside the timed region, from the same seeds for everybody; each is
    used once. Every step counts, also the ones that reset (in NEXT_STEP mode), for everybody.
    """

    autoreset = "next_step"
    checked_steps = 1 << 17
    reference: Reference | None = None
    own_rules = False  # an environment of the same kind, but not the same

    def __init__(self, params: dict[str, Any]) -> None:
        self.env_id = str(params["env_id"])
        self.num_envs = int(params["num_envs"])
        self.threads = int(params["threads"])
        self.size = int(params.get("size", 0))
        self.tasks = draw_tasks(self.num_envs) if params.get("tasks") else None
        self.rng = np.random.default_rng(0)
        self.block = max(8, min(4096, ACTIONS_OF_A_BLOCK // self.num_envs))

    def reset(self) -> Any:
        """Reset all environments and return the observations."""
        raise NotImplementedError

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """Step all environments: (obs, reward, terminated, truncated)."""
        raise NotImplementedError

    def action(self, actions: Array) -> Any:
        """Return the actions of one step in the library's own type (not timed)."""
        return actions

    def prepare(self, actions: Array) -> Any:
        """Return the actions of a block as :meth:`run` wants them (not timed)."""
        return [self.action(row) for row in actions]

    def run(self, prepared: Any) -> Any:
        """Take the steps of a block (timed) and return what the last one returned."""
        step, result = self.step, None
        for actions in prepared:
            result = step(actions)
        return result

    def trace(self, actions: Array) -> Trace:
        """Reset, take steps and record everything (not timed)."""
        obs = [np.array(self.reset())]
        reward: list[Array] = []
        terminated: list[Array] = []
        truncated: list[Array] = []
        for row in actions:
            result = self.step(self.action(row))
            obs.append(np.array(result[0]))
            for values, value in zip((reward, terminated, truncated), result[1:4], strict=True):
                values.append(np.array(value))
        return Trace(
            np.stack(obs),
            actions,
            np.stack(reward),
            np.stack(terminated).astype(bool),
            np.stack(truncated).astype(bool),
            self.autoreset,
            self.tasks,
        )

    def check(self) -> str:
        """Record a run and hold every step of it against the environment's equations."""
        steps = int(np.clip(self.checked_steps // self.num_envs, 8, 512))
        if self.num_envs * self.size**2 * steps > 1 << 26:
            steps = max(3, (1 << 26) // (self.num_envs * self.size**2))
        trace = self.trace(draw_actions(self.env_id, steps, self.num_envs, np.random.default_rng(7)))
        check_trace(self.env_id, trace, self.size, self.reference, self.own_rules)
        self.run(self.prepare(draw_actions(self.env_id, 2, self.num_envs, self.rng)))
        return checksum(trace.obs, trace.reward, trace.terminated, trace.truncated)

    def measure(self, case: str, params: dict[str, Any], seconds: float) -> float:
        """Time blocks of steps; return seconds for one step of one environment."""
        del params
        if case != "step":
            raise UnsupportedError(f"no case {case!r} for environments")
        steps, total, taken = self.block, 0.0, 0
        # Slow libraries get shorter blocks, so that one block does not take much longer than was asked for.
        steps = self._fitting(steps, seconds)
        result = None
        while total < seconds:
            prepared = self.prepare(draw_actions(self.env_id, steps, self.num_envs, self.rng))
            gc.disable()
            start = time.perf_counter()
            result = self.run(prepared)
            total += time.perf_counter() - start
            gc.enable()
            taken += steps * self.num_envs
        self.verify(result)
        return total / taken

    def _fitting(self, steps: int, seconds: float) -> int:
        prepared = self.prepare(draw_actions(self.env_id, 2, self.num_envs, self.rng))
        start = time.perf_counter()
        self.run(prepared)
        one = (time.perf_counter() - start) / 2
        return max(2, min(steps, int(seconds / max(one, 1e-9)) + 1))

    def verify(self, result: Any) -> None:
        """Assert that the last timed step returned a whole batch of finite numbers."""
        obs, reward, terminated, truncated = (np.asarray(value) for value in result[:4])
        for name, value in (("obs", obs), ("reward", reward), ("terminated", terminated), ("truncated", truncated)):
            require(
                value.shape[:1] == (self.num_envs,), f"{name} of shape {value.shape} for {self.num_envs} environments"
            )
            require(bool(np.isfinite(value.astype(np.float64)).all()), f"{name} is not finite")
