"""The tables of the page, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from metarl_core import stats
from metarl_core.report.meta._arrays import Array
from metarl_core.report.meta._comparisons import Comparison
from metarl_core.report.meta._estimates import Estimate, difference, estimate, measured
from metarl_core.report.meta._measures import continual_measures, unseen_scores
from metarl_core.report.meta._words import interval, number, size
from metarl_core.report.meta.sections import Adaptation, ContinualResults, MethodCost, TransferCurves, UnseenTasks

__all__ = ["adaptation_table", "comparison_table", "continual_table", "cost_table", "transfer_table", "unseen_table"]


def continual_table(section: ContinualResults) -> str:
    """P, IQM, F, BWT, FT and the worst task of every method."""
    rows = []
    for method in section.matrices:
        found = continual_measures(section, method)
        lost = (
            ["not defined"] * 2 if method in section.joint else [interval(found.forgetting), interval(found.backward)]
        )
        forward = "-" if found.forward is None else interval(found.forward)
        cells = [interval(found.average), interval(found.middle), *lost, forward, interval(found.worst)]
        rows.append([method, _seeds(found.average), *cells])
    head = ["method", "seeds", "P, average performance", "IQM at the end", "F, forgetting", "BWT", "FT", "worst task"]
    return table("Continual learning, with 95 % intervals", head, rows)


def unseen_table(section: UnseenTasks) -> str:
    """IQM, mean and worst task of every method over the unseen tasks."""
    rows = []
    for method in section.scores:
        scores = unseen_scores(section, method)
        middle, mean, worst = (estimate(scores, measure) for measure in (stats.iqm, stats.mean, stats.worst_task))
        raw = "-"
        if section.normalised:
            raw = interval(estimate(np.asarray(section.scores[method]), stats.mean))
        rows.append([method, _seeds(middle), interval(middle), interval(mean), interval(worst), raw])
    head = ["method", "seeds", "IQM", "mean", "worst task", f"mean {section.score_name}, as given"]
    if not section.normalised:
        head, rows = head[:-1], [row[:-1] for row in rows]
    return table("Unseen tasks, with 95 % intervals", head, rows)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Every comparison with its numbers and its answer."""
    rows = []
    for item in comparisons:
        against = interval(item.others) if item.others.seeds else number(item.others.value)
        better = "-" if item.improvement is None else interval(item.improvement)
        claim = f"{item.subject} {item.verb} {item.other}"
        rows.append([claim, item.answer, interval(item.mine), against, interval(item.difference), better])
    head = ["claim", "answer", "own", "other", "difference", "probability of improvement"]
    return table("Comparisons, with 95 % intervals", head, rows, "claims")


def adaptation_table(section: Adaptation) -> str:
    """Interquartile means after each number of episodes; where there are many, the first, the last and some between."""
    episodes = np.asarray(section.episodes)
    shown = np.unique(np.linspace(0, len(episodes) - 1, min(len(episodes), 6)).astype(np.int64))
    rows = []
    for method, curves in section.curves.items():
        values = np.asarray(curves)
        found = [estimate(values[:, :, point], stats.iqm) for point in shown]
        rows.append([method, _seeds(found[0]), *map(interval, found)])
    head = ["method", "seeds", *(f"after {number(float(episodes[point]))}" for point in shown)]
    return table("Score by episodes of adaptation (IQM), with 95 % intervals", head, rows)


def transfer_table(section: TransferCurves) -> str:
    """Taylor and Stone's measures of every method against scratch; intervals hold the spread of both."""
    curves = {method: measured(np.asarray(values)) for method, values in section.curves.items()}
    scratch = curves.pop(section.scratch)
    rows = []
    for method, kept in curves.items():
        count = len(np.asarray(section.curves[method]))
        seeds = str(count) if len(kept) == count else f"{len(kept)} of {count}"
        if len(kept) and len(scratch):
            rows.append([method, seeds, *_transfer(section, kept, scratch)])
        else:
            rows.append([method, seeds, *["not measured"] * 4, "-"])
    head = ["method", "seeds", "jump start", "asymptotic gain", "area gained", "area gained / area of scratch"]
    return table("Transfer, against scratch, with 95 % intervals", [*head, "median steps to the threshold"], rows)


def _transfer(section: TransferCurves, own: Array, scratch: Array) -> list[str]:
    steps = np.asarray(section.steps)
    areas, alone = (stats.area_under_curve(curves, steps) for curves in (own, scratch))
    ends = [curves[..., -section.last :].mean(axis=-1) for curves in (own, scratch)]
    found = [
        difference(mine, other, stats.mean, paired=False)
        for mine, other in ((own[..., 0], scratch[..., 0]), (ends[0], ends[1]), (areas, alone))
    ]
    # Of the means: a ratio for each seed would be ruled by those whose area from scratch is near 0.
    ratio = number(float((areas.mean() - alone.mean()) / alone.mean())) if alone.mean() > 0 else "not defined"
    times = "-"
    if section.threshold is not None:
        reached, reached_alone = (stats.time_to_threshold(c, section.threshold, steps) for c in (own, scratch))
        times = f"{_median(reached)} against {_median(reached_alone)}"
    return [*map(interval, found), ratio, times]


def _median(times: Array) -> str:
    # The upper one of two in the middle: a mean of a number and of never is none.
    return number(float(np.sort(times.ravel())[times.size // 2]))


def cost_table(costs: Sequence[MethodCost]) -> str:
    """Steps, parameters, bytes and whether the task is told."""
    rows = [
        [
            cost.method,
            "-" if cost.environment_steps is None else f"{cost.environment_steps:,}",
            "-" if cost.parameters is None else f"{cost.parameters:,}",
            size(cost.stored_bytes),
            {True: "yes", False: "no", None: "-"}[cost.task_identity_at_test],
        ]
        for cost in costs
    ]
    head = ["method", "environment steps", "parameters", "stored", "task identity given at test"]
    return table("What each method used", head, rows)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Make a table; all cells are text, the first of each row its heading."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide meta {kind}"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _seeds(found: Estimate | None) -> str:
    if found is None:
        return "0"
    return f"{found.seeds} of {found.seeds + found.left_out}" if found.left_out else str(found.seeds)
