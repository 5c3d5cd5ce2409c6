"""The vector environment where Gymnasium is not installed: the same methods on NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metarl_core.vector import spaces
from metarl_core.vector.base import VectorEnvMethods
from metarl_core.vector.specs import EnvSpec

__all__ = ["NumpyVectorEnv"]


class NumpyVectorEnv(VectorEnvMethods):
    """``num_envs`` equal environments without Gymnasium; see :class:`VectorEnvMethods`."""

    _spaces = spaces
    closed = False

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        num_threads: int | None,
        autoreset_mode: Any,
        seed: int,
        dense_final_obs: bool,
        params: Mapping[str, Any],
        render_mode: str | None = None,
    ) -> None:
        """Use :func:`metarl_core.make_vec`."""
        self._setup(spec, num_envs, num_threads, autoreset_mode, seed, dense_final_obs, params, render_mode)
        self.spec = spec

    @property
    def unwrapped(self) -> NumpyVectorEnv:
        """The environment itself."""
        return self

    def close(self) -> None:
        """End the threads and free the core; every later use raises ``ClosedError``."""
        if not self.closed:
            self.close_extras()
            self.closed = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.env_spec.id}, num_envs={self.num_envs})"
