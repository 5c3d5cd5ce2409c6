"""Continual learning: methods that meet one task after another, in one loop, with equal environment steps."""

from __future__ import annotations

from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.learner import ContinualLearner
from metarl_core.agents.continual.registry import METHODS
from metarl_core.agents.continual.run import ContinualResult, run_method
from metarl_core.agents.continual.sequence import TaskSequence, make_sequence, sequence_names
from metarl_core.agents.continual.summary import Measures, Scale, measure, scale_of, table

__all__ = [
    "METHODS",
    "ContinualConfig",
    "ContinualLearner",
    "ContinualResult",
    "Measures",
    "Scale",
    "TaskSequence",
    "make_sequence",
    "measure",
    "run_method",
    "scale_of",
    "sequence_names",
    "table",
]
