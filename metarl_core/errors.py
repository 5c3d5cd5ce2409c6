"""Exceptions raised by metarl_core that are more specific than Python's own."""

from __future__ import annotations

__all__ = [
    "BufferEmptyError",
    "CheckpointCorruptError",
    "CheckpointFormatError",
    "CheckpointMismatchError",
    "CheckpointVersionError",
    "ClosedError",
    "ConfigError",
    "EnvLibraryError",
    "MetarlError",
    "ResetNeededError",
    "RunError",
    "StaleIndexError",
    "StorageInUseError",
    "WorkerError",
    "WorkerTimeoutError",
]


class MetarlError(Exception):
    """Base class of the exceptions defined here."""


class BufferEmptyError(MetarlError, RuntimeError):
    """A sample was asked of a buffer or tree that holds nothing that can be drawn."""


class EnvLibraryError(MetarlError, ValueError):
    """A library of environments cannot be used; the message names the library and what is wrong with it."""


class StaleIndexError(MetarlError, RuntimeError):
    """A priority update names a slot that was overwritten since it was sampled."""


class ClosedError(MetarlError, RuntimeError):
    """An environment, a buffer, a sampler or a connection was used after ``close``."""


class StorageInUseError(MetarlError, RuntimeError):
    """A storage folder is that of another buffer that is open, in this process or in another one."""


class ResetNeededError(MetarlError, RuntimeError):
    """An environment was stepped before ``reset``, or after its episode ended with autoreset disabled."""


class CheckpointFormatError(MetarlError, ValueError):
    """A file is not a checkpoint of this package (for example a pickle)."""


class CheckpointVersionError(MetarlError, ValueError):
    """A checkpoint was written in a newer format than this version of the package reads."""


class CheckpointCorruptError(MetarlError, ValueError):
    """A checkpoint is truncated or damaged; the message names the section."""


class CheckpointMismatchError(MetarlError, ValueError):
    """A checkpoint belongs to another configuration; the message lists the fields that differ."""


class ConfigError(MetarlError, ValueError):
    """A configuration names something that does not exist or gives a value that cannot be used."""


class RunError(MetarlError, RuntimeError):
    """A run directory cannot be used: it holds another run, is in use by another process, or is not a run."""


class WorkerError(MetarlError, RuntimeError):
    """A wrapped environment raised, or the worker that runs it ended.

    Where the environment raised, its exception is the cause (``__cause__``).

    Attributes:
        env_id: Row of the environment; None where it is not known.
        exit_code: Of a process that ended, negative for a signal; None where none did.
    """

    def __init__(self, message: str, env_id: int | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.env_id = None if env_id is not None and env_id < 0 else env_id
        self.exit_code = exit_code


class WorkerTimeoutError(WorkerError, TimeoutError):
    """A wrapped environment did not answer in time."""
