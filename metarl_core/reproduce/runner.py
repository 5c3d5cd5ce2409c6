"""Runs cells, several at once, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from metarl_core.agents.config import RunConfig
from metarl_core.errors import MetarlError
from metarl_core.reproduce.spec import Cell
from metarl_core.reproduce.store import ResultStore, row_of, source_commit
from metarl_core.reproduce.unseen import read_unseen, unseen_path, unseen_rows, write_unseen
from metarl_core.reproduce.watching import NullWatcher, Outcome, Watcher, first_seeds_first
from metarl_core.runs import RunReader

__all__ = ["run_cells"]

_POLL_SECONDS = 0.1
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def run_cells(
    cells: Sequence[Cell],
    store: ResultStore,
    runs: Path,
    jobs: int = 2,
    watcher: Watcher | None = None,
    keep_runs: bool = False,
) -> Outcome:
    """Run cells and add their rows to the store as they finish.

    Each cell is a ``metarl train`` process with one thread. A cell whose run directory was left by an interrupted call
    goes on from its checkpoint. A cell that fails is told to the watcher; its run directory is kept as
    ``LABEL-failed``, and the other cells go on. When the watcher asks to stop, the running cells write a checkpoint and
    end; an exception (a second Ctrl-C) kills them.

    Args:
        cells: what to run; lower positions of the seed first, so that what there is after an interruption is balanced.
        store: an open store.
        runs: folder of the run directories and logs.
        jobs: processes at once.
        watcher: who follows.
        keep_runs: keep the run directories of finished cells.

    Raises:
        ValueError: ``jobs`` is below 1.
        RunError: the file of results on held-out tasks is damaged.
        OSError: a folder or the CSV cannot be written.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; must be >= 1")
    watcher = watcher or NullWatcher()
    read_unseen(unseen_path(store.path))  # a damaged file is told before anything is trained
    runs.mkdir(parents=True, exist_ok=True)
    commit, outcome = source_commit(), Outcome()
    waiting = first_seeds_first(cells)
    running: list[_Job] = []
    try:
        while waiting or running:
            if not outcome.interrupted and watcher.should_stop():
                outcome.interrupted = True
                waiting.clear()
                for job in running:
                    job.process.send_signal(signal.SIGTERM)
            while waiting and len(running) < jobs:
                job = _Job(waiting.pop(0), runs)
                running.append(job)
                watcher.started(job.cell, job.resumed)
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                _settle(job, store, commit, watcher, outcome, keep_runs)
            watcher.tick([(job.cell, job.share()) for job in running])
            if running:
                time.sleep(_POLL_SECONDS)
    finally:
        for job in running:
            job.process.kill()
            job.process.wait()
    return outcome


class _Job:
    """One cell and its process. A run directory that is finished already takes a process that ends at once."""

    def __init__(self, cell: Cell, runs: Path) -> None:
        self.cell = cell
        self.run_dir = runs / cell.label
        self.log = runs / f"{cell.label}.log"
        self.settings = runs / f"{cell.label}.json"
        self.settings.write_text(json.dumps(cell.config.to_dict()), encoding="utf-8")
        self.resumed = _is_same_run(self.run_dir, cell.config)
        if self.run_dir.exists() and not self.resumed:
            shutil.rmtree(self.run_dir)
        where = ["--resume"] if self.resumed else ["--config", str(self.settings), "--out"]
        command = [sys.executable, "-m", "metarl_core.cli", "train", "--no-report", *where, str(self.run_dir)]
        if self.resumed and _is_finished(self.run_dir):
            command = [sys.executable, "-c", ""]
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches the caller alone, who then ends the cells in order.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,
            )

    def share(self) -> float:
        """Share of the budget of steps used, as of the last row of metrics."""
        try:
            with (self.run_dir / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                lines = file.read().split(b"\n")[:-1]
            return min(1.0, float(json.loads(lines[-1])["step"]) / self.cell.config.total_steps)
        except (OSError, ValueError, IndexError, KeyError):
            return 0.0

    def reason(self) -> str:
        """Last line of the log that says something."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self.process.returncode}"


def _settle(job: _Job, store: ResultStore, commit: str, watcher: Watcher, outcome: Outcome, keep_runs: bool) -> None:
    """Take the row of a process that has ended, or tell that it failed."""
    reason = ""
    if job.process.returncode == 0:
        try:
            row = row_of(job.cell, job.run_dir, commit)
            # Before the row that says that the cell is done.
            write_unseen(unseen_path(store.path), unseen_rows(job.cell, job.run_dir, commit), store.cells)
            store.add(row)
        except MetarlError as error:
            reason = str(error)
    elif outcome.interrupted:
        return  # its run directory waits for the next call
    else:
        reason = job.reason()
    if reason:
        outcome.failed.append((job.cell, reason))
        kept = job.run_dir.with_name(f"{job.run_dir.name}-failed")
        shutil.rmtree(kept, ignore_errors=True)
        if job.run_dir.exists():
            job.run_dir.rename(kept)
        watcher.failed(job.cell, reason, job.log)
        return
    outcome.finished += 1
    if not keep_runs:
        shutil.rmtree(job.run_dir, ignore_errors=True)
        for file in (job.log, job.settings):
            with contextlib.suppress(OSError):
                file.unlink()
    watcher.finished(job.cell)


def _is_same_run(run_dir: Path, config: RunConfig) -> bool:
    """Whether the folder holds a run with these settings."""
    try:
        return RunConfig.from_dict(RunReader(run_dir).config) == config
    except MetarlError:
        return False


def _is_finished(run_dir: Path) -> bool:
    try:
        result = RunReader(run_dir).result
    except MetarlError:
        return False
    return result is not None and result["status"] == "finished"
