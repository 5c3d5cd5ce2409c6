"""Writing a run directory."""

from __future__ import annotations

import contextlib
import numbers
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metarl_core.errors import CheckpointMismatchError, RunError
from metarl_core.runs._files import MAX_ARRAY_BYTES, atomic_writer, finite_or_text, read_object, write_json
from metarl_core.runs._tables import Appender, csv_line, json_line, read_json_lines, write_csv
from metarl_core.runs._tensorboard import scalars_record, version_record
from metarl_core.runs.checkpoint import read_checkpoint, write_checkpoint
from metarl_core.runs.schema import EPISODE_COLUMNS, METRIC_COLUMNS, SCHEMA_VERSION, validate_result
from metarl_core.runs.versions import hardware, versions

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RunWriter"]

_MAY_CHANGE = ("device",)
_EVENTS = "events.out.tfevents.{}.metarl"


class RunWriter:
    """Writes the files of one run: metrics, episodes, arrays, checkpoints, result. See docs/result-schema.md.

    A checkpoint records how long each table was when it was made; opening the run with ``resume=True`` cuts the tables
    back to these lengths, so that a resumed run holds the rows of an uninterrupted one.

    One process writes a run at a time (a lock file sees to it); an instance belongs to one thread. Use it as a context
    manager, or call ``close``.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        config: Mapping[str, Any] | None = None,
        resume: bool = False,
        normalize: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
    ) -> None:
        """Create the run directory, or open it to go on.

        Args:
            run_dir: the folder; created with its parents.
            config: the resolved configuration, of what JSON can hold. ``algorithm``, ``env_id``, ``env_params`` and
                ``seed`` are copied into the result. With ``resume`` it may be left out; else it must equal the stored
                one but for ``device``.
            resume: go on from the last checkpoint (from the beginning, if there is none).
            normalize: brings a stored configuration, which an earlier version may have written, to the form of
                ``config`` (options that are new since then get their defaults) before the two are compared.

        Raises:
            RunError: the folder holds a run already (``resume=False``), holds none (``resume=True``), its files are
                damaged, or another process writes it.
            CheckpointMismatchError: ``config`` is not the one of the run; the message lists the fields.
            CheckpointCorruptError: the checkpoint is damaged (see ``read_checkpoint`` for its kin).
            ValueError: no config, or one that JSON cannot hold.
        """
        self.run_dir = Path(run_dir)
        self._lock: IO[bytes] | None = None
        self._tables: dict[str, Appender] = {}
        self._checkpoint_state: Any = None
        exists = (self.run_dir / "config.json").exists()
        if resume and not exists:
            raise RunError(f"{self.run_dir} holds no run to resume (no config.json)")
        if not resume and exists:
            raise RunError(f"{self.run_dir} holds a run already; resume it or choose another folder")
        if config is None and not resume:
            raise ValueError("config is None; a new run needs one")
        (self.run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self.config: dict[str, Any] = self._settle_config(config, resume, normalize)
            self._open(resume)
        except BaseException:
            self.close()
            raise

    @property
    def checkpoint_path(self) -> Path:
        """Where the checkpoint lies."""
        return self.run_dir / "checkpoints" / "latest.ckpt"

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl, metrics.csv and the TensorBoard events.

        Args:
            row: ``step`` (int >= 0) and any of ``METRIC_COLUMNS``; missing ones are null. Other names become further
                columns. Values are numbers, bools, strings or None.

        Raises:
            ValueError: no valid ``step``, or a value that is none of these. Nothing is written.
        """
        step = row.get("step")
        if not isinstance(step, numbers.Integral) or step < 0:
            raise ValueError(f"row['step'] is {step!r}; expected an int >= 0")
        full = {name: finite_or_text(row.get(name)) for name in [*METRIC_COLUMNS, *row]}
        for name, value in full.items():
            if value is not None and not isinstance(value, (bool, int, float, str)):
                raise ValueError(f"row[{name!r}] is {value!r}; expected a number, bool, string or None")
        new = [name for name in full if name not in self._columns]
        self._tables["metrics.jsonl"].write(json_line(full).encode())
        if new:
            self._columns += new
            self._rewrite_metrics_csv()
        else:
            self._tables["metrics.csv"].write(csv_line([full.get(name) for name in self._columns]).encode())
        self._write_events(int(step), full)
        for table in self._tables.values():
            table.flush()

    def episode(self, row: Mapping[str, Any]) -> None:
        """Append a row to episodes.csv.

        Args:
            row: ``EPISODE_COLUMNS``: episode (1, 2, ..., over all instances), step (environment steps so far), env
                (number of the instance), return, length, bad_episode (bool; None or missing where it does not apply).

        Raises:
            ValueError: unknown or missing columns. Nothing is written.
        """
        unknown = [name for name in row if name not in EPISODE_COLUMNS]
        missing = [name for name in EPISODE_COLUMNS if name not in row and name != "bad_episode"]
        if unknown or missing:
            problem = f"unknown columns {unknown}" if unknown else f"missing columns {missing}"
            raise ValueError(f"episode row: {problem}; expected {', '.join(EPISODE_COLUMNS)}")
        self._tables["episodes.csv"].write(csv_line([row.get(name) for name in EPISODE_COLUMNS]).encode())

    def save_array(self, name: str, **arrays: npt.ArrayLike) -> None:
        """Write ``NAME.npz``, replacing it atomically (``visitation`` and ``priorities`` are what the report reads).

        Args:
            name: a plain name: letters, digits, ``_`` and ``-``.
            **arrays: the arrays of the file; no objects.

        Raises:
            ValueError: a bad name, no arrays, an array of objects, or more than 1 GiB. Nothing is written.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"name is {name!r}; expected letters, digits, '_' and '-'")
        ready = {key: np.asarray(value) for key, value in arrays.items()}
        if not ready or any(value.dtype.hasobject for value in ready.values()):
            raise ValueError(f"save_array({name!r}): expected at least one array, and none of objects")
        nbytes = sum(value.nbytes for value in ready.values())
        if nbytes > MAX_ARRAY_BYTES:
            raise ValueError(
                f"save_array({name!r}): the arrays have {nbytes} bytes; expected at most {MAX_ARRAY_BYTES}"
            )
        with atomic_writer(self.run_dir / f"{name}.npz") as file:
            np.savez_compressed(file, **ready)  # type: ignore[arg-type]

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint by ``state``, in one step; the tables are made durable first.

        Args:
            state: see ``write_checkpoint`` for what it may hold.

        Raises:
            TypeError: a part of the state cannot be kept exactly; the old checkpoint stays.
        """
        for table in self._tables.values():
            table.sync()
        lengths = {name: len(table) for name, table in self._tables.items() if name != "metrics.csv"}
        write_checkpoint(self.checkpoint_path, {"tables": lengths, "state": state})

    def load_checkpoint(self) -> Any:
        """Return the state of the checkpoint that the run was resumed from; None for a new run, or without one.

        The first call hands the state over and later calls read the file again, so that the writer keeps no copy.
        """
        if self._checkpoint_state is not None:
            state, self._checkpoint_state = self._checkpoint_state, None
            return state
        return read_checkpoint(self.checkpoint_path)["state"] if self.checkpoint_path.exists() else None

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json and close the run.

        Args:
            result: the fields of ``RESULT_FIELDS``. ``schema_version``, ``versions``, ``algorithm``, ``environment``,
                ``environment_params`` and ``seed`` are filled in, ``status`` defaults to ``"finished"``,
                ``steps_per_second`` is computed if missing. Further fields are kept.

        Returns:
            The full result.

        Raises:
            ValueError: a field is missing or wrong; nothing is written and the run stays open.
        """
        full: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "status": "finished",
            "algorithm": self.config.get("algorithm"),
            "environment": self.config.get("env_id"),
            "environment_params": self.config.get("env_params") or {},
            "seed": self.config.get("seed"),
            **result,
            "versions": versions(),
        }
        if "steps_per_second" not in full:
            seconds = full.get("wall_time_seconds")
            full["steps_per_second"] = full.get("environment_steps", 0) / seconds if seconds else None
        validate_result(full)
        write_json(self.run_dir / "result.json", full)
        self.close()
        converted: dict[str, Any] = finite_or_text(full)
        return converted

    def close(self) -> None:
        """Flush and close all files and release the lock; what was written stays. Closing again does nothing.

        Raises:
            OSError: what was not flushed yet does not fit on the disk. All files are closed and the lock is released.
        """
        tables, self._tables = self._tables, {}
        lock, self._lock = self._lock, None
        with contextlib.ExitStack() as stack:  # a full disk makes one of them fail, and must not keep the others open
            if lock is not None:
                stack.callback(lock.close)
            for table in tables.values():
                stack.callback(table.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        self._lock = (self.run_dir / ".lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise RunError(f"{self.run_dir} is being written by another process") from None

    def _settle_config(
        self,
        config: Mapping[str, Any] | None,
        resume: bool,
        normalize: Callable[[dict[str, Any]], Mapping[str, Any]] | None,
    ) -> dict[str, Any]:
        if config is not None:
            config = finite_or_text(config)
        if not resume:
            write_json(self.run_dir / "config.json", config)
            return dict(config or {})
        stored: Mapping[str, Any] = read_object(self.run_dir / "config.json")
        if normalize is not None:
            stored = finite_or_text(normalize(dict(stored)))
        if config is None:
            return dict(stored)
        different = [text for name, text in _differences(stored, config) if name not in _MAY_CHANGE]
        if different:
            raise CheckpointMismatchError(f"{self.run_dir} was made with another configuration: {', '.join(different)}")
        return dict(config)

    def _open(self, resume: bool) -> None:
        lengths: dict[str, int] = {}
        if resume and self.checkpoint_path.exists():
            saved = read_checkpoint(self.checkpoint_path)
            lengths, self._checkpoint_state = saved["tables"], saved["state"]
        if resume and self.config != read_object(self.run_dir / "config.json"):
            write_json(self.run_dir / "config.json", self.config)
        for outdated in ("result.json", "evaluation.json"):
            (self.run_dir / outdated).unlink(missing_ok=True)
        for stale in self.run_dir.glob(_EVENTS.format("*")):
            if stale.name not in lengths:
                stale.unlink()
        self._events = next((n for n in lengths if n.startswith("events")), _EVENTS.format(int(time.time())))
        for name in ("metrics.jsonl", "episodes.csv", self._events):
            try:
                self._tables[name] = Appender(self.run_dir / name, keep_bytes=lengths.get(name, 0))
            except ValueError as error:
                raise RunError(str(error)) from None
        if not len(self._tables["episodes.csv"]):
            self._tables["episodes.csv"].write(csv_line(EPISODE_COLUMNS).encode())
        if not len(self._tables[self._events]):
            self._tables[self._events].write(version_record(time.time()))
        self._columns = list(METRIC_COLUMNS)
        for row in read_json_lines(self.run_dir / "metrics.jsonl"):
            self._columns += [name for name in row if name not in self._columns]
        self._rewrite_metrics_csv()
        self._write_versions(resume)

    def _rewrite_metrics_csv(self) -> None:
        """Write metrics.csv anew from metrics.jsonl: after a cut, or when a column was added."""
        table = self._tables.pop("metrics.csv", None)
        if table is not None:
            table.close()
        self._tables["metrics.jsonl"].flush()
        path = self.run_dir / "metrics.csv"
        write_csv(path, self._columns, read_json_lines(self.run_dir / "metrics.jsonl"))
        self._tables["metrics.csv"] = Appender(path)

    def _write_events(self, step: int, row: Mapping[str, Any]) -> None:
        scalars = {
            name: float(value)
            for name, value in row.items()
            if name != "step" and value is not None and (not isinstance(value, str) or value in ("nan", "inf", "-inf"))
        }
        self._tables[self._events].write(scalars_record(time.time(), step, scalars))

    def _write_versions(self, resume: bool) -> None:
        path = self.run_dir / "versions.json"
        before = read_object(path).get("sittings", []) if resume and path.exists() else []
        sitting = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "resumed": resume,
            "command": list(sys.argv),
            "versions": versions(),
            "hardware": hardware(),
        }
        record = {
            "schema_version": SCHEMA_VERSION,
            "versions": sitting["versions"],
            "hardware": sitting["hardware"],
            "sittings": [*before, sitting],
        }
        write_json(path, record)


def _differences(stored: Mapping[str, Any], config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names of what differs, each with both values in words."""
    for key in {**stored, **config}:
        old, new = stored.get(key), config.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", f"{prefix}{key} ({old!r}, now {new!r})"
