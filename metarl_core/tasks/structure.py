"""In which order tasks come: one after another (:class:`Flat`), or as subtasks of a goal (:class:`Tree`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metarl_core.tasks.distributions import _integer
from metarl_core.tasks.task import Task

__all__ = ["Done", "Flat", "Phase", "Tree"]

Done: TypeAlias = Callable[[Any, NDArray[np.float64], dict[str, Any]], NDArray[np.bool_]]


@dataclass(frozen=True)
class Phase:
    """Training on one task, in a sequence.

    Attributes:
        index: Number of the phase.
        task: The task.
        task_index: Its position among :attr:`Flat.tasks`.
        cycle: Number of the cycle.
        start: Environment step at which the phase begins.
        steps: Number of environment steps.
    """

    index: int
    task: Task
    task_index: int
    cycle: int
    start: int
    steps: int

    @property
    def stop(self) -> int:
        """The first environment step that is no longer in the phase."""
        return self.start + self.steps


class Flat:
    """A sequence of tasks, each trained on for some environment steps, once or in cycles.

    Args:
        tasks: The tasks in order, at least one; a task may come several times.
        steps: Environment steps of each phase, >= 1; or a sequence with one number for each of ``tasks``.
        cycles: How often the sequence is gone through, >= 1.

    Attributes:
        tasks: The different tasks, in the order in which they first come.
        phases: Every :class:`Phase`.
        cycles: Number of cycles.
        total_steps: Environment steps of all phases.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: There is no task, two different tasks have one name, or a number is out of range.
    """

    def __init__(self, tasks: Iterable[Task], steps: int | Sequence[int], cycles: int = 1) -> None:
        sequence = tuple(tasks)
        if not sequence:
            raise ValueError("tasks is empty; must have at least one task")
        for i, task in enumerate(sequence):
            if not isinstance(task, Task):
                raise TypeError(f"tasks[{i}] must be a Task, got {type(task).__name__}")
        self.tasks = tuple(dict.fromkeys(sequence))
        names = [task.name for task in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two different tasks have the name {name!r}")
        if isinstance(steps, Sequence) or (isinstance(steps, np.ndarray) and steps.ndim > 0):
            if len(steps) != len(sequence):
                raise ValueError(f"steps has {len(steps)} numbers; must have {len(sequence)}, one for each task")
            lengths = [_integer(f"steps[{i}]", number, 1) for i, number in enumerate(steps)]
        else:
            lengths = [_integer("steps", steps, 1)] * len(sequence)
        self.cycles = _integer("cycles", cycles, 1)
        phases: list[Phase] = []
        start = 0
        for cycle in range(self.cycles):
            for task, length in zip(sequence, lengths, strict=True):
                phases.append(Phase(len(phases), task, self.tasks.index(task), cycle, start, length))
                start += length
        self.phases = tuple(phases)
        self.total_steps = start
        self._starts = np.array([phase.start for phase in phases])

    def __len__(self) -> int:
        return len(self.phases)

    def __iter__(self) -> Iterator[Phase]:
        return iter(self.phases)

    def __getitem__(self, index: int) -> Phase:
        return self.phases[index]

    def phase_at(self, step: int) -> Phase:
        """Return the phase that an environment step is in.

        Raises:
            TypeError: ``step`` is no integer.
            ValueError: It is not in [0, total_steps).
        """
        step = _integer("step", step, 0)
        if step >= self.total_steps:
            raise ValueError(f"step is {step}; must be < {self.total_steps}, the steps of all phases")
        return self.phases[int(np.searchsorted(self._starts, step, side="right")) - 1]

    @property
    def switches(self) -> NDArray[np.int64]:
        """Environment steps at which another task begins, int64, rising; the first task's beginning is none."""
        tasks = np.array([phase.task_index for phase in self.phases])
        switches: NDArray[np.int64] = self._starts[1:][tasks[1:] != tasks[:-1]]
        return switches

    def task_ends(self, cycle: int = -1) -> NDArray[np.int64]:
        """Return the last phase of each task in a cycle: ``task_ends`` of the measures in :mod:`metarl_core.stats`.

        They count times by phases: performance is measured after each.

        Args:
            cycle: Number of the cycle; -1: the last one.

        Returns:
            int64 ``(number of tasks,)``, in the order of :attr:`tasks`.

        Raises:
            TypeError: ``cycle`` is no integer.
            ValueError: It is not in [-1, cycles).
        """
        cycle = _integer("cycle", cycle, -1)
        if cycle >= self.cycles:
            raise ValueError(f"cycle is {cycle}; must be < {self.cycles}, the number of cycles")
        ends = np.zeros(len(self.tasks), np.int64)
        for phase in self.phases:
            if phase.cycle == cycle % self.cycles:
                ends[phase.task_index] = phase.index
        return ends

    def __repr__(self) -> str:
        names = ", ".join(phase.task.name for phase in self.phases[: len(self.phases) // self.cycles])
        return f"Flat([{names}], cycles={self.cycles}, total_steps={self.total_steps})"


class Tree:
    """A goal and the subtasks that lead to it, in order; a subtask may have subtasks of its own.

    What has a ``done`` of its own is a *stage*, which can be the active one. The stages are gone through in order:
    subtasks before their goal, whose own stage comes when they are done. Without ``done`` a goal is done with the last
    of its subtasks; with it, it is also done whenever that holds, whatever of its subtasks is left.

    :class:`TreeRun` follows it through the steps of environments.

    Args:
        goal: What this node is called, or the task whose name it takes.
        subtasks: Trees, in the order in which they are to be done; none: this is a leaf.
        done: When the node is done, asked of all rows at once: a function of the observations after a step
            ``(num_envs, ...)``, the step's rewards float64 ``(num_envs,)`` and its info dict that returns bools
            ``(num_envs,)``. A leaf must have it.

    Attributes:
        name: Of the node.
        goal: As given.
        subtasks: As given, a tuple.
        done: As given.
        nodes: Names of this node and all below it, in the order in which they are done: itself last.
        stages: Those of them that have a ``done``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A name is empty or comes twice, or a leaf has no ``done``.
    """

    def __init__(self, goal: str | Task, subtasks: Sequence[Tree] = (), done: Done | None = None) -> None:
        if not isinstance(goal, (str, Task)):
            raise TypeError(f"goal must be a name or a Task, got {type(goal).__name__}")
        self.goal = goal
        self.name = goal.name if isinstance(goal, Task) else goal
        if not self.name:
            raise ValueError("goal is empty; must be a name")
        if done is not None and not callable(done):
            raise TypeError(f"done of {self.name!r} must be a function of obs, reward and info, got {done!r}")
        self.done = done
        self.subtasks = tuple(subtasks)
        for i, subtask in enumerate(self.subtasks):
            if not isinstance(subtask, Tree):
                raise TypeError(
                    f"subtasks[{i}] of {self.name!r} must be a Tree, got {type(subtask).__name__}; a single subtask is "
                    "Tree(name, done=...)"
                )
        if not self.subtasks and done is None:
            raise ValueError(f"{self.name!r} has neither subtasks nor done; say when it is done: Tree(name, done=...)")
        below = [node for subtask in self.subtasks for node in subtask._nodes]
        self._nodes: tuple[Tree, ...] = (*below, self)
        self.nodes = tuple(node.name for node in self._nodes)
        for name in self.nodes:
            if self.nodes.count(name) > 1:
                raise ValueError(f"{self.name!r} has two nodes {name!r}; names must differ")
        self.stages = tuple(node.name for node in self._nodes if node.done is not None)

    def __repr__(self) -> str:
        below = f", subtasks={list(self.subtasks)!r}" if self.subtasks else ""
        return f"Tree({self.name!r}{below}{'' if self.done is None else ', done=...'})"
