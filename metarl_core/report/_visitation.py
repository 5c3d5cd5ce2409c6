"""Where the agent went in DeepSea."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from metarl_core.report._data import Run, Task
from metarl_core.report._stats import Array

__all__ = ["MAX_ROWS", "visitation"]

MAX_ROWS = 4
_MOMENTS = (0.05, 0.25)
_NEVER, _UNREACHABLE = "#d5dbe1", "#ffffff"


def visitation(task: Task) -> Figure | None:
    """Visits of each cell at a few moments, logarithmic colour: one run of each group, at most ``MAX_ROWS``."""
    runs = [(run, arrays) for run in _spread(task) if (arrays := run.reader.visitation) is not None]
    if not runs:
        return None
    rows = [_panels(arrays) for _, arrays in runs]
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(11.0, 0.3 + 3.75 * len(rows)), layout="compressed")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    top = max(int(visits.max()) for row in rows for _, visits in row)
    norm = LogNorm(vmin=1, vmax=max(top, 2))
    colors = colormaps["viridis"].with_extremes(bad=_NEVER)
    deep_sea = task.env_id.endswith("DeepSea-v0")
    image: Any = None
    for (run, _), row, axes_row in zip(runs, rows, grid, strict=True):
        for axes in axes_row[len(row) :]:
            axes.set_axis_off()
        for (title, visits), axes in zip(row, axes_row, strict=False):
            image = axes.imshow(np.ma.masked_equal(visits, 0), norm=norm, cmap=colors, interpolation="nearest")
            reachable = np.tri(*visits.shape, dtype=np.bool_) if deep_sea else np.ones(visits.shape, np.bool_)
            if deep_sea:
                axes.imshow(np.ma.masked_where(reachable, np.zeros(visits.shape)), cmap=_plain(), vmin=0, vmax=1)
            coverage = np.count_nonzero(visits[reachable]) / np.count_nonzero(reachable)
            axes.set_title(title, fontsize=11)
            axes.set_xlabel(f"{coverage:.0%} of the cells reached", fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(f"{run.algorithm}, seed {run.seed}", fontsize=12, fontweight="bold")
    figure.colorbar(image, ax=grid, shrink=min(0.9, 2.2 / len(rows)), label="visits", pad=0.02)
    return figure


def _plain() -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([_UNREACHABLE])


def _spread(task: Task) -> list[Run]:
    """Choose the first run of each group that has the data."""
    firsts = [next((run for run in group.runs if run.reader.visitation is not None), None) for group in task.groups]
    return [run for run in firsts if run is not None][:MAX_ROWS]


def _panels(arrays: dict[str, Array]) -> list[tuple[str, Array]]:
    """Pick the snapshots nearest to a few fractions of the run, and the end."""
    panels: list[tuple[str, Array]] = []
    steps, snapshots = arrays.get("steps"), arrays.get("visits_at")
    if steps is not None and snapshots is not None and len(steps):
        for index in dict.fromkeys(int(np.argmin(np.abs(steps - steps[-1] * f))) for f in _MOMENTS):
            panels.append((f"after {int(steps[index]):,} steps", snapshots[index]))
    return [*panels, ("at the end", arrays["visits"])]
