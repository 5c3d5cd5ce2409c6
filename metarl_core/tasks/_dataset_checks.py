"""Checks of what a dataset of one task is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.spaces import Box, Discrete

__all__ = ["COLUMNS", "checked_columns", "checked_metadata", "same_space", "space_size"]

COLUMNS = ("obs", "actions", "rewards", "next_obs", "terminated", "truncated", "episode")

_Array = npt.NDArray[Any]


def space_size(space: Any) -> int:
    """Number of elements of a ``Discrete`` space, 0 for a ``Box``."""
    return int(space.n) if hasattr(space, "n") and tuple(space.shape) == () else 0


def same_space(a: Any, b: Any) -> bool:
    """Whether arrays of one space may stand for arrays of the other: kind, size or shape, and dtype."""
    if space_size(a) or space_size(b):
        return (space_size(a), _start(a)) == (space_size(b), _start(b))
    return tuple(a.shape) == tuple(b.shape) and np.dtype(a.dtype) == np.dtype(b.dtype)


def _start(space: Any) -> int:
    return int(getattr(space, "start", 0))


def _plain(name: str, values: Any) -> _Array:
    """One array of numbers, as it was given."""
    if isinstance(values, Mapping) or (isinstance(values, tuple) and values and isinstance(values[0], np.ndarray)):
        kind = "dict" if isinstance(values, Mapping) else "tuple"
        raise TypeError(
            f"{name} is a {kind} of arrays; must be one array: flatten Dict and Tuple spaces first, for example with "
            "gymnasium.wrappers.FlattenObservation"
        )
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}; must be numbers or bools")
    return array


def _space(name: str, space: Any, array: _Array) -> Any:
    """Return the space that was given, or one that the array's shape and dtype say."""
    if space is None:
        if array.dtype.kind == "f":
            return Box(-np.inf, np.inf, array.shape[1:], array.dtype)
        if name == "action_space":
            raise ValueError(
                f"action_space is None, but the actions are {array.dtype}; must be the number of actions, or a Discrete"
            )
        limits: Any = (False, True) if array.dtype.kind == "b" else np.iinfo(array.dtype)
        low, high = limits if isinstance(limits, tuple) else (limits.min, limits.max)
        return Box(low, high, array.shape[1:], array.dtype)
    if isinstance(space, int | np.integer) and not isinstance(space, bool):
        if space < 1:
            raise ValueError(f"{name} is {space}; must be >= 1")
        return Discrete(int(space))
    if not space_size(space) and not hasattr(space, "low"):
        raise TypeError(f"{name} is {space}; must be a Box or Discrete space (flatten Dict and Tuple spaces first)")
    return space


def _fitted(name: str, array: _Array, space: Any) -> _Array:
    """Return a copy of ``[M, ...]`` with the dtype of its space, checked against it."""
    n = space_size(space)
    dtype = np.dtype(np.int64) if n else np.dtype(space.dtype)
    expected = (len(array), *(() if n else space.shape))
    if array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}; must be {expected} by the space {space}")
    if array.dtype.kind != dtype.kind and not (array.dtype.kind in "iu" and dtype.kind in "iuf"):
        raise TypeError(f"{name} has dtype {array.dtype}; must be {dtype} by the space {space}")
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(fitted, array):
        raise TypeError(f"{name} has numbers that {dtype} cannot hold; must be {dtype} by the space {space}")
    if n:
        start = _start(space)
        _refuse(name, array, (array < start) | (array >= start + n), f"in [{start}, {start + n - 1}]")
    if dtype.kind == "f":
        _refuse(name, fitted, ~np.isfinite(fitted), "finite")
    return fitted


def _refuse(name: str, array: _Array, bad: npt.NDArray[np.bool_], expected: str) -> None:
    if bad.any():
        at = np.unravel_index(int(bad.argmax()), bad.shape)
        raise ValueError(f"{name}[{', '.join(map(str, at))}] is {array[at].item()!r}; must be {expected}")


def _flags(name: str, values: Any, length: int) -> npt.NDArray[np.bool_]:
    array = _plain(name, values)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} has dtype {array.dtype}; must be bool")
    if array.shape != (length,):
        raise ValueError(f"{name} has shape {array.shape}; must be ({length},)")
    flags: npt.NDArray[np.bool_] = array.copy()
    return flags


def checked_columns(given: Mapping[str, Any], spaces: tuple[Any, Any]) -> tuple[dict[str, _Array], tuple[Any, Any]]:
    """Return copies of a dataset's columns, and its spaces.

    Args:
        given: ``COLUMNS``, as the caller gave them.
        spaces: Observation and action space, as the caller gave them.

    Raises:
        TypeError, ValueError: As of ``TaskDataset``.
    """
    raw = {name: _plain(name, given[name]) for name in ("obs", "actions", "rewards", "next_obs", "episode")}
    for name, array in raw.items():
        if array.ndim == 0:
            raise ValueError(f"{name} has shape (); must have an axis of transitions")
    length = len(raw["obs"])
    if length == 0:
        raise ValueError("obs is empty; a dataset must hold at least one transition")
    for name, array in raw.items():
        if len(array) != length:
            raise ValueError(f"{name} has {len(array)} rows; must have {length}, as obs has")
    observation_space = _space("observation_space", spaces[0], raw["obs"])
    action_space = _space("action_space", spaces[1], raw["actions"])
    if not space_size(action_space) and (len(action_space.shape) != 1 or np.dtype(action_space.dtype).kind != "f"):
        raise TypeError(
            f"actions of {action_space} are not supported; must be integers (M,) of a Discrete space, or floats (M, A)"
        )
    if raw["rewards"].shape != (length,):
        raise ValueError(f"rewards has shape {raw['rewards'].shape}; must be ({length},)")
    if raw["rewards"].dtype.kind == "b":
        raise TypeError("rewards has dtype bool; must be real numbers")
    rewards = raw["rewards"].astype(np.float64)
    _refuse("rewards", rewards, ~np.isfinite(rewards), "finite")
    columns = {
        "obs": _fitted("obs", raw["obs"], observation_space),
        "actions": _fitted("actions", raw["actions"], action_space),
        "rewards": rewards,
        "next_obs": _fitted("next_obs", raw["next_obs"], observation_space),
        "terminated": _flags("terminated", given["terminated"], length),
        "truncated": _flags("truncated", given["truncated"], length),
        "episode": _episodes(raw["episode"], length),
    }
    last = np.append(np.diff(columns["episode"]) != 0, True)
    for name in ("terminated", "truncated"):
        inside = columns[name] & ~last
        if inside.any():
            row = int(inside.argmax())
            raise ValueError(
                f"{name}[{row}] is True in the midst of episode {columns['episode'][row]}; an episode ends there, and "
                "the next row must have another number"
            )
    return columns, (observation_space, action_space)


def _episodes(array: _Array, length: int) -> npt.NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise TypeError(f"episode has dtype {array.dtype}; must be integers")
    if array.shape != (length,):
        raise ValueError(f"episode has shape {array.shape}; must be ({length},)")
    _refuse("episode", array, (array < 0) | (array > 2**63 - 1), "in [0, 2**63)")
    numbers = array.astype(np.int64)
    starts = np.flatnonzero(np.append(True, np.diff(numbers) != 0))
    _, first = np.unique(numbers[starts], return_index=True)
    if len(first) != len(starts):
        again = int(starts[np.setdiff1d(np.arange(len(starts)), first)[0]])
        raise ValueError(
            f"episode[{again}] is {numbers[again]} again, after another one; the rows of an episode must be together"
        )
    return numbers


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of what can be written as JSON and read back.

    Raises:
        TypeError: It is no mapping of str, or holds something that JSON has not.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise TypeError(f"metadata is {metadata!r}; must be a mapping with names as keys")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"metadata cannot be written as JSON ({error}); must be str, numbers, lists and dicts"
        ) from None
    return copied
