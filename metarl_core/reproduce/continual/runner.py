"""Runs continual cells, several at once, in processes that each take one cell after another."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from metarl_core.errors import MetarlError
from metarl_core.reproduce.continual.spec import ContinualCell
from metarl_core.reproduce.continual.store import ContinualStore, continual_row
from metarl_core.reproduce.store import source_commit
from metarl_core.reproduce.watching import NullWatcher, Outcome, Watcher, first_seeds_first

__all__ = ["run_continual_cells"]

_POLL_SECONDS = 0.1
_TELL_SECONDS = 0.5
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_continual_cells(
    cells: Sequence[ContinualCell],
    store: ContinualStore,
    runs: Path,
    jobs: int = 2,
    watcher: Watcher | None = None,
) -> Outcome:
    """Run cells and add their rows to the store as they finish.

    A cell is over in a minute or so and has no checkpoint: one that is interrupted begins anew with the next call. One
    that fails is told to the watcher, its traceback is in ``LABEL.log``, and the others go on.

    Args:
        cells: What to run; every method's and sequence's first seed comes before any second one.
        store: An open store.
        runs: Folder of the logs.
        jobs: Processes at once, each with one thread.
        watcher: Who follows.

    Raises:
        ValueError: ``jobs`` is below 1.
        OSError: a folder or the CSV cannot be written.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; must be >= 1")
    watcher = watcher or NullWatcher()
    commit, outcome, waiting = source_commit(), Outcome(), first_seeds_first(cells)
    workers = [_Worker() for _ in range(min(jobs, len(waiting)))]
    try:
        while True:
            if not outcome.interrupted and watcher.should_stop():
                outcome.interrupted = True
                break
            for worker in workers:
                if worker.cell is None and waiting:
                    worker.start(waiting.pop(0))
                    assert worker.cell is not None
                    watcher.started(worker.cell, False)
                _settle(worker, store, runs, commit, watcher, outcome)
            running = [(worker.cell, worker.share) for worker in workers if worker.cell is not None]
            watcher.tick(running)
            if not running and not waiting:
                break
            time.sleep(_POLL_SECONDS)
    finally:
        for worker in workers:
            worker.close()
    return outcome


class _Worker:
    """A process, and the cell that it has at present."""

    def __init__(self) -> None:
        self.cell: ContinualCell | None = None
        self.share = 0.0
        self._process: Any = None
        self._pipe: Connection | None = None

    def start(self, cell: ContinualCell) -> None:
        """Give it a cell; a process that has died is replaced."""
        if self._process is None or not self._process.is_alive():
            self.close()
            self._begin()
        assert self._pipe is not None
        self.cell, self.share = cell, 0.0
        self._pipe.send(cell)

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))  # read when the child loads its libraries
        try:
            self._process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()

    def answer(self) -> tuple[str, Any] | None:
        """``("row", its columns)`` or ``("error", (reason, traceback))`` once the cell has ended; None before."""
        assert self._pipe is not None
        try:
            while self._pipe.poll():
                kind, value = self._pipe.recv()
                if kind != "share":
                    return kind, value
                self.share = value
        except (EOFError, OSError):
            self._process.join()
            reason = f"its process ended with exit status {self._process.exitcode}"
            return "error", (reason, reason)
        return None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def _settle(
    worker: _Worker, store: ContinualStore, runs: Path, commit: str, watcher: Watcher, outcome: Outcome
) -> None:
    cell, found = worker.cell, worker.answer() if worker.cell is not None else None
    if cell is None or found is None:
        return
    worker.cell = None
    kind, value = found
    if kind == "row":
        store.add({**value, "commit": commit})
        outcome.finished += 1
        watcher.finished(cell)
        return
    reason, text = value
    runs.mkdir(parents=True, exist_ok=True)
    log = runs / f"{cell.label}.log"
    log.write_text(text, encoding="utf-8")
    outcome.failed.append((cell, reason))
    watcher.failed(cell, reason, log)


@dataclasses.dataclass
class _Teller:
    """Tells how far a run is."""

    pipe: Connection
    last: float = 0.0

    def should_stop(self) -> bool:
        """Never: the process is ended from outside."""
        return False

    def update(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Send the share of the steps, not too often."""
        now = time.monotonic()
        if now - self.last > _TELL_SECONDS:
            self.last = now
            self.pipe.send(("share", min(1.0, step / total_steps)))


def _work(pipe: Connection) -> None:
    """Take cells until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the caller's
    from metarl_core.agents.continual.run import run_method

    with contextlib.suppress(EOFError, OSError):
        while True:
            cell: ContinualCell = pipe.recv()
            try:
                sequence = cell.sequence.make(cell.seed)
                config = dataclasses.replace(cell.config, torch_threads=1)
                result = run_method(sequence, cell.method.algorithm, config, seed=cell.seed, watch=_Teller(pipe))
                pipe.send(("row", continual_row(cell, result, "")))
            except MetarlError as error:
                pipe.send(("error", (str(error), traceback.format_exc())))
            except Exception as error:  # the other cells go on
                pipe.send(("error", (f"{type(error).__name__}: {error}", traceback.format_exc())))
