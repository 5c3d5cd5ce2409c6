"""Prioritized and uniform replay over the compiled core."""

from __future__ import annotations

from metarl_core.replay.batch import Batch
from metarl_core.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer
from metarl_core.replay.fields import fields_from_spaces
from metarl_core.replay.prefetch import PrefetchSampler
from metarl_core.replay.schedules import LinearSchedule
from metarl_core.replay.sum_tree import SumTree
from metarl_core.replay.weights import importance_weights
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
