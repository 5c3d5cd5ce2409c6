"""One task: an environment with its constants, under a name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from metarl_core.vector import make_vec

__all__ = ["Task"]

# What make_vec is told when an environment is made, and no part of what the task is.
_AT_MAKING = (
    "id",
    "num_envs",
    "seed",
    "num_threads",
    "autoreset_mode",
    "dense_final_obs",
    "render_mode",
    "timeout",
    "apply_task",
)
_KEYS = ("name", "env_id", "params", "env_params", "description")


@dataclass(frozen=True, eq=False)
class Task:
    """A reinforcement-learning task: an environment and the constants that make it this one.

    Two tasks are equal, and have one hash, if name, environment and both kinds of constants are; the description does
    not count. A task cannot be changed, can be pickled, and goes to JSON and back.

    Args:
        name: What it is called; unique in a :class:`MetaTask`.
        env_id: Environment, as :func:`metarl_core.make_vec` knows it: ``"CartPole-v1"``, ``"minigrid:MiniGrid-..."``.
        params: Constants of this task that may differ between the rows of one batch, for ``set_tasks``: name of a
            parameter -> number; None or NaN where a parameter may be None.
        env_params: Other keywords that the environment is made with, such as ``size`` or, of an environment that is not
            native, ``backend``, ``task_parameters`` and what ``gymnasium.make`` takes: numbers, strings, None,
            sequences (kept as tuples) and mappings of them.
        description: For people.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A name is empty, a number is infinite, or ``env_params`` has what belongs to :meth:`make_vec`.

    Whether the environment exists and has these parameters is found out when it is made.
    """

    name: str
    env_id: str
    params: Mapping[str, float | None] = field(default_factory=dict)
    env_params: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        for key in ("name", "env_id", "description"):
            if not isinstance(getattr(self, key), str):
                raise TypeError(f"{key} must be a string, got {type(getattr(self, key)).__name__}")
            if key != "description" and not getattr(self, key):
                raise ValueError(f"{key} is empty")
        for key, checked in (("params", _number), ("env_params", _plain)):
            given = getattr(self, key)
            if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
                raise TypeError(f"task {self.name!r}: {key} must be a mapping of names, got {given!r}")
            values = {name: checked(f"task {self.name!r}: {key}[{name!r}]", value) for name, value in given.items()}
            object.__setattr__(self, key, MappingProxyType(values))
        for name in self.env_params:
            if name in _AT_MAKING:
                raise ValueError(f"task {self.name!r}: env_params has {name!r}; give that to Task.make_vec")
            if name in self.params:
                raise ValueError(f"task {self.name!r}: {name!r} is in params and in env_params; must be in one")

    def make_vec(self, num_envs: int = 1, *, seed: int = 0, task_id: int = 0, **options: Any) -> Any:
        """Make a batch of environments that all have this task.

        Args:
            num_envs: Number of rows.
            seed: Of the first reset that is not given one.
            task_id: What ``info["task_id"]`` reports, in [-1, 2^31), if the task has ``params``.
            options: Other keywords of :func:`metarl_core.make_vec`, such as ``autoreset_mode``; of what ``env_params``
                says too, these count.

        Returns:
            As of :func:`metarl_core.make_vec`.

        Raises:
            TypeError, ValueError: As of ``make_vec`` and ``set_tasks``; the message names the task.
            ImportError: A package that the environment needs is not installed.
        """
        try:
            envs = make_vec(self.env_id, num_envs, seed=seed, **{**_thawed(self.env_params), **options})
        except (TypeError, ValueError) as error:
            raise self._told(error) from error
        try:
            self._set(envs, task_id)
        except BaseException:
            envs.close()
            raise
        return envs

    def _set(self, envs: Any, task_id: int) -> None:
        if not self.params:
            return
        try:
            envs.set_tasks(self.params, task_id=np.full(envs.num_envs, task_id))
        except (TypeError, ValueError) as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        return (TypeError if isinstance(error, TypeError) else ValueError)(f"task {self.name!r}: {error}")

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments, as what JSON has: strings, numbers, None, lists and dicts."""
        return {key: _jsonable(getattr(self, key)) for key in _KEYS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Task:
        """Make the task of :meth:`to_dict`.

        Raises:
            ValueError: A key is missing or unknown, or as of :class:`Task`.
            TypeError: As of :class:`Task`.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"values must be a mapping, got {type(values).__name__}")
        unknown = sorted(repr(key) for key in values if key not in _KEYS)
        if unknown:
            raise ValueError(f"a task has no {unknown[0]}; it has {', '.join(_KEYS)}")
        missing = [key for key in ("name", "env_id") if key not in values]
        if missing:
            raise ValueError(f"the task has no {missing[0]!r}")
        return cls(**values)

    def to_json(self) -> str:
        """Return the task as one line of JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Make the task of :meth:`to_json`.

        Raises:
            ValueError: It is no JSON, or as of :meth:`from_dict`.
            TypeError: As of :meth:`from_dict`.
        """
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError(f"the task is nested too deeply: {error}") from None
        return cls.from_dict(values)

    def _content(self) -> str:
        """The task without its name, as a key."""
        values = self.to_dict()
        return json.dumps([values["env_id"], values["params"], values["env_params"]], sort_keys=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Task):
            return NotImplemented
        return self.name == other.name and self._content() == other._content()

    def __hash__(self) -> int:
        return hash((self.name, self._content()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Task.from_dict, (self.to_dict(),)

    def __repr__(self) -> str:
        parts = [repr(self.name), repr(self.env_id)]
        parts += [f"{key}={_thawed(value)!r}" for key in ("params", "env_params") if (value := getattr(self, key))]
        return f"Task({', '.join(parts)})"


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "fiub":
        raise TypeError(f"{name} is {value!r}; must be a number or None")
    number = float(value)
    if math.isinf(number):
        raise ValueError(f"{name} is {number}; must be finite, or None")
    return None if math.isnan(number) else number


def _plain(name: str, value: Any) -> Any:
    """Return ``value`` as what JSON has, unchangeable: with tuples for its lists."""
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; must be finite, or None")
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return MappingProxyType({key: _plain(f"{name}[{key!r}]", item) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(_plain(f"{name}[{i}]", item) for i, item in enumerate(value))
    raise TypeError(
        f"{name} is {value!r}; must be a number, a string, None, a sequence or a mapping of strings to such, so that "
        "the task can be written down; give anything else to Task.make_vec"
    )


def _thawed(value: Any) -> Any:
    """Undo what keeps mappings from being changed; workers must be able to pickle them."""
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return tuple(map(_thawed, value)) if isinstance(value, tuple) else value


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    return [_jsonable(item) for item in value] if isinstance(value, tuple) else value
