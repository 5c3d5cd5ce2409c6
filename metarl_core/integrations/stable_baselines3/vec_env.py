"""Our vector environments as stable-baselines3's ``VecEnv``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

import metarl_core as mc
from metarl_core.integrations.row_infos import row_infos

__all__ = ["MetaRLVecEnv", "make_vec_env"]

_OF_THE_END = ("final_obs", "final_info")
# Arguments of the library's make_vec_env that need an object for each environment: why, or what to do.
_NOT_HERE = {
    "wrapper_class": "the environments share one object; wrap what make_vec_env returns in a VecEnvWrapper, or pass a "
    "function that makes a wrapped environment as env_id",
    "wrapper_kwargs": "see wrapper_class",
    "vec_env_cls": "the environments share one object; backend='process', 'thread' or 'serial' of metarl_core.make_vec "
    "decides where environments that are not native run",
    "vec_env_kwargs": "see vec_env_cls",
    "start_index": "it numbers the monitor files of single environments, which have one file here",
}


class MetaRLVecEnv(VecEnv):
    """A vector environment of ``metarl_core.make_vec`` with ``autoreset_mode="same_step"``.

    Infos are those of the environments, one dict of each, as the library's vector environments give them; those of a
    reset are in ``reset_infos``.

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
        """Start an episode in every environment, with what :meth:`seed` and :meth:`set_options` were given."""
        given = [seed is not None for seed in self._seeds]
        obs, info = self.envs.reset(seed=list(self._seeds) if all(given) else None, options=self._options[0] or None)
        self.reset_infos = row_infos(info, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return obs

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Give the next reset options; native environments know ``reset_mask`` alone.

        Args:
            options: of all environments; a list must have one for each, all equal.

        Raises:
            ValueError: the list has another length, or the options differ: one reset starts all environments.
        """
        if isinstance(options, Sequence):
            if len(options) != self.num_envs:
                raise ValueError(f"options has length {len(options)}; must be {self.num_envs}, or one dict for all")
            for i, other in enumerate(options):
                if other is not options[0] and other != options[0]:
                    raise ValueError(
                        f"options[{i}] is {other!r} and options[0] {options[0]!r}; must be equal: one reset starts all "
                        "environments. set_tasks of a vector environment gives each its parameters"
                    )
        super().set_options(options)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step; the last observation of an episode that ended is in its info, as ``terminal_observation``."""
        obs, reward, terminated, truncated, info = self.envs.step(self._actions)
        ended = terminated | truncated
        infos = row_infos(info, self.num_envs, leave_out=_OF_THE_END)
        if ended.any():
            last = row_infos(info.get("final_info", {}), self.num_envs)
            for env in np.flatnonzero(ended).tolist():
                self.reset_infos[env], infos[env] = infos[env], last[env]
                infos[env]["terminal_observation"] = info["final_obs"][env]
        for env, out_of_time in enumerate((truncated & ~terminated).tolist()):
            infos[env]["TimeLimit.truncated"] = out_of_time
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


def make_vec_env(
    env_id: str | Callable[..., Any],
    n_envs: int = 1,
    seed: int | None = None,
    monitor_dir: str | os.PathLike[str] | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    monitor_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> VecMonitor:
    """Make environments whose episodes are monitored, by the arguments of the library's function of this name.

    Unlike there, ``monitor_dir`` gets one file of all environments, ``0.monitor.csv``, which ``load_results`` reads;
    there are pictures only with ``render_mode="rgb_array"``; and ``start_index``, ``wrapper_class``, ``vec_env_cls``
    and the arguments of these are refused, as the environments share one object.

    Args:
        env_id: as in ``metarl_core.make_vec``, or a function or class that makes an environment.
        n_envs: number of environments.
        seed: of the first reset, where environment i gets seed + i, and of the action space.
        monitor_dir: folder for the log of episodes, made if missing.
        env_kwargs: parameters of the environment.
        monitor_kwargs: ``info_keywords``: names in the last info of an episode to log.
        **options: of ``metarl_core.make_vec``: ``num_threads``, ``render_mode``, ``backend``; parameters of the
            environment, too.

    Raises:
        ValueError: unknown environment, or a value is out of range.
        TypeError: unknown parameter; an argument of the library's function that is not there, or one given twice.
    """
    for name, why in _NOT_HERE.items():
        if options.pop(name, None):
            raise TypeError(f"make_vec_env got {name!r}, which stable-baselines3's own function has: {why}")
    unknown = sorted((monitor_kwargs or {}).keys() - {"info_keywords"})
    if unknown:
        raise TypeError(f"monitor_kwargs has {unknown[0]!r}; VecMonitor knows 'info_keywords' alone")
    parameters = dict(env_kwargs or {})
    twice = sorted(parameters.keys() & options.keys())
    if twice:
        raise TypeError(f"{twice[0]!r} is in env_kwargs and among the arguments; give it once")
    if callable(env_id):
        env_id = functools.partial(env_id, **parameters)
    else:
        options |= parameters
    envs = MetaRLVecEnv(mc.make_vec(env_id, n_envs, autoreset_mode="same_step", **options))
    if seed is not None:
        envs.seed(seed)
        envs.action_space.seed(seed)
    log = None if monitor_dir is None else str(Path(monitor_dir) / "0")
    return VecMonitor(envs, filename=log, info_keywords=tuple((monitor_kwargs or {}).get("info_keywords", ())))
