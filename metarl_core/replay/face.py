"""What both kinds of replay buffers have in common on the Python side."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from metarl_core import _core
from metarl_core.replay.batch import Batch
from metarl_core.replay.fields import Fields, parse_fields
from metarl_core.replay.state import buffer_state, load_buffer_state
from metarl_core.replay.streams import core_options, plain_options
from metarl_core.replay.structure import Structure, flatten_fields, is_leaf

__all__ = ["ReplayFace"]


class ReplayFace(_core.ReplayBufferBase):
    """Fields, state and copies of a replay buffer; a class derives from this and from a base of the core."""

    _kind: str

    def _build(self, core: Any, fields: Fields, options: dict[str, Any]) -> None:
        """Construct the core's part; ``options`` are all other arguments of the constructor."""
        nested = isinstance(fields, Mapping) and not all(map(is_leaf, fields.values()))
        parsed = parse_fields(flatten_fields(fields) if nested else fields)
        options = plain_options(options)
        structure = Structure(fields) if nested else None
        core.__init__(self, parsed, core_options(options, parsed), Batch, structure)
        self._columns = {name: (shape, dtype) for name, shape, dtype in parsed}
        self._fields = copy.deepcopy(dict(fields)) if nested else self._columns
        self._options = options

    @property
    def fields(self) -> dict[str, Any]:
        """The fields: name to (shape, dtype), or to a dict or tuple of such."""
        return copy.deepcopy(self._fields)

    @property
    def columns(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The columns: flat name (``obs.image`` in a nested field) to (shape, dtype)."""
        return dict(self._columns)

    def _argument(self, name: str) -> Any:
        """A constructor argument: as the core holds it, where it does."""
        if name == "beta":  # a number or a schedule
            name = "_beta"
        return getattr(self, name, self._options.get(name))

    def _config(self) -> dict[str, Any]:
        """What a state must agree with, as plain numbers, strings and lists."""
        config: dict[str, Any] = {"kind": self._kind}
        for name in self._options:
            if name != "beta":  # the caller's schedule
                config[name] = self._argument(name)
        return config

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
        arguments = {name: self._argument(name) for name in self._options}
        return _rebuild, (type(self), {"fields": self.fields, **arguments}, self.state_dict())


def _rebuild(cls: type[ReplayFace], arguments: dict[str, Any], state: Mapping[str, Any]) -> ReplayFace:
    buffer = cls(**arguments)
    buffer.load_state_dict(state)
    return buffer
