"""Between datasets of one task and replay buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.replay import PrioritizedReplayBuffer, ReplayBuffer
from metarl_core.vector.checks import checked_integer

__all__ = ["FIELDS", "add_columns", "draw_columns"]

_Array = npt.NDArray[Any]

# Columns of a dataset by the names that replay buffers use (``fields_from_spaces``).
FIELDS = {
    "obs": "obs",
    "action": "actions",
    "reward": "rewards",
    "next_obs": "next_obs",
    "terminated": "terminated",
    "truncated": "truncated",
}


def draw_columns(
    buffer: ReplayBuffer | PrioritizedReplayBuffer, task: int | None, transitions: int | None
) -> dict[str, _Array]:
    """Draw different transitions: the columns of a dataset but ``episode``.

    Raises:
        KeyError, ValueError: As of ``TaskDataset.from_buffer``.
    """
    missing = [field for field in FIELDS if field not in buffer.columns and field != "truncated"]
    if missing:
        raise KeyError(f"the buffer has no field {missing[0]!r}; has {sorted(buffer.columns)}")
    for option, plain in (("n_step", 1), ("sequence_length", None), ("frame_stack", 1)):
        value = buffer._argument(option)
        if value != plain:
            raise ValueError(f"the buffer has {option}={value!r}; must be {plain!r}: single transitions")
    held = len(buffer) if task is None else buffer.task_counts().get(task, 0)
    count = held if transitions is None else checked_integer("transitions", transitions, 1, None)
    if count > held or held == 0:
        what = "the buffer" if task is None else f"task {task} of the buffer"
        raise ValueError(f"transitions is {count}; {what} has {held}")
    parts: dict[str, list[_Array]] = {field: [] for field in FIELDS if field in buffer.columns}
    seen = np.empty(0, np.int64)
    while len(seen) < count:  # the first different ones of independent draws: a uniform subset
        batch = buffer.sample(max(count - len(seen), 64), mode="uniform", task=task)
        fresh, first = np.unique(batch.indices, return_index=True)
        first = np.sort(first[~np.isin(fresh, seen)])[: count - len(seen)]
        seen = np.append(seen, batch.indices[first])
        for field, arrays in parts.items():
            arrays.append(batch[field][first])
    columns = {FIELDS[field]: np.concatenate(arrays) for field, arrays in parts.items()}
    columns.setdefault("truncated", np.zeros(count, np.bool_))
    return columns


def add_columns(
    columns: Mapping[str, _Array], buffer: ReplayBuffer | PrioritizedReplayBuffer | None, task_id: int | None
) -> ReplayBuffer | PrioritizedReplayBuffer:
    """Add the columns of a dataset to a buffer, or to a new one.

    Raises:
        KeyError, TypeError, ValueError: As of ``TaskDataset.replay``.
    """
    length = len(columns["obs"])
    if task_id is not None:
        task_id = checked_integer("task_id", task_id, 0, 65535)
    if buffer is None:
        fields: dict[str, Any] = {
            field: (columns[name].shape[1:], columns[name].dtype) for field, name in FIELDS.items()
        }
        if task_id is not None:
            fields["task_id"] = ((), np.int32)
        buffer = PrioritizedReplayBuffer(length, fields, task_field=None if task_id is None else "task_id")
    if (buffer.task_field is None) != (task_id is None):
        has = f"the task field {buffer.task_field!r}" if buffer.task_field else "no task_field"
        raise ValueError(f"task_id is {task_id}, but the buffer has {has}")
    if buffer._argument("autoreset_mode") == "next_step":
        raise ValueError("the buffer has autoreset_mode='next_step' and would drop the row after an end; must be None")
    if buffer._argument("num_envs") != 1:
        raise ValueError(f"the buffer has num_envs={buffer._argument('num_envs')}; must be 1")
    rows: dict[str, Any] = {field: columns[name] for field, name in FIELDS.items()}
    if "truncated" not in buffer.columns:
        del rows["truncated"]
    if buffer.task_field is not None:
        rows[buffer.task_field] = np.full(length, task_id, buffer.columns[buffer.task_field][1])
    buffer.add(**rows)
    return buffer
