"""state_dict and load_state_dict of the replay buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from metarl_core.errors import CheckpointMismatchError, CheckpointVersionError

if TYPE_CHECKING:
    from metarl_core.replay.face import ReplayFace

__all__ = ["buffer_state", "load_buffer_state"]

_FORMAT = 1


def _field_texts(buffer: ReplayFace) -> list[list[Any]]:
    return [[name, list(shape), np.lib.format.dtype_to_descr(dtype)] for name, (shape, dtype) in buffer.columns.items()]


def buffer_state(buffer: ReplayFace) -> dict[str, Any]:
    """Return a buffer's configuration and content as a dict of numbers, strings, lists and NumPy arrays."""
    numbers, columns, priorities, masses = buffer._snapshot()
    state = {
        "format": _FORMAT,
        **buffer._config(),
        "fields": _field_texts(buffer),
        **numbers,
        "columns": dict(zip(buffer.columns, columns, strict=True)),
    }
    if priorities is not None:
        state["priorities"] = priorities
        state["masses"] = masses
    return state


def load_buffer_state(buffer: ReplayFace, state: Mapping[str, Any]) -> None:
    """Replace a buffer's content by a state of the same configuration, all or nothing.

    Raises:
        CheckpointVersionError: The state has another format.
        CheckpointMismatchError: The state belongs to a buffer of other arguments; the message lists all that differ.
        ValueError: An entry is missing or malformed.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"state must be a mapping, got {type(state).__name__}")
    if "format" not in state:
        raise ValueError("state['format'] is missing")
    if not _same(state["format"], _FORMAT):
        raise CheckpointVersionError(f"state['format'] is {state['format']!r}; this version reads {_FORMAT}")
    expected = {**buffer._config(), "fields": _field_texts(buffer)}
    if "kind" in state and not _same(state["kind"], expected["kind"]):
        # A buffer of another kind has other arguments.
        expected = {name: value for name, value in expected.items() if name == "kind" or name in state}
    different = []
    for name, value in expected.items():
        if name not in state:
            raise ValueError(f"state[{name!r}] is missing")
        found = _plain(state[name])
        if not _same(found, value):
            different.append(f"{name} is {found!r} in the state and {value!r} in this buffer")
    if different:
        raise CheckpointMismatchError("; ".join(different))
    columns = state.get("columns")
    if not isinstance(columns, Mapping) or set(columns) != set(buffer.columns):
        raise ValueError(f"state['columns'] must be a mapping with the fields {list(buffer.columns)}")
    buffer._restore(
        dict(state), [columns[name] for name in buffer.columns], state.get("priorities"), state.get("masses")
    )


def _same(found: Any, value: Any) -> bool:
    return (not isinstance(found, np.ndarray | bool) and bool(found == value)) or (found is value)


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a state that went through JSON compares equal."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
