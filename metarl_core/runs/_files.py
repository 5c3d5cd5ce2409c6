"""Files that survive a crash: whole-file replacement through a temporary file, fsync and rename."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from metarl_core.errors import RunError

__all__ = ["MAX_ARRAY_BYTES", "atomic_writer", "finite_or_text", "fsync_folder", "read_object", "write_json"]

MAX_ARRAY_BYTES = 1 << 30  # of the arrays in one file of a run, unpacked


def fsync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable (where the system can: Windows cannot open folders)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that replaces it on success.

    Whatever happens in between (an exception, a full disk, SIGKILL), ``path`` holds the old or the new content. The
    temporary name is fixed, so that a killed process leaves at most one stale file, which the next write replaces; one
    writer at a time is the caller's duty.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def finite_or_text(value: Any) -> Any:
    """Turn numpy scalars into Python's and non-finite floats into ``"nan"``, ``"inf"``, ``"-inf"`` (JSON has none).

    A diverged loss thus stays visible in the files instead of reading as missing. Mappings and sequences are converted
    recursively.
    """
    if isinstance(value, Mapping):
        return {str(key): finite_or_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_text(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return finite_or_text(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    return value


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by the indented JSON text of ``value``, atomically.

    Raises:
        TypeError: ``value`` holds something that JSON cannot express.
    """
    text = json.dumps(finite_or_text(value), indent=2, allow_nan=False) + "\n"
    with atomic_writer(path) as file:
        file.write(text.encode())


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        RunError: it holds something else, or is not JSON; the message names the file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} holds {type(value).__name__}; expected a JSON object")
    return value
