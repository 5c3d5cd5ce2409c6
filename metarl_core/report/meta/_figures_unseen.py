"""Figures of scores on unseen tasks."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from metarl_core import stats
from metarl_core.report.meta._estimates import estimate, measured
from metarl_core.report.meta._measures import levels, unseen_scores
from metarl_core.report.meta._style import INK, Palette, draw_estimate, draw_level, shown
from metarl_core.report.meta.sections import UnseenTasks

__all__ = ["unseen_by_task", "unseen_forest"]


def unseen_forest(section: UnseenTasks, palette: Palette) -> Figure:
    """Interquartile mean over seeds and tasks of each method, with its interval; each seed's mean as a dot."""
    methods = list(section.scores)
    figure = Figure(figsize=(8.6, 1.5 + 0.42 * len(methods)), layout="constrained")
    axes = figure.subplots()
    for row, method in enumerate(methods):
        scores = unseen_scores(section, method)
        found = estimate(scores, stats.iqm)
        if found is None:
            axes.annotate(
                "not measured", (0.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=9,
                color="#52606d",
            )  # fmt: skip
            continue
        seeds = measured(scores).mean(axis=1)
        axes.plot(seeds, np.full(len(seeds), row + 0.2), "|", markersize=7, color=INK, alpha=0.5)
        draw_estimate(axes, row, found, palette.color(method), palette.marker(method))
    for name, level in levels(section).items():
        if (level == level[0]).all():  # otherwise no one line says it; the figure by task has them
            draw_level(axes, float(level[0]), name, vertical=True)
    axes.set_yticks(range(len(methods)), [shown(method) for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.6)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.06)
    name = f"share of the way from chance to {section.reference_name}" if section.normalised else section.score_name
    axes.set_xlabel(f"{shown(name, 60)} (IQM, 95 %)")
    return figure


def unseen_by_task(section: UnseenTasks, palette: Palette) -> Figure:
    """Mean score of each method on each task with its interval, as given; chance and the reference as lines."""
    methods, tasks = list(section.scores), list(section.tasks)
    figure = Figure(figsize=(11.0, 1.6 + len(tasks) * max(0.6, 0.19 * len(methods))), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(methods)
    for task in range(len(tasks)):
        for row, method in enumerate(methods):
            found = estimate(np.asarray(section.scores[method])[:, task : task + 1], stats.mean)
            if found is not None:
                place = task - 0.4 + (row + 0.5) * height
                draw_estimate(axes, place, found, palette.color(method), palette.marker(method))
        for level, dash, name in (
            (section.chance, ":", "chance"),
            (section.reference, "--", section.reference_name),
        ):
            if level is not None:
                values = np.asarray(level)
                label = shown(name) if task == 0 else None
                axes.plot(
                    [values[task]] * 2, [task - 0.45, task + 0.45], color="#52606d", linestyle=dash, linewidth=1.6,
                    label=label,
                )  # fmt: skip
        if task:
            axes.axhline(task - 0.5, color="#cbd2d9", linewidth=0.8)
    for method in methods:
        axes.plot([], [], palette.marker(method), color=palette.color(method), linestyle="none", label=shown(method))
    axes.set_yticks(range(len(tasks)), [shown(task) for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{shown(section.score_name, 60)} (mean, 95 %)")
    figure.legend(loc="outside right upper", fontsize=10)
    return figure
