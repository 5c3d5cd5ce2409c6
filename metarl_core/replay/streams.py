"""Arguments that say how transitions follow one another."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["core_options", "plain_options"]

# name, shape, dtype
_Parsed = Sequence[tuple[str, tuple[int, ...], Any]]

_AUTORESET = ("next_step", "same_step", "disabled")
_MAX_STACK = 2**16


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


def _plain_number(value: Any) -> Any:
    """A NumPy number as Python's; anything else is left to the core to refuse."""
    if isinstance(value, bool):
        return value
    if isinstance(value, np.integer):
        return operator.index(value)
    return float(value) if isinstance(value, np.floating) else value


def _plain_stack(frame_stack: Any) -> int | dict[str, int]:
    if isinstance(frame_stack, Mapping):
        depths = {}
        for name, depth in frame_stack.items():
            if not isinstance(name, str):
                raise TypeError(f"frame_stack must map field names to numbers, got the name {name!r}")
            depths[name] = _depth(f"frame_stack[{name!r}]", depth)
        if len(depths) == 1 and "obs" in depths:
            return depths["obs"]
        return depths or 1
    return _depth("frame_stack", frame_stack)


def _depth(name: str, value: Any) -> int:
    depth = _integer(name, value)
    if not 1 <= depth <= _MAX_STACK:
        raise ValueError(f"{name} is {depth}; must be >= 1 and at most {_MAX_STACK}")
    return depth


def _plain_next_obs(next_obs: Any, stacked: bool) -> str:
    if next_obs is not None and not isinstance(next_obs, str):
        raise TypeError(f"next_obs must be a str or None, got {type(next_obs).__name__}")
    if next_obs not in (None, "stored", "next"):
        raise ValueError(f"next_obs is {next_obs!r}; must be 'stored' or 'next'")
    if stacked and next_obs == "stored":
        raise ValueError("next_obs is 'stored'; with frame_stack it must be 'next', as each frame is kept once")
    return "next" if stacked or next_obs == "next" else "stored"


def _plain_stride(options: Mapping[str, Any]) -> int | None:
    if options["sequence_length"] is None:
        if options["stride"] is not None:
            raise ValueError("stride needs sequence_length")
        return None
    if options["stride"] is not None:
        return _integer("stride", options["stride"])
    length = _integer("sequence_length", options["sequence_length"])
    return max(1, length - _integer("burn_in", options["burn_in"]))


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as plain numbers, strings, lists and dicts, of which there is one form for each meaning."""
    plain = {name: _plain_number(value) for name, value in options.items()}
    recurrent = plain["recurrent_fields"]
    if isinstance(recurrent, str) or not isinstance(recurrent, Iterable):
        raise TypeError(f"recurrent_fields must be a sequence of field names, got {recurrent!r}")
    recurrent = list(recurrent)
    for name in recurrent:
        if not isinstance(name, str):
            raise TypeError(f"recurrent_fields must hold field names, got {name!r}")
    stack = _plain_stack(plain["frame_stack"])
    mode = _mode_name(plain["autoreset_mode"])
    plain.update(
        frame_stack=stack,
        next_obs=_plain_next_obs(plain["next_obs"], stack != 1),
        autoreset_mode=mode if mode == "next_step" else None,  # the others need nothing
        recurrent_fields=recurrent,
        stride=_plain_stride(plain),
    )
    return plain


def core_options(options: Mapping[str, Any], fields: _Parsed) -> dict[str, Any]:
    """Translate a buffer's arguments to what the core wants."""
    names = [name for name, _, _ in fields]
    stack = options["frame_stack"]
    stacks = stack if isinstance(stack, dict) else {"obs": stack}
    stacks = {name: depth for name, depth in stacks.items() if depth > 1}
    if stacks and not isinstance(stack, dict) and "obs" not in names:
        raise ValueError("frame_stack needs a field 'obs', or a mapping of field names to depths")
    length = options["sequence_length"]
    length = 0 if length is None else _integer("sequence_length", length)
    if options["sequence_length"] is not None and length < 1:
        raise ValueError(f"sequence_length is {length}; must be >= 1 or None")
    steps = _integer("n_step", options["n_step"])
    capacity = options["capacity"]
    for name, value in (("sequence_length", length), ("n_step", steps)):
        if isinstance(capacity, int) and capacity >= 1 and value > capacity:
            raise ValueError(f"{name} is {value}; must be at most the capacity, {capacity}")
    for reserved, when in (("discount", steps > 1), ("mask", length > 0), ("env_ids", True)):
        if when and reserved in names:
            raise ValueError(f"field name {reserved!r} is reserved; a batch or add() has something of that name")
    return {
        **options,
        "share_next": options["next_obs"] == "next",
        "skip_reset_rows": options["autoreset_mode"] == "next_step",
        "frame_stack": stacks,
        "sequence_length": length,
        "stride": options["stride"] or 1 if length == 0 else options["stride"],
        "priority_mix": options.get("priority_mix", 0.9),  # a uniform buffer has none
    }
