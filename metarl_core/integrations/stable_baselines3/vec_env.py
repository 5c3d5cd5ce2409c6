"""Our vector environments as stable-baselines3's ``VecEnv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

import metarl_core as mc

__all__ = ["MetaRLVecEnv", "make_vec_env"]


class MetaRLVecEnv(VecEnv):
    """A vector environment of ``metarl_core.make_vec`` with ``autoreset_mode="same_step"``.

    Args:
        envs: the vector environment; it is this object's from now on, ``close`` closes it.

    Raises:
        ValueError: another autoreset mode.
    """

    def __init__(self, envs: Any) -> None:
        mode = envs.metadata["autoreset_mode"]
        if mode.name != "SAME_STEP":
            raise ValueError(f"envs has autoreset_mode={mode.name.lower()!r}; must be 'same_step', as VecEnv resets so")
        self.envs = envs
        self._actions: Any = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> Any:
        """Start an episode in every environment, with the seeds of :meth:`seed` if there were any."""
        given = [seed is not None for seed in self._seeds]
        obs, _ = self.envs.reset(seed=list(self._seeds) if all(given) else None)
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step; the last observation of an episode that ended is in its info, as ``terminal_observation``."""
        obs, reward, terminated, truncated, info = self.envs.step(self._actions)
        ended = terminated | truncated
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        for env in np.flatnonzero(ended):
            infos[env]["terminal_observation"] = info["final_obs"][env]
            infos[env]["TimeLimit.truncated"] = bool(truncated[env] and not terminated[env])
        return obs, reward.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Pictures of all environments, where ``render_mode`` is "rgb_array"."""
        return list(self.envs.render())

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Value of an attribute, the same for all environments."""
        value = getattr(self.envs, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not there: the environments share one object."""
        raise NotImplementedError(f"set_attr({attr_name!r}, ...): the environments share one object; see set_tasks")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Not there: the environments share one object."""
        raise NotImplementedError(f"env_method({method_name!r}, ...): the environments share one object")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        """Nothing is wrapped."""
        return [False for _ in self._get_indices(indices)]


def make_vec_env(env_id: str, n_envs: int = 1, seed: int | None = None, **options: Any) -> VecMonitor:
    """Make native environments whose episodes are monitored, as the library's function of this name does.

    Args:
        env_id: as in ``metarl_core.make_vec``.
        n_envs: number of environments.
        seed: of the first reset: environment i gets seed + i.
        **options: of ``metarl_core.make_vec``: parameters of the environment, ``num_threads``, ``render_mode`` ...

    Raises:
        ValueError: unknown environment, or a value is out of range.
    """
    envs = MetaRLVecEnv(mc.make_vec(env_id, n_envs, autoreset_mode="same_step", **options))
    if seed is not None:
        envs.seed(seed)
    return VecMonitor(envs)
