"""Playing one task: what its spaces are, reference episodes, returns of a policy."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_core.agents.common.actions import Actions, actions_of
from metarl_core.agents.imt.spaces import action_table
from metarl_core.errors import ConfigError
from metarl_core.tasks import Task, TaskDataset
from metarl_core.tasks._spaces import space_difference

__all__ = ["REFERENCE_ROWS", "Policy", "TaskSpaces", "opened", "record", "reference_policy"]

Policy = Callable[[Any], ArrayLike]
"""Observations [B, ...] as the environment gives them -> actions as it takes them, leading axis B."""

REFERENCE_ROWS = 8
"""Instances that play a reference policy at once: many starts of episodes in few transitions."""

_MOST_ROWS = 50


@contextlib.contextmanager
def opened(place: Any, num_envs: int = 1, seed: int = 0) -> Iterator[Any]:
    """Make a task's environment and close it at the end; an environment that was given stays open.

    Args:
        place: a :class:`metarl_core.tasks.Task`, or a native vector environment.
        num_envs: rows of the environment that is made.
        seed: of its first reset.

    Raises:
        TypeError: it is neither, or the task's environment is not a native one.
        ValueError: the task has a parameter that cannot be set, or a value out of range.
    """
    own = isinstance(place, Task)
    if not own and not hasattr(place, "rollout"):
        raise TypeError(f"task is a {type(place).__name__}; must be a Task or a native vector environment of make_vec")
    envs = place.make_vec(num_envs, seed=seed, autoreset_mode="same_step") if own else place
    try:
        if not hasattr(envs, "rollout"):
            raise TypeError(
                f"task {place.name!r}: {place.env_id} is not a native environment, which is needed here; "
                "metarl envs lists those"
            )
        yield envs
    finally:
        if own:
            envs.close()


def record(
    place: Any,
    policy: Policy | str,
    *,
    steps: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    num_envs: int | None = None,
) -> TaskDataset:
    """Play a task and keep its transitions, as ``TaskDataset.record``.

    Args:
        place: see :func:`opened`.
        policy: see ``Policy``; or ``"random"``.
        steps: number of transitions.
        episodes: or number of whole episodes.
        seed: of the environment.
        num_envs: rows that play at once, of a :class:`Task`; None: as many as episodes, 50 at most.

    Raises:
        TypeError, ValueError, RuntimeError: as of ``TaskDataset.record`` and :func:`opened`.
    """
    rows = num_envs or min(episodes or REFERENCE_ROWS, _MOST_ROWS)
    with opened(place, rows, seed) as envs:
        return TaskDataset.record(envs, policy, steps=steps, episodes=episodes, seed=seed)


@dataclasses.dataclass(frozen=True, eq=False)
class TaskSpaces:
    """What one task gives and takes.

    Attributes:
        observation_space: of one instance.
        action_space: of one instance.
        actions: their number, or the Box.
        table: of continuous actions those that values are learned for, [A, dims]; None: the actions are discrete.
    """

    observation_space: Any
    action_space: Any
    actions: Actions
    table: NDArray[Any] | None

    @classmethod
    def of(cls, place: Any, levels: int = 3) -> TaskSpaces:
        """Read the spaces of a task or an environment.

        Args:
            place: see :func:`opened`.
            levels: of continuous actions, values of each component, evenly between the bounds.

        Raises:
            ConfigError: the actions are neither Discrete nor a bounded Box of one axis.
        """
        with opened(place) as envs:
            env_id = envs.env_spec.id
            action_space = envs.single_action_space
            return cls(
                envs.single_observation_space,
                action_space,
                actions_of(action_space, env_id),
                action_table(action_space, levels, env_id),
            )

    @property
    def num_actions(self) -> int:
        """A: discrete actions, or rows of the table."""
        return len(self.table) if self.table is not None else int(self.action_space.n)

    def checked_observations(self, obs: Any) -> NDArray[Any]:
        """Observations [B, ...] as an array.

        Raises:
            ValueError: another shape, a number out of a Discrete space's range, or NaN or infinity.
            TypeError: numbers that are no integers, of a Discrete space.
        """
        space, found = self.observation_space, np.asarray(obs)
        shape = tuple(space.shape)
        if found.ndim != 1 + len(shape) or found.shape[1:] != shape:
            expected = ", ".join(map(str, ("B", *shape))) + ("" if shape else ",")
            hint = "; a single one is given as obs[None]" if found.shape == shape else ""
            raise ValueError(f"obs has shape {found.shape}; must be ({expected}), one observation in every row{hint}")
        if hasattr(space, "n") and not shape:  # MultiBinary has both
            if found.dtype.kind not in "iu":
                raise TypeError(f"obs has dtype {found.dtype}; must be integers, as the space is {space}")
            start = int(getattr(space, "start", 0))
            wrong = np.flatnonzero((found < start) | (found >= start + int(space.n)))
            if len(wrong):
                raise ValueError(f"obs[{wrong[0]}] is {found[wrong[0]]}; must be in {space}")
        elif found.dtype.kind == "f" and not np.isfinite(found).all():
            row = int(np.argwhere(~np.isfinite(found))[0][0])
            raise ValueError(f"obs[{row}] is {found[row]}; must be finite")
        return found

    def native(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Numbers of actions, int64 [B] -> actions as the environment takes them."""
        if self.table is not None:
            taken: NDArray[Any] = self.table[numbers]
            return taken
        return numbers + int(getattr(self.action_space, "start", 0))

    def numbers(self, actions: NDArray[Any]) -> NDArray[np.int64]:
        """Actions of the environment -> their numbers, int64 [B]; of the table the nearest row."""
        if self.table is None:
            return np.asarray(actions, dtype=np.int64) - int(getattr(self.action_space, "start", 0))
        distance = ((np.asarray(actions)[:, None, :] - self.table[None]) ** 2).sum(axis=2)
        nearest: NDArray[np.int64] = distance.argmin(axis=1)
        return nearest

    def require_equal(self, other: TaskSpaces, name: str, other_name: str) -> None:
        """Refuse spaces that differ.

        Raises:
            ConfigError: they do; the message says how.
        """
        for kind in ("observation_space", "action_space"):
            difference = space_difference(getattr(self, kind), getattr(other, kind))
            if difference is not None:
                raise ConfigError(
                    f"{name} and {other_name} differ in their {kind.replace('_', ' ')}: {difference}; both must be "
                    "tasks of equal spaces"
                )


def reference_policy(spaces: TaskSpaces, seed: int) -> Policy | str:
    """Uniform actions, the same for every task: what task embeddings are made from.

    Continuous actions are uniform over the table, as in IMT.
    """
    table = spaces.table
    if table is None:
        return "random"
    rng = np.random.default_rng([seed, 12])

    def uniform(obs: Any) -> NDArray[Any]:
        drawn: NDArray[Any] = table[rng.integers(len(table), size=len(obs))]
        return drawn

    return uniform
