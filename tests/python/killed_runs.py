"""Runs of the command that are killed again and again, and what they must have written in the end.

Each run is a process of its own that executes the command. It is forked off a server that has imported torch
already, so that a hundred starts are cheap and nearly all of a process's life is training.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cli_helpers import CLOCK_COLUMNS, assert_same_state, rows_without_clock

from metarl_core.runs import RunReader

if TYPE_CHECKING:
    from typing_extensions import Self

TEMPORARY = ".latest.ckpt.tmp"
MOMENTS = ("saving", "training", "opening", "saving", "training")
CLOCK_RESULTS = ("wall_time_seconds", "steps_per_second")

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "torch",
        "metarl_core.cli.main",
        "metarl_core.cli.train",
        "metarl_core.agents.loop",
        "metarl_core.agents.continual",
    ]
)


class Command:
    """``metarl`` with ``words`` in a process of its own; what it prints goes to ``log``."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.log = log
        log.write_bytes(b"")
        self._process = _CONTEXT.Process(target=_execute, args=([str(word) for word in words], str(log)))
        self._process.start()

    def running(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()

    def killed(self) -> bool:
        """Wait for the end; whether it was killed. A failure of the command is an error."""
        self._process.join(300)
        code = self._process.exitcode
        assert code in (0, -signal.SIGKILL), f"ended with {code}: {self.log.read_text()}"
        return code != 0

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready``, or until the process ends."""
        deadline = time.monotonic() + 300
        while not ready() and self.running():
            assert time.monotonic() < deadline, f"nothing came of the process: {self.log.read_text()}"
            time.sleep(0.0005)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _execute(words: list[str], log: str) -> None:
    output = os.open(log, os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    from metarl_core.cli.main import main

    sys.exit(main(words))


def whole_run(words: list[str], folder: Path) -> float:
    """Run the command into ``folder``, and return the seconds that it took."""
    begin = time.monotonic()
    with Command([*words, "--out", folder], folder.with_suffix(".log")) as process:
        assert not process.killed()
    return time.monotonic() - begin


@dataclass
class Kills:
    """How often a process was killed, and what it was doing."""

    wanted: int
    done: int = 0
    while_doing: Counter[str] = field(default_factory=Counter)
    whole_runs: int = 0

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {what}" for what, count in sorted(self.while_doing.items()))
        return f"{self.done} kills ({parts}), {self.whole_runs} whole runs out of them, each equal bit for bit"


def folders() -> Iterator[str]:
    """Names of runs, one after another."""
    number = 0
    while True:
        number += 1
        yield f"run{number}"


def kill_train(words: list[str], tmp_path: Path, wanted: int, seed: int) -> Kills:
    """Train under SIGKILLs until ``wanted`` have happened, and compare each run that ends with an undisturbed one."""
    kills, rng, whole = Kills(wanted), random.Random(seed), tmp_path / "whole"
    seconds = whole_run(words, whole)
    for name in folders():
        run = tmp_path / name
        while not (run / "result.json").exists():
            start = [*words, "--out", run] if not (run / "config.json").exists() else ["train", "--resume", run]
            _one_sitting(start, run, kills, rng, seconds)
        assert_same_run(run, whole)
        kills.whole_runs += 1
        if kills.done >= kills.wanted:
            return kills
    raise AssertionError("unreachable")


def _one_sitting(words: list[str], run: Path, kills: Kills, rng: random.Random, seconds: float) -> None:
    """Start the process; kill it at a random moment of training, of opening the run, or of saving a checkpoint."""
    table = run / "metrics.csv"
    before = table.stat().st_ino if table.exists() else None
    stale = run / "checkpoints" / TEMPORARY
    stale.unlink(missing_ok=True)  # so that one that is left tells of this sitting's kill
    with Command(words, run.with_suffix(".log")) as process:
        if kills.done < kills.wanted:
            moment = MOMENTS[kills.done % len(MOMENTS)]
            if moment == "saving":
                process.wait_until(stale.exists)
                time.sleep(rng.uniform(0, 0.002))
            elif moment == "opening":
                process.wait_until(lambda: table.exists() and table.stat().st_ino != before)
                time.sleep(rng.uniform(0, 0.02))
            else:
                process.wait_until(lambda: process.log.stat().st_size > 0)  # the title: the run is open
                time.sleep(rng.uniform(0, seconds / 4))
            process.kill()
        if process.killed():
            kills.done += 1
            kills.while_doing[_what(run, stale)] += 1


def _what(run: Path, stale: Path) -> str:
    if stale.exists():
        return "while a checkpoint was written"
    if any(run.glob(".*.tmp")):
        return "while another file was written"
    if not (run / "checkpoints" / "latest.ckpt").exists():
        return "before the first checkpoint"
    return "between"


def assert_same_run(run: Path, whole: Path) -> None:
    """Every file of ``run`` as in ``whole`` bit for bit, but for what a clock measured."""
    assert rows_without_clock(run) == rows_without_clock(whole)
    assert table_without_clock(run / "metrics.csv") == table_without_clock(whole / "metrics.csv")
    for name in ("episodes.csv", "config.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert events(run).stat().st_size == events(whole).stat().st_size
    arrays = sorted(path.name for path in whole.glob("*.npz"))
    assert sorted(path.name for path in run.glob("*.npz")) == arrays
    for name in arrays:
        with np.load(run / name) as mine, np.load(whole / name) as theirs:
            assert_same_state(dict(mine), dict(theirs), name)
    mine, theirs = ({k: v for k, v in RunReader(r).result.items() if k not in CLOCK_RESULTS} for r in (run, whole))
    assert json.dumps(mine) == json.dumps(theirs)  # as text: nan is nan
    assert_same_state(RunReader(run).load_checkpoint(), RunReader(whole).load_checkpoint())
    assert not list(run.glob("**/.*.tmp"))


def table_without_clock(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, but for what a clock measured."""
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in CLOCK_COLUMNS} for row in csv.DictReader(file)]


def events(run: Path) -> Path:
    """The one TensorBoard file of ``run``."""
    (path,) = run.glob("events.out.tfevents.*")
    return path
