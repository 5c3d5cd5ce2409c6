"""Figures of adaptation to new tasks and of transfer."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarl_core import stats
from metarl_core.report.meta._style import INK, Palette, crowded, draw_band, draw_level, shown, steps_axis
from metarl_core.report.meta.sections import Adaptation, TransferCurves

__all__ = ["adaptation_curves", "transfer_curves"]


def adaptation_curves(section: Adaptation, palette: Palette) -> Figure:
    """Performance by episodes of adaptation, with intervals and levels."""
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    axes = figure.subplots()
    episodes = np.asarray(section.episodes)
    average = np.mean if section.statistic == "mean" else stats.interquartile_mean
    for method, curves in section.curves.items():
        draw_band(axes, episodes, np.asarray(curves), method, palette, crowded(section.curves), average)
    for level, name in ((section.chance, "chance"), (section.reference, section.reference_name)):
        if level is not None:
            draw_level(axes, level, name)
    axes.set_xlabel("episodes of adaptation")
    axes.set_ylabel(f"{shown(section.score_name)} ({'mean' if section.statistic == 'mean' else 'IQM'}, 95 %)")
    if len(episodes) <= 12:
        axes.set_xticks(episodes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper")
    return figure


def transfer_curves(section: TransferCurves, palette: Palette) -> Figure:
    """Learning curves on the target tasks, after transfer and from scratch, with the threshold."""
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    axes = figure.subplots()
    for method, curves in section.curves.items():
        draw_band(axes, np.asarray(section.steps), np.asarray(curves), method, palette, crowded(section.curves))
    if section.threshold is not None:
        axes.axhline(section.threshold, color=INK, linewidth=1.1, linestyle=(0, (1, 2)), label="threshold")
    axes.set_ylabel(f"{shown(section.score_name)} (IQM, 95 %)")
    steps_axis(axes, "environment steps on the target task")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper")
    return figure
