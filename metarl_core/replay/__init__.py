"""Prioritized and uniform replay over the compiled core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarl_core._late import late_names
from metarl_core.replay.batch import Batch
from metarl_core.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer
from metarl_core.replay.fields import fields_from_spaces
from metarl_core.replay.schedules import LinearSchedule
from metarl_core.replay.sum_tree import SumTree
from metarl_core.replay.weights import importance_weights

if TYPE_CHECKING:
    from metarl_core.replay.prefetch import PrefetchSampler
    from metarl_core.replay.writers import SharedWriter, SharedWriters, WriterStats

__all__ = [
    "Batch",
    "LinearSchedule",
    "PrefetchSampler",
    "PrioritizedReplayBuffer",
    "ReplayBuffer",
    "SharedWriter",
    "SharedWriters",
    "SumTree",
    "WriterStats",
    "fields_from_spaces",
    "importance_weights",
]

if not TYPE_CHECKING:  # or checkers would take any name
    _PREFETCH, _WRITERS = f"{__name__}.prefetch", f"{__name__}.writers"
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "PrefetchSampler": _PREFETCH,
            "SharedWriter": _WRITERS,
            "SharedWriters": _WRITERS,
            "WriterStats": _WRITERS,
        },
    )
