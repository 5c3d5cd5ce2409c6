"""What each kind of experiment is run, stored and summarised by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from metarl_core.reproduce.continual import (
    ContinualCell,
    ContinualExperiment,
    ContinualStore,
    run_continual_cells,
    write_continual_summary,
)
from metarl_core.reproduce.runner import run_cells
from metarl_core.reproduce.spec import Cell, Experiment
from metarl_core.reproduce.store import ResultStore
from metarl_core.reproduce.summary import write_summary
from metarl_core.reproduce.watching import Outcome, Watcher

__all__ = ["AnyCell", "AnyExperiment", "has_checkpoints", "open_store", "run_missing", "summarise"]

AnyExperiment: TypeAlias = Experiment | ContinualExperiment
AnyCell: TypeAlias = Cell | ContinualCell


def has_checkpoints(experiment: AnyExperiment) -> bool:
    """Whether a cell that was interrupted goes on where it was."""
    return not isinstance(experiment, ContinualExperiment)


def open_store(experiment: AnyExperiment, path: Path) -> ResultStore:
    """The store of an experiment's CSV.

    Raises:
        RunError: the file is damaged, or of another kind of experiment.
    """
    if isinstance(experiment, ContinualExperiment):
        return ContinualStore(path, experiment.cells)
    return ResultStore(path, experiment.cells)


def run_missing(
    experiment: AnyExperiment,
    cells: Sequence[Any],
    store: ResultStore,
    runs: Path,
    jobs: int,
    watcher: Watcher,
    keep_runs: bool,
) -> Outcome:
    """Run cells of an experiment; see :func:`run_cells` and :func:`run_continual_cells`."""
    if isinstance(experiment, ContinualExperiment):
        assert isinstance(store, ContinualStore)
        return run_continual_cells(cells, store, runs, jobs, watcher)
    return run_cells(cells, store, runs, jobs, watcher, keep_runs)


def summarise(experiment: AnyExperiment, path: Path) -> list[Path]:
    """Write tables and plots beside the CSV; the files written."""
    if isinstance(experiment, ContinualExperiment):
        return write_continual_summary(experiment, path)
    return write_summary(experiment, path)
