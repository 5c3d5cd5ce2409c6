"""Statistics over seeds and tasks (Agarwal et al. 2021, arXiv:2108.13264), equal to those of rliable. NumPy only."""

from __future__ import annotations

from metarl_core.stats.aggregates import (
    interquartile_mean,
    iqm,
    mean,
    median,
    optimality_gap,
    probability_of_improvement,
)
from metarl_core.stats.bootstrap import bootstrap_interval, resampling_indices
from metarl_core.stats.profiles import performance_profile
from metarl_core.stats.scores import Array, Scores

__all__ = [
    "Array",
    "Scores",
    "bootstrap_interval",
    "interquartile_mean",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "resampling_indices",
]
