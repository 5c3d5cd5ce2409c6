"""The tasks of a meta-learner, with their data, and how they are divided into training, validation and test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_core.tasks._spaces import space_difference
from metarl_core.tasks.datasets import TaskDataset
from metarl_core.tasks.distributions import SPLITS, TaskDistribution, _choice, _integer
from metarl_core.tasks.families import family_env_id, task_family
from metarl_core.tasks.task import Task

__all__ = ["LeaveOneOut", "MetaTask", "Mixture", "TaskSplits"]


_DEFAULT_SHARES = (0.6, 0.2, 0.2)
_HAS_PARTS = (
    "these tasks have parts already, which this would mix; use splits().train, or MetaTask(meta.tasks) for tasks "
    "without parts"
)


class TaskSplits(NamedTuple):
    """Disjoint parts of the tasks; None where a part was asked to have none."""

    train: MetaTask
    val: MetaTask | None
    test: MetaTask | None


class Mixture(NamedTuple):
    """Data of several tasks: names, and of each its dataset. How often each is drawn from is the learner's to say."""

    names: tuple[str, ...]
    datasets: tuple[Any, ...]


class LeaveOneOut(NamedTuple):
    """One task left out for the test, and what the others are for.

    Attributes:
        train: The tasks to train on.
        validation: The tasks to validate on.
        test: The one task left out.
        train_rows: Task name -> rows of its dataset to train on, int64, rising, as numbered in the set that was
            divided; None: all rows. A :class:`TaskDataset` is cut already: ``train`` holds these rows of it and no
            others. Of data of another type ``train`` holds all, and these rows are to be taken of it.
        validation_rows: The same to validate on.
        transductive: Whether the test task is the validation task, so that what was tuned on it has seen it.
    """

    train: MetaTask
    validation: MetaTask
    test: MetaTask
    train_rows: dict[str, NDArray[np.int64]] | None
    validation_rows: dict[str, NDArray[np.int64]] | None
    transductive: bool


class MetaTask:
    """A set of tasks with equal spaces, and a dataset for each or some.

    An environment of each task is made once, to compare the spaces and to check the constants.

    Args:
        tasks: :class:`Task`, at least one; their names are unique, and no two are the same but for the name.
        datasets: Task name -> its data: anything with a ``len``, its number of rows, > 0. None: no data.
        parts: ``"train"`` and, if any, ``"val"`` and ``"test"`` -> names, disjoint: where the division is a given.
            None: there is none yet, and :meth:`splits` makes it.
        options: Keywords of :func:`metarl_core.make_vec` that the environments of these tasks need when they are made,
            such as ``apply_task``.

    Attributes:
        tasks: The tasks, as a tuple.
        datasets: Task name -> data.
        observation_space: Of one environment.
        action_space: Of one environment.

    Raises:
        TypeError: An argument has the wrong type, or a task a parameter that its environment has not.
        ValueError: No task, a name or a task that comes twice, spaces that differ (the message says which two tasks and
            how), a dataset without rows or of no task, parts that overlap or lack
            ``"train"``, or a task with a value out of range.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        datasets: Mapping[str, Any] | None = None,
        *,
        parts: Mapping[str, Iterable[str]] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.tasks = tuple(tasks)
        _check_tasks(self.tasks)
        self._by_name = {task.name: task for task in self.tasks}
        self.datasets: Mapping[str, Any] = MappingProxyType(self._checked_datasets(datasets))
        self._parts = None if parts is None else self._checked_parts(parts)
        self.observation_space, self.action_space = _common_spaces(self.tasks, dict(options or {}))

    @classmethod
    def from_family(
        cls,
        env_id: str,
        k: int | Mapping[str, int],
        split: str = "train",
        seed: int = 0,
        *,
        family: TaskDistribution | None = None,
        env_params: Mapping[str, Any] | None = None,
    ) -> MetaTask:
        """Draw tasks from a distribution.

        Args:
            env_id: Environment, or the name of its family, such as ``"CartPole-tasks"``.
            k: Number of tasks, or of each part, such as ``{"train": 20, "val": 5, "test": 5}``: the parts of the
                distribution are then those of the result.
            split: Part that tasks are drawn from, if ``k`` is a number.
            seed: Of the draw, >= 0.
            family: What to draw from; None: :func:`task_family` of the environment.
            env_params: As of :class:`Task`.

        Returns:
            Tasks named ``"CartPole-v1/train-0"`` and so on.

        Raises:
            TypeError, ValueError: As of :func:`task_family`, ``sample_tasks`` and :class:`MetaTask`.
        """
        if env_id.endswith("-tasks"):
            env_id = family_env_id(env_id)
        source = task_family(env_id) if family is None else family
        counts = dict(k) if isinstance(k, Mapping) else {split: k}
        if not counts:
            raise ValueError("k is empty; must have the number of tasks of at least one part")
        tasks, parts = [], {}
        for part, count in counts.items():
            if isinstance(k, Mapping) and isinstance(count, int) and count < 1:
                raise ValueError(f"k[{part!r}] is {count}; must be >= 1; leave {part!r} out for no such part")
            drawn = source.sample_tasks(count, part, seed)
            found = [
                Task(
                    f"{env_id}/{part}-{i}",
                    env_id,
                    {name: values[i] for name, values in drawn.items()},
                    env_params or {},
                )
                for i in range(count)
            ]
            parts[part] = [task.name for task in found]
            tasks += found
        return cls(tasks, parts=parts if isinstance(k, Mapping) else None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(self._by_name)

    @property
    def parts(self) -> dict[str, tuple[str, ...]] | None:
        """Names of the tasks of each part, where the division is a given; else None."""
        return None if self._parts is None else dict(self._parts)

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __contains__(self, task: object) -> bool:
        return task in self.tasks if isinstance(task, Task) else task in self._by_name

    def __getitem__(self, key: int | str) -> Task:
        """Return a task, by its name or its position."""
        return self._by_name[self._name("key", key)] if isinstance(key, str) else self.tasks[key]

    def require(self, count: int, what: str) -> None:
        """Refuse to go on with fewer tasks than something needs.

        Args:
            count: Number of tasks that are needed.
            what: What needs them, for the message.

        Raises:
            ValueError: There are fewer.
        """
        if len(self) < count:
            raise ValueError(
                f"{what} needs at least {count} tasks, and there {'is' if len(self) == 1 else 'are'} {len(self)} "
                f"({', '.join(self.names)}); add tasks, such as MetaTask.from_family(env_id, k={count})"
            )

    def subset(self, tasks: Iterable[str | Task]) -> MetaTask:
        """Return some of the tasks, in the given order, with their data and without parts.

        Raises:
            ValueError: No task, one that comes twice, or an unknown one.
        """
        names = [self._name(f"tasks[{i}]", task) for i, task in enumerate(tasks)]
        if not names:
            raise ValueError("tasks is empty; must name at least one task")
        _refuse_twice("tasks", names)
        # The environments need not be made again.
        some = object.__new__(type(self))
        some.tasks = tuple(self._by_name[name] for name in names)
        some._by_name = {task.name: task for task in some.tasks}
        some.datasets = MappingProxyType({name: self.datasets[name] for name in names if name in self.datasets})
        some._parts = None
        some.observation_space, some.action_space = self.observation_space, self.action_space
        return some

    def mixture(self, tasks: Iterable[str | Task] | None = None) -> Mixture:
        """Return the data of tasks.

        Args:
            tasks: Which, in order; None: all.

        Raises:
            ValueError: A task is unknown or has no data; the message names it.
        """
        names = self.names if tasks is None else tuple(self._name(f"tasks[{i}]", t) for i, t in enumerate(tasks))
        for name in names:
            if name not in self.datasets:
                raise ValueError(
                    f"task {name!r} has no data; give it in MetaTask(tasks, datasets={{{name!r}: ...}}), or leave the "
                    "task out"
                )
        return Mixture(names, tuple(self.datasets[name] for name in names))

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Return the constants of all tasks as one table, for one batch of environments with all tasks in it.

        Returns:
            Parameter name -> float64 ``(number of tasks,)``, NaN for None: what ``set_tasks``,
            ``sample_tasks_at_reset`` and learners of several tasks take, beside the ``env_params`` of any of them.

        Raises:
            ValueError: Two tasks have different environments or ``env_params``, or one has a parameter that another
                has not; the message names them.
        """
        first = self.tasks[0]
        for task in self.tasks[1:]:
            if _environment(task) != _environment(first):
                raise ValueError(
                    f"tasks {first.name!r} and {task.name!r} have different environments or env_params; one batch is "
                    "of one environment: make one for each, or take a subset"
                )
            unlike = sorted(task.params.keys() ^ first.params.keys())
            if unlike:
                raise ValueError(
                    f"only one of the tasks {first.name!r} and {task.name!r} has the parameter {unlike[0]!r}; give it "
                    "to both"
                )
        columns = {name: [task.params[name] for task in self.tasks] for name in first.params}
        return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}

    def splits(
        self, train: float | None = None, val: float | None = None, test: float | None = None, seed: int = 0
    ) -> TaskSplits:
        """Divide the tasks at random into disjoint parts that together are all of them.

        Args:
            train: Share of the tasks, > 0. Without any share 0.6, 0.2 and 0.2; or, where :attr:`parts` are given,
                these: tasks that a distribution drew for the test are not dealt out again.
            val: Share; 0 or None beside others: there is no such part.
            test: The same; the three have sum 1.
            seed: Of the division, >= 0.

        Returns:
            The parts, each with its data, in the order of the tasks. Numbers of tasks are the shares rounded, at least
            one where the share is not 0.

        Raises:
            ValueError: Shares that are no shares; fewer tasks than parts; or shares where :attr:`parts` are given.
            TypeError: ``seed`` is no integer.
        """
        shares = (train, val, test)
        if self._parts is None:
            named = self._divided(
                _DEFAULT_SHARES if shares == (None,) * 3 else [share or 0.0 for share in shares], seed
            )
        elif shares == (None,) * 3:
            named = {part: self._parts.get(part, ()) for part in SPLITS}
        else:
            raise ValueError(f"shares are given, but {_HAS_PARTS}")
        train_part, *others = (self.subset(named[part]) if named[part] else None for part in SPLITS)
        assert train_part is not None
        return TaskSplits(train_part, *others)

    def sample_tasks(self, k: int, split: str | None = "train", seed: int = 0) -> list[Task]:
        """Draw different tasks.

        Args:
            k: Number of tasks, >= 1.
            split: ``"train"``, ``"val"`` or ``"test"``: of :attr:`parts`, or where there are none of :meth:`splits` as
                it divides by default. None: of all tasks.
            seed: >= 0. Equal arguments give equal tasks.

        Raises:
            TypeError: ``k`` or ``seed`` is no integer.
            ValueError: ``k`` or ``seed`` is out of range, ``split`` is unknown, or has too few tasks.
        """
        k = _integer("k", k, 1)
        if split is None:
            pool, stream = self.names, len(SPLITS)
        else:
            split = _choice("split", split, SPLITS)
            divided = self._divided(_DEFAULT_SHARES, 0) if self._parts is None else self._parts
            pool, stream = divided.get(split, ()), SPLITS.index(split)
            if not pool:
                raise ValueError(f"split is {split!r}; these tasks have no such part, only {', '.join(divided)}")
        if k > len(pool):
            where = "all" if split is None else repr(split)
            raise ValueError(f"k is {k}; must be at most {len(pool)}, the number of tasks in {where}")
        rng = np.random.default_rng([_integer("seed", seed, 0), stream])
        return [self._by_name[pool[i]] for i in rng.choice(len(pool), k, replace=False)]

    def leave_one_out(
        self,
        test_task: str | Task,
        *,
        leak_free: bool = False,
        validation_task: str | Task | None = None,
        held_out: float | None = None,
        seed: int = 0,
    ) -> LeaveOneOut:
        """Leave one task out for the test.

        As the article on independent multi-task learning divides: training is a mixture of all tasks except the test
        task, validation is the test task alone. What is tuned by such a validation has seen the test task: results are
        to be labelled transductive. With ``leak_free`` the test task is in neither.

        Args:
            test_task: The task left out.
            leak_free: Whether to validate on a task of its own or, with ``held_out``, on a part of the training tasks'
                data.
            validation_task: With ``leak_free``, the task to validate on; None: one drawn by ``seed``.
            held_out: With ``leak_free``, the share in (0, 1) of every training task's rows that is for validation
                instead: one block in a place drawn by ``seed``, as neighbouring transitions are too alike to be on both
                sides.
            seed: Of what is drawn, >= 0.

        Raises:
            ValueError: An unknown task; too few tasks; :attr:`parts` that are given; a task without data where others
                have some or ``held_out`` needs it; a dataset of one row to be divided; or arguments that do not go
                together.
            TypeError: An argument has the wrong type.
        """
        test = self._name("test_task", test_task)
        if self._parts is not None:
            raise ValueError(f"test_task is {test!r}, but {_HAS_PARTS}")
        rng = np.random.default_rng([_integer("seed", seed, 0), self.names.index(test)])
        if not leak_free:
            for name, value in (("validation_task", validation_task), ("held_out", held_out)):
                if value is not None:
                    raise ValueError(f"{name} is {value!r}, but without leak_free the test task is what validates")
            self.require(2, "leaving one task out")
            train = [name for name in self.names if name != test]
            return self._left_out(train, [test], test, None, None)
        if held_out is not None:
            if validation_task is not None:
                raise ValueError("validation_task and held_out are both given; choose one")
            self.require(2, "leaving one task out")
            train = [name for name in self.names if name != test]
            train_rows, validation_rows = self._held_out(train, held_out, rng)
            found = self._left_out(train, train, test, train_rows, validation_rows)
            found.train._cut(train_rows)
            found.validation._cut(validation_rows)
            return found
        self.require(3, "leaving one task out, with another one for validation,")
        others = [name for name in self.names if name != test]
        drawn = others[int(rng.integers(len(others)))]
        chosen = drawn if validation_task is None else self._name("validation_task", validation_task)
        if chosen == test:
            raise ValueError(f"validation_task is {chosen!r}, the test task; must be another, as leak_free is True")
        return self._left_out([name for name in others if name != chosen], [chosen], test, None, None)

    def _left_out(
        self,
        train: list[str],
        validation: list[str],
        test: str,
        train_rows: dict[str, NDArray[np.int64]] | None,
        validation_rows: dict[str, NDArray[np.int64]] | None,
    ) -> LeaveOneOut:
        if self.datasets:
            self.mixture([*train, *validation])
        return LeaveOneOut(
            self.subset(train),
            self.subset(validation),
            self.subset([test]),
            train_rows,
            validation_rows,
            transductive=validation == [test],
        )

    def _held_out(
        self, names: list[str], share: float, rng: np.random.Generator
    ) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.int64]]]:
        if not (isinstance(share, (int, float)) and 0 < share < 1):
            raise ValueError(f"held_out is {share!r}; must be in (0, 1)")
        train, validation = {}, {}
        for name, dataset in zip(names, self.mixture(names).datasets, strict=True):
            count = len(dataset)
            if count < 2:
                raise ValueError(f"the dataset of task {name!r} has {count} row; must have 2 to be divided by held_out")
            size = min(max(round(share * count), 1), count - 1)
            start = int(rng.integers(count - size + 1))
            validation[name] = np.arange(start, start + size)
            train[name] = np.delete(np.arange(count), validation[name])
        return train, validation

    def _cut(self, rows: Mapping[str, NDArray[np.int64]]) -> None:
        """Keep some rows, in time order, of the datasets that can be cut."""
        cut = {}
        for name, dataset in self.datasets.items():
            if isinstance(dataset, TaskDataset):
                blocks = np.split(rows[name], np.flatnonzero(np.diff(rows[name]) > 1) + 1)
                parts = [dataset.take_rows(int(block[0]), int(block[-1]) + 1) for block in blocks]
                cut[name] = parts[0] if len(parts) == 1 else TaskDataset.concatenate(parts)
        self.datasets = MappingProxyType({**self.datasets, **cut})

    def _divided(self, shares: Sequence[float], seed: int) -> dict[str, tuple[str, ...]]:
        numbers = [float(share) for share in shares]
        for name, number in zip(SPLITS, numbers, strict=True):
            if not 0 <= number <= 1:
                raise ValueError(f"{name} is {number}; must be a share, in [0, 1]")
        if abs(sum(numbers) - 1) > 1e-9 or numbers[0] == 0:
            raise ValueError(f"train, val and test are {numbers}; must have sum 1, and train must be > 0")
        wanted = [part for part, number in zip(SPLITS, numbers, strict=True) if number > 0]
        self.require(len(wanted), f"a division into {', '.join(wanted)}")
        counts = _rounded([number * len(self) for number in numbers], len(self))
        order = np.random.default_rng(_integer("seed", seed, 0)).permutation(len(self))
        places = np.split(order, np.cumsum(counts)[:-1])
        return {part: tuple(self.names[i] for i in sorted(place)) for part, place in zip(SPLITS, places, strict=True)}

    def _name(self, argument: str, task: Any) -> str:
        name = task.name if isinstance(task, Task) else task
        if not isinstance(name, str):
            raise TypeError(f"{argument} must be a Task or the name of one, got {type(task).__name__}")
        if name not in self._by_name or (isinstance(task, Task) and task != self._by_name[name]):
            raise ValueError(f"{argument} is {name!r}; must be one of {', '.join(map(repr, self.names))}")
        return name

    def _checked_datasets(self, datasets: Mapping[str, Any] | None) -> dict[str, Any]:
        if datasets is None:
            return {}
        if not isinstance(datasets, Mapping):
            raise TypeError(f"datasets must be a mapping of task name to data, got {type(datasets).__name__}")
        for name, dataset in datasets.items():
            if name not in self._by_name:
                raise ValueError(
                    f"datasets has {name!r}, which is no task; there are {', '.join(map(repr, self.names))}"
                )
            try:
                rows = len(dataset)
            except TypeError:
                raise TypeError(f"datasets[{name!r}] is a {type(dataset).__name__}, which has no len") from None
            if rows == 0:
                raise ValueError(f"datasets[{name!r}] has no rows; collect some, or leave the task out of datasets")
        return {task.name: datasets[task.name] for task in self.tasks if task.name in datasets}

    def _checked_parts(self, parts: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
        checked: dict[str, tuple[str, ...]] = {}
        for part, names in parts.items():
            _choice("a key of parts", part, SPLITS)
            checked[part] = tuple(self._name(f"parts[{part!r}][{i}]", name) for i, name in enumerate(names))
            if not checked[part]:
                raise ValueError(f"parts[{part!r}] is empty; must name at least one task, or leave the part out")
        if "train" not in checked:
            raise ValueError(f"parts has no 'train', only {', '.join(map(repr, checked)) or 'nothing'}")
        _refuse_twice("parts", [name for names in checked.values() for name in names])
        return checked

    def __repr__(self) -> str:
        data = f", data of {len(self.datasets)}" if self.datasets else ""
        return f"MetaTask({len(self)} tasks: {', '.join(self.names[:4])}{', ...' if len(self) > 4 else ''}{data})"


def _refuse_twice(argument: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{argument} has {name!r} twice; must have each task once")
        seen.add(name)


def _check_tasks(tasks: tuple[Task, ...]) -> None:
    if not tasks:
        raise ValueError("tasks is empty; must have at least one task")
    for i, task in enumerate(tasks):
        if not isinstance(task, Task):
            raise TypeError(f"tasks[{i}] must be a Task, got {type(task).__name__}")
    _refuse_twice("tasks", [task.name for task in tasks])
    contents: dict[str, str] = {}
    for task in tasks:
        first = contents.setdefault(task._content(), task.name)
        if first != task.name:
            raise ValueError(
                f"tasks {first!r} and {task.name!r} are the same but for their names; leave one out, as one may be for "
                "training and the other for the test"
            )


def _environment(task: Task) -> str:
    """What the environments of tasks that differ in ``params`` alone have in common, as a key."""
    return Task("any", task.env_id, {}, task.env_params)._content()


def _common_spaces(tasks: tuple[Task, ...], options: dict[str, Any]) -> tuple[Any, Any]:
    """Make an environment for each way in which the tasks' are made, and check all constants with it."""
    alike: dict[str, list[Task]] = {}
    for task in tasks:
        alike.setdefault(_environment(task), []).append(task)
    first: tuple[Task, Any, Any] | None = None
    for same in alike.values():
        # One worker: an environment that is not native would else be made in a process of its own.
        envs = same[0].make_vec(1, **{"num_threads": 1, **options})
        try:
            for task in same[1:]:
                task._set(envs, 0)
            spaces = envs.single_observation_space, envs.single_action_space
        finally:
            envs.close()
        if first is None:
            first = (same[0], *spaces)
        for what, mine, other in zip(("observation", "action"), first[1:], spaces, strict=True):
            difference = space_difference(mine, other)
            if difference is not None:
                raise ValueError(
                    f"tasks {first[0].name!r} and {same[0].name!r} have different {what} spaces: {difference}; one "
                    "learner needs one space: leave tasks out, choose the same env_params, or wrap the environments"
                )
    assert first is not None
    return first[1], first[2]


def _rounded(numbers: Sequence[float], total: int) -> list[int]:
    """Integers with the sum ``total``, by largest remainder, at least 1 where a number is not 0."""
    counts = [math.floor(number + 1e-9) for number in numbers]
    by_remainder = sorted(range(len(numbers)), key=lambda i: counts[i] - numbers[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    for i, number in enumerate(numbers):
        if number > 0 and counts[i] == 0:
            counts[counts.index(max(counts))] -= 1
            counts[i] = 1
    return counts
