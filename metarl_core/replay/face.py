"""What both kinds of replay buffers have in common on the Python side."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

from metarl_core import _core
from metarl_core._cuda_module import device_number
from metarl_core.replay.batch import Batch
from metarl_core.replay.fields import Fields, parse_fields
from metarl_core.replay.schedules import LinearSchedule, plain_beta
from metarl_core.replay.state import (
    buffer_config,
    buffer_state,
    construct_saved,
    load_buffer_state,
    open_folder,
    restore_buffer,
)
from metarl_core.replay.storage import encoded_path, storage_folder
from metarl_core.replay.streams import core_options, plain_options
from metarl_core.replay.structure import Structure, flatten_fields, is_leaf

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ReplayFace"]


class ReplayFace(_core.ReplayBufferBase):
    """Fields, state and copies of a replay buffer; a class derives from this and from a base of the core."""

    _kind: str

    def _build(self, core: Any, fields: Fields, options: dict[str, Any]) -> None:
        """Construct the core's part; ``options`` are all other arguments of the constructor."""
        if hasattr(self, "_columns"):
            raise RuntimeError(f"{type(self).__name__}.__init__ was called before; a buffer is made once")
        nested = isinstance(fields, Mapping) and not all(map(is_leaf, fields.values()))
        parsed = parse_fields(flatten_fields(fields) if nested else fields)
        options = dict(options)
        folder = storage_folder(options.pop("storage"))
        options = plain_options(options)
        structure = Structure(fields) if nested else None
        core.__init__(self, parsed, {**core_options(options, parsed), "mapped": folder is not None}, Batch, structure)
        self._columns = {name: (shape, dtype) for name, shape, dtype in parsed}
        self._fields = copy.deepcopy(dict(fields)) if nested else self._columns
        self._structure = structure
        self._options = options
        self._folder = folder
        if folder is not None:
            open_folder(self, _core.StorageFolder(encoded_path(folder)))

    @property
    def fields(self) -> dict[str, Any]:
        """The fields: name to (shape, dtype), or to a dict or tuple of such."""
        return copy.deepcopy(self._fields)

    @property
    def columns(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The columns: flat name (``obs.image`` in a nested field) to (shape, dtype)."""
        return dict(self._columns)

    @property
    def storage(self) -> str:
        """``"memory"``, or ``"mmap:"`` and the absolute path of the folder with the buffer's files."""
        return "memory" if self._folder is None else f"mmap:{self._folder}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _argument(self, name: str) -> Any:
        """A constructor argument: as the core holds it, where it does."""
        if name == "beta":  # a number or a schedule
            name = "_beta"
        return getattr(self, name, self._options.get(name))

    def _config(self, leave_out: Collection[str] = ()) -> dict[str, Any]:
        """The kind and the constructor's arguments besides the fields, as plain numbers, strings and lists."""
        names = [name for name in self._options if name not in leave_out]
        config = {"kind": self._kind, **{name: self._argument(name) for name in names}}
        if "beta" in config:
            config["beta"] = plain_beta(config["beta"], lambda: float(cast(Any, self).beta))
        return config

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the buffer to a checkpoint file, replacing what is there in one step.

        The arrays go straight from the buffer's memory to the file; meanwhile other threads that use the buffer wait.
        After a crash or a failure at any moment, ``path`` holds the old content or the new one, whole. Equal buffers
        give equal bytes. The format is documented in docs/checkpoint-format.md; it holds no code.

        Args:
            path: The file; a temporary file ``.NAME.N.tmp`` beside it is used meanwhile.

        Raises:
            OSError: The disk is full, the folder is missing, and so on; the old file is untouched.
            ValueError: The path contains a NUL character.
        """
        self._save(encoded_path(path), buffer_config(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: Any = "cpu") -> Any:
        """Construct a buffer from a checkpoint file; it goes on with the same bits as the one that was saved.

        Runs no code from the file. Memory is reserved for the capacity that the file states, and used for what it
        holds. Of ``beta``, a number or a LinearSchedule is restored; another function was saved as the value it had.

        Args:
            path: The file.
            device: Where the buffer lies: "cpu", or "cuda", "cuda:1", ..., whichever one the checkpoint was saved from.

        Raises:
            OSError: The file cannot be read.
            CheckpointFormatError: It is not a checkpoint of a replay buffer (a pickle, for example).
            CheckpointVersionError: It was written by a later version, in a format that this one does not know.
            CheckpointCorruptError: It is truncated or damaged; the message names the section.
            CheckpointMismatchError: It holds a buffer of the other class.
            MemoryError: The buffer does not fit this machine; the message states the bytes.
        """
        buffer = cls._from_checkpoint(_core.ReplayCheckpoint(encoded_path(path)))
        if device_number(device) is None:
            return buffer
        from metarl_core.replay.device_buffer import move_to_device

        return move_to_device(cast(Any, buffer), device)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Replace the content by a checkpoint of a buffer with the same arguments (``beta`` may differ).

        A buffer that holds data keeps it until the file has proved good: both are in memory for a moment, or with
        ``storage="mmap:FOLDER"`` on the disk, where the new content is durable when this returns.

        Raises:
            CheckpointMismatchError: The buffer in the file has other arguments; the message lists them.
            OSError, CheckpointFormatError, CheckpointVersionError, CheckpointCorruptError: As of ``load``. After any
                error the buffer is unchanged.
        """
        restore_buffer(self, _core.ReplayCheckpoint(encoded_path(path)))

    def to_bytes(self) -> bytes:
        """Return the bytes that ``save`` writes; ``pickle`` and ``copy.deepcopy`` carry the same."""
        return self._to_bytes(buffer_config(self))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Construct a buffer from what ``to_bytes`` returned, in any object with a buffer of bytes.

        Raises:
            CheckpointFormatError, CheckpointVersionError, CheckpointCorruptError, CheckpointMismatchError: As of
                ``load``.
        """
        return cls._from_checkpoint(_core.ReplayCheckpoint.from_bytes(data))

    @classmethod
    def _from_checkpoint(cls, checkpoint: _core.ReplayCheckpoint) -> Self:
        buffer = construct_saved(cls, checkpoint)
        restore_buffer(buffer, checkpoint)
        return buffer

    def state_dict(self) -> dict[str, Any]:
        """Return everything that determines the buffer's future behaviour, as copies.

        Returns:
            A dict of numbers, strings, None and NumPy arrays; ``columns`` is a dict of arrays of shape (size, ...). A
            prioritized buffer adds ``priorities``, the raw ones (float32), and ``masses``, the tree's leaves (uint32).
            ``beta`` is not part of it: it is the caller's schedule.
        """
        return buffer_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; a buffer that goes on from it returns the same bits as the one that gave it.

        Args:
            state: What ``state_dict`` of a buffer with the same arguments returned.

        Raises:
            CheckpointMismatchError: The state belongs to a buffer of other arguments; the message lists those
            CheckpointVersionError: The state has another format.
            ValueError: An entry is missing or malformed; the message names it. After any error the buffer is unchanged.
        """
        load_buffer_state(self, state)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = type(self).from_bytes, (self.to_bytes(),)
        beta = self._argument("beta") if "beta" in self._options else None
        # The bytes hold no function; pickle may.
        own = callable(beta) and not isinstance(beta, LinearSchedule)
        return (*arguments, {"beta": beta}) if own else arguments

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
