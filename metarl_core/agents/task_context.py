"""Families of tasks in a run: which task an episode gets, and what the agent sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.sparse_reward import SparseReward
from metarl_core.tasks import TaskDistribution, UniformTasks, task_families, task_family

if TYPE_CHECKING:
    from metarl_core.agents.config import RunConfig

__all__ = ["TaskContext", "family_tasks", "make_envs"]


def _family(config: RunConfig) -> TaskDistribution:
    name = config.env_id.removeprefix("metarl_core/")
    if name not in task_families():
        raise ConfigError(
            f"env_tasks={config.env_tasks}: {name} has no family of tasks; choose one of {', '.join(task_families())}, "
            "or set env_tasks=0"
        )
    try:
        return task_family(name, split=None if config.env_tasks_split == "auto" else config.env_tasks_split)
    except ValueError as error:
        raise ConfigError(
            f"env_tasks_split={config.env_tasks_split!r}: {error}; or set env_tasks_split=auto"
        ) from error


def family_tasks(config: RunConfig, count: int, split: str) -> dict[str, NDArray[np.float64]]:
    """Draw tasks of the run's family by its ``env_tasks_seed``: parameter name -> values, float64 [count].

    Raises:
        ConfigError: the environment has no family, or the part ``split`` has not so many tasks.
    """
    try:
        return _family(config).sample_tasks(count, split, config.env_tasks_seed)
    except ValueError as error:
        raise ConfigError(f"{count} tasks of the part {split!r}: {error}") from error


def make_envs(config: RunConfig, num_envs: int, seed: int, split: str = "train", device: str = "cpu") -> Any:
    """Make the vector environment of a run, in same-step mode; each episode draws one of the run's tasks.

    Args:
        config: the run; with ``env_tasks`` > 0, that many tasks of the environment's family.
        num_envs: instances.
        seed: of the first reset.
        split: which part of the family the tasks are from.
        device: where native environments live; on a GPU, ``reward_threshold`` is left to the caller.
    """
    on_cpu = device == "cpu"
    envs = metarl_core.make_vec(
        config.env_id,
        num_envs,
        num_threads=config.env_threads if on_cpu else None,
        autoreset_mode="same_step",
        seed=seed,
        device=device,
        **config.env_params,
    )
    if config.env_tasks:
        envs.sample_tasks_at_reset(family_tasks(config, config.env_tasks, split))
    return SparseReward(envs, config.reward_threshold) if on_cpu and config.reward_threshold is not None else envs


class TaskContext:
    """What the agent sees of each instance's task, to be appended to its observation.

    ``task_id``: the task's number among the run's, one-hot. ``parameters``: the family's parameters, each mapped from
    its range to [-1, 1]. ``none``: nothing, so that the agent has to find out by itself.

    Args:
        config: the run.

    Attributes:
        size: width of the context, 0 for none.

    Raises:
        ConfigError: a context without tasks, or task numbers that mean other tasks in evaluation.
    """

    def __init__(self, config: RunConfig) -> None:
        self.kind = config.hyperparameters.context
        self.size = 0
        if self.kind == "none":
            if config.env_tasks:
                _family(config)
            return
        if not config.env_tasks:
            raise ConfigError(f"context={self.kind!r}: there are no tasks to show; set env_tasks=N (or context=none)")
        if self.kind == "task_id":
            if config.evaluation_split != "train":
                raise ConfigError(
                    f"context='task_id': evaluation_split={config.evaluation_split!r} has other tasks, whose numbers "
                    "the agent never saw; set evaluation_split=train (or context=parameters)"
                )
            self.size = config.env_tasks
        else:
            family = _family(config)
            if not isinstance(family, UniformTasks):
                raise ConfigError(
                    f"context='parameters': a task of {config.env_id} is a seed, whose number says nothing; set "
                    "context=task_id (or context=none)"
                )
            self._ranges: Mapping[str, tuple[float, float]] = family.ranges
            self.size = len(self._ranges)

    def __call__(self, envs: Any) -> NDArray[np.float32] | None:
        """Context of every instance's present task, float32 [num_envs, size]; None for none."""
        if self.kind == "none":
            return None
        if self.kind == "task_id":
            shown: NDArray[np.float32] = np.eye(self.size, dtype=np.float32)[envs.task_id]
            return shown
        now = envs.get_tasks()
        columns = [2 * (now[name] - low) / (high - low) - 1 for name, (low, high) in self._ranges.items()]
        return np.stack(columns, axis=1).astype(np.float32)
