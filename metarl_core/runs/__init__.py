"""Run directories: what a training run leaves on disk, its checkpoints, and reading it back. NumPy only."""

from __future__ import annotations

from metarl_core.runs.checkpoint import read_checkpoint, write_checkpoint
from metarl_core.runs.progress import NullProgress, Progress
from metarl_core.runs.reader import RunReader
from metarl_core.runs.schema import EPISODE_COLUMNS, METRIC_COLUMNS, RESULT_FIELDS, SCHEMA_VERSION, validate_result
from metarl_core.runs.versions import hardware, versions
from metarl_core.runs.writer import RunWriter

__all__ = [
    "EPISODE_COLUMNS",
    "METRIC_COLUMNS",
    "RESULT_FIELDS",
    "SCHEMA_VERSION",
    "NullProgress",
    "Progress",
    "RunReader",
    "RunWriter",
    "hardware",
    "read_checkpoint",
    "validate_result",
    "versions",
    "write_checkpoint",
]
