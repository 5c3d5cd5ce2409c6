"""Batches of environments written in JAX, compiled for the CPU: one call a step, or a scan over many steps a call."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, import_jax
from .check_env import Trace
from .env_base import EnvContestant, draw_actions


class JaxEnvs(EnvContestant):
    """Jitted ``start(key) -> (carry, obs)`` and ``advance(carry, actions) -> (carry, (obs, reward, ends))``.

    They are vmapped, with an autoreset of their own: the observation of an end is that of the next episode.
    """

    autoreset = "same_step"

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.jax = import_jax()
        start, advance = self.functions()
        self.start, self.advance = self.jax.jit(start), self.jax.jit(advance, donate_argnums=0)
        self.raw_advance = advance
        self.carry: Any = None

    def functions(self) -> tuple[Any, Any]:
        """Return ``start`` and ``advance``, not compiled."""
        raise NotImplementedError

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


class Scanned(JaxEnvs):
    """``lax.scan`` over a block of steps in one compiled call; to be inherited from before the environments.

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
