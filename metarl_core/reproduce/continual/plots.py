"""Plots of an experiment of continual runs. Files hold no time stamps, so that the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl_core.report._figures import COLORS
from metarl_core.reproduce.continual.measures import MeasuredSequence
from metarl_core.reproduce.continual.spec import ContinualExperiment
from metarl_core.reproduce.continual.summary import interval_of
from metarl_core.reproduce.plots import save_plots
from metarl_core.reproduce.summary import LEAST_SEEDS

__all__ = ["forgetting_bars", "heat_maps", "write_continual_plots"]

_GREY = "#7b8794"


def write_continual_plots(
    experiment: ContinualExperiment, measured: Sequence[MeasuredSequence], folder: Path
) -> list[Path]:
    """Draw ``matrices.png`` and ``forgetting.png``; one for which there are no results is left out.

    Args:
        experiment: Names of methods, and which is the baseline.
        measured: Runs of each sequence.
        folder: Where the files go.

    Returns:
        The files.
    """
    draws = {"matrices": heat_maps, "forgetting": forgetting_bars}
    return save_plots({name: partial(draw, experiment, measured) for name, draw in draws.items()}, folder)


def heat_maps(experiment: ContinualExperiment, measured: Sequence[MeasuredSequence]) -> Figure | None:
    """Score on every task after every phase, mean over the seeds: the baseline beside fine-tuning, by sequence."""
    tuned = [m.name for m in experiment.methods.values() if m.algorithm == "finetune"]
    names = [name for name in (experiment.baseline, *tuned[:1]) if any(name in found.runs for found in measured)]
    shown = [found for found in measured if any(name in found.runs for name in names)]
    if not shown:
        return None
    figure = Figure(figsize=(2.6 * len(names) + 1.2, 2.5 * len(shown)), layout="constrained")
    axes = np.atleast_2d(figure.subplots(len(shown), len(names), squeeze=False))
    image: Any = None
    for row, found in zip(axes, shown, strict=True):
        for place, name in zip(row, names, strict=True):
            if name not in found.runs:
                place.set_axis_off()
                continue
            scores = np.mean([run.measures.performance for run in found.runs[name].values()], axis=0)
            image = place.imshow(scores, vmin=0, vmax=1, cmap="viridis")
            for (phase, task), score in np.ndenumerate(scores):
                color = "white" if score < 0.6 else "black"
                place.text(task, phase, f"{score:.2f}", ha="center", va="center", color=color, fontsize=7)
            place.set_title(f"{found.spec.label}: {experiment.methods[name].label}", fontsize=9)
            place.set_xticks(range(scores.shape[1]), [str(i + 1) for i in range(scores.shape[1])], fontsize=8)
            place.set_yticks(range(scores.shape[0]), [str(i + 1) for i in range(scores.shape[0])], fontsize=8)
            place.set_xlabel("task", fontsize=8)
            place.set_ylabel("after phase", fontsize=8)
            place.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, shrink=0.5)
    bar.set_label("score (mean over seeds)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def forgetting_bars(experiment: ContinualExperiment, measured: Sequence[MeasuredSequence]) -> Figure | None:
    """F and P of every method with 95 % intervals (of few seeds none), a row of panels for each sequence."""
    panels = (("average", "P, average performance"), ("forgetting", "F, forgetting"), ("unseen", "unseen tasks"))
    # Where a method was not run it has no row: a bar of no length would say 0.
    run = [[name for name in experiment.methods if name in found.runs] for found in measured]
    heights = [0.8 + 0.22 * len(names) for names in run]
    figure = Figure(figsize=(9.5, sum(heights)), layout="constrained")
    axes = np.atleast_2d(
        figure.subplots(len(measured), len(panels), sharey="row", squeeze=False, height_ratios=heights)
    )
    for row, found, names in zip(axes, measured, run, strict=True):
        for place, (measure, text) in zip(row, panels, strict=True):
            for at, name in enumerate(names):
                values = [v for v in found.values(name, measure).values() if not np.isnan(v)]
                if not values:
                    continue
                color = COLORS[0] if name == experiment.baseline else _GREY
                center, low, high = interval_of(values)
                place.barh(at, center, color=color, alpha=0.55, height=0.7)
                if len(values) >= LEAST_SEEDS:
                    place.plot([low, high], [at, at], color=color, linewidth=2)
            place.axvline(0, color="black", linewidth=0.6)
            place.set_title(f"{found.spec.label}\n{text}", fontsize=8)
            place.tick_params(axis="x", labelsize=8)
            place.set_yticks(range(len(names)), [experiment.methods[name].label for name in names], fontsize=8)
            place.set_ylim(len(names) - 0.4, -0.6)
    return figure
