"""Figures of the tasks and of the submodels' weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from metarl_core.report._figures import COLORS
from metarl_core.report.meta._measures import average_over_seeds
from metarl_core.report.meta._style import INK, grid, heatmap, shown
from metarl_core.report.meta.sections import AveragingWeights, RoutingWeights, TaskEmbeddings, TaskSimilarity
from metarl_core.report.task_plots import principal_components, similarity_heatmap

__all__ = ["averaging_weights", "effective_number", "embedding_maps", "routing_weights", "similarity"]

_MARKERS = {"train": "o", "val": "D", "test": "*"}
_NAMES = {"train": "training", "val": "validation", "test": "test"}
_MOST_LABELS, _LONGEST_LABEL = 24, 16  # beyond which they would lie on each other


def similarity(section: TaskSimilarity) -> Figure:
    """Cosines of every two tasks."""
    return similarity_heatmap(np.asarray(section.similarity), [shown(task) for task in section.tasks], title="")


def effective_number(weights: Any, axis: int) -> Any:
    """Effective number of submodels, 1 / sum w^2: K for equal weights, 1 for a single submodel."""
    return 1.0 / np.square(np.asarray(weights, np.float64)).sum(axis=axis)


def averaging_weights(section: AveragingWeights) -> Figure:
    """Weights by round as a heat-map, and their effective number; means over the seeds."""
    weights = np.asarray(section.weights)
    mean = average_over_seeds(weights)
    rounds = mean.shape[0]
    figure = Figure(figsize=(11.0, 2.4 + 0.36 * len(section.submodels)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.9, 1.0])
    names = [str(k + 1) for k in range(rounds)]
    image = heatmap(left, mean.T, list(section.submodels), names, 0.0, max(float(mean.max()), 1e-9))
    left.set_xlabel("round")
    left.set_title("Weights of the submodels")
    figure.colorbar(image, ax=left, label="weight", shrink=0.85)
    effective = effective_number(weights, axis=-1)
    x = np.arange(1, rounds + 1)
    for seed in effective:
        right.plot(x, seed, color=COLORS[0], linewidth=1, alpha=0.3)
    right.plot(x, effective.mean(axis=0), color=COLORS[0], marker="o" if rounds <= 15 else None, markersize=5)
    right.axhline(len(section.submodels), color="#52606d", linewidth=1.2, linestyle=(0, (4, 3)))
    right.annotate(
        "equal weights", (1.0, len(section.submodels)), xycoords=("axes fraction", "data"), xytext=(-2, -3),
        textcoords="offset points", ha="right", va="top", fontsize=9, color="#52606d",
    )  # fmt: skip
    right.set_ylim(0.9, len(section.submodels) * 1.04 + 0.05)
    right.set_title("Effective number")
    right.set_ylabel("submodels")
    right.set_xlabel("round")
    if rounds <= 15:
        right.set_xticks(x)
    return figure


def routing_weights(section: RoutingWeights) -> Figure:
    """Weights of the submodels on each new task, mean over the seeds; of a single task as bars."""
    mean = average_over_seeds(np.asarray(section.weights))
    if len(section.tasks) == 1:
        return _bars(section, mean[:, 0])
    size = (min(11.0, 4.2 + 0.62 * len(section.tasks)), 2.2 + 0.36 * len(section.submodels))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    low, high = min(0.0, float(mean.min())), max(float(mean.max()), 1e-9)  # affine weights may be negative
    image = heatmap(axes, mean, list(section.submodels), list(section.tasks), low, high)
    axes.set_ylabel("submodel")
    axes.set_xlabel("new task")
    figure.colorbar(image, ax=axes, label="weight", shrink=0.85)
    return figure


def _bars(section: RoutingWeights, weights: Any) -> Figure:
    figure = Figure(figsize=(8.6, 1.3 + 0.42 * len(section.submodels)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(weights)), weights, height=0.62, color=COLORS[0])
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9, color=INK)
    axes.axvline(0.0, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(weights)), [shown(name, 40) for name in section.submodels])
    axes.set_ylim(len(weights) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    axes.set_xlabel(f"weight on {shown(section.tasks[0], 60)}")
    return figure


def embedding_maps(section: TaskEmbeddings) -> Figure:
    """First two principal components, one panel for each parameter of the tasks, in its colours."""
    place, explained = principal_components(np.asarray(section.embeddings))
    count = len(section.tasks)
    parts = section.parts or ["train"] * count
    panels_of: list[tuple[str, Any]] = list(section.parameters.items()) or [("", None)]
    figure, panels = grid(len(panels_of), 2, 5.5, 4.4)
    short = max(map(len, section.tasks)) <= _LONGEST_LABEL or not section.parameters
    for axes, (name, values) in zip(panels, panels_of, strict=True):
        image = None
        for part in dict.fromkeys(parts):
            mine = np.array([p == part for p in parts])
            colors: dict[str, Any] = {"color": COLORS[0]}
            if values is not None:
                colors = {"c": values[mine], "cmap": "cividis", "vmin": values.min(), "vmax": values.max()}
            image = axes.scatter(
                place[mine, 0], place[mine, 1], s=190 if part == "test" else 75, marker=_MARKERS[part],
                edgecolor=INK, linewidth=0.8, zorder=3, **colors,
            )  # fmt: skip
        if values is not None:
            assert image is not None
            figure.colorbar(image, ax=axes, label=shown(name))
        if short and count <= _MOST_LABELS:
            for (x, y), label in zip(place, section.tasks, strict=True):
                axes.annotate(shown(label), (x, y), xytext=(7, 5), textcoords="offset points", fontsize=8.5)
        axes.set_xlabel(f"first component ({100 * explained[0]:.0f} % of the variance)")
        axes.set_ylabel(f"second component ({100 * explained[1]:.0f} %)")
        axes.margins(0.16)
    if section.parts is not None:
        marks = [
            Line2D(
                [], [], marker=_MARKERS[part], linestyle="none", color="#7b8794", markeredgecolor=INK,
                markersize=13 if part == "test" else 8, label=f"{_NAMES[part]} task",
            )
            for part in _MARKERS
            if part in parts
        ]  # fmt: skip
        figure.legend(handles=marks, loc="outside upper center", ncols=3)
    return figure
