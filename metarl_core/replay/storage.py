"""Where a buffer's columns lie: in memory, or in memory-mapped files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["encoded_path", "storage_folder"]

_PREFIX = "mmap:"


def encoded_path(path: str | os.PathLike[str]) -> bytes:
    """Return a path as the core takes it.

    Raises:
        ValueError: It contains a NUL character.
    """
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"path is {path!r}; must not contain a NUL character")
    return encoded


def storage_folder(storage: Any) -> Path | None:
    """Return the folder that ``storage`` names, or None for memory.

    Raises:
        TypeError: It is no str.
        ValueError: It is neither "memory" nor "mmap:FOLDER".
    """
    if not isinstance(storage, str):
        raise TypeError(f"storage must be a str, got {type(storage).__name__}")
    if storage == "memory":
        return None
    if not storage.startswith(_PREFIX) or storage == _PREFIX:
        raise ValueError(f"storage is {storage!r}; must be 'memory' or 'mmap:FOLDER'")
    from pathlib import Path  # late: takes a tenth of the package's import

    # Where it is must not depend on a later change of the working directory.
    return Path(storage[len(_PREFIX) :]).absolute()
