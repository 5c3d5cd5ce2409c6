"""Tasks of a vector environment: parameters that differ between its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from metarl_core import _core
from metarl_core.vector.specs import EnvSpec, ParameterSpec, shown
from metarl_core.vector.task_checks import check_together, refuse

__all__ = ["TaskMethods", "Tasks"]

# One value for all tasks or one for each, by parameter; or one mapping for each task.
Tasks: TypeAlias = Mapping[str, npt.ArrayLike] | Sequence[Mapping[str, float]]

# Parameters that the spaces are made from: those of a task must not leave them.
_LARGEST = {
    "CartPole-v1": ("theta_threshold_radians", "x_threshold"),
    "MountainCar-v0": ("max_position", "max_speed"),
    "MountainCarContinuous-v0": ("max_position", "max_speed", "max_action"),
    "CartPoleSwingup-v0": ("init_range",),
    "Acrobot-v1": ("max_vel_1", "max_vel_2"),
    "Pendulum-v1": ("max_speed", "max_torque"),
    "PointRobot-v0": ("max_step",),
    "SparsePointRobot-v0": ("max_step",),
}
_SMALLEST = {"MountainCar-v0": ("min_position",), "MountainCarContinuous-v0": ("min_position", "min_action")}


def _columns(tasks: Any) -> Mapping[str, Any]:
    if isinstance(tasks, Mapping):
        return tasks
    if isinstance(tasks, (str, bytes)) or not isinstance(tasks, Sequence):
        raise TypeError(f"tasks must be a mapping or a sequence of mappings, got {type(tasks).__name__}")
    names: dict[str, None] = {}
    for i, task in enumerate(tasks):
        if not isinstance(task, Mapping):
            raise TypeError(f"tasks[{i}] must be a mapping of parameter to number, got {type(task).__name__}")
        if i > 0 and task.keys() != names.keys():
            raise ValueError(f"tasks[{i}] has parameters {sorted(task)}; must be those of tasks[0], {sorted(names)}")
        names = dict.fromkeys(task)
    if not tasks:
        raise ValueError("tasks is empty; must hold at least one task")
    return {name: [task[name] for task in tasks] for name in names}


def _column(name: str, values: Any, parameter: ParameterSpec | None = None) -> npt.NDArray[np.float64]:
    if values is None and parameter is not None and parameter.optional:
        values = np.nan
    array = np.asarray(values)
    if array.dtype.kind not in ("fiub" if parameter is not None and parameter.kind == "bool" else "fiu"):
        raise TypeError(f"{name} must be real numbers, got {shown(values) if array.ndim == 0 else array.dtype}")
    if array.ndim > 1:
        raise ValueError(f"{name} has shape {array.shape}; must be a number or one for each task")
    return array.astype(np.float64)


def task_table(
    spec: EnvSpec, params: Mapping[str, Any], names: Sequence[str], tasks: Tasks, count: int | None
) -> npt.NDArray[np.float64]:
    """Return tasks as rows of numbers, in the order of ``names``; what a task does not say is the environment's own.

    Args:
        spec: The environment.
        params: Its parameters, checked.
        names: Those that may differ between rows.
        tasks: The tasks.
        count: How many there must be; None: as many as are given.

    Raises:
        TypeError: An unknown parameter, or a value that is no real number.
        ValueError: The wrong number of tasks, or a value out of range.
    """
    given = _columns(tasks)
    unknown = sorted(repr(name) for name in given if name not in names)
    if unknown:
        valid = f"valid ones: {', '.join(names)}" if names else "none of its parameters can differ between environments"
        raise TypeError(f"{spec.id} has no task parameter {unknown[0]}; {valid}")
    columns = {name: _column(name, value, spec.parameters[name]) for name, value in given.items()}
    lengths = {name: len(column) for name, column in columns.items() if column.ndim == 1}
    n = count if count is not None else max(lengths.values(), default=1)
    for name, length in lengths.items():
        if length != n:
            what = "num_envs" if count is not None else "as many as of the others"
            raise ValueError(f"{name} has {length} numbers; must be {what}, {n}")
    if n == 0:
        raise ValueError("tasks is empty; must hold at least one task")
    narrow = params.get("precision") == "float32"
    table = np.empty((n, len(names)))
    for k, name in enumerate(names):
        table[:, k] = columns.get(name, _number(params[name]))
        column = table[:, k].astype(np.float32).astype(np.float64) if narrow else table[:, k]
        _check_column(spec, params, name, column)
    check_together(spec, params, names, table)
    return table


def _number(value: Any) -> float:
    """A parameter as a task has it: NaN is None."""
    return float("nan") if value is None else float(value)


def _check_column(spec: EnvSpec, params: Mapping[str, Any], name: str, column: npt.NDArray[np.float64]) -> None:
    parameter = spec.parameters[name]
    given = np.ones(len(column), np.bool_)
    if parameter.optional:
        given = ~np.isnan(column)
        refuse(name, column, np.isinf(column), "finite or NaN, which means None")
    else:
        refuse(name, column, ~np.isfinite(column), "finite")
    if parameter.kind == "int":
        refuse(name, column, given & (column != np.floor(column)), "an integer")
    if parameter.kind == "bool":
        refuse(name, column, (column != 0) & (column != 1), "0 or 1")
    if parameter.low is not None:
        bad = column <= parameter.low if parameter.exclusive else column < parameter.low
        refuse(name, column, given & bad, f"{'>' if parameter.exclusive else '>='} {parameter.low:g}")
    if parameter.high is not None:
        refuse(name, column, column > parameter.high, f"<= {parameter.high:g}")
    why = "the environment's own, which its spaces are made from"
    own = float(np.float32(params[name])) if params.get("precision") == "float32" else params[name]
    if name in _LARGEST.get(spec.id, ()):
        refuse(name, column, column > own, f"<= {params[name]!r}, {why}")
    if name in _SMALLEST.get(spec.id, ()):
        refuse(name, column, column < own, f">= {params[name]!r}, {why}")


class TaskMethods:
    """The methods of a vector environment that give its rows parameters of their own."""

    num_envs: int
    env_spec: EnvSpec
    params: dict[str, Any]
    _core: _core.BatchEnv
    _ids_before: npt.NDArray[np.int64] | None = None

    @property
    def task_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that may differ between rows; empty if none may."""
        return tuple(self._core.task_parameters)

    def set_tasks(self, tasks: Tasks | None, task_id: npt.ArrayLike | None = None) -> None:
        """Give every row parameters of its own.

        They hold from the next step on; the start of an episode follows them from the next reset on. ``reset`` and
        autoreset keep them. A row's random numbers do not depend on its task.

        Args:
            tasks: Parameter name -> number or ``(num_envs,)`` array; or a sequence of ``num_envs`` mappings of name to
                number. What is not named is the environment's own; NaN is None where a parameter may be that.
                None: all rows are as the environment was made.
            task_id: Integers ``(num_envs,)`` in [-1, 2^31) that ``info["task_id"]`` reports; 0, 1, ... by default.

        Raises:
            TypeError: A parameter that the environment has not or that cannot differ, or a value of the wrong type.
            ValueError: A wrong number of values, a value out of range, or one that leaves the environment's spaces.

        Nothing is changed when it raises.
        """
        if tasks is None:
            self._core.set_tasks(None, None)
            self._ids_before = None
            return
        table = task_table(self.env_spec, self.params, self.task_parameters, tasks, self.num_envs)
        self._core.set_tasks(table, self._checked_ids("task_id", task_id))
        self._ids_before = self._core.task_ids()

    def sample_tasks_at_reset(self, tasks: Tasks) -> None:
        """Let every row draw one of ``tasks``, uniformly, whenever it is reset, autoreset included.

        Which task an episode gets follows from the row's seed and the number of the episode. Rows keep what they have
        until their next reset. ``info["task_id"]`` is the position among ``tasks``. ``set_tasks`` ends it.

        Args:
            tasks: As of :meth:`set_tasks`, but any number of tasks, such as a distribution's ``sample_tasks(1000)``.

        Raises:
            TypeError, ValueError: As of :meth:`set_tasks`.
        """
        self._core.set_task_table(task_table(self.env_spec, self.params, self.task_parameters, tasks, None))
        self._ids_before = self._core.task_ids()

    def get_tasks(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the parameters of every row: name -> float64 ``(num_envs,)``, exact; NaN where a parameter is None."""
        found = self._core.get_tasks()
        if found is None:
            return {name: np.full(self.num_envs, _number(self.params[name])) for name in self.task_parameters}
        return {name: found[0][:, k].copy() for k, name in enumerate(self.task_parameters)}

    @property
    def task_id(self) -> npt.NDArray[np.int64]:
        """Number of every row's task, int64 ``(num_envs,)``; -1 without one."""
        ids = self._core.task_ids()
        return np.full(self.num_envs, -1, np.int64) if ids is None else ids

    def _checked_ids(self, name: str, task_id: npt.ArrayLike | None) -> npt.NDArray[np.int32]:
        if task_id is None:
            return np.arange(self.num_envs, dtype=np.int32)
        array = np.asarray(task_id)
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got {array.dtype}")
        if array.shape != (self.num_envs,):
            raise ValueError(f"{name} has shape {array.shape}; must be ({self.num_envs},)")
        bad = (array < -1) | (array >= 2**31)
        if bad.any():
            i = int(bad.argmax())
            raise ValueError(f"{name}[{i}] is {int(array[i])}; must be in [-1, 2**31)")
        return array.astype(np.int32)

    def _report_tasks(self, info: dict[str, Any], reported: npt.NDArray[np.bool_]) -> None:
        """Add ``task_id``, and to ``final_info`` the one of the episode that ended."""
        ids = self._core.task_ids()
        assert ids is not None
        info["task_id"], info["_task_id"] = ids, reported
        if "final_info" in info:
            ended = info["_final_info"]
            before = ids if self._ids_before is None else self._ids_before
            info["final_info"]["task_id"] = np.where(ended, before, 0)
            info["final_info"]["_task_id"] = ended.copy()
        self._ids_before = ids
