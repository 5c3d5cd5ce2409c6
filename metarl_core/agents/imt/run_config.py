"""Settings of IMT as a run of the command line: beside the learner's switches, which tasks it is measured on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from metarl_core.agents.common.options import ConfigError, option
from metarl_core.agents.imt.config import ImtConfig
from metarl_core.agents.imt.task_sets import MIN_TASKS

if TYPE_CHECKING:
    from metarl_core.agents.config import RunConfig

__all__ = ["ImtRunConfig", "planned_steps", "settle_imt"]

_UNUSED = {
    "num_envs": "every task has envs_per_task instances; set that",
    "env_threads": "the tasks are stepped in one thread; leave it at 1",
    "max_episodes": "IMT ends by its rounds; set rounds",
    "stop_when_solved": "a family of tasks has no solve rule; leave it false",
    "solve_return": "a family of tasks has no solve rule; leave it out",
    "log_interval": "IMT logs after every round; set steps_per_round",
    "checkpoint_interval": "IMT saves after every round; set steps_per_round",
    "compile": "IMT's losses are not compiled; leave it false",
    "cuda_graphs": "IMT's gradient steps are not recorded; leave it false",
    "reward_threshold": "IMT takes the environment's own reward; leave it out",
}
"""Settings of other algorithms' runs, and what to do in their place."""


@dataclasses.dataclass(frozen=True)
class ImtRunConfig(ImtConfig):
    """Switches of IMT and of its run. ``env_tasks`` is the number of training tasks."""

    val_tasks: int = option(4, "validation tasks, drawn from the family's part val (0: none)", minimum=0)
    train_split: str = option(
        "train",
        "part of the family that training tasks are from; test: the held-out tasks themselves, for an upper bound",
        choices=("train", "test"),
    )
    test_tasks: int = option(8, "held-out tasks, drawn from the family's part test", minimum=1)


def planned_steps(config: RunConfig) -> int:
    """Environment steps of all rounds on all tasks, the reference policy's included; step 4 may end them earlier."""
    hyper = config.hyperparameters
    assert isinstance(hyper, ImtRunConfig)
    # A step of the environment steps all instances of a task.
    each = -(-hyper.steps_per_round // hyper.envs_per_task) * hyper.envs_per_task
    played = config.env_tasks + (hyper.test_tasks if hyper.tune_on == "test" else 0)
    return config.env_tasks * hyper.reference_steps + played * hyper.rounds * each


def settle_imt(config: RunConfig, given: frozenset[str]) -> RunConfig:
    """Check the settings of a run, and bring ``total_steps`` and ``steps_per_round`` to agree.

    Args:
        config: the run.
        given: names of the settings that somebody gave. Of ``total_steps`` alone, ``steps_per_round`` follows: the most
            with which the rounds need no more; else ``total_steps`` follows.

    Raises:
        ConfigError: too few tasks, a setting that IMT has no use for, or steps that are too few or do not agree.
    """
    hyper = config.hyperparameters
    assert isinstance(hyper, ImtRunConfig)
    for name, instead in _UNUSED.items():
        default = next(f.default for f in dataclasses.fields(config) if f.name == name)
        if getattr(config, name) != default:
            raise ConfigError(f"{name}={getattr(config, name)!r}: {instead}")
    if config.env_tasks < MIN_TASKS:
        raise ConfigError(
            f"env_tasks={config.env_tasks}: IMT needs at least {MIN_TASKS} training tasks, as each submodel learns "
            f"from the others' and embeddings of two are always opposite; set --tasks {MIN_TASKS} or more"
        )
    if hyper.train_split == "test" and config.env_tasks != hyper.test_tasks:
        raise ConfigError(
            f"train_split='test': the training tasks are the held-out ones, but env_tasks={config.env_tasks} and "
            f"test_tasks={hyper.test_tasks}; set both to the same number"
        )
    if config.evaluation_split != "test":
        raise ConfigError(
            f"evaluation_split={config.evaluation_split!r}: IMT is measured on held-out tasks; leave it at test"
        )
    if config.evaluation_episodes < 1:
        raise ConfigError(f"evaluation_episodes={config.evaluation_episodes}: must be >= 1, episodes of each test task")
    if "total_steps" in given and "steps_per_round" not in given:
        played = config.env_tasks + (hyper.test_tasks if hyper.tune_on == "test" else 0)
        left = config.total_steps - config.env_tasks * hyper.reference_steps
        each = left // (played * hyper.rounds * hyper.envs_per_task) * hyper.envs_per_task
        if each < 1:
            least = config.env_tasks * hyper.reference_steps + played * hyper.rounds * hyper.envs_per_task
            raise ConfigError(
                f"total_steps={config.total_steps}: {config.env_tasks} tasks with reference_steps="
                f"{hyper.reference_steps} and rounds={hyper.rounds} need at least {least}; give more, or less of these"
            )
        hyper = dataclasses.replace(hyper, steps_per_round=each)
        config = dataclasses.replace(config, hyperparameters=hyper)
    planned = planned_steps(config)
    if {"total_steps", "steps_per_round"} <= given and config.total_steps != planned:
        raise ConfigError(
            f"total_steps={config.total_steps}: with steps_per_round={hyper.steps_per_round} the rounds take "
            f"{planned}; give one of the two"
        )
    return dataclasses.replace(config, total_steps=planned)
