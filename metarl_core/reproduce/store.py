"""The results of an experiment: one CSV, one row for each finished cell."""

from __future__ import annotations

import contextlib
import csv
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from metarl_core.errors import RunError
from metarl_core.reproduce.spec import Cell
from metarl_core.runs import RunReader, versions
from metarl_core.runs._files import atomic_writer
from metarl_core.runs._tables import csv_line

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["COLUMNS", "CURVE_POINTS", "ResultStore", "Row", "read_rows", "readable_table", "row_of", "source_commit"]

CURVE_POINTS = 40

COLUMNS = (
    "method",
    "algorithm",
    "environment",
    "params",
    "seed",
    "config",
    "solved",
    "episodes_to_solve",
    "episodes",
    "max_episodes",
    "environment_steps",
    "total_steps",
    "final_return",
    "best_return",
    "evaluation_return",
    "evaluation_episodes",
    "curve",
    "wall_time_seconds",
    "steps_per_second",
    "metarl_core",
    "python",
    "numpy",
    "torch",
    "commit",
)
"""Columns of the CSV; docs/result-schema.md describes them."""

Row = dict[str, str]


class StoredCell(Protocol):
    """What a store needs to know of a cell."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What a row of the CSV belongs to."""
        ...

    @property
    def digest(self) -> str:
        """What the row's ``config`` is compared with."""
        ...


@contextlib.contextmanager
def readable_table(path: Path) -> Iterator[IO[str]]:
    """Open a CSV file to read it.

    Raises:
        RunError: what is read there is not UTF-8, or no CSV.
    """
    with path.open(newline="", encoding="utf-8") as file:
        try:
            yield file
        except (UnicodeDecodeError, csv.Error) as error:
            raise RunError(f"{path} is damaged: {error}") from None


def read_rows(path: Path, columns: tuple[str, ...] = COLUMNS) -> list[Row]:
    """Rows of a result file; none if it is missing.

    Raises:
        RunError: it has other columns, a row with another number of cells, or is no CSV file in UTF-8.
    """
    if not path.exists():
        return []
    with readable_table(path) as file:
        reader = csv.reader(file)
        header = tuple(next(reader, ()))
        if header != columns:
            raise RunError(f"{path}: expected the columns {', '.join(columns)}; found {', '.join(header)}")
        rows = []
        for number, cells in enumerate(reader, start=2):
            if len(cells) != len(columns):
                raise RunError(f"{path}, line {number}: {len(cells)} cells; expected {len(columns)}")
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def source_commit() -> str:
    """Commit of the sources that run (with ``+`` if files differ from it); empty for an installed package."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", "--error-unmatch", "store.py"):  # someone else's repository around an installed package
            return ""
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder.parent))
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except OSError:
        return ""


def row_of(cell: Cell, run_dir: Path, commit: str) -> dict[str, Any]:
    """The row of a finished run.

    Raises:
        RunError: the run is not finished, or its files are damaged.
    """
    reader = RunReader(run_dir)
    result = reader.result
    if result is None or result["status"] != "finished":
        raise RunError(f"{run_dir} is not finished")
    config = cell.config
    found = versions()
    return {
        **{name: result.get(name) for name in COLUMNS},
        "method": cell.method.name,
        "algorithm": cell.method.algorithm,
        "environment": cell.environment,
        "params": cell.params_text,
        "seed": cell.seed,
        "config": cell.digest,
        "max_episodes": config.max_episodes,
        "total_steps": config.total_steps,
        "evaluation_episodes": config.evaluation_episodes,
        "curve": _curve(reader, config.total_steps),
        **{name: found[name] for name in ("metarl_core", "python", "numpy", "torch")},
        "commit": commit,
    }


def _curve(reader: RunReader, total_steps: int) -> str:
    """Mean return of the episodes that ended in each of 40 equal parts of the budget of steps, '-' where none did."""
    step, value = reader.episodes["step"], reader.episodes["return"]
    part = np.minimum((step - 1) * CURVE_POINTS // total_steps, CURVE_POINTS - 1)
    counts = np.bincount(part, minlength=CURVE_POINTS)
    sums = np.bincount(part, weights=value, minlength=CURVE_POINTS)
    return " ".join(f"{total / count:.6g}" if count else "-" for total, count in zip(sums, counts, strict=True))


class ResultStore:
    """The CSV file, written whole at each new row so that a crash leaves the old or the new content.

    Rows are kept in the order of the experiment's cells, whatever the order in which they finish; rows of cells that
    the experiment no longer has stay at the end. A lock sees to one writer at a time. Use it as a context manager.

    Args:
        path: the file.
        cells: the experiment's cells, in order.
    """

    columns: ClassVar[tuple[str, ...]] = COLUMNS

    def __init__(self, path: Path, cells: Iterable[StoredCell]) -> None:
        self.path = path
        self.cells: tuple[Any, ...] = tuple(cells)
        self.order = {cell.key: number for number, cell in enumerate(self.cells)}
        self.rows: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        self._lock: IO[bytes] | None = None
        for row in read_rows(path, self.columns):
            self.rows[self.key_of(row, path)] = row

    @staticmethod
    def key_of(row: Mapping[str, Any], path: Path) -> tuple[Any, ...]:
        """The key of a row's cell.

        Raises:
            RunError: its seed is no integer.
        """
        return _key(row, path)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # Windows
            return self
        self._lock = (self.path.parent / f".{self.path.name}.lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise RunError(f"{self.path} is being written by another process") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def __contains__(self, cell: StoredCell) -> bool:
        return cell.key in self.rows

    def is_stale(self, cell: StoredCell) -> bool:
        """Whether the cell's row was made with settings other than those it has now."""
        row = self.rows.get(cell.key)
        return row is not None and row["config"] != cell.digest

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of a cell, in place of the one it has, and write the file."""
        self.rows[self.key_of(row, self.path)] = row
        last = len(self.order)
        ordered = sorted(self.rows.items(), key=lambda item: self.order.get(item[0], last))
        with atomic_writer(self.path) as file:
            file.write(csv_line(self.columns).encode())
            for _, values in ordered:
                file.write(csv_line([values.get(name) for name in self.columns]).encode())


def _key(row: Mapping[str, Any], path: Path) -> tuple[str, str, str, int]:
    try:
        return str(row["method"]), str(row["environment"]), str(row["params"]), int(row["seed"])
    except ValueError:
        raise RunError(f"{path}: seed {row['seed']!r} is no integer") from None
