"""Plots of an experiment. Files hold no time stamps, so that the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metarl_core import stats
from metarl_core.report._figures import COLORS, STYLE
from metarl_core.reproduce.store import CURVE_POINTS
from metarl_core.reproduce.summary import Group, Results, task_text
from metarl_core.reproduce.unseen import Unseen
from metarl_core.reproduce.unseen_summary import unseen_plot
from metarl_core.runs._files import atomic_writer

__all__ = ["bars", "curves", "profile", "save_plots", "scaling", "write_plots"]

_RESAMPLES = 2000
_WIDTH = 6.4


def write_plots(results: Results, folder: Path, unseen: Unseen) -> list[Path]:
    """Draw the experiment's plots as PNG files; one for which there are no results is left out.

    Args:
        results: rows of the runs.
        folder: where the files go.
        unseen: what the runs came to on held-out tasks, if they were measured there.

    Returns:
        The files.
    """
    kinds: dict[str, Callable[[Results], Figure | None]] = {
        "scaling": scaling,
        "curves": curves,
        "bars": bars,
        "profile": profile,
        "unseen": lambda results: unseen_plot(results, unseen),
    }
    return save_plots({name: partial(kinds[name], results) for name in results.experiment.plots}, folder)


def save_plots(draws: Mapping[str, Callable[[], Figure | None]], folder: Path) -> list[Path]:
    """Write ``NAME.png`` for each that gives a figure; the files."""
    written = []
    with mpl.rc_context(STYLE):
        for name, draw in draws.items():
            figure = draw()
            if figure is None:
                continue
            FigureCanvasAgg(figure)
            path = folder / f"{name}.png"
            with atomic_writer(path) as file:
                figure.savefig(file, format="png", bbox_inches="tight", metadata={"Software": None})
            written.append(path)
    return written


def scaling(results: Results) -> Figure | None:
    """Episodes to solve against DeepSea's size, with the 2^N episodes that undirected exploration takes."""
    points = {
        method: [(size, group) for group in results.groups if group.method == method and (size := _size(group))]
        for method in results.methods
    }
    sizes = sorted({size for found in points.values() for size, _ in found})
    if results.experiment.measure != "episodes_to_solve" or not sizes:
        return None
    figure = Figure(figsize=(_WIDTH, 4.2))
    axes = figure.add_subplot()
    budget = max(max(results.values(group)) for found in points.values() for _, group in found)
    for number, (method, found) in enumerate(points.items()):
        if not found:
            continue
        x, y, low, high, solved = [], [], [], [], []
        for size, group in sorted(found, key=lambda item: item[0]):
            values = results.values(group)
            interval = stats.bootstrap_interval(stats.iqm, [values], resamples=_RESAMPLES)
            x.append(size)
            y.append(float(stats.iqm([values])))
            low.append(float(interval.low))
            high.append(float(interval.high))
            solved.append(group.solved == len(group.rows))
        color = COLORS[number % len(COLORS)]
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(x, y, color=color, label=results.label(method))
        filled = np.array(solved)
        axes.plot(np.array(x)[filled], np.array(y)[filled], "o", color=color)
        axes.plot(np.array(x)[~filled], np.array(y)[~filled], "o", color=color, markerfacecolor="white")
    line = np.linspace(min(sizes), max(sizes), 200)
    exponential = 2.0**line
    axes.plot(
        line[exponential <= 2 * budget], exponential[exponential <= 2 * budget], ":", color="#555555", label="$2^N$"
    )
    axes.set_yscale("log")
    axes.set_xlabel("size N")
    axes.set_ylabel("episodes to solve (IQM, 95 %)")
    axes.set_title(results.experiment.title, fontsize=11)
    figure.text(
        0.5,
        -0.03,
        "open: not every seed solved it; an unsolved run counts as its whole budget",
        ha="center",
        fontsize=8,
    )
    axes.legend(fontsize=9)
    return figure


def curves(results: Results) -> Figure | None:
    """Return while training against environment steps: IQM over the seeds with its interval, one panel a task."""
    tasks = results.tasks
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(_WIDTH if columns == 1 else 4.2 * columns, 3.4 * lines), layout="tight")
    for panel, task in enumerate(tasks):
        axes = figure.add_subplot(lines, columns, panel + 1)
        for number, method in enumerate(results.methods):
            group = results.group(method, task)
            if group is None:
                continue
            values, steps = _curve_values(group)
            # A run that ends early leaves gaps; the curve is drawn where every run has a value. One that ended because
            # it had solved its task is taken to go on as it ended.
            drawn = ~np.isnan(values).any(axis=0)
            if not drawn.any():
                continue
            interval = stats.bootstrap_interval(
                lambda columns: np.stack([stats.iqm([c]) for c in columns], axis=-1),
                values[:, drawn],
                resamples=_RESAMPLES,
            )
            color = COLORS[number % len(COLORS)]
            axes.fill_between(steps[drawn], interval.low, interval.high, color=color, alpha=0.15, linewidth=0)
            axes.plot(
                steps[drawn], stats.interquartile_mean(values[:, drawn]), color=color, label=results.label(method)
            )
        axes.set_title(task_text(task), fontsize=10)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("return (IQM, 95 %)")
        if panel == 0 and axes.has_data():
            axes.legend(fontsize=8)
    return figure


def bars(results: Results) -> Figure | None:
    """The measure of every method on the experiment's first task, with the runs as dots."""
    task = results.tasks[0]
    groups = [group for method in results.methods if (group := results.group(method, task)) is not None]
    groups = [group for group in groups if not np.isnan(results.values(group)).any()]
    if not groups:
        return None
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.32 * len(groups)))
    axes = figure.add_subplot()
    for row, group in enumerate(groups):
        values = results.values(group)
        center = float(stats.iqm([values]))
        low, high = stats.bootstrap_interval(stats.iqm, [values], resamples=_RESAMPLES)
        color = COLORS[1] if group.method == results.experiment.baseline else COLORS[0]
        axes.barh(row, center, color=color, alpha=0.6)
        axes.plot([low, high], [row, row], color="#1f2933", linewidth=1.5)
        axes.plot(values, [row] * len(values), "o", markersize=3, color="#1f2933", alpha=0.5)
        if group.has_rule:
            axes.annotate(
                f" {group.solved}/{len(group.rows)}",
                (1.0, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
            )
    axes.set_yticks(range(len(groups)), [results.label(group.method) for group in groups], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(f"{results.experiment.measure.replace('_', ' ')} (IQM, 95 %)")
    axes.set_title(f"{results.experiment.title}: {task_text(task)}", fontsize=10)
    return figure


def profile(results: Results) -> Figure | None:
    """Share of the runs with a score above each threshold, over the tasks on which all methods have runs."""
    methods = results.methods
    scores = results.common_scores(methods)
    if not scores[0] or any(np.isnan(values).any() for tasks in scores for values in tasks):
        return None
    everything = np.concatenate([values for tasks in scores for values in tasks])
    thresholds = np.linspace(min(0.0, everything.min()), max(1.0, everything.max()), 101)
    figure = Figure(figsize=(_WIDTH, 3.8))
    axes = figure.add_subplot()
    for number, (method, tasks) in enumerate(zip(methods, scores, strict=True)):
        interval = stats.bootstrap_interval(
            lambda resampled: stats.performance_profile(resampled, thresholds), tasks, resamples=_RESAMPLES
        )
        color = COLORS[number % len(COLORS)]
        axes.fill_between(thresholds, interval.low, interval.high, color=color, alpha=0.15, linewidth=0)
        axes.plot(thresholds, stats.performance_profile(tasks, thresholds), color=color, label=results.label(method))
    axes.set_xlabel("score")
    axes.set_ylabel("share of runs above (95 %)")
    axes.set_ylim(-0.02, 1.02)
    axes.set_title(f"{results.experiment.title}: performance profile", fontsize=11)
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _size(group: Group) -> int | None:
    for part in group.task[1].split(";"):
        name, _, value = part.partition("=")
        if name == "size":
            return int(value)
    return None


def _curve_values(group: Group) -> tuple[stats.Array, stats.Array]:
    """Curves of the runs, float64 [runs, 40] with nan for gaps, and the steps at the middle of each part, [40]."""
    values = np.array([[np.nan if p == "-" else float(p) for p in row["curve"].split()] for row in group.rows])
    for curve, row in zip(values, group.rows, strict=True):
        known = np.flatnonzero(~np.isnan(curve))
        if row["solved"] == "1" and known.size and float(row["environment_steps"]) < float(row["total_steps"]):
            curve[known[-1] + 1 :] = curve[known[-1]]
    total = float(group.rows[0]["total_steps"])
    return values, (np.arange(CURVE_POINTS) + 0.5) * total / CURVE_POINTS
