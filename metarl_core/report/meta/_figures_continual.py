"""Figures of learning one task after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from metarl_core.report.meta._arrays import Array
from metarl_core.report.meta._estimates import Estimate, measured
from metarl_core.report.meta._measures import (
    average_over_seeds,
    continual_measures,
    final_performance,
    forgetting_by_task,
    performance,
    task_ends,
)
from metarl_core.report.meta._style import (
    FAINT,
    INK,
    Palette,
    crowded,
    draw_band,
    grid,
    heatmap,
    short,
    shown,
    steps_axis,
)
from metarl_core.report.meta.sections import ContinualResults, EvaluationCurves

__all__ = ["forgetting_bars", "performance_heatmaps", "task_curves"]


def performance_heatmaps(section: ContinualResults, palette: Palette) -> Figure:
    """Task by checkpoint, one panel for each method: mean over the seeds; frames where a task's training ended."""
    means = {method: average_over_seeds(performance(section, method)).T for method in section.performance}
    low, high = _range(np.concatenate([mean.ravel() for mean in means.values()]))
    checkpoints = next(iter(means.values())).shape[1]
    if section.steps is None:
        columns = [str(k + 1) for k in range(checkpoints)]
    else:
        columns = [short(step) for step in np.asarray(section.steps)]
    figure, panels = grid(len(means), 3, 3.75, 1.0 + 0.42 * len(section.tasks))
    image: Any = None
    for position, (axes, (method, mean)) in enumerate(zip(panels, means.items(), strict=True)):
        image = heatmap(axes, mean, list(section.tasks), columns, low, high, numbers=checkpoints <= 8)
        axes.set_title(shown(method), color=palette.color(method))
        axes.set_xlabel("checkpoint" if section.steps is None else "environment steps")
        if method not in section.joint:
            for task, end in enumerate(task_ends(section)):
                axes.add_patch(
                    Rectangle((end - 0.46, task - 0.46), 0.92, 0.92, fill=False, edgecolor="#D55E00", linewidth=2.2)
                )
        if position % _columns(panels):
            axes.tick_params(labelleft=False)
    height = figure.get_size_inches()[1]
    figure.colorbar(image, ax=panels, label="mean performance", shrink=min(0.8, 4.5 / height), aspect=28, pad=0.01)
    return figure


def _columns(panels: list[Axes]) -> int:
    spec = panels[0].get_subplotspec()
    assert spec is not None
    return int(spec.get_gridspec().ncols)


def _range(values: Array) -> tuple[float, float]:
    """0 to 1 if values lie there; else what they span."""
    known = values[~np.isnan(values)]
    if not len(known) or (known.min() >= 0 and known.max() <= 1):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def forgetting_bars(section: ContinualResults, palette: Palette) -> Figure:
    """Average performance and average forgetting of each method, with intervals, and the seeds as dots."""
    methods = list(section.performance)
    figure = Figure(figsize=(11.0, 1.5 + 0.42 * len(methods)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, method in enumerate(methods):
        found = continual_measures(section, method)
        color = palette.color(method)
        lost = forgetting_by_task(section, method)
        _bar(left, row, found.average, final_performance(section, method), color, "not measured")
        absent = "not defined: learns all tasks at once" if lost is None else "not measured"
        _bar(right, row, found.forgetting, lost, color, absent)
    left.set_yticks(range(len(methods)), [shown(method) for method in methods])
    left.set_ylim(len(methods) - 0.4, -0.6)
    left.set_title("Average performance P at the end")
    left.set_xlabel("performance (more is better)")
    right.set_title("Average forgetting F")
    right.tick_params(axis="y", left=False)
    right.set_xlabel("performance lost (less is better)")
    for axes in (left, right):
        axes.axvline(0, color=INK, linewidth=1)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.08)
    return figure


def _bar(axes: Axes, row: int, found: Estimate | None, values: Array | None, color: str, absent: str) -> None:
    if found is None or values is None:
        axes.annotate(absent, (0.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, color="#52606d")
        return
    axes.barh(row, found.value, height=0.62, color=color, alpha=0.55)
    seeds = measured(values).mean(axis=1)
    axes.plot(seeds, np.full(len(seeds), row), "o", markersize=3.2, color=INK, alpha=0.45, markeredgewidth=0)
    if found.has_interval:
        axes.errorbar(
            found.value, row, xerr=[[found.value - found.low], [found.high - found.value]],
            color=INK, linewidth=1.8, capsize=4,
        )  # fmt: skip


def task_curves(section: EvaluationCurves, palette: Palette) -> Figure:
    """Performance on each task by environment steps; lines where training switched, and its own phases shaded."""
    steps = np.asarray(section.steps)
    figure, panels = grid(len(section.tasks), 1 if len(section.tasks) == 1 else 2, 5.5, 2.5)
    starts = np.empty(0) if section.phase_starts is None else np.asarray(section.phase_starts)
    trained = np.empty(0) if section.phase_tasks is None else np.asarray(section.phase_tasks)
    ends = np.append(starts[1:], max(steps[-1], starts[-1])) if len(starts) else starts
    for task, axes in enumerate(panels):
        for start, end, number_ in zip(starts, ends, trained, strict=True):
            if number_ == task:
                axes.axvspan(start, end, color="#F3E3B3", alpha=0.55, linewidth=0, zorder=0)
        for start in starts[1:]:
            axes.axvline(start, color=FAINT, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
        drawn = [
            draw_band(axes, steps, np.asarray(curves)[:, None, :, task], method, palette, crowded(section.curves))
            for method, curves in section.curves.items()
        ]
        if not any(drawn):
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color="#52606d")
        axes.set_title(shown(section.tasks[task], 48))
        axes.set_ylabel(shown(section.score_name))
        axes.set_xlim(min(steps[0], *starts[:1]), steps[-1] if len(steps) > 1 else None)
        steps_axis(axes)
    handles = {
        str(label): handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=min(5, len(handles)), fontsize=10
        )
    return figure
