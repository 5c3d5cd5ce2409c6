"""What a report about several tasks can show: plain arrays and labels, checked when they are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from metarl_core.report.meta._sections_continual import ContinualResults, EvaluationCurves
from metarl_core.report.meta._sections_new_tasks import Adaptation, TransferCurves, UnseenTasks
from metarl_core.report.meta._sections_tasks import (
    AveragingWeights,
    RoutingWeights,
    TaskEmbeddings,
    TaskSimilarity,
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
    "parameter_labels",
]


class MethodCost(NamedTuple):
    """What a method used: a row of a table. None where it is not known."""

    method: str
    environment_steps: int | None = None
    """In training, all tasks together."""
    parameters: int | None = None
    """Of all networks that are kept for acting."""
    stored_bytes: int | None = None
    """Transitions, networks and whatever else is kept of old tasks."""
    task_identity_at_test: bool | None = None
    """Whether the method is told which of the tasks of its training it acts on; nobody is told of unseen ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class MetaReportData:
    """Everything for one page; each section may be left out.

    Attributes:
        title: Above the page, such as the family of tasks.
        about: A sentence or two on what was run.
        commands: Commands that make the results again.
        continual: Performance matrices.
        curves: Evaluations by environment steps.
        unseen: Scores on tasks that were not trained on.
        adaptation: Performance by episodes of adaptation.
        transfer: Learning curves after transfer and from scratch.
        similarity: Of the tasks' embeddings.
        averaging: Weights by round.
        routing: Weights on new tasks.
        embeddings: Of tasks.
        costs: Steps, parameters and bytes of each method.
    """

    title: str
    about: str = ""
    commands: Sequence[str] = ()
    continual: ContinualResults | None = None
    curves: EvaluationCurves | None = None
    unseen: UnseenTasks | None = None
    adaptation: Adaptation | None = None
    transfer: TransferCurves | None = None
    similarity: TaskSimilarity | None = None
    averaging: AveragingWeights | None = None
    routing: RoutingWeights | None = None
    embeddings: TaskEmbeddings | None = None
    costs: Sequence[MethodCost] = ()
