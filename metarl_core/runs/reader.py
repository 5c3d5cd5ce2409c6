"""Reading a run directory, finished or not."""

from __future__ import annotations

import csv
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.errors import RunError
from metarl_core.runs._files import MAX_ARRAY_BYTES, read_object
from metarl_core.runs._tables import complete_lines, read_json_lines
from metarl_core.runs.checkpoint import read_checkpoint
from metarl_core.runs.schema import EPISODE_COLUMNS

__all__ = ["RunReader"]

_INT_COLUMNS = ("episode", "step", "env", "length", "episodes", "updates")
_NPY_HEADER = 4096  # more than one has


class RunReader:
    """The files of one run, read when they are first asked for.

    Works on a run that is still being written or was killed: what is missing is None or empty, and an incomplete last
    line is left out. Every property raises ``RunError`` with the name of the file, and the line of a table, on damage.
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        """Open a run.

        Raises:
            RunError: the folder is not a run.
        """
        self.run_dir = Path(run_dir)
        if not (self.run_dir / "config.json").is_file():
            raise RunError(f"{self.run_dir} is not a run (no config.json)")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return read_object(self.run_dir / "config.json")

    @cached_property
    def versions(self) -> dict[str, Any]:
        """Content of versions.json: ``versions``, ``hardware``, ``sittings``; empty if missing."""
        return self._object("versions.json") or {}

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """Content of result.json; None while the run goes on or after it was killed."""
        return self._object("result.json")

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """Content of evaluation.json, the outcome of the last ``metarl eval``; None if missing."""
        return self._object("evaluation.json")

    def _object(self, name: str) -> dict[str, Any] | None:
        path = self.run_dir / name
        return read_object(path) if path.exists() else None

    @cached_property
    def metrics(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of the metrics: float64[rows], nan where null; int64 for ``step``. Text columns are left out."""
        rows = read_json_lines(self.run_dir / "metrics.jsonl")
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns: dict[str, npt.NDArray[Any]] = {}
        for name in names:
            values = [row.get(name) for row in rows]
            try:
                column = np.array([np.nan if v is None else float(v) for v in values])
            except (ValueError, TypeError, OverflowError):
                continue
            columns[name] = column.astype(np.int64) if name == "step" else column
        return columns

    @cached_property
    def episodes(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of episodes.csv: int64, float64 for ``return`` and ``bad_episode`` (0, 1, nan = does not apply)."""
        path = self.run_dir / "episodes.csv"
        kinds = [np.int64 if name in _INT_COLUMNS else np.float64 for name in EPISODE_COLUMNS]
        rows: list[list[Any]] = []
        for number, line in enumerate(complete_lines(path)[1:], start=2):
            try:
                cells = next(csv.reader([line]), [])
                rows.append([kind(cell or "nan") for kind, cell in zip(kinds, cells, strict=True)])
            except (ValueError, OverflowError, csv.Error) as error:
                expected = ", ".join(EPISODE_COLUMNS)
                raise RunError(f"{path}, line {number}: expected numbers for {expected} ({error})") from None
        columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
        return {
            name: np.array(column, kind) for name, kind, column in zip(EPISODE_COLUMNS, kinds, columns, strict=True)
        }

    @property
    def visitation(self) -> dict[str, npt.NDArray[Any]] | None:
        """Arrays of visitation.npz (``visits`` int64[size, size], ``visits_at``, ``steps``); None if missing."""
        return self.arrays("visitation")

    @property
    def priorities(self) -> dict[str, npt.NDArray[Any]] | None:
        """Arrays of priorities.npz (``counts``, ``edges``); None if missing."""
        return self.arrays("priorities")

    def load_checkpoint(self) -> Any:
        """Return the state of the last checkpoint, as it was given to ``RunWriter.save_checkpoint``; None if missing.

        Raises:
            CheckpointCorruptError: the file is damaged (see ``read_checkpoint`` for its kin).
        """
        path = self.run_dir / "checkpoints" / "latest.ckpt"
        return read_checkpoint(path)["state"] if path.exists() else None

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """Read ``NAME.npz``; None if missing.

        Raises:
            RunError: the file is damaged, or its arrays would take more than 1 GiB.
        """
        path = self.run_dir / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                # The writer compresses: a small file of somebody else may unpack to any size.
                entries = file.zip.infolist()
                claimed = sum(entry.file_size for entry in entries)
                if claimed > MAX_ARRAY_BYTES + _NPY_HEADER * len(entries):
                    raise ValueError(f"its arrays claim {claimed} bytes; expected at most {MAX_ARRAY_BYTES}")
                return {key: file[key] for key in file.files}
        except Exception as error:  # zipfile, zlib and numpy each raise their own on damage
            raise RunError(f"{path} cannot be read: {error}") from error
