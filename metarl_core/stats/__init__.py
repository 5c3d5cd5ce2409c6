"""Statistics over seeds and tasks (Agarwal et al. 2021, arXiv:2108.13264), equal to those of rliable. NumPy only.

And the measures of continual and meta-learning: forgetting, transfer, adaptation.
"""

from __future__ import annotations

from metarl_core.stats.adaptation import AdaptationCurve, adaptation_curve, worst_task
from metarl_core.stats.aggregates import (
    interquartile_mean,
    iqm,
    mean,
    median,
    optimality_gap,
    probability_of_improvement,
)
from metarl_core.stats.bootstrap import bootstrap_interval, resampling_indices
from metarl_core.stats.continual import (
    average_forgetting,
    average_forgetting_from_best,
    average_performance,
    backward_transfer,
    forgetting,
    forgetting_from_best,
    forward_transfer,
)
from metarl_core.stats.curves import TransferReport, area_under_curve, time_to_threshold, transfer_report
from metarl_core.stats.profiles import performance_profile
from metarl_core.stats.scores import Array, Scores

__all__ = [
    "AdaptationCurve",
    "Array",
    "Scores",
    "TransferReport",
    "adaptation_curve",
    "area_under_curve",
    "average_forgetting",
    "average_forgetting_from_best",
    "average_performance",
    "backward_transfer",
    "bootstrap_interval",
    "forgetting",
    "forgetting_from_best",
    "forward_transfer",
    "interquartile_mean",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "resampling_indices",
    "time_to_threshold",
    "transfer_report",
    "worst_task",
]
