"""What the results show, in words."""

from __future__ import annotations

import numpy as np

from metarl_core import stats
from metarl_core.report.meta._comparisons import continual_comparisons, sentences, unseen_comparisons
from metarl_core.report.meta._estimates import estimate
from metarl_core.report.meta._measures import continual_measures, unseen_scores
from metarl_core.report.meta._words import interval, quantity, seeds_warning
from metarl_core.report.meta.sections import ContinualResults, MetaReportData, UnseenTasks

__all__ = ["few_seeds", "headline"]


def headline(data: MetaReportData) -> list[str]:
    """Paragraphs: on unseen tasks, and on continual learning."""
    found = []
    if data.unseen is not None:
        found.append(_unseen(data.unseen))
    if data.continual is not None:
        found.append(_continual(data.continual))
    return found


def _unseen(section: UnseenTasks) -> str:
    subject, tasks = str(section.subject), quantity(len(section.tasks), "unseen task")
    own = estimate(unseen_scores(section, subject), stats.iqm)
    if own is None:
        return f"{subject} was not measured on all of {tasks} with any seed."
    what = section.score_name
    if section.normalised:
        what = f"{what} from chance (0) to {section.reference_name} (1)"
    start = f"On {tasks}, {subject} reaches {interval(own)}: {what}, IQM of {quantity(own.seeds, 'seed')}."
    return " ".join([start, *sentences(unseen_comparisons(section))])


def _continual(section: ContinualResults) -> str:
    subject, tasks = str(section.subject), quantity(len(section.tasks), "task")
    own = continual_measures(section, subject)
    if own.average is None:
        return f"{subject} was not measured on all of {tasks} at the end with any seed."
    lost = "" if subject in section.joint else f", and the average forgetting F {interval(own.forgetting)}"
    start = (
        f"After {tasks} one after another, {subject}'s average performance P is {interval(own.average)}{lost} "
        f"({quantity(own.average.seeds, 'seed')})."
    )
    return " ".join([start, *sentences(continual_comparisons(section))])


def few_seeds(data: MetaReportData) -> str:
    """Warn about methods with few seeds; empty if there are none."""
    seeds: dict[str, int] = {}
    for section, field in (
        (data.unseen, "scores"),
        (data.continual, "matrices"),
        (data.adaptation, "curves"),
        (data.curves, "curves"),
        (data.transfer, "curves"),
    ):
        for method, values in ({} if section is None else getattr(section, field)).items():
            seeds[method] = min(seeds.get(method, len(values)), len(np.asarray(values)))
    return seeds_warning(seeds)
