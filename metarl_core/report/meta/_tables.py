"""The tables of the page, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from metarl_core import stats
from metarl_core.report.meta._arrays import Array
from metarl_core.report.meta._comparisons import Comparison
from metarl_core.report.meta._estimates import Estimate, difference, estimate, measured
from metarl_core.report.meta._measures import continual_measures, transfer_undefined, unseen_scores
from metarl_core.report.meta._style import short
from metarl_core.report.meta._words import joined, number, size, value_and_ends
from metarl_core.report.meta.sections import Adaptation, ContinualResults, MethodCost, TransferCurves, UnseenTasks

__all__ = ["adaptation_table", "comparison_table", "continual_table", "cost_table", "transfer_table", "unseen_table"]

Cell = str | Estimate | tuple[str, ...] | None
"""Text, a number with its interval, or small lines; None: not measured."""


def continual_table(section: ContinualResults, costs: Sequence[MethodCost] = ()) -> str:
    """P, IQM, F, BWT, FT and the worst task of every method, beside what it used."""
    rows: list[list[Cell]] = []
    for method in section.performance:
        found = continual_measures(section, method)
        lost: list[Cell] = [found.forgetting, found.backward]
        if method in section.joint:
            lost = ["not defined"] * 2
        forward: Cell = "-" if found.forward is None else found.forward
        rows.append([method, _seeds(found.average), found.average, found.middle, *lost, forward, found.worst])
    head = ["method", "seeds", "P, average performance", "IQM at the end", "F, forgetting", "BWT", "FT", "worst task"]
    caption = "Continual learning, with 95 % intervals"
    undefined = transfer_undefined(section)
    if undefined:
        caption += f"; FT without {joined(undefined)}, where training from scratch leaves nothing to gain"
    return table(caption, *_with_costs(head, rows, costs))


def unseen_table(section: UnseenTasks, costs: Sequence[MethodCost] = ()) -> str:
    """IQM, mean and worst task of every method over the unseen tasks, beside what it used."""
    rows: list[list[Cell]] = []
    for method in section.scores:
        scores = unseen_scores(section, method)
        found = [estimate(scores, measure) for measure in (stats.iqm, stats.mean, stats.worst_task)]
        raw = [estimate(np.asarray(section.scores[method]), stats.mean)] if section.normalised else []
        rows.append([method, _seeds(found[0]), *found, *raw])
    head = ["method", "seeds", "IQM", "mean", "worst task"]
    head += [f"mean {section.score_name}, as given"] if section.normalised else []
    used = [cost._replace(task_identity_at_test=None) for cost in costs]  # that is of known tasks
    return table("Unseen tasks, with 95 % intervals", *_with_costs(head, rows, used))


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Every comparison with its numbers and its answer."""
    rows: list[list[Cell]] = []
    for item in comparisons:
        against = number(item.others) if isinstance(item.others, float) else item.others
        better: Cell = "-" if item.improvement is None else item.improvement
        rows.append(
            [f"{item.subject} {item.verb} {item.other}", item.answer, item.mine, against, item.difference, better]
        )
    head = ["claim", "answer", "own", "other", "difference", "probability of improvement"]
    return table("Comparisons, with 95 % intervals", head, rows, "claims")


def adaptation_table(section: Adaptation) -> str:
    """Averages after each number of episodes; where there are many, the first, the last and some between."""
    episodes = np.asarray(section.episodes)
    shown = np.unique(np.linspace(0, len(episodes) - 1, min(len(episodes), 6)).astype(np.int64))
    statistic, name = (stats.mean, "mean") if section.statistic == "mean" else (stats.iqm, "IQM")
    rows: list[list[Cell]] = []
    for method, curves in section.curves.items():
        found = [estimate(np.asarray(curves)[:, :, point], statistic) for point in shown]
        cells = [None if one is None else one._replace(unit=section.unit) for one in found]
        rows.append([method, _seeds(found[0]), *cells])
    head = ["method", f"{section.unit}s", *(f"after {number(float(episodes[point]))}" for point in shown)]
    return table(f"Score by episodes of adaptation ({name}), with 95 % intervals", head, rows)


def transfer_table(section: TransferCurves) -> str:
    """Taylor and Stone's measures of every method against scratch; intervals hold the spread of both."""
    curves = {method: measured(np.asarray(values)) for method, values in section.curves.items()}
    scratch = curves.pop(section.scratch)
    rows: list[list[Cell]] = []
    for method, kept in curves.items():
        count = len(np.asarray(section.curves[method]))
        seeds = str(count) if len(kept) == count else f"{len(kept)} of {count}"
        if len(kept) and len(scratch):
            rows.append([method, seeds, *_transfer(section, kept, scratch)])
        else:
            rows.append([method, seeds, *["not measured"] * 4, "-"])
    head = ["method", "seeds", "jump start", "asymptotic gain", "area gained", "area gained / area of scratch"]
    return table("Transfer, against scratch, with 95 % intervals", [*head, "median steps to the threshold"], rows)


def _transfer(section: TransferCurves, own: Array, scratch: Array) -> list[Cell]:
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
    return [*found, ratio, times]


def _median(times: Array) -> str:
    # Of two in the middle the lower one, by when half of them were there: a mean of a number and of never is none.
    return number(float(np.sort(times.ravel())[(times.size - 1) // 2]))


def cost_table(costs: Sequence[MethodCost]) -> str:
    """Steps, parameters, bytes and whether the task is told."""
    rows: list[list[Cell]] = [
        [
            cost.method,
            "-" if cost.environment_steps is None else f"{cost.environment_steps:,}",
            "-" if cost.parameters is None else f"{cost.parameters:,}",
            size(cost.stored_bytes),
            {True: "yes", False: "no", None: "-"}[cost.task_identity_at_test],
        ]
        for cost in costs
    ]
    head = ["method", "environment steps", "parameters", "stored", "told which of its tasks it acts on"]
    return table("What each method used", head, rows)


def _with_costs(
    head: list[str], rows: list[list[Cell]], costs: Sequence[MethodCost]
) -> tuple[list[str], list[list[Cell]]]:
    """Add what the methods used, if that is known of any of them."""
    used = {cost.method: _used(cost) for cost in costs}
    if not any(row[0] in used for row in rows):
        return head, rows
    return [*head, "used"], [[*row, used.get(str(row[0]), "-")] for row in rows]


def _used(cost: MethodCost) -> tuple[str, ...]:
    lines = []
    if cost.environment_steps is not None:
        lines.append(f"{short(float(f'{cost.environment_steps:.3g}'))} steps")
    if cost.parameters is not None:
        lines.append(f"{short(float(f'{cost.parameters:.3g}'))} parameters")
    if cost.stored_bytes is not None:
        lines.append(f"{size(cost.stored_bytes)} stored")
    if cost.task_identity_at_test is not None:
        lines.append("task given" if cost.task_identity_at_test else "task not given")
    return tuple(lines) or ("-",)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], kind: str = "") -> str:
    """Make a table; the first cell of each row is its heading."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{_html(row[0])}</th>' + "".join(f"<td>{_html(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide meta {kind}"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    if not isinstance(cell, (Estimate, type(None))):
        return "".join(f"<small>{escape(line)}</small>" for line in cell)
    if cell is None:
        return "not measured"
    value, ends = value_and_ends(cell)
    return f"{escape(value)} <small>{escape(ends)}</small>"


def _seeds(found: Estimate | None) -> str:
    if found is None:
        return "0"
    return f"{found.seeds} of {found.seeds + found.left_out}" if found.left_out else str(found.seeds)
