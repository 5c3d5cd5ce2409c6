"""Pictures of MiniGrid's environments: the whole level, with what the agent sees lit up."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.palette import GREEN, INK, WHITE, mixed
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWINGS"]

_SIDE = 400  # of the frame
_FLOOR: Colour = (42, 46, 60)
_AGENT: Colour = (240, 76, 66)
# In MiniGrid's order: red, green, blue, purple, yellow, grey.
_COLOURS: tuple[Colour, ...] = (
    (226, 72, 66),
    (84, 186, 98),
    (72, 132, 230),
    (168, 104, 214),
    (246, 206, 62),
    (150, 156, 166),
)
# Kinds of a cell, in its low four bits.
_WALL, _OPEN, _KEY, _BALL, _GOAL, _LAVA, _CLOSED, _LOCKED = 2, 4, 5, 6, 8, 9, 11, 12
_FORWARD = ((1, 0), (0, 1), (-1, 0), (0, -1))  # by direction: column, row


def _draw_key(canvas: Canvas, size: float, colour: Colour) -> None:
    canvas.ring(size * 0.5, size * 0.3, size * 0.19, size * 0.09, colour)
    canvas.rectangle(size * 0.45, size * 0.46, size * 0.1, size * 0.4, colour)
    for at in (0.62, 0.76):
        canvas.rectangle(size * 0.5, size * at, size * 0.2, size * 0.08, colour)


def _draw_door(canvas: Canvas, size: float, colour: Colour, kind: int) -> None:
    if kind == _OPEN:
        canvas.rectangle(size * 0.02, size * 0.02, size * 0.16, size * 0.96, colour)
        canvas.rectangle(size * 0.06, size * 0.06, size * 0.08, size * 0.88, mixed(colour, INK, 0.6))
        return
    canvas.rectangle(0, 0, size, size, colour)
    inside = mixed(colour, INK, 0.35 if kind == _LOCKED else 0.75)
    canvas.rectangle(size * 0.1, size * 0.1, size * 0.8, size * 0.8, inside)
    if kind == _LOCKED:
        canvas.disc(size * 0.5, size * 0.43, size * 0.12, INK)
        canvas.polygon([(size * 0.5, size * 0.4), (size * 0.62, size * 0.74), (size * 0.38, size * 0.74)], INK)
    else:
        canvas.ring(size * 0.72, size * 0.52, size * 0.11, size * 0.05, colour)


@lru_cache(maxsize=512)
def _tile(cell: int, size: int) -> Canvas:
    """Return the picture of a cell, without its agent."""
    kind, colour = cell & 15, _COLOURS[min((cell >> 4) & 7, 5)]
    canvas = Canvas(size, size, _FLOOR)
    if kind == _WALL:
        canvas.rectangle(0, 0, size, size, mixed(colour, INK, 0.25))
        canvas.rectangle(0, 0, size, max(size // 12, 1), mixed(colour, WHITE, 0.2))
    elif kind == _GOAL:
        canvas.rectangle(0, 0, size, size, mixed(GREEN, WHITE, 0.12))
        canvas.ring(size / 2, size / 2, size * 0.34, size * 0.24, WHITE)
        canvas.disc(size / 2, size / 2, size * 0.11, WHITE)
    elif kind == _LAVA:
        canvas.rectangle(0, 0, size, size, (236, 112, 36))
        across = np.linspace(0.04, 0.96, 12)
        for level in (0.3, 0.55, 0.8):
            wave = np.stack([across, level + 0.06 * np.sin(across * 4 * math.pi)], axis=1) * size
            canvas.line(wave, max(size * 0.06, 1.0), (120, 34, 20))
    elif kind == _KEY:
        _draw_key(canvas, size, colour)
    elif kind == _BALL:
        canvas.disc(size / 2, size / 2, size * 0.33, colour)
        canvas.disc(size * 0.4, size * 0.38, size * 0.07, mixed(colour, WHITE, 0.7))
    elif kind in (_OPEN, _CLOSED, _LOCKED):
        _draw_door(canvas, size, colour, kind)
    if size >= 10 and kind != _WALL:
        line = mixed(_FLOOR, WHITE, 0.14)
        canvas.rectangle(0, 0, size, 1, line)
        canvas.rectangle(0, 0, 1, size, line)
    return canvas


def _level(scene: Scene) -> npt.NDArray[np.int64]:
    """Return the cells, by row and column."""
    cells = {}
    for name, value in scene.state.items():
        if name.startswith("cell_"):
            column, row = name.removeprefix("cell_").split("_")
            cells[int(row), int(column)] = int(value)
    rows, columns = (1 + max(place[axis] for place in cells) for axis in (0, 1))
    level = np.empty((rows, columns), np.int64)
    for place, cell in cells.items():
        level[place] = cell
    return level


def _draw(scene: Scene, canvas: Canvas) -> None:
    level = _level(scene)
    rows, columns = level.shape
    size = canvas.width // max(rows, columns)
    top, left = (canvas.height - rows * size) // 2, (canvas.width - columns * size) // 2
    canvas.rectangle(0, 0, canvas.width, canvas.height, INK)
    kinds, which = np.unique(level, return_inverse=True)
    tiles = np.stack([_tile(int(kind), size).pixels for kind in kinds])[which.reshape(level.shape)]
    region = canvas.pixels[top : top + rows * size, left : left + columns * size]
    region[:] = tiles.swapaxes(1, 2).reshape(region.shape)

    agent = int(scene.state["agent_x"]), int(scene.state["agent_y"])
    forward = _FORWARD[int(scene.state["direction"])]
    seen = np.asarray(scene.observation)
    for across, ahead in np.argwhere(seen[..., 0] > 0).tolist():
        far, aside = seen.shape[1] - 1 - ahead, across - seen.shape[0] // 2
        column = agent[0] + forward[0] * far - forward[1] * aside
        row = agent[1] + forward[1] * far + forward[0] * aside
        if 0 <= row < rows and 0 <= column < columns:
            lit = region[row * size : (row + 1) * size, column * size : (column + 1) * size]
            lit[:] = lit + (255 - lit) // 5

    x, y = left + (agent[0] + 0.5) * size, top + (agent[1] + 0.5) * size
    along = np.array(forward, np.float64)
    aside = np.array([-along[1], along[0]])
    body = [along * 0.4, aside * 0.32 - along * 0.34, -along * 0.2, -aside * 0.32 - along * 0.34]
    canvas.polygon(np.array(body) * size + (x, y), _AGENT)
    carrying = int(scene.state["carrying"])
    if carrying & 15 > 1:
        small = max(size * 2 // 5, 6)
        corner = left + agent[0] * size + size - small, top + agent[1] * size + size - small
        canvas.paste(*corner, _tile(carrying, small))


DRAWINGS = {"MiniGrid-*": Drawing(_draw, (_SIDE, _SIDE))}
