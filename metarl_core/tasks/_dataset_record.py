"""Transitions out of a vector environment, without the rows that only reset it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["check_one_task", "record_columns"]

_Array = npt.NDArray[Any]
_PATIENCE = 1_000_000  # steps of every row without an end, when whole episodes were asked for


def check_one_task(envs: Any) -> None:
    """Refuse environments whose rows have different tasks.

    Raises:
        ValueError: They have.
    """
    for name, values in envs.get_tasks().items():
        differs = ~((values == values[0]) | (np.isnan(values) & np.isnan(values[0])))
        if differs.any():
            row = int(differs.argmax())
            raise ValueError(
                f"row {row} of the environments has {name}={values[row]:g} and row 0 {values[0]:g}; all must have one "
                "task: record each task by itself"
            )


def _part(envs: Any, policy: Any, steps: int) -> dict[str, _Array]:
    """The next steps of every row: arrays ``[steps, num_envs, ...]``."""
    taken = envs.rollout(policy, steps)
    ids = taken.info.get("task_id")
    if ids is not None and (ids != ids[0]).any():
        raise ValueError("the environments draw another task at a reset; all rows must keep one task: use set_tasks")
    done = taken.terminated | taken.truncated
    next_obs = taken.obs[1:]
    if taken.final_obs is not None:  # same_step: the row of obs after an end is the next episode's first
        ended = done.reshape(done.shape + (1,) * (next_obs.ndim - 2))
        next_obs = np.where(ended, taken.final_obs, next_obs)
    return {
        "obs": taken.obs[:-1],
        "actions": taken.actions,
        "rewards": taken.reward,
        "next_obs": next_obs,
        "terminated": taken.terminated,
        "truncated": taken.truncated,
        "valid": taken.valid,
    }


def record_columns(
    envs: Any, policy: Callable[[Any], Any] | str, steps: int | None, episodes: int | None, seed: int
) -> dict[str, _Array]:
    """Play from a reset until there are enough transitions.

    Args:
        envs: A native vector environment, in any autoreset mode.
        policy: As of ``rollout``.
        steps: So many transitions: the first ones in time, over all rows.
        episodes: Or so many whole episodes, the same number in every row or one fewer, so that short ones are not
            over-represented.
        seed: Of the reset.

    Returns:
        The columns of a dataset, ``[M, ...]``, row by row of the environments.

    Raises:
        ValueError: The rows have different tasks, or change them.
        RuntimeError: Whole episodes were asked for, and one did not end.
    """
    n = envs.num_envs
    waits = getattr(envs.metadata["autoreset_mode"], "value", None) == "Disabled"
    envs.reset(seed=seed)
    check_one_task(envs)
    quota = np.zeros(n, np.int64)
    if episodes is not None:
        quota += episodes // n
        quota[: episodes % n] += 1
    parts: list[dict[str, _Array]] = []
    rows, ended, patience = 0, np.zeros(n, np.int64), 0
    while (rows < steps) if steps is not None else (ended < quota).any():
        length = 256 if steps is None else -(-(steps - rows) // n)
        part = _part(envs, policy, min(length, 256) if waits else length)
        parts.append(part)
        done = (part["terminated"] | part["truncated"]) & part["valid"]
        rows += int(part["valid"].sum())
        patience = 0 if done.any() else patience + len(done)
        if steps is None and patience > _PATIENCE:
            raise RuntimeError(f"no episode ended in {patience} steps; record steps instead, or set max_episode_steps")
        ended += done.sum(axis=0)
        if waits and done.any():
            envs.reset(options={"reset_mask": done.any(axis=0)})
    check_one_task(envs)
    played = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    valid = played.pop("valid")
    done = (played["terminated"] | played["truncated"]) & valid
    number = np.cumsum(done, axis=0) - done  # of the row's episode that a step belongs to
    if steps is not None:
        time, row = (axis[:steps] for axis in np.nonzero(valid))
    else:
        time, row = np.nonzero(valid & (number < quota))
    order = np.lexsort((time, row))
    time, row = time[order], row[order]
    columns = {name: array[time, row] for name, array in played.items()}
    changes = (np.diff(row) != 0) | (np.diff(number[time, row]) != 0)
    columns["episode"] = np.append(0, np.cumsum(changes)).astype(np.int64)
    return columns
