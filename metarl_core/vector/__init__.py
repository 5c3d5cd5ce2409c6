"""Batched environments: many equal environments stepped by one call into the core."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from metarl_core import _core
from metarl_core.vector.async_env import AsyncEnvs
from metarl_core.vector.base import AutoresetMode, StepBuffers, VectorEnvMethods
from metarl_core.vector.checks import checked_integer
from metarl_core.vector.registration import register_envs
from metarl_core.vector.rollout import Rollout
from metarl_core.vector.specs import EnvSpec, ParameterSpec, env_spec, list_envs

if TYPE_CHECKING:
    from metarl_core.vector.gym_env import GymVectorEnv

__all__ = [
    "AsyncEnvs",
    "AutoresetMode",
    "EnvSpec",
    "ParameterSpec",
    "Rollout",
    "StepBuffers",
    "VectorEnvMethods",
    "env_spec",
    "list_envs",
    "make_async",
    "make_vec",
    "register_envs",
]


def make_vec(
    id: str,  # noqa: A002 - Gymnasium's name for it
    num_envs: int = 1,
    *,
    num_threads: int | None = None,
    autoreset_mode: Any = "next_step",
    seed: int = 0,
    dense_final_obs: bool = False,
    **params: Any,
) -> GymVectorEnv:
    """Make a batch of environments.

    Args:
        id: An id of :func:`list_envs`, with or without the prefix ``metarl_core/``.
        num_envs: Number of environments, >= 1.
        num_threads: Largest number of threads a step may use; None: as many as this process has CPUs.
        autoreset_mode: ``"next_step"``, ``"same_step"``, ``"disabled"`` or Gymnasium's ``AutoresetMode``.
        seed: Seed of the first ``reset`` that is not given one; in [0, 2^64).
        dense_final_obs: With ``"same_step"``, give ``info["final_obs"]`` as one dense array instead of Gymnasium's
            array of objects, which is slow.
        **params: Parameters of the environment; ``env_spec(id).parameters`` describes them.

    Returns:
        A :class:`gymnasium.vector.VectorEnv` where Gymnasium >= 1.1 is installed, else an object with the same methods.
        Observations have the reference's dtype, rewards are float64. Results depend on the seed, the environment's
        index and the actions only, not on threads or instruction set.

    Raises:
        ValueError: The id is unknown, or an argument is out of range.
        TypeError: A parameter is unknown or has the wrong type.
        MemoryError: The batch does not fit into memory.
    """
    spec = env_spec(id)
    if importlib.util.find_spec("gymnasium") is None:
        from metarl_core.vector.numpy_env import NumpyVectorEnv

        plain: Any = NumpyVectorEnv
        made: GymVectorEnv = plain(spec, num_envs, num_threads, autoreset_mode, seed, dense_final_obs, params)
        return made
    try:
        from metarl_core.vector.gym_env import GymVectorEnv
    except ImportError as error:
        raise ImportError(f"metarl_core needs gymnasium >= 1.1 (or none at all): {error}") from error
    return GymVectorEnv(spec, num_envs, num_threads, autoreset_mode, seed, dense_final_obs, params)


def make_async(
    id: str,  # noqa: A002 - Gymnasium's name for it
    num_envs: int,
    batch_size: int | None = None,
    *,
    num_threads: int | None = None,
    autoreset_mode: Any = "next_step",
    seed: int = 0,
    **params: Any,
) -> AsyncEnvs:
    """Make environments that step in the background, with the interface of EnvPool's asynchronous mode.

    Args:
        id: An id of :func:`list_envs`.
        num_envs: Number of environments, >= 1; twice or three times ``batch_size`` keeps the threads busy.
        batch_size: Number of environments that ``recv`` hands out, in [1, num_envs]; None: all.
        num_threads: Number of threads in the background; None: as many as this process has CPUs. With 1, batches come
            in the same order in every run.
        autoreset_mode: ``"next_step"`` or ``"same_step"``.
        seed: Seed of the first ``async_reset`` that is not given one; in [0, 2^64).
        **params: Parameters of the environment.

    Returns:
        The environments; ``async_reset`` starts the threads.

    Raises:
        ValueError: The id is unknown, or an argument is out of range.
        TypeError: A parameter is unknown or has the wrong type.
        MemoryError: The environments do not fit into memory.
    """
    threads = _core.available_cpus() if num_threads is None else checked_integer("num_threads", num_threads, 1, 1024)
    envs = make_vec(id, num_envs, num_threads=1, autoreset_mode=autoreset_mode, seed=seed, **params)
    return AsyncEnvs(envs, envs.num_envs if batch_size is None else batch_size, threads)
