"""Checkpoint files: exact, checked, replaced atomically, and loaded without running any code.

Layout (little endian)::

    magic "METARLCK"  version uint32                      12 bytes
    the raw bytes of section 0, 1, ... one after another
    index: JSON {"tree": ..., "sections": [{"dtype", "shape", "nbytes", "crc32", "path"}, ...]}
    index_nbytes uint64  index_crc32 uint32  magic "KCLRATEM"  20 bytes

The sections are written as they come, so that saving needs the memory of the largest non-contiguous (or GPU) array at
most; the index comes last because it holds their checksums. Every byte of the file is covered by the magics, the
version or a checksum.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from metarl_core.errors import CheckpointCorruptError, CheckpointFormatError, CheckpointVersionError
from metarl_core.runs._codec import Section, decode, encode
from metarl_core.runs._files import atomic_writer

__all__ = ["FORMAT_VERSION", "read_checkpoint", "write_checkpoint"]

FORMAT_VERSION = 1
_HEAD = struct.Struct("<8sI")
_TAIL = struct.Struct("<QI8s")
_MAGIC = b"METARLCK"
_END = b"KCLRATEM"


def write_checkpoint(path: str | os.PathLike[str], state: Any) -> int:
    """Write ``state`` to ``path``, replacing what is there in one step.

    Args:
        path: the file. A temporary file beside it (``.NAME.tmp``) is used meanwhile.
        state: nested dicts, lists and tuples of numpy arrays and scalars, torch tensors, ints of any size, floats,
            strings, bytes, bools and None. Everything comes back bit for bit and with its type, except that tensors
            come back on the CPU, detached, contiguous and sharing no memory.

    Returns:
        The size of the file in bytes.

    Raises:
        TypeError: a part of the state cannot be kept exactly; the message says which. Nothing is written.
        OSError: the disk is full, for example; the old file is untouched.
    """
    sections: list[Section] = []
    tree = encode(state, sections)
    with atomic_writer(Path(path)) as file:
        file.write(_HEAD.pack(_MAGIC, FORMAT_VERSION))
        table = [_write_section(file, section) for section in sections]
        index = json.dumps({"tree": tree, "sections": table}, separators=(",", ":"), allow_nan=False).encode()
        file.write(index)
        file.write(_TAIL.pack(len(index), zlib.crc32(index), _END))
        return file.tell()


def _write_section(file: BinaryIO, section: Section) -> dict[str, Any]:
    array = section.contiguous()
    # reshape before view: a 0-d array cannot be viewed as another type.
    data = array.reshape(-1).view(np.uint8).data
    file.write(data)
    return {
        "dtype": section.dtype,
        "shape": list(section.shape),
        "nbytes": data.nbytes,
        "crc32": zlib.crc32(data),
        "path": section.path,
    }


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a state that ``write_checkpoint`` wrote.

    No code from the file runs, and no more memory is allocated than the file is long. torch is imported only if the
    state holds tensors.

    Raises:
        FileNotFoundError: no such file.
        CheckpointFormatError: not a checkpoint of this package.
        CheckpointVersionError: written in a newer format.
        CheckpointCorruptError: truncated or damaged; the message names the section.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_head(path, file)
        index, data_nbytes = _read_index(path, file, size)
        tree, table = index["tree"], index["sections"]
        _check_table(path, table, data_nbytes)
        file.seek(_HEAD.size)
        arrays = [_read_section(path, file, entry) for entry in table]
    try:
        return decode(tree, arrays, table)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, RuntimeError) as error:
        raise CheckpointCorruptError(f"{path}: index: {error}") from error


def _check_head(path: Path, file: BinaryIO) -> None:
    head = file.read(_HEAD.size)
    if head[: len(_MAGIC)] != _MAGIC[: len(head)]:
        raise CheckpointFormatError(f"{path} is not a metarl_core checkpoint (it starts with {head[:8]!r})")
    if len(head) < _HEAD.size:
        raise CheckpointCorruptError(f"{path}: header: truncated, {len(head)} of {_HEAD.size} bytes")
    version = _HEAD.unpack(head)[1]
    if version == 0:
        raise CheckpointCorruptError(f"{path}: header: format version 0")
    if version > FORMAT_VERSION:
        raise CheckpointVersionError(f"{path} has format version {version}; this version reads up to {FORMAT_VERSION}")


def _read_index(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    if size < _HEAD.size + _TAIL.size:
        raise CheckpointCorruptError(f"{path}: trailer: truncated, the file has {size} bytes")
    file.seek(size - _TAIL.size)
    nbytes, checksum, end = _TAIL.unpack(file.read(_TAIL.size))
    if end != _END:
        raise CheckpointCorruptError(f"{path}: trailer: truncated or damaged")
    data_nbytes = size - _HEAD.size - _TAIL.size - nbytes
    if data_nbytes < 0:
        raise CheckpointCorruptError(f"{path}: trailer: claims an index of {nbytes} bytes, the file has {size}")
    file.seek(_HEAD.size + data_nbytes)
    text = file.read(nbytes)
    if zlib.crc32(text) != checksum:
        raise CheckpointCorruptError(f"{path}: index: checksum differs")
    try:
        index = json.loads(text)
        if not isinstance(index, dict) or set(index) != {"tree", "sections"} or not isinstance(index["sections"], list):
            raise ValueError("not an object with tree and sections")
    except (ValueError, RecursionError) as error:
        raise CheckpointCorruptError(f"{path}: index: {error}") from None
    return index, data_nbytes


def _check_table(path: Path, table: list[Any], data_nbytes: int) -> None:
    """Check that the sections fill the data exactly, before anything is allocated for them."""
    total = 0
    for number, entry in enumerate(table):
        try:
            shape, nbytes = entry["shape"], entry["nbytes"]
            plain = all(type(n) is int and n >= 0 for n in [*shape, nbytes, entry["crc32"]])
            names = isinstance(entry["dtype"], str) and isinstance(entry["path"], str)
        except (TypeError, KeyError):
            plain = names = False
        if not (plain and names):
            raise CheckpointCorruptError(f"{path}: index: section {number} is not described properly")
        elements = math.prod(shape)
        if nbytes % elements if elements else nbytes:
            raise CheckpointCorruptError(
                f"{path}: section {number} ({entry['path']}): shape {shape} does not fit {nbytes} bytes"
            )
        total += nbytes
    if total != data_nbytes:
        raise CheckpointCorruptError(f"{path}: index: sections claim {total} bytes, the file holds {data_nbytes}")


def _read_section(path: Path, file: BinaryIO, entry: Any) -> npt.NDArray[np.uint8]:
    array = np.empty(entry["nbytes"], np.uint8)
    if file.readinto(array) != array.nbytes:  # type: ignore[attr-defined]
        raise CheckpointCorruptError(f"{path}: {entry['path']}: truncated")
    if zlib.crc32(array.data) != entry["crc32"]:
        raise CheckpointCorruptError(f"{path}: {entry['path']}: checksum differs")
    return array
