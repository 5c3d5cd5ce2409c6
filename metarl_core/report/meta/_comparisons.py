"""Does one method exceed another? Yes or no where the intervals are apart, and nothing where they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from metarl_core import stats
from metarl_core.report.meta._arrays import Array
from metarl_core.report.meta._estimates import FEW_SEEDS, Estimate, Statistic, difference, estimate, improvement
from metarl_core.report.meta._measures import final_performance, forgetting_by_task, levels, unseen_scores
from metarl_core.report.meta._words import joined
from metarl_core.report.meta.sections import ContinualResults, UnseenTasks

__all__ = ["Comparison", "answer", "continual_comparisons", "sentences", "unseen_comparisons"]

YES, NO, OVERLAP, FEW = "yes", "no, it is the other way round", "not shown, intervals overlap", "too few seeds to say"
INSIDE = "not shown, the interval holds it"


class Comparison(NamedTuple):
    """The subject against another method, or against a level."""

    subject: str
    verb: str
    """Claim between the two names, such as "exceeds"."""
    other: str
    mine: Estimate
    others: Estimate | float
    """A method's, or a level."""
    difference: Estimate | None
    improvement: Estimate | None
    answer: str


def answer(mine: Estimate, other: Estimate, lower_is_better: bool = False) -> str:
    """Say whether the interval of ``mine`` lies wholly on the better side of the other's."""
    if min(mine.seeds, other.seeds) < FEW_SEEDS:
        return FEW
    above, below = mine.low > other.high, mine.high < other.low
    if lower_is_better:
        above, below = below, above
    return YES if above else NO if below else OVERLAP


def continual_comparisons(section: ContinualResults) -> list[Comparison]:
    """Average performance and forgetting of the subject against those of every other method, run by run.

    A run's value is its mean over the tasks: so no task that none can forget, as the last, counts as a draw.
    """
    found = []
    measures: tuple[tuple[str, Callable[[ContinualResults, str], Array | None], bool], ...] = (
        ("has a higher average performance P than", final_performance, False),
        ("forgets less than", forgetting_by_task, True),
    )
    for verb, read, lower in measures:
        mine = read(section, str(section.subject))
        for other in section.performance:
            theirs = read(section, other)
            if other == section.subject or mine is None or theirs is None:
                continue
            own, against = (values.mean(axis=1, keepdims=True) for values in (mine, theirs))
            found += _methods(verb, str(section.subject), own, other, against, stats.mean, lower)
    return found


def unseen_comparisons(section: UnseenTasks) -> list[Comparison]:
    """The subject against chance, the reference and every other method."""
    subject = str(section.subject)
    mine = unseen_scores(section, subject)
    own = estimate(mine, stats.iqm)
    if own is None:
        return []
    found = []
    for name, level in levels(section).items():
        gap = estimate(mine - level, stats.iqm)
        assert gap is not None  # as own is not
        found.append(
            Comparison(subject, "exceeds", name, own, float(stats.iqm(level[None])), gap, None, _against_level(gap))
        )
    for other in section.scores:
        if other != subject:
            theirs = unseen_scores(section, other)
            found += _methods("exceeds", subject, mine, other, theirs, stats.iqm, paired=section.paired)
    return found


def sentences(comparisons: list[Comparison]) -> list[str]:
    """One sentence for each claim and answer, with all the methods that share them."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for item in comparisons:
        groups.setdefault((item.subject, item.verb, item.answer), []).append(item.other)
    return [f"{subject} {verb} {joined(others)}: {said}." for (subject, verb, said), others in groups.items()]


def _methods(
    verb: str,
    subject: str,
    mine: Array,
    other: str,
    theirs: Array,
    statistic: Statistic,
    lower: bool = False,
    paired: bool = False,
) -> list[Comparison]:
    own, against = estimate(mine, statistic), estimate(theirs, statistic)
    if own is None or against is None:
        return []
    gap = difference(mine, theirs, statistic, paired)
    better = improvement(theirs, mine) if lower else improvement(mine, theirs)
    said = answer(own, against, lower)
    return [Comparison(subject, verb, other, own, against, gap, better, said)]


def _against_level(gap: Estimate) -> str:
    if gap.seeds < FEW_SEEDS:
        return FEW
    return YES if gap.low > 0 else NO if gap.high < 0 else INSIDE
