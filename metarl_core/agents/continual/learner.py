"""What a continual learner is to the loop: every method goes through the same one."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import Policy, SequenceSpaces
from metarl_core.tasks import Task, TaskDataset

__all__ = ["ContinualLearner"]


class ContinualLearner(abc.ABC):
    """A learner of tasks that come one after another.

    The loop calls ``begin_task(i)``; for every step ``act``, ``store`` and ``learn``; then ``end_task(i)``. Tasks are
    numbered in the order in which they first come, from 0. Evaluation calls ``greedy`` at any time, on all tasks.

    Args:
        config: Every option.
        spaces: Of the sequence.
        tasks: All tasks of the sequence, of which nothing but their number may be used before they come.
        seed: Of everything random.

    Attributes:
        updates: Gradient steps so far, of every network: one batched step of T networks counts T.
    """

    simultaneous: ClassVar[bool] = False
    """All tasks are trained on at once in every phase: a bound, not a continual learner."""
    embeds: ClassVar[bool] = False
    """A phase begins with ``reference_steps`` under uniform actions."""
    meets: ClassVar[bool] = False
    """Meeting a new task takes ``reference_steps`` under uniform actions."""
    trial_episodes = 1
    """Episodes of an evaluation, of which the last one counts: a learner with a state adapts in the others."""
    revisits: ClassVar[bool] = True
    """A task may come again."""

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        self.config, self.spaces, self.tasks, self.seed = config, spaces, tuple(tasks), seed
        self.num_tasks = len(self.tasks)
        self.rng = np.random.default_rng([seed, 21])
        self.updates = 0
        self.known = 0

    @property
    @abc.abstractmethod
    def identity(self) -> bool:
        """Whether evaluation must tell which task it is."""

    @abc.abstractmethod
    def begin_task(self, task: int, reference: TaskDataset | None) -> None:
        """Get ready for a phase on a task; ``reference`` are its transitions under uniform actions, if ``embeds``."""

    @abc.abstractmethod
    def act(self, obs: NDArray[np.float32], tasks: Sequence[int], epsilon: float) -> NDArray[np.int64]:
        """Actions that explore; obs float32 [T, n, D] of the tasks in training -> int64 [T, n]."""

    @abc.abstractmethod
    def store(self, columns: Mapping[str, NDArray[Any]], tasks: Sequence[int]) -> None:
        """Take what a step came to, as :meth:`TaskRows.step` returns it."""

    @abc.abstractmethod
    def learn(self) -> None:
        """Make the gradient steps that are due."""

    @abc.abstractmethod
    def end_task(self, task: int) -> None:
        """Do what the method does when a task's phase ends, before it is evaluated."""

    @abc.abstractmethod
    def greedy(self, obs: NDArray[np.float32], tasks: Sequence[int]) -> NDArray[np.int64]:
        """Actions on tasks of the sequence, known or yet to come; float32 [T, B, D] -> int64 [T, B]."""

    def policy(self, tasks: Sequence[int]) -> Policy:
        """What plays tasks of the sequence in an evaluation."""
        return lambda obs: self.greedy(obs, tasks)

    def new_policy(self, references: Sequence[TaskDataset]) -> Policy:
        """What plays tasks that are not named, after having met them."""
        met = self.meet(references)
        return lambda obs: self.greedy_new(obs, met)

    def meet(self, references: Sequence[TaskDataset]) -> Any:  # noqa: ARG002
        """Look at new tasks by their reference transitions (none without ``meets``); what ``greedy_new`` is given."""
        return None

    @abc.abstractmethod
    def greedy_new(self, obs: NDArray[np.float32], met: Any) -> NDArray[np.int64]:
        """Actions on tasks that are not named; float32 [T, B, D] -> int64 [T, B]."""

    @abc.abstractmethod
    def parameters(self) -> int:
        """Number of weights of all networks that are kept for acting or for later tasks, target copies left out."""

    @abc.abstractmethod
    def stored_bytes(self) -> int:
        """Bytes of all else that goes on from one task to the next: transitions, anchors, Fisher information, masks."""
