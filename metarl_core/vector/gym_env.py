"""The vector environment as a Gymnasium class, imported by make_vec where Gymnasium is installed, or by Gymnasium.

Importing it registers the environments, which ids such as ``"metarl_core.vector.gym_env:metarl_core/CartPole-v1"`` are
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec
from gymnasium.vector import AutoresetMode, VectorEnv

from metarl_core.errors import ResetNeededError
from metarl_core.vector.base import VectorEnvMethods
from metarl_core.vector.registration import register_envs
from metarl_core.vector.specs import EnvSpec

__all__ = ["GymVectorEnv"]


class _GymResetNeededError(ResetNeededError, gymnasium.error.ResetNeeded):
    """Both this package's error and Gymnasium's."""


class GymVectorEnv(VectorEnvMethods, VectorEnv):
    """``num_envs`` equal environments as a :class:`gymnasium.vector.VectorEnv`; see :class:`VectorEnvMethods`."""

    _spaces = gymnasium.spaces
    _mode_class = AutoresetMode
    _reset_needed_class = _GymResetNeededError

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
        self.spec = GymnasiumSpec(
            id=spec.gymnasium_id,
            vector_entry_point="metarl_core.vector:make_vec",
            max_episode_steps=self.max_episode_steps,
            kwargs={"id": spec.id, **({} if render_mode is None else {"render_mode": render_mode}), **params},
        )


register_envs()
