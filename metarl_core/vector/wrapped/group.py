"""The environments of one worker: steps and resets them one by one, and writes what comes out to the shared arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metarl_core.vector.wrapped.arrays import RowArrays, SharedMemory, array_specs, row_arrays
from metarl_core.vector.wrapped.layout import SpaceLayout
from metarl_core.vector.wrapped.seeding import draw_task, episode_seed
from metarl_core.vector.wrapped.setters import ApplyTask, make_setter

__all__ = ["Description", "EnvGroup", "GroupPlan", "Outcome", "RowError"]


@dataclass(frozen=True)
class GroupPlan:
    """What a worker is made from.

    Attributes:
        makers: Makes each of its environments.
        first: Row of the first one.
        autoreset_mode: ``"next_step"``, ``"same_step"`` or ``"disabled"``.
        task_parameters: Names, or None.
        apply_task: Gives an environment its task, or None.
    """

    makers: Sequence[Callable[[], Any]]
    first: int
    autoreset_mode: str
    task_parameters: tuple[str, ...] | None
    apply_task: ApplyTask | None


class Description(NamedTuple):
    """What an environment says about itself."""

    observation_space: Any
    action_space: Any
    metadata: dict[str, Any]
    render_mode: str | None
    spec: Any
    task_parameters: tuple[str, ...]
    task_defaults: list[float]
    task_integral: list[bool]
    task_immediate: bool


@dataclass
class Outcome:
    """What a step or reset gives besides arrays.

    Attributes:
        infos: Row and info, in Gymnasium's order; with SAME_STEP, ``final_obs`` and ``final_info`` before the new one.
        objects: Row, leaf and value, of observations without a fixed size.
    """

    infos: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    objects: list[tuple[int, int, Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.infos or self.objects)


class RowError(Exception):
    """An environment raised; the cause is its exception.

    Attributes:
        row: Which one.
    """

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class _Row:
    """One environment and what decides on its tasks."""

    def __init__(self, maker: Callable[[], Any]) -> None:
        self.maker = maker
        self.env = maker()
        self.autoreset = False
        self.seed, self.stream, self.episode = 0, 0, 0
        self.next_task: tuple[int, dict[str, float] | None] | None = None  # from the next reset on
        self.applied: dict[str, float] | None = None
        self.allowed: npt.NDArray[np.int64] | None = None


class EnvGroup:
    """The environments of one worker.

    Args:
        plan: What they are made from.
    """

    def __init__(self, plan: GroupPlan) -> None:
        self._plan = plan
        self._first = plan.first
        self._rows: list[_Row] = []
        self._table: npt.NDArray[np.float64] | None = None
        try:
            for maker in plan.makers:
                self._rows.append(_Row(maker))
            self._setter = make_setter(self._rows[0].env, plan.task_parameters, plan.apply_task)
            self._defaults = [self._setter.read(row.env) for row in self._rows]
        except BaseException:
            self.close()
            raise
        self._next_step = plan.autoreset_mode == "next_step"
        self._same_step = plan.autoreset_mode == "same_step"
        self._arrays: RowArrays

    def describe(self) -> list[Description]:
        """Return what every environment says about itself."""
        return [
            Description(
                row.env.observation_space,
                row.env.action_space,
                dict(row.env.metadata),
                row.env.render_mode,
                row.env.spec,
                self._setter.names,
                defaults,
                self._setter.integral(row.env),
                self._setter.immediate,
            )
            for row, defaults in zip(self._rows, self._defaults, strict=True)
        ]

    def attach_memory(self, memory: SharedMemory, num_envs: int, obs_space: Any, action_space: Any) -> None:
        """Find the arrays in memory that another process laid out by these spaces."""
        obs, actions = SpaceLayout(obs_space, "obs"), SpaceLayout(action_space, "actions")
        arrays = memory.arrays(array_specs(obs, actions, num_envs, len(self._setter.names)))
        self.attach(row_arrays(arrays, obs, actions, num_envs), obs, actions)

    def attach(self, arrays: RowArrays, obs: SpaceLayout, actions: SpaceLayout) -> None:
        """Take the arrays of all rows, and write the environments' own parameters."""
        self._arrays = arrays.rows(self._first, self._first + len(self._rows))
        self._obs_layout, self._action_layout = obs, actions
        self._arrays.task_values[:] = self._defaults
        self._arrays.task_id[:] = -1

    def step(self, objects: Sequence[tuple[int, Any]] = ()) -> Outcome:
        """Take one step in every environment, with the actions in the shared arrays.

        Args:
            objects: Leaf and values of the actions without a fixed size.

        Raises:
            RowError: An environment raised; the others may have been stepped.
        """
        arrays, outcome = self._arrays, Outcome()
        for leaf, values in objects:
            arrays.actions[leaf] = values
        for i, row in enumerate(self._rows):
            arrays.busy[0] = self._first + i + 1
            try:
                self._step_row(i, row, outcome)
            except Exception as error:
                raise RowError(self._first + i) from error
        arrays.busy[0] = 0
        return outcome

    def _step_row(self, i: int, row: _Row, outcome: Outcome) -> None:
        arrays = self._arrays
        if row.autoreset:
            obs, info = self._start(i, row, None, None)
            arrays.reward[i], arrays.terminated[i], arrays.truncated[i] = 0.0, False, False
            row.autoreset = False
        else:
            action = self._action_layout.read_row(arrays.actions, i)
            obs, reward, terminated, truncated, info = row.env.step(action)
            arrays.reward[i], arrays.terminated[i], arrays.truncated[i] = reward, terminated, truncated
            if terminated or truncated:
                row.autoreset = self._next_step
                if self._same_step:
                    # Copies: the environment may hand out the same objects again, changed, at the reset.
                    final = {"final_obs": copy.deepcopy(obs), "final_info": copy.deepcopy(info)}
                    outcome.infos.append((self._first + i, final))
                    obs, info = self._start(i, row, None, None)
        self._put(i, obs, info, outcome)

    def _put(self, i: int, obs: Any, info: dict[str, Any], outcome: Outcome) -> None:
        for leaf, value in self._obs_layout.write_row(self._arrays.obs, i, obs):
            outcome.objects.append((self._first + i, leaf, value))
        if info:
            outcome.infos.append((self._first + i, info))

    def reset(
        self,
        mask: npt.NDArray[np.bool_],
        seeds: Sequence[tuple[int, int, int] | None],
        options: dict[str, Any] | None,
    ) -> Outcome:
        """Start new episodes.

        Args:
            mask: Which of its rows.
            seeds: For each row the environment's seed, and seed and stream of its tasks; None: its random numbers go
                on.
            options: For the environments.

        Raises:
            RowError: An environment raised.
        """
        outcome = Outcome()
        for i, row in enumerate(self._rows):
            if not mask[i]:
                continue
            self._arrays.busy[0] = self._first + i + 1
            seeding = seeds[i]
            if seeding is not None:
                row.seed, row.stream, row.episode = seeding[1], seeding[2], 0
            try:
                obs, info = self._start(i, row, None if seeding is None else seeding[0], options)
                self._put(i, obs, info, outcome)
            except Exception as error:
                raise RowError(self._first + i) from error
            self._arrays.reward[i], self._arrays.terminated[i], self._arrays.truncated[i] = 0.0, False, False
            row.autoreset = False
        self._arrays.busy[0] = 0
        return outcome

    def _start(self, i: int, row: _Row, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        if self._table is not None:
            size = len(self._table) if row.allowed is None else len(row.allowed)
            drawn = draw_task(row.seed, row.stream, row.episode, size)
            task = drawn if row.allowed is None else int(row.allowed[drawn])
            row.next_task = task, dict(zip(self._setter.names, self._table[task].tolist(), strict=True))
        if row.next_task is not None:
            task, values = row.next_task
            if values != row.applied and self._apply(row, values) and seed is None:
                seed = episode_seed(row.seed, row.stream, row.episode)
            self._report_task(i, task, self._defaults[i] if values is None else list(values.values()))
            row.next_task = None
        row.episode += 1
        obs, info = row.env.reset(seed=seed, options=options)
        return obs, info

    def _apply(self, row: _Row, values: dict[str, float] | None) -> bool:
        """Give a row its task; return whether its environment is another one than before."""
        # Without a task again: a function cannot take back what it did, so the environment is made anew.
        made = row.maker() if values is None else self._setter.apply(row.env, values)
        row.applied = values
        if made is row.env:
            return False
        old = row.env
        for name in ("observation_space", "action_space"):
            if getattr(made, name) != getattr(old, name):
                raise ValueError(f"apply_task made an environment whose {name} is {getattr(made, name)}, not as before")
        row.env = made
        # A wrapper around the old one still needs it.
        if made.unwrapped is not old.unwrapped:
            old.close()
        return True

    def _report_task(self, i: int, task: int, values: Sequence[float]) -> None:
        self._arrays.task_values[i] = values
        self._arrays.task_id[i] = task

    def set_tasks(self, values: npt.NDArray[np.float64] | None, ids: npt.NDArray[np.int64] | None) -> None:
        """Give every environment its own parameters; None: those that it was made with."""
        self._table = None
        for i, row in enumerate(self._rows):
            row.allowed = None
            number = -1 if ids is None else int(ids[i])
            numbers = self._defaults[i] if values is None else values[i].tolist()
            if self._setter.immediate:
                row.applied = dict(zip(self._setter.names, numbers, strict=True))
                self._setter.apply(row.env, row.applied)
                self._report_task(i, number, numbers)
            else:
                row.next_task = number, None if values is None else dict(zip(self._setter.names, numbers, strict=True))

    def set_task_table(self, table: npt.NDArray[np.float64], allowed: npt.NDArray[np.bool_] | None) -> None:
        """Let every row draw one of these tasks whenever it is reset."""
        self._table = table
        for i, row in enumerate(self._rows):
            row.allowed = None if allowed is None else np.flatnonzero(allowed[i])

    def render(self) -> list[Any]:
        """Return a picture of every environment."""
        return [row.env.render() for row in self._rows]

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Return an attribute of every environment; if it can be called, what it returns."""
        results = []
        for i, row in enumerate(self._rows):
            try:
                value = row.env.get_wrapper_attr(name)
                results.append(value(*args, **kwargs) if callable(value) else value)
            except Exception as error:
                raise RowError(self._first + i) from error
        return results

    def set_attr(self, name: str, values: Sequence[Any]) -> None:
        """Set an attribute of every environment."""
        for row, value in zip(self._rows, values, strict=True):
            row.env.set_wrapper_attr(name, value)

    def close(self) -> None:
        """Close the environments."""
        for row in self._rows:
            row.env.close()
