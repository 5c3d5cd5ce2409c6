"""What all figures of these reports share."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metarl_core import stats
from metarl_core.report._figures import COLORS
from metarl_core.report.meta._arrays import Array
from metarl_core.report.meta._estimates import Band, Estimate, Statistic, band

__all__ = [
    "FAINT",
    "INK",
    "Palette",
    "crowded",
    "draw_band",
    "draw_estimate",
    "draw_level",
    "grid",
    "heatmap",
    "short",
    "shown",
    "steps_axis",
]

INK, FAINT = "#1f2933", "#9aa5b1"
_UNKNOWN = "#e4e7eb"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
_MARKERS = "osD^vPXp"
_MOST_NUMBERS = 160  # cells up to which every one has its number


def shown(label: str, width: int = 28) -> str:
    """Text of a label in a figure: in two lines at most, and with nothing that matplotlib takes for a sign of its own.

    Those are dollars, which start a formula, and an underscore at the start, which hides a label from legends.
    """
    lines = textwrap.wrap(label, width, max_lines=2, placeholder=" …")
    text = "\n".join(lines).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


_MANY = 6  # curves in one panel


def crowded(curves: Mapping[str, Any]) -> bool:
    """Whether intervals of so many curves would hide each other."""
    return len(curves) > _MANY


class Palette:
    """Gives every method a colour, a dash and a marker of its own, the same in all figures of a page."""

    def __init__(self, methods: Mapping[str, Any] | list[str]) -> None:
        self._numbers = {method: number for number, method in enumerate(dict.fromkeys(methods))}

    def color(self, method: str) -> str:
        """Colour of a method."""
        return COLORS[self._numbers[method] % len(COLORS)]

    def dash(self, method: str) -> Any:
        """Line style: so that curves can be told apart in black and white, and beyond the colours there are."""
        return _DASHES[self._numbers[method] % len(_DASHES)]

    def marker(self, method: str) -> str:
        """Shape of points."""
        return _MARKERS[self._numbers[method] % len(_MARKERS)]


def steps_axis(axes: Axes, name: str = "environment steps") -> None:
    """Label an axis of steps in thousands and millions."""
    axes.set_xlabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))


def short(x: float) -> str:
    """Steps in thousands and millions."""
    for scale, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(x) >= scale:
            return f"{x / scale:g}{suffix}"
    return f"{x:g}"


def draw_band(
    axes: Axes,
    x: Array,
    curves: Array,
    method: str,
    palette: Palette,
    pale: bool = False,
    average: Statistic = stats.interquartile_mean,
) -> Band | None:
    """Draw the average of curves [seeds, tasks, points] with its interval, paler if there are many."""
    found = band(curves, average)
    if found is None:
        return None
    color = palette.color(method)
    marker = palette.marker(method) if len(x) <= 15 else None
    axes.plot(
        x, found.center, color=color, linestyle=palette.dash(method), marker=marker, markersize=5, label=shown(method)
    )
    axes.fill_between(x, found.low, found.high, color=color, alpha=0.07 if pale else 0.16, linewidth=0)
    return found


def draw_estimate(axes: Axes, row: float, found: Estimate, color: str, marker: str = "o") -> None:
    """Draw a number with its interval, lying."""
    if found.has_interval:
        axes.plot([found.low, found.high], [row, row], color=color, linewidth=3.2, solid_capstyle="round")
    axes.plot(
        found.value, row, marker, color=color, markersize=8.5, markeredgecolor="white", markeredgewidth=1.2, zorder=5
    )


def draw_level(axes: Axes, level: float, name: str, vertical: bool = False) -> None:
    """Draw a level, with its name at the end."""
    style: dict[str, Any] = {"color": "#52606d", "linewidth": 1.3, "linestyle": (0, (4, 3)), "zorder": 1}
    if vertical:
        axes.axvline(level, **style)
        axes.annotate(
            shown(name), (level, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
            ha="center", va="bottom", fontsize=9, color="#52606d",
        )  # fmt: skip
        return
    axes.axhline(level, **style)
    axes.annotate(
        shown(name), (1.0, level), xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
        ha="right", va="bottom", fontsize=9, color="#52606d",
    )  # fmt: skip


def heatmap(
    axes: Axes,
    values: Array,
    rows: list[str],
    columns: list[str],
    low: float,
    high: float,
    numbers: bool = True,
) -> Any:
    """Draw a matrix in one hue, with numbers where they have room and grey where a value is not known."""
    from matplotlib import colormaps

    colors = colormaps["cividis"].with_extremes(bad=_UNKNOWN)
    image = axes.imshow(
        np.ma.masked_invalid(values), vmin=low, vmax=high, cmap=colors, aspect="auto", interpolation="nearest"
    )
    axes.set_yticks(range(len(rows)), [shown(row) for row in rows])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    columns = [shown(column, 16) for column in columns]
    turned = sum(max(map(len, column.split("\n")), default=0) for column in columns) > 40
    kept = range(0, len(columns), max(1, -(-len(columns) // 24)))
    axes.set_xticks(
        list(kept), [columns[k] for k in kept], rotation=45 if turned else 0, ha="right" if turned else "center"
    )
    if numbers and values.size <= _MOST_NUMBERS:
        for row, column in np.ndindex(*values.shape):
            value = values[row, column]
            if np.isnan(value):
                axes.text(column, row, "-", ha="center", va="center", fontsize=8, color=INK)
                continue
            dark = (value - low) / max(high - low, 1e-12) < 0.55
            text = f"{value:.2f}" if max(abs(low), abs(high)) < 10 else f"{value:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    return image


def grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels, with those that are too many switched off."""
    columns = min(columns, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(max(5.6, width * columns), height * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]
