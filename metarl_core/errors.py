"""Exceptions raised by metarl_core that are more specific than Python's own."""

from __future__ import annotations

__all__ = ["BufferEmptyError", "ClosedError", "MetarlError", "StaleIndexError"]


class MetarlError(Exception):
    """Base class of the exceptions defined here."""


class BufferEmptyError(MetarlError, RuntimeError):
    """A sample was asked of a buffer or tree that holds nothing that can be drawn."""


class StaleIndexError(MetarlError, RuntimeError):
    """A priority update names a slot that was overwritten since it was sampled."""


class ClosedError(MetarlError, RuntimeError):
    """An environment was used after ``close``."""
