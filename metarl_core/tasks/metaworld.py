"""Meta-World 3 (https://github.com/Farama-Foundation/Metaworld) as a vector environment with tasks.

Made from Meta-World's benchmarks and environment classes, and not through its entry points in Gymnasium, which in 3.1.1
serve test tasks as ``ML1-train``, refuse the first reset, refuse most numbers of environments, and do not play the same
twice with ``reset(seed=0)``; ``tests/python/test_wrapped_metaworld.py`` shows each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from metarl_core.vector.wrapped.vector import WrappedVectorEnv

__all__ = ["METAWORLD_IDS", "metaworld_by_id", "metaworld_vec"]

_BENCHMARKS = ("ML1", "ML10", "ML25", "ML45", "MT1", "MT10", "MT25", "MT50")
_SPLITS = {"L": ("-train", "-test"), "T": ("",)}
METAWORLD_IDS = tuple(f"Meta-World/{name}{end}" for name in _BENCHMARKS for end in _SPLITS[name[1]])
"""Ids of Meta-World's benchmarks, whether it is installed or not."""

_REWARDS = ("v1", "v2")


def _benchmark(name: str, env_name: str | None, seed: int) -> Any:
    try:
        import metaworld  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError(f"this needs metaworld, which cannot be imported ({error}): pip install metaworld") from error

    if name not in _BENCHMARKS:
        raise ValueError(f"benchmark is {name!r}; must be one of {', '.join(map(repr, _BENCHMARKS))}")
    if not name.endswith("1"):
        if env_name is not None:
            raise ValueError(f"env_name is {env_name!r}; must be None: {name} has several environments")
        return getattr(metaworld, name)(seed=seed)
    known = list(metaworld.ML1.ENV_NAMES)
    if env_name not in known:
        raise ValueError(f"env_name is {env_name!r}; must be one of {', '.join(map(repr, known))}")
    return getattr(metaworld, name)(env_name, seed=seed)


@dataclass(frozen=True)
class _MakeRow:
    """Makes the environment of one row."""

    env_class: Any
    tasks: Mapping[int, Any]
    reward_function_version: str
    render_mode: str | None
    max_episode_steps: int | None
    terminate_on_success: bool

    def __call__(self) -> Any:
        import gymnasium
        from metaworld.wrappers import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            AutoTerminateOnSuccessWrapper,
        )

        from metarl_core.vector.wrapped.metaworld_env import MetaWorldRow

        env = self.env_class(reward_function_version=self.reward_function_version, render_mode=self.render_mode)
        # Observations and their space show the goal, or hide it, as a task says: as all of a benchmark's do.
        env.set_task(next(iter(self.tasks.values())))
        space = env.sawyer_observation_space
        low, high = space.low.copy(), space.high.copy()
        if not env._partially_observable:
            low[-3:], high[-3:] = -np.inf, np.inf  # where goals are differs between the classes
        row = MetaWorldRow(env, self.tasks, gymnasium.spaces.Box(low, high, dtype=space.dtype))
        limited = gymnasium.wrappers.TimeLimit(row, self.max_episode_steps or env.max_path_length)
        ending = AutoTerminateOnSuccessWrapper(limited)
        ending.toggle_terminate_on_success(self.terminate_on_success)
        return ending


def _apply(env: Any, task: Mapping[str, float]) -> None:
    env.unwrapped.set_task(env.get_wrapper_attr("tasks")[int(task["task"])])


def metaworld_vec(
    benchmark: str = "ML1",
    env_name: str | None = None,
    *,
    split: str = "train",
    num_envs: int | None = None,
    seed: int = 0,
    reward_function_version: str = "v2",
    max_episode_steps: int | None = None,
    terminate_on_success: bool = False,
    render_mode: str | None = None,
    num_threads: int | None = None,
    autoreset_mode: Any = "next_step",
    dense_final_obs: bool = False,
    backend: str = "auto",
    timeout: float | None = None,
) -> WrappedVectorEnv:
    """Make a vector environment of a Meta-World benchmark, every episode with one of the tasks of a split.

    Row i has the i-th environment class of the split, and after the last one the first again. At each reset it draws
    one of the tasks of its class, by the row's seed and the number of the episode, so ``reset(seed=...)`` plays the
    same again. ``info["task_id"]`` is the task's position in ``benchmark.train_tasks`` or ``test_tasks``;
    ``envs.set_tasks({"task": positions})`` fixes them (each must be of the row's class),
    ``envs.sample_tasks_at_reset({"task": range(n)}, allowed)`` chooses others to draw from.

    Args:
        benchmark: ``"ML1"``, ``"ML10"``, ``"ML25"``, ``"ML45"`` (the goal is hidden), ``"MT1"``, ``"MT10"``, ``"MT25"``
            or ``"MT50"`` (the goal is observed).
        env_name: With ML1 and MT1: the environment, such as ``"reach-v3"``.
        split: ``"train"`` or ``"test"``; MT have no test tasks.
        num_envs: Number of rows, any; None: the number of classes of the split.
        seed: Of the benchmark's tasks (50 a class), and of the first reset that is not given one; in [0, 2^32 - 1).
        reward_function_version: ``"v1"`` or ``"v2"``. Returns of the two cannot be compared: it is kept in
            ``envs.params`` and ``envs.metadata``.
        max_episode_steps: None: Meta-World's, 500.
        terminate_on_success: Whether success ends an episode; Meta-World itself does so in tests only.
        render_mode: As Gymnasium's.
        num_threads: As of :func:`metarl_core.make_vec`, and so are the following.
        autoreset_mode: As there.
        dense_final_obs: As there.
        backend: As there, but never ``"native"``.
        timeout: As there.

    Returns:
        Observations float64 ``(num_envs, 39)``, actions float32 ``(num_envs, 4)``.

    Raises:
        ImportError: Meta-World is not installed.
        ValueError: An argument is none of the choices or out of range, or the split has no tasks.
    """
    from metarl_core.vector.checks import checked_integer
    from metarl_core.vector.wrapped.vector import WrappedVectorEnv

    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; must be 'train' or 'test'")
    if reward_function_version not in _REWARDS:
        raise ValueError(f"reward_function_version is {reward_function_version!r}; must be 'v1' or 'v2'")
    seed = checked_integer("seed", seed, 0, 2**32 - 2)
    if num_envs is not None:
        num_envs = checked_integer("num_envs", num_envs, 1, 2**32 - 1)
    if max_episode_steps is not None:
        # Its environments refuse the step after their own limit.
        max_episode_steps = checked_integer("max_episode_steps", max_episode_steps, 1, 500)
    found = _benchmark(benchmark, env_name, seed)
    classes = found.train_classes if split == "train" else found.test_classes
    tasks: Sequence[Any] = found.train_tasks if split == "train" else found.test_tasks
    if not tasks:
        raise ValueError(f"split is 'test', but {benchmark} has no test tasks")
    names = list(classes)
    count = len(names) if num_envs is None else num_envs
    of_row = [names[row % len(names)] for row in range(count)]
    makers: list[Callable[[], Any]] = [
        _MakeRow(
            classes[name],
            {i: task for i, task in enumerate(tasks) if task.env_name == name},
            reward_function_version,
            render_mode,
            max_episode_steps,
            terminate_on_success,
        )
        for name in of_row
    ]
    params = {
        "benchmark": benchmark,
        "env_name": env_name,
        "split": split,
        "reward_function_version": reward_function_version,
        "max_episode_steps": max_episode_steps,
        "terminate_on_success": terminate_on_success,
    }
    envs = WrappedVectorEnv(
        makers,
        num_threads,
        autoreset_mode,
        seed,
        dense_final_obs,
        backend=backend,
        timeout=timeout,
        task_parameters=("task",),
        apply_task=_apply,
        params=params,
    )
    envs.metadata["reward_function_version"] = reward_function_version
    own = np.array([task.env_name for task in tasks])
    envs.sample_tasks_at_reset({"task": np.arange(len(tasks))}, np.array(of_row)[:, None] == own)
    return envs


def metaworld_by_id(env_id: str, params: Mapping[str, Any], **options: Any) -> WrappedVectorEnv:
    """Make what one of Meta-World's ids in Gymnasium stands for, such as ``"Meta-World/ML1-train"``.

    Args:
        env_id: ``Meta-World/`` and a benchmark; of the ML, with ``-train`` or ``-test``.
        params: Keywords of :func:`metaworld_vec`, such as ``env_name``.
        options: As of :func:`metaworld_vec`.

    Raises:
        ValueError: There is no such id.
    """
    if env_id not in METAWORLD_IDS:
        raise ValueError(f"unknown environment {env_id!r}; valid ids: {', '.join(METAWORLD_IDS)}")
    name, _, split = env_id.removeprefix("Meta-World/").partition("-")
    return metaworld_vec(name, split=split or "train", **params, **options)
