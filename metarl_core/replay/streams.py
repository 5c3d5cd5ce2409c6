"""Arguments that say how transitions follow one another."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["core_options", "plain_options"]

# name, shape, dtype
_Parsed = Sequence[tuple[str, tuple[int, ...], Any]]

_AUTORESET = {"next_step": True, "same_step": False, "disabled": False}


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    return operator.index(value)


def _mode_name(mode: Any) -> str | None:
    if mode is None:
        return None
    # Gymnasium's AutoresetMode: NEXT_STEP, ...
    name = str(getattr(mode, "name", mode)).lower()
    if name not in _AUTORESET:
        raise ValueError(f"autoreset_mode is {mode!r}; must be None or one of {', '.join(map(repr, _AUTORESET))}")
    return name


def _stacks(frame_stack: Any, fields: _Parsed) -> dict[str, int]:
    if isinstance(frame_stack, Mapping):
        return {name: _integer(f"frame_stack[{name!r}]", depth) for name, depth in frame_stack.items()}
    depth = _integer("frame_stack", frame_stack)
    if depth < 1:
        raise ValueError(f"frame_stack is {depth}; must be >= 1")
    if depth == 1:
        return {}
    if not any(name == "obs" for name, _, _ in fields):
        raise ValueError("frame_stack needs a field 'obs', or a mapping of field names to depths")
    return {"obs": depth}


def _shares_next(next_obs: Any, stacked: bool) -> bool:
    if next_obs not in (None, "stored", "next"):
        raise ValueError(f"next_obs is {next_obs!r}; must be 'stored' or 'next'")
    if stacked and next_obs == "stored":
        raise ValueError("next_obs is 'stored'; with frame_stack it must be 'next', as each frame is kept once")
    return stacked or next_obs == "next"


def plain_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments as plain numbers, strings, lists and dicts, of which there is one form for each meaning."""
    recurrent = options["recurrent_fields"]
    if isinstance(recurrent, str) or not isinstance(recurrent, Iterable):
        raise TypeError(f"recurrent_fields must be a sequence of field names, got {recurrent!r}")
    stack = options["frame_stack"]
    return {
        **options,
        "autoreset_mode": _mode_name(options["autoreset_mode"]),
        "frame_stack": dict(stack) if isinstance(stack, Mapping) else stack,
        "recurrent_fields": list(recurrent),
    }


def core_options(options: Mapping[str, Any], fields: _Parsed) -> dict[str, Any]:
    """Translate a buffer's arguments to what the core wants."""
    stacks = _stacks(options["frame_stack"], fields)
    length = options["sequence_length"]
    length = 0 if length is None else _integer("sequence_length", length)
    if options["sequence_length"] is not None and length < 1:
        raise ValueError(f"sequence_length is {length}; must be >= 1 or None")
    stride = options["stride"]
    if stride is None:
        stride = max(1, length - _integer("burn_in", options["burn_in"]))
    elif length == 0:
        raise ValueError("stride needs sequence_length")
    names = [name for name, _, _ in fields]
    steps = _integer("n_step", options["n_step"])
    for reserved, when in (("discount", steps > 1), ("mask", length > 0), ("env_ids", True)):
        if when and reserved in names:
            raise ValueError(f"field name {reserved!r} is reserved; a batch or add() has something of that name")
    return {
        **options,
        "share_next": _shares_next(options["next_obs"], bool(stacks)),
        "skip_reset_rows": _AUTORESET.get(options["autoreset_mode"], False),
        "frame_stack": stacks,
        "sequence_length": length,
        "stride": stride,
        "priority_mix": options.get("priority_mix", 0.9),  # a uniform buffer has none
    }
