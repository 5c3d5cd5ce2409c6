"""Growing tables of a run: CSV and JSON lines that can be cut back to an earlier length."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarl_core.errors import RunError
from metarl_core.runs._files import atomic_writer, finite_or_text

__all__ = ["Appender", "complete_lines", "csv_line", "json_line", "read_json_lines", "write_csv"]


def csv_line(values: Iterable[Any]) -> str:
    """Return one CSV line; None becomes an empty cell, bools 0 and 1, floats their shortest exact form."""
    buffer = io.StringIO()
    cells = ["" if v is None else int(v) if isinstance(v, bool) else v for v in map(finite_or_text, values)]
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def json_line(row: Mapping[str, Any]) -> str:
    """Return one line of JSON."""
    return json.dumps(finite_or_text(row), allow_nan=False) + "\n"


def complete_lines(path: Path) -> list[str]:
    """Lines of a text file, none if it is missing; a last one without its newline (a killed process) is left out.

    Raises:
        RunError: a line is not UTF-8.
    """
    if not path.exists():
        return []
    lines = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError as error:
            raise RunError(f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start})") from None
    return lines


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the rows of metrics.jsonl that are complete.

    Raises:
        RunError: a line is no JSON object with an integer ``step``.
    """
    rows = []
    for number, line in enumerate(complete_lines(path), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number}: not valid JSON ({error})") from None
        if not isinstance(row, dict) or type(row.get("step")) is not int or not 0 <= row["step"] < 2**63:
            raise RunError(f"{path}, line {number}: expected a JSON object with an integer 'step' >= 0")
        rows.append(row)
    return rows


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace ``path`` by a table with these columns, atomically."""
    with atomic_writer(path) as file:
        file.write(csv_line(columns).encode())
        for row in rows:
            file.write(csv_line([row.get(name) for name in columns]).encode())


class Appender:
    """A file that grows at its end and knows its length."""

    def __init__(self, path: Path, keep_bytes: int | None = None) -> None:
        """Open ``path`` for appending, cut to ``keep_bytes`` first (None: keep all).

        Raises:
            OSError: the file cannot be written.
            ValueError: the file is shorter than ``keep_bytes``.
        """
        # Unbuffered reads are not needed; "ab" creates the file and never truncates by itself.
        self._file = path.open("ab")
        if keep_bytes is not None:
            if self._file.tell() < keep_bytes:
                length = self._file.tell()
                self._file.close()
                raise ValueError(f"{path} has {length} bytes; the checkpoint was made when it had {keep_bytes}")
            self._file.truncate(keep_bytes)
            self._file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        """Bytes in the file, written or still in the buffer."""
        return self._file.tell()

    def write(self, data: bytes) -> None:
        """Append ``data``; it reaches the disk with ``sync`` or when the buffer is full."""
        self._file.write(data)

    def flush(self) -> None:
        """Hand everything to the operating system, so that others see it."""
        self._file.flush()

    def sync(self) -> None:
        """Make everything durable."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
