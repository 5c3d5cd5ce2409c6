"""Experiments as data: run the missing cells, gather one CSV, regenerate tables and plots from it."""

from __future__ import annotations

from metarl_core.reproduce.runner import run_cells
from metarl_core.reproduce.spec import Cell, Experiment, find_experiment, list_experiments, read_experiment
from metarl_core.reproduce.store import COLUMNS, ResultStore
from metarl_core.reproduce.summary import write_summary
from metarl_core.reproduce.watching import Outcome

__all__ = [
    "COLUMNS",
    "Cell",
    "Experiment",
    "Outcome",
    "ResultStore",
    "find_experiment",
    "list_experiments",
    "read_experiment",
    "run_cells",
    "write_summary",
]
