"""Tasks of wrapped environments: the methods of the native ones, over what the workers report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.task_methods import Tasks, _column, _columns
from metarl_core.vector.wrapped.arrays import RowArrays
from metarl_core.vector.wrapped.group import Description

__all__ = ["WrappedTaskMethods", "wrapped_task_table"]


def wrapped_task_table(
    names: Sequence[str],
    defaults: npt.NDArray[np.float64],
    integral: Sequence[bool],
    tasks: Tasks,
    count: int | None,
) -> npt.NDArray[np.float64]:
    """Return tasks as rows of numbers, in the order of ``names``.

    Args:
        names: The parameters that an environment has.
        defaults: What each has where a task does not say; nan: it must say.
        integral: Which of them are integers.
        tasks: The tasks.
        count: How many there must be; None: as many as are given.

    Raises:
        TypeError: An unknown parameter, or a value that is no real number.
        ValueError: The wrong number of tasks, a missing parameter, or a value that is not finite or no integer.
    """
    given = _columns(tasks)
    unknown = sorted(repr(name) for name in given if name not in names)
    if unknown:
        valid = f"valid ones: {', '.join(names)}" if names else "name them in make_vec(task_parameters=...)"
        raise TypeError(f"there is no task parameter {unknown[0]}; {valid}")
    columns = {name: _column(name, value) for name, value in given.items()}
    lengths = {name: len(column) for name, column in columns.items() if column.ndim == 1}
    n = count if count is not None else max(lengths.values(), default=1)
    for name, length in lengths.items():
        if length != n:
            what = "num_envs" if count is not None else "as many as of the others"
            raise ValueError(f"{name} has {length} numbers; must be {what}, {n}")
    if n == 0:
        raise ValueError("tasks is empty; must hold at least one task")
    table = np.empty((n, len(names)))
    for k, name in enumerate(names):
        if name not in columns and np.isnan(defaults[k]):
            raise ValueError(f"tasks has no {name!r}; with apply_task every task must say all: {', '.join(names)}")
        table[:, k] = columns.get(name, defaults[k])
        bad = ~np.isfinite(table[:, k])
        expected = "finite"
        if integral[k] and not bad.any():
            bad, expected = table[:, k] != np.rint(table[:, k]), "an integer, as the environment's own"
        if bad.any():
            i = int(bad.argmax())
            raise ValueError(f"{name}[{i}] is {float(table[i, k])!r}; must be {expected}")
    return table


class WrappedTaskMethods:
    """The methods that give the rows of a wrapped environment parameters of their own."""

    num_envs: int
    _description: Description
    _arrays: RowArrays
    _ids_before: npt.NDArray[np.int64] | None = None

    def _ask_all(self, method: str, arguments: Any = None, *, steps: bool = False) -> list[Any]:
        raise NotImplementedError

    @property
    def task_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that may differ between rows; empty if none may."""
        return self._description.task_parameters

    def _table(self, tasks: Tasks, count: int | None) -> npt.NDArray[np.float64]:
        said = self._description
        return wrapped_task_table(said.task_parameters, np.array(said.task_defaults), said.task_integral, tasks, count)

    def set_tasks(self, tasks: Tasks | None, task_id: npt.ArrayLike | None = None) -> None:
        """Give every row parameters of its own.

        Attributes hold from the next step on; what ``apply_task`` does, from the row's next reset on. ``reset`` and
        autoreset keep them.

        Args:
            tasks: Parameter name -> number or ``(num_envs,)`` array; or a sequence of ``num_envs`` mappings of name to
                number. What is not named is the environment's own; with ``apply_task`` all must be named. None: all
                rows are as the environment was made.
            task_id: Integers ``(num_envs,)`` in [-1, 2^31) that ``info["task_id"]`` reports; 0, 1, ... by default.

        Raises:
            TypeError: A parameter that the environment has not, or a value of the wrong type.
            ValueError: A wrong number of values, or a value that is not finite.
            WorkerError: An environment refused.
            ClosedError: After ``close``.
        """
        if tasks is None:
            self._ask_all("set_tasks", (None, None))
            self._ids_before = None
            return
        table = self._table(tasks, self.num_envs)
        ids = self._checked_ids(task_id)
        self._ask_all("set_tasks", lambda rows: (table[rows], ids[rows]))
        self._ids_before = self._arrays.task_id.copy()

    def sample_tasks_at_reset(self, tasks: Tasks, allowed: npt.ArrayLike | None = None) -> None:
        """Let every row draw one of ``tasks``, uniformly, whenever it is reset, autoreset included.

        Which task an episode gets follows from the row's seed and the number of the episode, by the rule of the native
        environments: with the same seed a row gets the same tasks there. Rows keep what they have until their next
        reset. ``info["task_id"]`` is the position among ``tasks``. ``set_tasks`` ends it.

        Args:
            tasks: As of :meth:`set_tasks`, but any number k of tasks.
            allowed: Bools ``(num_envs, k)``: the tasks that a row may draw; None: all.

        Raises:
            TypeError, ValueError, ClosedError: As of :meth:`set_tasks`; also, ``allowed`` has another shape or leaves a
                row nothing to draw.
        """
        table = self._table(tasks, None)
        choice: npt.NDArray[np.bool_] | None = None
        if allowed is not None:
            choice = np.asarray(allowed)
            if choice.dtype != np.bool_:
                raise TypeError(f"allowed must be bools, got {choice.dtype}")
            if choice.shape != (self.num_envs, len(table)):
                raise ValueError(f"allowed has shape {choice.shape}; must be ({self.num_envs}, {len(table)})")
            if not choice.any(axis=1).all():
                raise ValueError(f"allowed[{int(choice.any(axis=1).argmin())}] is all False; must allow a task")
        self._ask_all("set_task_table", lambda rows: (table, None if choice is None else choice[rows]))
        self._ids_before = self._arrays.task_id.copy()

    def get_tasks(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the parameters of every row that are in force: name -> float64 ``(num_envs,)``.

        With ``apply_task``, nan before the first task: what a function will change cannot be known.
        """
        return {name: self._arrays.task_values[:, k].copy() for k, name in enumerate(self.task_parameters)}

    @property
    def task_id(self) -> npt.NDArray[np.int64]:
        """Number of every row's task in force, int64 ``(num_envs,)``; -1 without one."""
        ids: npt.NDArray[np.int64] = self._arrays.task_id.copy()
        return ids

    def _checked_ids(self, task_id: npt.ArrayLike | None) -> npt.NDArray[np.int64]:
        if task_id is None:
            return np.arange(self.num_envs)
        array = np.asarray(task_id)
        if array.dtype.kind not in "iu":
            raise TypeError(f"task_id must be integers, got {array.dtype}")
        if array.shape != (self.num_envs,):
            raise ValueError(f"task_id has shape {array.shape}; must be ({self.num_envs},)")
        bad = (array < -1) | (array >= 2**31)
        if bad.any():
            i = int(bad.argmax())
            raise ValueError(f"task_id[{i}] is {int(array[i])}; must be in [-1, 2**31)")
        return array.astype(np.int64)

    def _report_tasks(self, info: dict[str, Any], reported: npt.NDArray[np.bool_]) -> None:
        """Add ``task_id``, and to ``final_info`` the one of the episode that ended."""
        ids = self._arrays.task_id.copy()
        before = ids if self._ids_before is None else self._ids_before
        info["task_id"], info["_task_id"] = ids, reported
        if "final_info" in info:
            ended = info["_final_info"]
            info["final_info"]["task_id"] = np.where(ended, before, 0)
            info["final_info"]["_task_id"] = ended.copy()
        self._ids_before = ids
