"""What the results show, in words."""

from __future__ import annotations

import numpy as np

from metarl_core import stats
from metarl_core.report.meta._comparisons import Comparison, sentences
from metarl_core.report.meta._estimates import FEW_SEEDS, estimate
from metarl_core.report.meta._measures import continual_measures, unseen_scores
from metarl_core.report.meta._words import interval, quantity, seeds_warning
from metarl_core.report.meta.sections import ContinualResults, MetaReportData, UnseenTasks

__all__ = ["few_seeds", "headline", "rule"]


Compared = dict[str, list[Comparison]]
"""Comparisons of each section."""


def headline(data: MetaReportData, compared: Compared) -> list[tuple[str, list[str]]]:
    """What the subject reached, and how that compares: on unseen tasks, and in continual learning."""
    found = []
    if data.unseen is not None:
        found.append((_unseen(data.unseen), sentences(compared["unseen"])))
    if data.continual is not None:
        found.append((_continual(data.continual), sentences(compared["continual"])))
    return found


def _unseen(section: UnseenTasks) -> str:
    subject, tasks = str(section.subject), quantity(len(section.tasks), "unseen task")
    own = estimate(unseen_scores(section, subject), stats.iqm)
    if own is None:
        return f"{subject} was not measured on all of {tasks} with any seed."
    what = section.score_name
    if section.normalised:
        what = f"{what} from chance (0) to {section.reference_name} (1)"
    return f"On {tasks}, {subject} reaches {interval(own)}: {what}, IQM of {quantity(own.seeds, 'seed')}."


def _continual(section: ContinualResults) -> str:
    subject, tasks = str(section.subject), quantity(len(section.tasks), "task")
    own = continual_measures(section, subject)
    if own.average is None:
        return f"{subject} was not measured on all of {tasks} at the end with any seed."
    lost = "" if subject in section.joint else f", and the average forgetting F {interval(own.forgetting)}"
    return (
        f"After {tasks} one after another, {subject}'s average performance P is {interval(own.average)}{lost} "
        f"({quantity(own.average.seeds, 'seed')})."
    )


def rule(compared: Compared) -> str:
    """Say how the comparisons are decided; empty if there are none."""
    count = sum(map(len, compared.values()))
    if not count:
        return ""
    return (
        f"Yes or no: the two 95 % intervals lie apart, with at least {FEW_SEEDS} seeds each. Where they overlap, "
        "nothing is shown either way, though the interval of the difference may leave out 0. Each interval is for "
        f"itself, without correction for the {quantity(count, 'comparison')} on this page."
    )


def few_seeds(data: MetaReportData) -> str:
    """Warn about methods with few seeds; empty if there are none."""
    units: dict[str, dict[str, int]] = {}
    for section, field in (
        (data.unseen, "scores"),
        (data.continual, "performance"),
        (data.adaptation, "curves"),
        (data.curves, "curves"),
        (data.transfer, "curves"),
    ):
        seeds = units.setdefault(getattr(section, "unit", "seed"), {})
        for method, values in ({} if section is None else getattr(section, field)).items():
            seeds[method] = min(seeds.get(method, len(values)), len(np.asarray(values)))
    return " ".join(words for unit, seeds in units.items() if (words := seeds_warning(seeds, unit)))
