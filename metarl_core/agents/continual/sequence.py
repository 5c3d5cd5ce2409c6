"""Sequences of tasks by name: what a continual learner meets, and the tasks that it never trains on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from metarl_core._names import unknown_name
from metarl_core.errors import ConfigError
from metarl_core.tasks import Flat, MetaTask, Task, task_families, task_family
from metarl_core.tasks.distributions import TaskDistribution

__all__ = ["TaskSequence", "make_sequence", "sequence_names"]

# Return that nothing can exceed, or that solves the task by its authors' measure; episodes of default length.
_REFERENCE_RETURNS = {
    "CartPole-v1": 500.0,
    "Acrobot-v1": -100.0,
    "MountainCar-v0": -110.0,
    "DeepSea-v0": 0.99,
    "FrozenLake-v1": 1.0,
    "Maze-v0": 1.0,
    "PointRobot-v0": 0.0,
}
_MINATAR = ("Breakout", "Asterix", "SpaceInvaders", "Freeway", "Seaquest")
MINATAR_GAMES = "MinAtar-games"
_MINIGRID = ("Empty-Random-5x5", "DoorKey-5x5", "Empty-8x8", "SimpleCrossingS9N1", "LavaCrossingS9N1")
_MINIGRID_UNSEEN = ("Empty-Random-6x6", "DoorKey-6x6", "Empty-6x6", "SimpleCrossingS9N2", "LavaCrossingS9N2")
MINIGRID_LEVELS = "MiniGrid-levels"


@dataclasses.dataclass(frozen=True)
class TaskSequence:
    """A sequence of tasks and what it is measured by.

    Attributes:
        name: Of the sequence.
        flat: Tasks in their order, phases and cycles.
        held_out: Tasks that are never trained on; may be none.
        reference_return: Return that counts as 1; None: none is known, and that of ``scratch`` is taken.
        pad_channels: Images are filled up with empty channels to the largest number among the tasks.

    Raises:
        ConfigError: One task only, or spaces that differ.
    """

    name: str
    flat: Flat
    held_out: tuple[Task, ...] = ()
    reference_return: float | None = None
    pad_channels: bool = False

    def __post_init__(self) -> None:
        """Check that one learner can take all tasks."""
        if len(self.flat.tasks) < 2:
            raise ConfigError(
                f"sequence {self.name!r} has one task ({self.flat.tasks[0].name}); expected at least 2, as there is "
                "nothing to forget"
            )
        if not self.pad_channels:
            try:
                MetaTask((*self.flat.tasks, *self.held_out))
            except (TypeError, ValueError) as error:
                raise ConfigError(f"sequence {self.name!r}: {error}") from None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The different tasks, in the order in which they first come."""
        return self.flat.tasks

    def to_dict(self) -> dict[str, Any]:
        """What the sequence is, for JSON."""
        return {
            "name": self.name,
            "tasks": [task.to_dict() for task in self.tasks],
            "held_out": [task.to_dict() for task in self.held_out],
            "phases": [[phase.task_index, phase.steps] for phase in self.flat],
            "reference_return": self.reference_return,
        }


def _family_name(env_id: str) -> str:
    return f"{re.sub(r'-v[0-9]+$', '', env_id)}-tasks"


def sequence_names() -> dict[str, str]:
    """Names of the sequences and the environment, or for games and levels the environments, that each is made of."""
    families = {_family_name(env_id): env_id for env_id in task_families()}
    return {
        **families,
        MINATAR_GAMES: ", ".join(f"MinAtar/{game}-v0" for game in _MINATAR),
        MINIGRID_LEVELS: ", ".join(f"MiniGrid-{level}-v0" for level in _MINIGRID),
    }


def make_sequence(
    name: str,
    tasks: int,
    steps: int,
    *,
    cycles: int = 1,
    held_out: int = 5,
    seed: int = 0,
    split: str | None = None,
    env_params: Mapping[str, Any] | None = None,
) -> TaskSequence:
    """Make a sequence of tasks of a family, or of MinAtar's games, or of different levels of MiniGrid.

    Args:
        name: Of :func:`sequence_names`: ``"CartPole-tasks"``; the environment's id does too.
        tasks: Number of tasks, >= 2; drawn from the family's training part.
        steps: Environment steps of each phase.
        cycles: How often the sequence is gone through.
        held_out: Number of unseen tasks, drawn from the family's test part; levels have at most five, games none.
        seed: Of the draw: which tasks there are, whatever the learners' seeds.
        split: As of :func:`metarl_core.tasks.task_family`; None: ``"interpolation"``, or ``"random"`` for seeds.
        env_params: Of a family: parameters of the environment that all tasks have in common.

    Raises:
        ConfigError: an unknown name, one task only, or a number out of range.
    """
    if tasks < 2:
        raise ConfigError(f"tasks={tasks}: expected at least 2, as one task alone has nothing to forget")
    if name == MINATAR_GAMES:
        return _minatar(tasks, steps, cycles)
    if name == MINIGRID_LEVELS:
        return _minigrid(tasks, steps, cycles, held_out)
    env_id = {**sequence_names(), **{env: env for env in task_families()}}.get(name)
    if env_id is None:
        raise ConfigError(unknown_name("sequence", name, sorted(sequence_names())))
    family = _family(env_id, split)
    try:
        params = dict(env_params or {})
        drawn = _draw(env_id, family, tasks, "train", seed, params)
        unseen = _draw(env_id, family, held_out, "test", seed, params) if held_out else []
        flat = Flat(drawn, steps, cycles)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return TaskSequence(_family_name(env_id), flat, tuple(unseen), _REFERENCE_RETURNS.get(env_id))


def _family(env_id: str, split: str | None) -> TaskDistribution:
    try:
        if split is not None:
            return task_family(env_id, split=split)
        try:
            return task_family(env_id, split="interpolation")
        except ValueError:  # its tasks are seeds, which have no order
            return task_family(env_id)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _draw(
    env_id: str, family: TaskDistribution, count: int, part: str, seed: int, params: Mapping[str, Any]
) -> Iterable[Task]:
    columns = family.sample_tasks(count, part, seed)
    return [
        Task(f"{part}-{i}", env_id, {key: float(column[i]) for key, column in columns.items()}, params)
        for i in range(count)
    ]


def _minatar(tasks: int, steps: int, cycles: int) -> TaskSequence:
    if tasks > len(_MINATAR):
        raise ConfigError(f"tasks={tasks}: {MINATAR_GAMES} has {len(_MINATAR)} games, {', '.join(_MINATAR)}")
    games = [Task(game, f"MinAtar/{game}-v0") for game in _MINATAR[:tasks]]
    return TaskSequence(MINATAR_GAMES, Flat(games, steps, cycles), pad_channels=True)


def _minigrid(tasks: int, steps: int, cycles: int, held_out: int) -> TaskSequence:
    for what, count, names in (("tasks", tasks, _MINIGRID), ("held_out", held_out, _MINIGRID_UNSEEN)):
        if count > len(names):
            raise ConfigError(f"{what}={count}: {MINIGRID_LEVELS} has {len(names)}, {', '.join(names)}")
    levels = [Task(level, f"MiniGrid-{level}-v0") for level in _MINIGRID[:tasks]]
    unseen = tuple(Task(level, f"MiniGrid-{level}-v0") for level in _MINIGRID_UNSEEN[:held_out])
    return TaskSequence(MINIGRID_LEVELS, Flat(levels, steps, cycles), unseen, 1.0)
