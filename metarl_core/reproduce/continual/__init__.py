"""Experiments whose cells are continual runs: a method, a sequence of tasks, a seed."""

from __future__ import annotations

from metarl_core.reproduce.continual.runner import run_continual_cells
from metarl_core.reproduce.continual.spec import ContinualCell, ContinualExperiment, SequenceSpec
from metarl_core.reproduce.continual.store import CONTINUAL_COLUMNS, ContinualStore, read_continual_rows
from metarl_core.reproduce.continual.summary import write_continual_summary

__all__ = [
    "CONTINUAL_COLUMNS",
    "ContinualCell",
    "ContinualExperiment",
    "ContinualStore",
    "SequenceSpec",
    "read_continual_rows",
    "run_continual_cells",
    "write_continual_summary",
]
