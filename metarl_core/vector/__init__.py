"""Batched environments: many equal environments stepped by one call into the core."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from metarl_core import _core
from metarl_core._cuda_module import device_number
from metarl_core.vector.async_env import AsyncEnvs
from metarl_core.vector.base import AutoresetMode, StepBuffers, VectorEnvMethods
from metarl_core.vector.checks import checked_integer
from metarl_core.vector.library import load_env_library
from metarl_core.vector.registration import register_envs
from metarl_core.vector.render.registry import register_drawing
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
    "is_known",
    "list_envs",
    "load_env_library",
    "make_async",
    "make_vec",
    "register_drawing",
    "register_envs",
]

_BACKENDS = ("auto", "native", "process", "thread", "serial")


def _is_native(id: Any, backend: str) -> bool:  # noqa: A002
    """Whether make_vec makes one of ours; without Gymnasium there is nothing else, and the error says so."""
    if backend == "native" or not (callable(id) or isinstance(id, Sequence)):
        return True  # of what is no id, ours tells that it is unknown
    if importlib.util.find_spec("gymnasium") is None:
        if backend != "auto" or not isinstance(id, str):
            raise ImportError("environments that are not native need gymnasium >= 1.1: pip install gymnasium")
        return True
    if backend != "auto" or not isinstance(id, str) or ":" in id:
        return False
    try:
        env_spec(id)
    except ValueError:
        return False
    return True


def is_known(env_id: str) -> bool:
    """Whether :func:`make_vec` knows an id, be it one of ours or one of Gymnasium's. May import the id's module.

    Raises:
        ImportError: The module before a colon cannot be imported.
    """
    if _is_native(env_id, "auto"):
        return env_id in list_envs() or env_id.removeprefix("metarl_core/") in list_envs()
    from metarl_core.tasks.metaworld import METAWORLD_IDS
    from metarl_core.vector.wrapped.makers import find_spec

    if env_id.rpartition(":")[2] in METAWORLD_IDS:
        return True
    try:
        find_spec(env_id)
    except ValueError:
        return ":" in env_id
    return True


def make_vec(
    id: str | Callable[[], Any] | Sequence[Callable[[], Any]],  # noqa: A002 - Gymnasium's name for it
    num_envs: int | None = None,
    *,
    num_threads: int | None = None,
    autoreset_mode: Any = "next_step",
    seed: int = 0,
    dense_final_obs: bool = False,
    render_mode: str | None = None,
    backend: str = "auto",
    timeout: float | None = None,
    task_parameters: Sequence[str] | None = None,
    apply_task: Callable[[Any, dict[str, float]], Any] | None = None,
    device: Any = "cpu",
    **params: Any,
) -> Any:
    """Make a batch of environments: native ones, or any that Gymnasium or a function makes, with the same methods.

    Args:
        id: An id of :func:`list_envs`, with or without the prefix ``metarl_core/``. Or one of Gymnasium's, such as
            ``"minigrid:MiniGrid-Empty-5x5-v0"``, where the module that registers it may come first. Or a function that
            makes an environment, or a sequence of them, one for each row.
        num_envs: Number of environments, >= 1; None: 1, or the number of functions.
        num_threads: Largest number of threads a step may use, or of workers; None: as many as this process has CPUs.
        autoreset_mode: ``"next_step"``, ``"same_step"``, ``"disabled"`` or Gymnasium's ``AutoresetMode``.
        seed: Seed of the first ``reset`` that is not given one; in [0, 2^64).
        dense_final_obs: With ``"same_step"``, give ``info["final_obs"]`` as one dense array instead of Gymnasium's
            array of objects, which is slow.
        render_mode: ``"rgb_array"``: ``render()`` gives pictures; None: it gives none.
        backend: ``"native"``: ours. ``"process"``, ``"thread"`` or ``"serial"``: Gymnasium's, also where there is a
            native one of this id. ``"auto"``: native where there is one, else processes, if more than one is of use.
        timeout: Seconds that a call waits for environments that are not native; None: forever.
        task_parameters: Which numbers of environments that are not native may differ between rows: attributes of the
            unwrapped environment, or what ``apply_task`` takes. None: those known of its class.
        apply_task: For environments that are not native: called with one and a dict of all ``task_parameters`` when a
            row with another task is reset; may return another environment to use instead.
        device: ``"cpu"``, or ``"cuda"``, ``"cuda:1"``, ...: native environments then live in the memory of that GPU,
            and take and return arrays there (docs/cuda.md); those of a library, too, if it was built with kernels for
            GPUs.
        **params: Parameters of the environment: ``env_spec(id).parameters`` describes them; for others, what
            ``gymnasium.make`` takes.

    Returns:
        A :class:`gymnasium.vector.VectorEnv` where Gymnasium >= 1.1 is installed, else an object with the same methods.
        Observations have the reference's dtype, rewards are float64. Results depend on the seed, the environment's
        index and the actions only, not on threads, instruction set or device. On a GPU, a
        :class:`metarl_core.vector.device_env.DeviceVectorEnv`.

    Raises:
        ValueError: The id is unknown, or an argument is out of range, or the environment does not run on the device.
        TypeError: A parameter is unknown or has the wrong type.
        MemoryError: The batch does not fit into memory.
        RuntimeError: The device cannot be used: CUDA is not in this build, or there is no driver or no such GPU.
        ImportError: The module of an id cannot be imported, or a package that the environment needs is not installed.
    """
    if backend not in _BACKENDS:
        raise ValueError(f"backend is {backend!r}; must be one of {', '.join(map(repr, _BACKENDS))}")
    on_gpu = device_number(device) is not None
    if not _is_native(id, backend):
        if on_gpu:
            raise ValueError(
                f"device is {str(device)!r}, but {id!r} is not native: Gymnasium's and functions run on the CPU; "
                "list_envs() has what runs on a GPU"
            )
        from metarl_core.vector.wrapped.make import make_wrapped

        if render_mode is not None:
            params["render_mode"] = render_mode
        return make_wrapped(
            id,
            num_envs,
            num_threads,
            autoreset_mode,
            seed,
            dense_final_obs,
            backend=backend,
            timeout=timeout,
            task_parameters=task_parameters,
            apply_task=apply_task,
            params=params,
        )
    for name, value in (("timeout", timeout), ("task_parameters", task_parameters), ("apply_task", apply_task)):
        if value is not None:
            raise TypeError(f"{name} is for environments that are not native; choose a backend to wrap {id!r}")
    spec, num_envs = env_spec(cast(str, id)), 1 if num_envs is None else num_envs
    if on_gpu:
        from metarl_core.vector.device_env import DeviceVectorEnv

        return DeviceVectorEnv(
            spec, num_envs, num_threads, autoreset_mode, seed, dense_final_obs, params, render_mode, device
        )
    if importlib.util.find_spec("gymnasium") is None:
        from metarl_core.vector.numpy_env import NumpyVectorEnv

        plain: Any = NumpyVectorEnv
        made: GymVectorEnv = plain(
            spec, num_envs, num_threads, autoreset_mode, seed, dense_final_obs, params, render_mode
        )
        return made
    try:
        from metarl_core.vector.gym_env import GymVectorEnv
    except ImportError as error:
        raise ImportError(f"metarl_core needs gymnasium >= 1.1 (or none at all): {error}") from error
    return GymVectorEnv(spec, num_envs, num_threads, autoreset_mode, seed, dense_final_obs, params, render_mode)


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
    if params.pop("device", "cpu") != "cpu":
        raise ValueError("make_async steps on the CPU; make_vec(..., device=...) makes environments on a GPU")
    threads = _core.available_cpus() if num_threads is None else checked_integer("num_threads", num_threads, 1, 1024)
    envs = make_vec(id, num_envs, num_threads=1, autoreset_mode=autoreset_mode, seed=seed, backend="native", **params)
    return AsyncEnvs(envs, envs.num_envs if batch_size is None else batch_size, threads)
