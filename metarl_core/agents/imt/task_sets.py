"""The tasks that a learner is given, as parameters or as a MetaTask, checked and brought to one form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.common.options import ConfigError
from metarl_core.tasks import MetaTask, TaskDataset

__all__ = ["MIN_TASKS", "TaskSets", "Tasks", "check_datasets", "resolve_tasks", "task_table"]

Tasks = Mapping[str, NDArray[np.float64]]
MIN_TASKS = 3
_WHY = "each submodel learns from the others', and embeddings of two tasks are always opposite"


@dataclasses.dataclass(frozen=True)
class TaskSets:
    """What a learner works on.

    Attributes:
        env_id: the environment of all tasks.
        params: its parameters that all tasks have in common.
        train: parameter name -> values, float64 [K].
        val: the same of the validation tasks; None: there are none.
        test: the same of the test tasks; None: there are none.
        datasets: transitions of every training task; None: they are to be recorded.
    """

    env_id: str
    params: dict[str, Any]
    train: dict[str, NDArray[np.float64]]
    val: dict[str, NDArray[np.float64]] | None
    test: dict[str, NDArray[np.float64]] | None
    datasets: tuple[TaskDataset, ...] | None = None

    @property
    def num_tasks(self) -> int:
        """K."""
        return len(next(iter(self.train.values())))


def resolve_tasks(
    env_id: str | MetaTask,
    train_tasks: Tasks | None,
    val_tasks: Tasks | MetaTask | None,
    test_tasks: Tasks | MetaTask | None,
    params: Mapping[str, Any] | None,
) -> TaskSets:
    """Bring the arguments of ``ImtLearner``, described there, to one form.

    Raises:
        ConfigError: fewer than three training tasks, or all the same, tasks that one batch cannot hold, a task without
            data where others have some, an empty set of tasks, or arguments that say the same thing twice.
    """
    if not isinstance(env_id, MetaTask):
        if train_tasks is None:
            raise ConfigError(
                "train_tasks is None; give parameters of at least 3 tasks, or a MetaTask in place of env_id"
            )
        common = dict(params or {})
        _check_native(env_id)
        train = task_table("train_tasks", train_tasks, env_id, common) if train_tasks else {}
        _check_count("train_tasks", len(next(iter(train.values()), ())))
        _check_different(train)
        val, test = (
            None if tasks is None else task_table(name, tasks, env_id, common)
            for name, tasks in (("val_tasks", val_tasks), ("test_tasks", test_tasks))
        )
        return TaskSets(env_id, common, train, val, test)
    if train_tasks is not None or params:
        raise ConfigError("a MetaTask has its training tasks and its env_params; leave out train_tasks and params")
    parts = dict(zip(("train", "val", "test"), env_id.splits(), strict=True)) if env_id.parts else {"train": env_id}
    given = {"val": val_tasks, "test": test_tasks}
    for part, tasks in given.items():
        if tasks is not None and parts.get(part) is not None:
            raise ConfigError(f"{part}_tasks is given, and the MetaTask has a part {part!r} too; give one of them")
    train_part = parts["train"]
    assert train_part is not None
    _check_count("the MetaTask's part 'train'" if env_id.parts else "the MetaTask", len(train_part))
    first = train_part[0]
    own = first.to_dict()["env_params"]
    _check_native(first.env_id)
    sets: dict[str, Any] = {"train": task_table("the training tasks", train_part, first.env_id, own)}
    for part in ("val", "test"):
        tasks = given[part] if given[part] is not None else parts.get(part)
        sets[part] = None if tasks is None else task_table(f"{part}_tasks", tasks, first.env_id, own)
    return TaskSets(first.env_id, own, **sets, datasets=_datasets_of(train_part))


def task_table(
    name: str, tasks: Tasks | MetaTask, env_id: str, params: Mapping[str, Any]
) -> dict[str, NDArray[np.float64]]:
    """Constants of tasks, parameter name -> float64 [T], of the environment that the learner has.

    Args:
        name: of the argument, for messages.
        tasks: parameters, or a MetaTask.
        env_id: the learner's environment.
        params: its parameters that all tasks have in common.

    Raises:
        ConfigError: there is no task, numbers of values differ, the environment has no such parameter or a value is
            out of its range, or a task is of another environment or has other ``env_params``, so that it cannot stand
            in one batch with the others.
    """
    if isinstance(tasks, MetaTask):
        for task in tasks:
            if _plain_id(task.env_id) != _plain_id(env_id) or task.to_dict()["env_params"] != dict(params):
                raise ConfigError(
                    f"{name}: task {task.name!r} is of {task.env_id} {task.to_dict()['env_params'] or ''}, and the "
                    f"learner's environment is {env_id} {dict(params) or ''}; IMT steps all tasks in one batch: leave "
                    "out tasks of other environments, or give all the same env_params"
                )
        try:
            return tasks.columns()
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
    if not tasks:
        raise ConfigError(f"{name} has no parameters; give parameter name -> values, as a family's sample_tasks does")
    columns = {key: np.atleast_1d(np.asarray(values, dtype=np.float64)) for key, values in tasks.items()}
    sizes = {key: len(values) for key, values in columns.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(f"{name} has {sizes} values; must be one of each parameter for every task")
    if not next(iter(sizes.values())):
        raise ConfigError(f"{name} is empty; give at least one task, or None where there are to be none")
    _check_values(name, columns, env_id, params)
    return columns


def _check_values(
    name: str, columns: Mapping[str, NDArray[np.float64]], env_id: str, params: Mapping[str, Any]
) -> None:
    """Refuse what the environment refuses while rows have the numbers of their tasks, which its messages name."""
    envs = metarl_core.make_vec(env_id, len(next(iter(columns.values()))), **params)
    try:
        envs.set_tasks(columns)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from error
    finally:
        envs.close()


def check_datasets(datasets: Sequence[TaskDataset], names: Sequence[str], policy: str, spaces: tuple[Any, Any]) -> None:
    """Refuse data that embeddings of the tasks cannot be made from.

    Args:
        datasets: of the training tasks.
        names: their tasks.
        policy: name of the reference policy, as a dataset's metadata has it.
        spaces: of observations and of actions, of one environment.

    Raises:
        ConfigError: other spaces than the environment's, or another policy.
    """
    for name, dataset in zip(names, datasets, strict=True):
        for what, own, space in (
            ("observation", dataset.observation_space, spaces[0]),
            ("action", dataset.action_space, spaces[1]),
        ):
            mine, other = (getattr(s, "n", None) or tuple(s.shape) for s in (own, space))
            if mine != other:
                raise ConfigError(
                    f"the data of task {name!r} has the {what} space {own}, and its environment {space}; record it "
                    "anew, or leave the data out"
                )
        found = dataset.metadata.get("policy", policy)
        if found != policy:
            raise ConfigError(
                f"the data of task {name!r} is of the policy {found!r}, and the reference policy is {policy!r}: "
                "embeddings of data of different policies tell policies apart, not tasks; record it by the reference "
                "policy, or leave the data out"
            )


def _datasets_of(tasks: MetaTask) -> tuple[TaskDataset, ...] | None:
    if not tasks.datasets:
        return None
    try:
        found = tasks.mixture().datasets
    except ValueError as error:
        raise ConfigError(f"{error}; or leave out all data, to have it recorded by the reference policy") from error
    for name, dataset in zip(tasks.names, found, strict=True):
        if not isinstance(dataset, TaskDataset):
            raise ConfigError(f"the data of task {name!r} is a {type(dataset).__name__}; must be a TaskDataset")
    return found


def _check_count(what: str, count: int) -> None:
    if count < MIN_TASKS:
        raise ConfigError(f"{what} has {count} tasks; expected at least {MIN_TASKS}: {_WHY}; add tasks")


def _check_different(train: Mapping[str, NDArray[np.float64]]) -> None:
    # Two that are alike are near each other in the embedding, as they should be; where all are, all of it is noise.
    if all((values == values[0]).all() or np.isnan(values).all() for values in train.values()):
        one = {key: float(values[0]) for key, values in train.items()}
        raise ConfigError(f"train_tasks: all tasks are the same, {one}; give tasks that differ in a parameter")


def _plain_id(env_id: str) -> str:
    return env_id.removeprefix("metarl_core/")


def _check_native(env_id: str) -> None:
    if _plain_id(env_id) not in {_plain_id(name) for name in metarl_core.list_envs()}:
        raise ConfigError(
            f"{env_id} is no native environment; IMT steps all tasks in one batch with a task of its own in every row "
            "(metarl tasks lists the families)"
        )
