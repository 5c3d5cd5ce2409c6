"""Our environments as the vector environments that CleanRL's scripts make."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from metarl_core.vector.numpy_env import NumpyVectorEnv
from metarl_core.vector.specs import env_spec

__all__ = ["make_envs"]


class _CleanRLEnvs(NumpyVectorEnv):
    """SAME_STEP environments with the infos of Gymnasium 0.29, which its later versions renamed.

    The base class needs no Gymnasium, so that these run with the version that CleanRL pins as well as with today's.
    """

    _spaces = gymnasium.spaces

    def reset(self, **options: Any) -> Any:
        """Start an episode in every environment."""
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        return super().reset(**options)

    def step(self, actions: Any) -> Any:  # type: ignore[override]  # what writes to arrays of the caller has no infos
        """Step; ``infos`` has ``final_observation`` and ``final_info`` where an episode has ended."""
        obs, reward, terminated, truncated, info = super().step(actions)
        self._returns += reward
        self._lengths += 1
        ended = terminated | truncated
        if ended.any():
            info |= {
                "final_observation": info["final_obs"],
                "_final_observation": ended,
                "final_info": self._episodes(ended),
                "_final_info": ended.copy(),
            }
        return obs, reward, terminated, truncated, info

    def _episodes(self, ended: NDArray[np.bool_]) -> NDArray[Any]:
        """What RecordEpisodeStatistics puts into the infos, and begin anew."""
        infos = np.full(self.num_envs, None, dtype=object)
        for env in np.flatnonzero(ended):
            episode = {"r": np.array([self._returns[env]], np.float32), "l": np.array([self._lengths[env]], np.int32)}
            infos[env] = {"episode": episode}
        self._returns[ended], self._lengths[ended] = 0, 0
        return infos


def make_envs(env_id: str, num_envs: int = 1, seed: int = 0, **options: Any) -> Any:
    """Make native environments in place of a script's ``gym.vector.SyncVectorEnv([make_env(...), ...])``.

    They run with Gymnasium 0.29, which CleanRL pins, and with later versions, with which its own do not. Observations
    of the last step of an episode are in ``infos["final_observation"]``, returns and lengths in
    ``infos["final_info"][i]["episode"]``, as ``RecordEpisodeStatistics`` has them.

    Args:
        env_id: one of ``metarl_core.list_envs()``.
        num_envs: number of environments, >= 1.
        seed: of ``single_action_space``, and of a first ``reset`` without one; in [0, 2^64).
        **options: ``num_threads``, ``render_mode``, and the parameters of the environment.

    Returns:
        A vector environment that resets in the step that ends an episode.

    Raises:
        ValueError: the id is unknown, or an argument is out of range.
        TypeError: a parameter is unknown or has the wrong type.
    """
    num_threads, render_mode = options.pop("num_threads", None), options.pop("render_mode", None)
    envs = _CleanRLEnvs(env_spec(env_id), num_envs, num_threads, "same_step", seed, False, options, render_mode)
    envs.single_action_space.seed(seed)
    return envs
