"""The figures of the report. Each takes a task and returns a figure, or None if no run has the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metarl_core.report._data import BAD_FRACTION, Run, Task
from metarl_core.report._stats import Array, aggregate

__all__ = [
    "COLORS",
    "STYLE",
    "curiosity",
    "episodes_to_solve",
    "learning_curves",
    "loss",
    "priorities",
]

# Okabe and Ito's palette, which people with any common colour vision can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (7, 2, 1.5, 2)), (0, (1.5, 1.5)))
_INK, _FAINT = "#1f2933", "#9aa5b1"

STYLE: Any = {
    "font.size": 11,
    "font.family": "sans-serif",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#cbd2d9",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9edf1",
    "grid.linewidth": 1.0,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "text.color": _INK,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.dpi": 130,
    "savefig.facecolor": "white",
}


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _dash(number: int) -> Any:
    # Curves that lie on each other stay visible, and print in black and white.
    return _DASHES[number % len(_DASHES)]


def _thousands(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))


def _short(x: float) -> str:
    for scale, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(x) >= scale:
            return f"{x / scale:g}{suffix}"
    return f"{x:g}"


def _log_if_positive(axes: Axes) -> None:
    """Use a log axis if everything drawn is positive and spans more than a decade."""
    values = np.concatenate([np.ravel(np.asarray(line.get_ydata())) for line in axes.lines] or [np.empty(0)])
    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")


Curve = Callable[[Run], tuple[Array, Array]]


def _bands(axes: Axes, task: Task, curve: Curve, suffix: str = "", dash: Any = None, width: float = 2.0) -> bool:
    """Draw one aggregated curve for each group that has data; says whether there was any."""
    drawn = False
    for number, group in enumerate(task.groups):
        band = aggregate([curve(run) for run in group.runs])
        if band is None:
            continue
        drawn = True
        color = _color(number)
        marker = "o" if len(band.x) == 1 else None
        label = f"{group.label}{suffix}"
        axes.plot(
            band.x,
            band.center,
            color=color,
            linestyle=dash or _dash(number),
            label=label,
            marker=marker,
            linewidth=width,
        )
        if band.kind != "single":
            axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.18, linewidth=0)
    return drawn


def _pair(width: float = 11.0, height: float = 3.9) -> tuple[Figure, Axes, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, left, right


def learning_curves(task: Task) -> Figure | None:
    """Return against environment steps and against episodes."""
    figure, left, right = _pair()
    drawn = False
    for axes, against, name in ((left, "step", "environment steps"), (right, "episode", "episodes")):
        drawn |= _bands(axes, task, lambda run, against=against: run.returns(against))  # type: ignore[misc]
        axes.set_xlabel(name)
        axes.set_ylabel("return (running mean)")
        axes.set_xlim(left=0)
        if task.env_id.endswith("DeepSea-v0"):  # what matters is whether the treasure (1) is found, not the move cost
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, -0.05), max(high, 1.03))
        _thousands(axes)
    left.set_title("Return by environment steps")
    right.set_title("Return by episodes")
    if not drawn:
        return None
    left.legend(loc="best")
    return figure


def episodes_to_solve(task: Task) -> Figure | None:
    """Fraction of bad episodes with bsuite's line, and the episodes that each seed needed."""
    if all(run.solved is None for run in task.runs):
        return None
    figure = Figure(figsize=(11.0, 3.9), layout="constrained")
    if all(run.bad_fraction is None for run in task.runs):
        _solve_dots(figure.subplots(), task)
        return figure
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1.0])
    for number, group in enumerate(task.groups):
        for run in group.runs:
            _bad_fraction(left, run, _color(number), _dash(number))
        left.plot([], [], color=_color(number), linestyle=_dash(number), label=group.label)
    left.axhline(BAD_FRACTION, color=_INK, linewidth=1.2, linestyle=(0, (4, 3)))
    left.annotate(
        "solved below 0.9", (1.0, BAD_FRACTION), xycoords=("axes fraction", "data"), xytext=(-4, -5),
        textcoords="offset points", ha="right", va="top", fontsize=10, color=_INK,
    )  # fmt: skip
    left.set_ylim(min(0.45, left.get_ylim()[0]), 1.03)
    left.set_xlabel("episodes")
    left.set_ylabel("bad episodes / episodes")
    left.set_title("Fraction of bad episodes")
    _thousands(left)
    left.legend(loc="lower left")
    _solve_dots(right, task)
    return figure


def _bad_fraction(axes: Axes, run: Run, color: str, dash: Any) -> None:
    fraction = run.bad_fraction
    if fraction is None:
        return
    keep = np.unique(np.geomspace(1, len(fraction), 1500).astype(np.int64)) - 1
    axes.plot(keep + 1, fraction[keep], color=color, linestyle=dash, linewidth=1.6)
    if run.episodes_to_solve is not None:
        number = min(run.episodes_to_solve, len(fraction))
        axes.plot(
            number, fraction[number - 1], marker="*", markersize=15, color=color, markeredgecolor="white", zorder=5
        )


def _solve_dots(axes: Axes, task: Task) -> None:
    names = []
    for row, group in enumerate(task.groups):
        names.append(group.label)
        for k, run in enumerate(group.runs):
            height = row + 0.16 * (k - (len(group.runs) - 1) / 2) / max(1, len(group.runs) / 3)
            solved = run.episodes_to_solve is not None
            number = run.episodes if run.episodes_to_solve is None else run.episodes_to_solve
            axes.plot(
                number, height, marker="o" if solved else "x", markersize=9, linestyle="none", color=_color(row),
                markeredgewidth=1.0 if solved else 2.2, markeredgecolor="white" if solved else _color(row),
            )  # fmt: skip
    axes.plot([], [], marker="o", linestyle="none", color=_FAINT, label="solved at")
    axes.plot([], [], marker="x", markeredgewidth=2.2, linestyle="none", color=_FAINT, label="not solved, gave up at")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.35, -0.75)
    axes.set_xlim(left=0)
    axes.margins(x=0.1)
    axes.set_xlabel("episodes")
    axes.set_title("Episodes to solve, by seed")
    axes.grid(axis="y", visible=False)
    _thousands(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=9, handletextpad=0.2)


def curiosity(task: Task) -> Figure | None:
    """Intrinsic reward, and the two parts of the predicted return's spread."""
    figure, left, right = _pair()
    drawn = _bands(left, task, lambda run: run.metric("intrinsic_reward_mean"))
    spread = _bands(right, task, lambda run: run.metric("epistemic_std"), ", epistemic", dash="-")
    spread |= _bands(right, task, lambda run: run.metric("aleatoric_std"), ", aleatoric", dash=":")
    if not (drawn or spread):
        return None
    for axes, has_data in ((left, drawn), (right, spread)):
        axes.set_xlabel("environment steps")
        _thousands(axes)
        _log_if_positive(axes)
        if has_data:
            axes.legend(loc="best")
        else:
            _empty(axes)
    left.set_ylabel("mean bonus in the batches")
    right.set_ylabel("standard deviation")
    left.set_title("Intrinsic reward")
    right.set_title("Epistemic and aleatoric spread")
    return figure


def loss(task: Task) -> Figure | None:
    """Critic loss and TD error."""
    figure, left, right = _pair()
    drawn = []
    for axes, name, title in ((left, "loss", "Critic loss"), (right, "td_error_mean", "Mean absolute TD error")):
        has_data = _bands(axes, task, lambda run, name=name: run.metric(name), width=1.5)  # type: ignore[misc]
        drawn.append(has_data)
        axes.set_title(title)
        axes.set_xlabel("environment steps")
        _thousands(axes)
        _log_if_positive(axes)
        if has_data:
            axes.legend(loc="best")
        else:
            _empty(axes)
    return figure if any(drawn) else None


def priorities(task: Task) -> Figure | None:
    """Histogram of the replay priorities at the end of each run."""
    figure = Figure(figsize=(11.0, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, group in enumerate(task.groups):
        label: str | None = group.label
        for run in group.runs:
            arrays = run.reader.priorities
            if arrays is None or not arrays["counts"].sum():
                continue
            share = arrays["counts"] / arrays["counts"].sum()
            color, dash = _color(number), _dash(number)
            axes.stairs(share, arrays["edges"], color=color, linestyle=dash, linewidth=1.6, label=label)
            axes.stairs(share, arrays["edges"], color=color, alpha=0.12, fill=True)
            label = None
    if not axes.patches:
        return None
    if min(run.reader.priorities["edges"][0] for run in task.runs if run.reader.priorities is not None) > 0:
        axes.set_xscale("log")
    if axes.get_ylim()[1] > 0.5:  # one bin (the clipped ones, mostly) would hide all others
        axes.set_yscale("log")
        axes.set_ylim(bottom=1e-4)
    axes.set_xlabel("priority (absolute TD error)")
    axes.set_ylabel("share of the replay buffer")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}%"))
    axes.set_title("Replay priorities at the end")
    axes.legend(loc="best")
    return figure


def _empty(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", color=_FAINT)
