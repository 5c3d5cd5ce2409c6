"""TensorBoard event files, written directly: records of a few protobuf fields need neither torch nor tensorboard.

Formats: TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) and the messages ``Event`` and ``Summary`` of
TensorFlow's event.proto and summary.proto, of which only scalars are used.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

__all__ = ["scalars_record", "version_record"]


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # Castagnoli's polynomial, reflected
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _record(event: bytes) -> bytes:
    length = struct.pack("<Q", len(event))
    return length + struct.pack("<I", _masked_crc32c(length)) + event + struct.pack("<I", _masked_crc32c(event))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def version_record(wall_time: float) -> bytes:
    """Return the record that opens every event file."""
    return _record(b"\x09" + struct.pack("<d", wall_time) + _message(3, b"brain.Event:2"))


def scalars_record(wall_time: float, step: int, scalars: Mapping[str, float]) -> bytes:
    """Return a record with one value for each tag.

    Args:
        wall_time: seconds since the epoch.
        step: environment steps, >= 0.
        scalars: tag -> value (stored as float32; beyond its range it becomes infinite).
    """
    values = b""
    for tag, value in scalars.items():
        try:
            packed = struct.pack("<f", value)
        except OverflowError:
            packed = struct.pack("<f", math.copysign(math.inf, value))
        values += _message(1, _message(1, tag.encode()) + b"\x15" + packed)
    return _record(b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step) + _message(5, values))
