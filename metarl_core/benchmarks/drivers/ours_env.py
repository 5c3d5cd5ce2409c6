"""metarl_core's own environments."""

from __future__ import annotations

from typing import Any

import numpy as np

import metarl_core

from .base import Array, Factory
from .env_base import BSUITE, EnvContestant


class OurEnvs(EnvContestant):
    """``make_vec``; ``step(actions)`` returns fresh arrays."""

    precision: str | None = None

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        extra: dict[str, Any] = {"size": self.size} if self.size else {}
        self.autoreset = params.get("autoreset", "next_step")
        if self.precision is not None:
            extra["precision"] = self.precision
        self.envs = metarl_core.make_vec(
            self.env_id,
            self.num_envs,
            num_threads=self.threads,
            autoreset_mode=self.autoreset,
            dense_final_obs=self.autoreset == "same_step",
            seed=0,
            **extra,
        )
        if self.tasks is not None:
            self.envs.set_tasks(self.tasks)

    def reset(self) -> Any:
        """Reset with a fixed seed."""
        return self.envs.reset(seed=0)[0]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """``step`` without its info."""
        obs, reward, terminated, truncated, _ = self.envs.step(actions)
        return obs, reward, terminated, truncated

    def run(self, prepared: Any) -> Any:
        """``step`` as a user calls it."""
        step, result = self.envs.step, None
        for actions in prepared:
            result = step(actions)
        return result


class OurEnvsOut(OurEnvs):
    """``step(actions, out=StepBuffers(...))`` writes into arrays of the caller."""

    notes = "step(actions, out=StepBuffers(...)), which writes into the caller's arrays"

    out: Any

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        obs, reward, terminated, truncated = self._first()
        self.out = metarl_core.StepBuffers(
            np.empty_like(obs), np.empty_like(reward), np.empty_like(terminated), np.empty_like(truncated)
        )

    def _first(self) -> tuple[Array, Array, Array, Array]:
        self.envs.reset(seed=0)
        space = self.envs.single_action_space
        actions = np.zeros((self.num_envs, *space.shape), space.dtype)
        result = self.envs.step(actions)[:4]
        return result[0], result[1], result[2], result[3]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any]:
        """``step(out=)`` without its info."""
        obs, reward, terminated, truncated, _ = self.envs.step(actions, out=self.out)
        return obs, reward, terminated, truncated

    def run(self, prepared: Any) -> Any:
        """``step(out=)`` as a user calls it."""
        step, out, result = self.envs.step, self.out, None
        for actions in prepared:
            result = step(actions, out=out)
        return result


class OurEnvsFloat32(OurEnvsOut):
    """``step(out=)`` of an environment that computes in float32."""

    notes = "precision='float32', the numbers that pufferlib and gymnax compute with, and step(actions, out=...)"
    precision = "float32"


class OurEnvsBuffers(OurEnvsOut):
    """``step(actions, out=make_buffers())``: a step changes the cells that differ instead of writing whole grids."""

    notes = "step(actions, out=...) into its own buffers, whose observations it keeps up to date"

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.out = self.envs.make_buffers()


class OurCore(OurEnvsOut):
    """The compiled step itself, into the caller's arrays: what remains without the Python method around it."""

    notes = "the compiled core's step without the Python method around it, into the caller's arrays"

    def run(self, prepared: Any) -> Any:
        """The core's step; it takes the arrays by position."""
        step, out, result = self.envs._core_step, self.out, None
        for actions in prepared:
            result = step(actions, out)
        return result


def contestants(workload: str, params: dict[str, Any]) -> dict[str, Factory]:
    """Return ours for the environment workload."""
    if workload != "env":
        return {}
    found: dict[str, Factory] = {
        "metarl_core": lambda: OurEnvs(params),
        "metarl_core out=": lambda: OurEnvsOut(params),
    }
    if "precision" in metarl_core.env_spec(params["env_id"]).parameters:
        found["metarl_core float32"] = lambda: OurEnvsFloat32(params)
    if params["env_id"] in BSUITE:
        found["metarl_core buffers"] = lambda: OurEnvsBuffers(params)
    if params["num_envs"] == 1:
        found["metarl_core core"] = lambda: OurCore(params)
    return found
