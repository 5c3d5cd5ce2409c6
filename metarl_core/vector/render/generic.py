"""The picture of an environment that nobody has drawn: its numbers as bars, and a grid that it sees in grey."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from metarl_core.vector.render.canvas import Canvas
from metarl_core.vector.render.palette import BLUE, CREAM, DARK, GREY, INK, LIGHT, RED
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWING"]

_MOST_BARS = 14


def _shown(value: float) -> str:
    return f"{value:.4g}".replace("e", "E")


def _bars(canvas: Canvas, top: float, title: str, names: list[str], values: list[float], right: float) -> None:
    canvas.text(16, top, title, 10, DARK)
    step = min((canvas.height - top - 24) / max(min(len(values), _MOST_BARS), 1), 26.0)
    # From -1 to 1 linear, beyond ever slower: any number has a place.
    middle, half = 0.62 * right, 0.25 * right
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        if k == _MOST_BARS:
            break
        y = top + 20 + k * step
        size = min(step * 0.36, 9.0)
        room = int((middle - half - 26) / (5.6 * size / 6))
        canvas.text(16, y + step / 2 - size, name if len(name) <= room else name[: room - 1] + ".", size, INK)
        canvas.rectangle(middle - half, y, 2 * half, step * 0.7, LIGHT)
        if not math.isnan(value):
            share = value / 2 if abs(value) <= 1 else math.copysign(1 - 1 / (2 * abs(value)), value)
            canvas.rectangle(
                middle + min(share, 0) * half, y, abs(share) * half, step * 0.7, BLUE if share > 0 else RED
            )
        canvas.rectangle(middle - 0.5, y - 1, 1, step * 0.7 + 2, DARK)
        canvas.text(middle + half + 8, y + step / 2 - size, _shown(value), size, INK)


def _grid(canvas: Canvas, seen: npt.NDArray[np.float64], left: int, top: int, side: int) -> None:
    canvas.text(left, top - 20, "OBSERVATION", 10, DARK)
    scale = max(side // max(seen.shape), 1)
    least, most = float(seen.min()), float(seen.max())
    shade = (seen - least) / (most - least) if most > least else np.zeros_like(seen)
    grey = (255 - 215 * shade).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)[:side, :side]
    canvas.rectangle(left - 1, top - 1, grey.shape[1] + 2, grey.shape[0] + 2, GREY)
    canvas.pixels[top : top + grey.shape[0], left : left + grey.shape[1]] = grey[..., None]


def _draw(scene: Scene, canvas: Canvas) -> None:
    canvas.rectangle(0, 0, canvas.width, canvas.height, CREAM)
    canvas.text(16, 14, scene.id, 15, INK)
    status = "DONE" if scene.done else f"STEP {scene.elapsed}"
    canvas.text(canvas.width - 16, 16, status, 11, RED if scene.done else DARK, align="right")
    seen = np.asarray(scene.observation, np.float64)
    is_grid = seen.ndim >= 2 and min(seen.shape[:2]) > 1
    names = list(scene.state)
    if is_grid:
        # Channels become bits of a number, so that each combination has its own shade.
        flat = seen if seen.ndim == 2 else seen.reshape(*seen.shape[:2], -1) @ 2.0 ** np.arange(seen[0, 0].size)
        _grid(canvas, flat, 330, 70, 250)
        _bars(canvas, 50, "STATE", names, list(scene.state.values()), 310)
        return
    seen = seen.reshape(-1)
    shared = min(len(names), _MOST_BARS)
    _bars(canvas, 46, "STATE", names, list(scene.state.values()), canvas.width - 60)
    top = 46 + 20 + shared * 26.0 + 6
    if top < canvas.height - 60:
        _bars(canvas, top, "OBSERVATION", [str(k) for k in range(seen.size)], seen.tolist(), canvas.width - 60)


DRAWING = Drawing(_draw)
