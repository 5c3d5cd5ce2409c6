"""A report about several tasks: forgetting, unseen tasks, adaptation, transfer, and how submodels are weighted.

What a page shows are plain arrays, put together in :class:`MetaReportData`. Needs matplotlib.
"""

from __future__ import annotations

from metarl_core.report.meta.page import meta_figures, write_meta_report
from metarl_core.report.meta.sections import (
    Adaptation,
    AveragingWeights,
    ContinualResults,
    EvaluationCurves,
    MetaReportData,
    MethodCost,
    RoutingWeights,
    TaskEmbeddings,
    TaskSimilarity,
    TransferCurves,
    UnseenTasks,
    parameter_labels,
)

__all__ = [
    "Adaptation",
    "AveragingWeights",
    "ContinualResults",
    "EvaluationCurves",
    "MetaReportData",
    "MethodCost",
    "RoutingWeights",
    "TaskEmbeddings",
    "TaskSimilarity",
    "TransferCurves",
    "UnseenTasks",
    "meta_figures",
    "parameter_labels",
    "write_meta_report",
]
