"""State and checkpoints of the replay buffers."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from metarl_core import _core
from metarl_core.errors import CheckpointCorruptError, CheckpointMismatchError, CheckpointVersionError, MetarlError
from metarl_core.replay.schedules import beta_from_plain
from metarl_core.replay.streams import plain_options
from metarl_core.replay.structure import is_leaf

if TYPE_CHECKING:
    from metarl_core.replay.face import ReplayFace

_Buffer = TypeVar("_Buffer", bound="ReplayFace")

__all__ = [
    "buffer_config",
    "buffer_state",
    "construct_saved",
    "load_buffer_state",
    "open_folder",
    "restore_buffer",
]

_FORMAT = 1
# Arguments that a state need not agree with: the caller's schedule, and what changes nothing but the time.
_FREE = ("beta", "num_threads")


def _field_texts(buffer: ReplayFace) -> list[list[Any]]:
    return [[name, list(shape), np.lib.format.dtype_to_descr(dtype)] for name, (shape, dtype) in buffer.columns.items()]


def _skeleton(spec: Any) -> Any:
    """The nesting of a field: None for a column, dicts and lists of these."""
    if is_leaf(spec):
        return None
    if isinstance(spec, Mapping):
        return {name: _skeleton(part) for name, part in spec.items()}
    return [_skeleton(part) for part in spec]


def _rebuild_fields(skeleton: Any, name: str, columns: Mapping[str, Any]) -> Any:
    if skeleton is None:
        return columns[name]
    if isinstance(skeleton, Mapping):
        return {key: _rebuild_fields(part, f"{name}.{key}", columns) for key, part in skeleton.items()}
    return tuple(_rebuild_fields(part, f"{name}.{i}", columns) for i, part in enumerate(skeleton))


def _to_descr(value: Any) -> Any:
    """A dtype's description, whose tuples became lists on the way."""
    if isinstance(value, str):
        return value
    return [
        (tuple(field[0]) if isinstance(field[0], list) else field[0], _to_descr(field[1]), *map(tuple, field[2:]))
        for field in value
    ]


def buffer_config(buffer: ReplayFace, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Return what a buffer was constructed with, as plain numbers, strings, lists and dicts."""
    config = {**buffer._config(leave_out), "fields": _field_texts(buffer)}
    if buffer.fields.keys() != buffer.columns.keys():
        config["structure"] = {name: _skeleton(spec) for name, spec in buffer.fields.items()}
    return config


def split_config(config: Any, cls: type[ReplayFace]) -> dict[str, Any]:
    """Turn what ``buffer_config`` returned into arguments for the constructor of ``cls``.

    Raises:
        CheckpointMismatchError: It belongs to a buffer of another kind.
        CheckpointVersionError: It has an argument that this version does not know.
        CheckpointCorruptError: It is no such configuration.
    """
    try:
        arguments = dict(config)
        kind = arguments.pop("kind")
        if "beta" in arguments:
            arguments["beta"] = beta_from_plain(arguments["beta"])
        described = arguments.pop("fields")
        columns = {
            name: (tuple(shape), np.lib.format.descr_to_dtype(_to_descr(descr))) for name, shape, descr in described
        }
        skeletons = arguments.pop("structure", dict.fromkeys(columns))
        fields = {name: _rebuild_fields(skeleton, name, columns) for name, skeleton in skeletons.items()}
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointCorruptError(f"the checkpoint's configuration cannot be used: {error!r}") from error
    if kind != cls._kind:
        raise CheckpointMismatchError(f"kind is {kind!r} in the checkpoint and {cls._kind!r} in {cls.__name__}")
    unknown = arguments.keys() - _parameters(cls).keys()
    if unknown:
        raise CheckpointVersionError(f"the checkpoint has arguments that this version does not know: {sorted(unknown)}")
    return {**arguments, "fields": fields}


def construct_saved(cls: type[_Buffer], checkpoint: _core.ReplayCheckpoint) -> _Buffer:
    """Construct the buffer that a checkpoint describes, still empty.

    Raises:
        CheckpointMismatchError, CheckpointVersionError: As of ``split_config``.
        CheckpointCorruptError: The header describes no buffer, or one that the arrays in the file do not belong to.
        MemoryError: The buffer does not fit this machine, sound as the file may be; nothing was allocated.
    """
    arguments = split_config(checkpoint.config, cls)
    # A stream takes memory before it has any data; that must not be had for the asking.
    num_envs = arguments.get("num_envs", 1)
    shape = checkpoint.section_shape("streams")
    if (shape is not None and shape[:1] != (num_envs,)) or (shape is None and num_envs != 1 and _is_linked(arguments)):
        raise CheckpointCorruptError(
            f"the checkpoint's header: num_envs is {num_envs!r}, which 'streams' of shape {shape} does not match"
        )
    try:
        return cls(**arguments)
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointCorruptError(f"the checkpoint's header: {error}") from error


def _is_linked(arguments: Mapping[str, Any]) -> bool:
    stack = arguments.get("frame_stack", 1)
    return (
        arguments.get("n_step", 1) != 1
        or arguments.get("next_obs") == "next"
        or arguments.get("sequence_length") is not None
        or arguments.get("autoreset_mode") == "next_step"
        or any(depth != 1 for depth in (stack.values() if isinstance(stack, Mapping) else (stack,)))
    )


def buffer_state(buffer: ReplayFace) -> dict[str, Any]:
    """Return a buffer's configuration and content as a dict of numbers, strings, lists and NumPy arrays."""
    config = buffer_config(buffer, _FREE)
    return {"format": _FORMAT, **config, **buffer._snapshot()}


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
    _check_config(buffer, state, "state")
    columns = state.get("columns")
    if not isinstance(columns, Mapping) or not set(columns) <= set(buffer.columns):
        raise ValueError(f"state['columns'] must be a mapping with fields out of {list(buffer.columns)}")
    buffer._restore({**state, "columns": dict(columns)})


def restore_buffer(buffer: ReplayFace, checkpoint: _core.ReplayCheckpoint) -> None:
    """Replace a buffer's content by a checkpoint of the same configuration, all or nothing.

    Raises:
        CheckpointMismatchError: As of ``load_buffer_state``.
        CheckpointCorruptError: The checkpoint is damaged.
    """
    _check_config(buffer, checkpoint.config, "checkpoint")
    buffer._load_checkpoint(checkpoint)


def open_folder(buffer: ReplayFace, folder: _core.StorageFolder) -> None:
    """Give a new buffer the files in a folder: those of a buffer of the same configuration, or new ones.

    Raises:
        CheckpointMismatchError: The buffer in the folder has other arguments; the message lists them.
        CheckpointCorruptError, CheckpointVersionError, OSError: The files cannot be used.
    """
    try:
        checkpoint = folder.checkpoint()
        if checkpoint is not None:
            try:
                _check_config(buffer, checkpoint.config, "folder")
            except MetarlError:
                raise
            except ValueError as error:
                raise CheckpointCorruptError(f"the configuration in the folder cannot be used: {error}") from error
        buffer._open(folder, checkpoint, buffer_config(buffer, _FREE))
    except BaseException:
        folder.release()  # the traceback would keep it locked
        raise


def _check_config(buffer: ReplayFace, found: Mapping[str, Any], where: str) -> None:
    expected = buffer_config(buffer, _FREE)
    if "kind" in found and not _same(found["kind"], expected["kind"]):
        # A buffer of another kind has other arguments.
        expected = {name: value for name, value in expected.items() if name == "kind" or name in found}
    expected.setdefault("structure", None)
    different = []
    defaults = {"structure": None, **_defaults(type(buffer))}
    given = {name: value for name, value in {**defaults, **found}.items() if name in buffer._options}
    with contextlib.suppress(TypeError, ValueError, KeyError):  # then it differs, as is found below
        # States of earlier versions may say the same in other words.
        found = {**found, **plain_options(given)}
    for name, value in expected.items():
        if name not in found and name not in defaults:
            raise ValueError(f"{where}[{name!r}] is missing")
        # An argument that is younger than the checkpoint had its default then.
        theirs = _plain(found[name] if name in found else defaults[name])
        if not _same(theirs, value):
            different.append(f"{name} is {theirs!r} in the {where} and {value!r} in this buffer")
    if different:
        raise CheckpointMismatchError("; ".join(different))


def _parameters(cls: type[ReplayFace]) -> Mapping[str, inspect.Parameter]:
    """Arguments of the constructor: that of the buffer class, not of one derived from it."""
    owner = next(base for base in cls.__mro__ if "_kind" in vars(base))
    return inspect.signature(owner).parameters


def _defaults(cls: type[ReplayFace]) -> dict[str, Any]:
    return {name: _plain(p.default) for name, p in _parameters(cls).items() if p.default is not p.empty}


def _same(found: Any, value: Any) -> bool:
    return (not isinstance(found, np.ndarray | bool) and bool(found == value)) or (found is value)


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a state that went through JSON compares equal."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
