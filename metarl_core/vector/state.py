"""The state of a vector environment, of all rows or of some: exact, for planning, tests and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core import _core
from metarl_core.errors import CheckpointMismatchError, CheckpointVersionError, ResetNeededError
from metarl_core.vector.builders import BuildPlan
from metarl_core.vector.checks import checked_integer, checked_rows
from metarl_core.vector.specs import EnvSpec
from metarl_core.vector.task_methods import task_table

__all__ = ["StateMethods"]

_SNAPSHOT_FORMAT = 1
_STATE_DTYPES: dict[str, type[np.generic]] = {
    "state": np.float64,
    "elapsed": np.int32,
    "episode": np.uint32,
    "seed": np.uint64,
    "stream": np.uint32,
    "done": np.bool_,
}
_SNAPSHOT_KEYS = (
    "format",
    "env_id",
    "num_envs",
    "autoreset_mode",
    "max_episode_steps",
    "parameters",
    "table",
    "state",
    "task_table",
)


def _exact_rows(name: str, value: Any, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    array = np.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    kinds, expected = {
        np.bool_: ("b", "bools"),
        np.float64: ("fiu", "real numbers"),
    }.get(dtype, ("iu", "integers"))
    if array.size == 0:
        return np.empty(shape, dtype)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name}: expected {expected}, got dtype {array.dtype}")
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)  # type: ignore[type-var]
        for number in (int(array.min()), int(array.max())):
            if not limits.min <= number <= limits.max:
                raise ValueError(f"{name}: {number} is not in [{limits.min}, {limits.max}]")
    exact = np.ascontiguousarray(array, dtype=dtype)
    if array.dtype.kind in "iu" and not (exact.astype(array.dtype) == array).all():
        raise ValueError(f"{name}: holds an integer that float64 does not")
    return exact


class StateMethods:
    """The methods of a vector environment that read and write its state."""

    num_envs: int
    env_spec: EnvSpec
    params: dict[str, Any]
    max_episode_steps: int | None
    metadata: dict[str, Any]
    _core: _core.BatchEnv
    _plan: BuildPlan
    _ids_before: npt.NDArray[np.int64] | None
    _last_actions: npt.NDArray[Any] | None
    _reset_needed_class: type[ResetNeededError]

    @property
    def field_names(self) -> list[str]:
        """Names of the state's fields, the columns of ``get_state()["state"]``."""
        return list(self._core.field_names)

    def get_state(self, rows: Sequence[int] | npt.NDArray[Any] | None = None) -> dict[str, npt.NDArray[Any]]:
        """Return everything a step depends on, as new arrays.

        Args:
            rows: Integers ``(k,)`` in [0, num_envs): the rows wanted, in this order, also several times; None: all.

        Returns:
            ``state`` float64 ``(k, fields)``: the fields in the order of :attr:`field_names`, exact. And of shape
            ``(k,)``: ``elapsed`` int32 (steps in the episode), ``episode`` uint32, ``seed`` uint64 and ``stream``
            uint32 (which random numbers come next), ``done`` bool (the episode ended and the row is not reset yet). If
            tasks were set, also ``tasks`` float64 ``(k, len(task_parameters))`` and ``task_id`` int32. What
            :meth:`sample_tasks_at_reset` was given is no part of it.

        Raises:
            TypeError, ValueError: ``rows`` are no integers, or not one-dimensional.
            IndexError: A row is out of range.
        """
        return self._core.get_state(None if rows is None else checked_rows("rows", rows, self.num_envs))

    def set_state(
        self, state: Mapping[str, npt.ArrayLike], rows: Sequence[int] | npt.NDArray[Any] | None = None
    ) -> None:
        """Set what :meth:`get_state` returned; keys that are missing stay as they are.

        ``set_state(get_state([i] * k), rows=others)`` makes k rows copies of row i: with the same actions they have the
        same futures, as their random numbers are the same too. (For other ones, give each its own ``stream``.)

        With the ``state`` of all rows, an environment that was never reset can be stepped. With ``precision="float32"``
        its numbers are rounded to float32. Tasks hold until a reset draws others (:meth:`sample_tasks_at_reset`).

        Args:
            state: Arrays by name, as of :meth:`get_state`.
            rows: Integers ``(k,)`` in [0, num_envs), each once: row ``rows[j]`` is set to entry j; None: all in order.

        Raises:
            KeyError: An unknown key, or only one of ``tasks`` and ``task_id``.
            TypeError: A value that is not of its key's kind: real numbers for ``state`` and ``tasks``, bools for
                ``done``, integers for the others and for ``rows``.
            ValueError: A wrong shape, a number that its dtype does not hold, ``elapsed`` outside [0, 2^31 - 1), a state
                the environment cannot be in, a task it cannot have, or a row that is named twice.
            IndexError: A row is out of range.

        Nothing is changed when it raises.
        """
        valid = (*_STATE_DTYPES, "tasks", "task_id")
        unknown = sorted(repr(key) for key in state if key not in valid)
        if unknown:
            raise KeyError(f"unknown state key {unknown[0]}; valid keys: {', '.join(valid)}")
        chosen = None if rows is None else checked_rows("rows", rows, self.num_envs)
        count = self.num_envs if chosen is None else len(chosen)
        tasks, ids = self._state_tasks(state, count)
        widths = {"state": (len(self.field_names),)}
        values = {
            key: _exact_rows(f"state[{key!r}]", state[key], (count, *widths.get(key, ())), dtype)
            for key, dtype in _STATE_DTYPES.items()
            if key in state
        }
        get = values.get
        self._core.set_state(
            get("state"), get("elapsed"), get("episode"), get("seed"), get("stream"), get("done"), tasks, ids, chosen
        )
        self._last_actions = None
        if self._core.task_ids() is not None:
            self._ids_before = self._core.task_ids()

    def _state_tasks(
        self, state: Mapping[str, Any], count: int
    ) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.int32] | None]:
        if ("tasks" in state) != ("task_id" in state):
            raise KeyError("state has only one of 'tasks' and 'task_id'; must have both or neither")
        if "tasks" not in state:
            return None, None
        names = tuple(self._core.task_parameters)
        if not names:
            raise ValueError(f"state has 'tasks', but no parameters of {self.env_spec.id} can differ between rows")
        numbers = _exact_rows("state['tasks']", state["tasks"], (count, len(names)), np.float64)
        ids = _exact_rows("state['task_id']", state["task_id"], (count,), np.int32)
        if (ids < -1).any():
            k = int((ids < -1).argmax())
            raise ValueError(f"state['task_id'][{k}] is {int(ids[k])}; must be in [-1, 2**31)")
        if count:
            columns = {name: numbers[:, k] for k, name in enumerate(names)}
            numbers = task_table(self.env_spec, self.params, names, columns, count)
        return numbers, ids

    def snapshot(self) -> dict[str, Any]:
        """Return all that the environment's future depends on besides the actions, for a checkpoint.

        Returns:
            A dict of numbers, strings, None, dicts and arrays, without any object of this package, so that every
            checkpoint format can hold it (no pickle is needed): the state of all rows, their tasks and those that
            resets draw from, and what :meth:`restore` checks. ``envs.action_space``'s generator is no part of it.

        Raises:
            ResetNeededError: The environment was never reset, or a call was interrupted since.
        """
        try:
            self._core.check_ready(True)
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None
        return {
            "format": _SNAPSHOT_FORMAT,
            **self._identity(),
            "state": self.get_state(),
            "task_table": self._core.get_task_table(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a :meth:`snapshot`, bit for bit, in an environment made with the same arguments.

        ``num_threads``, ``seed`` and ``dense_final_obs`` may differ.

        Raises:
            CheckpointMismatchError: It is of another environment; the message lists the fields that differ.
            CheckpointVersionError: It has a newer format.
            TypeError: It is no mapping.
            KeyError, ValueError: An entry is missing or malformed.

        Nothing is changed when it raises.
        """
        if not isinstance(snapshot, Mapping):
            raise TypeError(f"snapshot must be a mapping, got {type(snapshot).__name__}")
        missing = [key for key in _SNAPSHOT_KEYS if key not in snapshot]
        if missing:
            raise KeyError(f"the snapshot lacks {', '.join(map(repr, missing))}")
        version = checked_integer("the snapshot's format", snapshot["format"], 1, None)
        if version > _SNAPSHOT_FORMAT:
            raise CheckpointVersionError(
                f"the snapshot has format {version}; this version reads up to {_SNAPSHOT_FORMAT}"
            )
        self._check_identity(snapshot)
        state = snapshot["state"]
        if not isinstance(state, Mapping):
            raise ValueError(f"the snapshot's state must be a mapping, got {type(state).__name__}")
        missing = [key for key in _STATE_DTYPES if key not in state]
        if missing:
            raise KeyError(f"the snapshot's state lacks {', '.join(map(repr, missing))}")
        table = self._snapshot_table(snapshot["task_table"], has_tasks="tasks" in state)
        self.set_state(state)
        if "tasks" not in state:
            if self._core.task_parameters:
                self._core.set_tasks(None, None)
            self._ids_before = None
        elif table is not None:
            self._core.set_task_table(table)
        elif self._core.get_task_table() is not None:
            # Sets the same tasks again, without a table.
            tasks = self._core.get_tasks()
            assert tasks is not None
            self._core.set_tasks(*tasks)

    def _snapshot_table(self, table: Any, has_tasks: bool) -> npt.NDArray[np.float64] | None:
        if table is None:
            return None
        names = tuple(self._core.task_parameters)
        array = np.asarray(table)
        if not has_tasks or array.ndim != 2 or len(array) < 1 or array.shape[1] != len(names):
            raise ValueError(
                f"the snapshot's task_table has shape {array.shape}; must be (tasks, {len(names)}) or None"
            )
        numbers = _exact_rows("task_table", array, array.shape, np.float64)
        columns = {name: numbers[:, k] for k, name in enumerate(names)}
        return task_table(self.env_spec, self.params, names, columns, None)

    def _identity(self) -> dict[str, Any]:
        """What two environments must have in common."""
        return {
            "env_id": self.env_spec.id,
            "num_envs": self.num_envs,
            "autoreset_mode": str(self.metadata["autoreset_mode"].value),
            "max_episode_steps": self.max_episode_steps,
            "parameters": dict(self._plan.numbers),
            "table": None if self._plan.table is None else self._plan.table.copy(),
        }

    def _check_identity(self, snapshot: Mapping[str, Any]) -> None:
        own = self._identity()
        different = []

        def compare(name: str, there: Any, here: Any) -> None:
            if there != here:
                different.append(f"{name} is {there!r} in the snapshot and {here!r} here")

        compare("env_id", snapshot["env_id"], own["env_id"])
        if not different:  # else nothing of the others means the same
            for name in ("num_envs", "autoreset_mode", "max_episode_steps"):
                compare(name, snapshot[name], own[name])
            theirs, ours = snapshot["parameters"], own["parameters"]
            if not isinstance(theirs, Mapping):
                raise ValueError(f"the snapshot's parameters must be a mapping, got {type(theirs).__name__}")
            for name in sorted({*theirs, *ours}, key=str):
                if name != "max_episode_steps":
                    compare(str(name), theirs.get(name), ours.get(name))
            table, mine = snapshot["table"], own["table"]
            if (table is None) != (mine is None) or (mine is not None and not np.array_equal(table, mine)):
                different.append("the map or action mapping differs")
        if different:
            raise CheckpointMismatchError("; ".join(different))
