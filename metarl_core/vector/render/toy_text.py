"""Pictures of Gymnasium's grid worlds: the frozen lake, the cliff and the taxi's city."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.frozen_lake_map import frozen_lake_map
from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.figures import flag, person
from metarl_core.vector.render.palette import (
    BLUE,
    DARK,
    GOLD,
    GREEN,
    INK,
    LIGHT,
    PURPLE,
    RED,
    WHITE,
    mixed,
)
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWINGS"]

_ICE: Colour = (218, 238, 248)
_WATER: Colour = (28, 66, 120)


def _lake_cell(rows: int, columns: int) -> int:
    return max(400 // max(rows, columns), 4)


def _lake_size(params: Mapping[str, Any]) -> tuple[int, int]:
    rows, columns = (4, 4) if params["map_name"] == "4x4" else (8, 8)
    if params["desc"] is not None:
        rows, columns = len(params["desc"]), len(params["desc"][0])
    cell = _lake_cell(rows, columns)
    return rows * cell, columns * cell


@lru_cache(maxsize=64)
def _generated_lake(map_seed: int, size: int) -> npt.NDArray[np.uint8]:
    return np.array([[ord(letter) for letter in row] for row in frozen_lake_map(map_seed, size)], np.uint8)


@lru_cache(maxsize=8)
def _lake(letters: bytes, rows: int, columns: int) -> Canvas:
    cell = _lake_cell(rows, columns)
    canvas = Canvas(rows * cell, columns * cell, _ICE)
    for place, letter in enumerate(letters):
        y, x = (number * cell for number in divmod(place, columns))
        middle_x, middle_y = x + cell / 2, y + cell / 2
        if cell >= 24:
            for k, shift in enumerate((0.18, 0.34)):
                start = (x + cell * shift, y + cell * (0.82 - 0.1 * k))
                canvas.line([start, (start[0] + cell * 0.2, start[1] - cell * 0.2)], 2, WHITE)
        if letter == ord("H"):
            canvas.ellipse(middle_x, middle_y, cell * 0.42, cell * 0.36, (150, 196, 222))
            canvas.ellipse(middle_x, middle_y + cell * 0.02, cell * 0.36, cell * 0.29, _WATER)
        elif letter == ord("G"):
            flag(canvas, middle_x + cell * 0.04, middle_y - cell * 0.05, cell * 0.74, GREEN)
        elif letter == ord("S"):
            canvas.rounded(x + cell * 0.12, y + cell * 0.12, cell * 0.76, cell * 0.76, cell * 0.1, (176, 212, 234))
            if cell >= 60:
                canvas.text(middle_x, y + cell * 0.36, "START", cell * 0.15, BLUE, align="centre")
        if letter == ord("G") and cell >= 60:
            canvas.text(middle_x, y + cell * 0.86, "GOAL", cell * 0.09, GREEN, align="centre", weight=0.16)
    for k in range(1, max(rows, columns)):
        canvas.rectangle(0, k * cell, columns * cell, 1, (170, 204, 224))
        canvas.rectangle(k * cell, 0, 1, rows * cell, (170, 204, 224))
    return canvas


def _draw_frozen_lake(scene: Scene, canvas: Canvas) -> None:
    assert scene.table is not None
    rows, columns = scene.table.shape
    seed = scene.seed("map_seed")
    table = scene.table if seed is None else _generated_lake(seed, rows)
    canvas.paste(0, 0, _lake(table.tobytes(), rows, columns))
    cell = _lake_cell(rows, columns)
    row, column = divmod(int(scene.state["cell"]), columns)
    x, y = (column + 0.5) * cell, (row + 0.5) * cell
    if table[row, column] == ord("H"):
        # Up to the neck in it: what is below the water line is painted over.
        person(canvas, x, y + cell * 0.06, cell * 0.8, RED)
        level = y + cell * 0.01
        angle = np.linspace(0, np.pi, 24)
        deep = np.stack([x + cell * 0.36 * np.cos(angle), level + cell * 0.30 * np.sin(angle)], axis=1)
        rim = np.stack([x + cell * 0.42 * np.cos(angle), level + cell * 0.35 * np.sin(angle)], axis=1)
        ice = [
            (x - cell * 0.42, level),
            (x + cell * 0.42, level),
            (x + cell * 0.42, y + cell * 0.46),
            (x - cell * 0.42, y + cell * 0.46),
        ]
        canvas.fill([ice], _ICE)
        canvas.polygon(rim, (150, 196, 222))
        canvas.polygon(deep, _WATER)
        canvas.ellipse(x, level, cell * 0.2, cell * 0.035, mixed(_WATER, WHITE, 0.45))
        return
    person(canvas, x, y, cell * 0.84, RED)


_CLIFF_CELL = 60


@lru_cache(maxsize=1)
def _cliff() -> Canvas:
    cell, rows, columns = _CLIFF_CELL, 4, 12
    grass: Colour = (142, 188, 104)
    canvas = Canvas(rows * cell, columns * cell, grass)
    for place in range(rows * columns):
        y, x = divmod(place, columns)
        if (x + y) % 2:
            canvas.rectangle(x * cell, y * cell, cell, cell, mixed(grass, WHITE, 0.12))
    top, left, right = 3 * cell, cell, 11 * cell
    canvas.rectangle(left, top, right - left, cell, (52, 44, 46))
    # A ragged edge with rock below it that fades into the deep.
    across = np.linspace(left, right, 61)
    edge = top + 12 + 5 * np.sin(across * 0.41) + 4 * np.sin(across * 0.97)
    for depth, shade in ((30, 0.0), (16, 0.35)):
        rock = np.stack([across, edge + depth], axis=1)
        canvas.polygon([*rock, (right, top), (left, top)], mixed((98, 76, 62), (176, 140, 104), shade))
    canvas.polygon([*np.stack([across, edge - 6], axis=1), (right, top), (left, top)], (104, 146, 74))
    canvas.lines([[(x, top + 22), (x - 4, top + 38)] for x in range(left + 30, right, 52)], 3, (74, 56, 48))
    canvas.text((left + right) / 2, top + 42, "CLIFF", 13, (206, 176, 150), align="centre")
    canvas.rounded(5, top + 5, cell - 10, cell - 10, 8, mixed(grass, WHITE, 0.45))
    canvas.text(cell / 2, top + 44, "START", 7, DARK, align="centre", weight=0.16)
    flag(canvas, 11.5 * cell, 3.45 * cell, cell * 0.8)
    return canvas


def _draw_cliff(scene: Scene, canvas: Canvas) -> None:
    canvas.paste(0, 0, _cliff())
    row, column = divmod(int(scene.state["cell"]), 12)
    person(canvas, (column + 0.5) * _CLIFF_CELL, (row + 0.5) * _CLIFF_CELL, _CLIFF_CELL * 0.85, BLUE)


_CITY_CELL, _CITY_EDGE, _CITY_SIZE = 80, 20, 440
_STANDS: tuple[tuple[str, int, int, Colour], ...] = (
    ("R", 0, 0, RED),
    ("G", 0, 4, GREEN),
    ("Y", 4, 0, GOLD),
    ("B", 4, 3, BLUE),
)


@lru_cache(maxsize=1)
def _city() -> Canvas:
    cell, edge, size = _CITY_CELL, _CITY_EDGE, _CITY_SIZE
    canvas = Canvas(size, size, DARK)
    canvas.rectangle(edge, edge, 5 * cell, 5 * cell, (206, 208, 212))
    for k in range(1, 5):
        dashes = [(edge + j * 20 + 5, edge + k * cell - 1) for j in range(20)]
        canvas.rectangles(dashes, 10, 2, WHITE)
        canvas.rectangles([(y, x) for x, y in dashes], 2, 10, WHITE)
    for letter, row, column, colour in _STANDS:
        x, y = edge + column * cell, edge + row * cell
        canvas.rectangle(x + 4, y + 4, cell - 8, cell - 8, mixed(colour, WHITE, 0.35))
        canvas.text(x + 12, y + 11, letter, 17, mixed(colour, INK, 0.35), weight=0.2)
    # Walls right of these columns, from row to row.
    for column, row in ((1, 0), (0, 3), (2, 3)):
        canvas.rounded(edge + (column + 1) * cell - 5, edge + row * cell - 3, 10, 2 * cell + 6, 4, (92, 62, 50))
    return canvas


def _draw_taxi(scene: Scene, canvas: Canvas) -> None:
    canvas.paste(0, 0, _city())
    cell, edge = _CITY_CELL, _CITY_EDGE
    rest, destination = divmod(int(scene.state["state"]), 4)
    rest, passenger = divmod(rest, 5)
    row, column = divmod(rest, 5)
    _, to_row, to_column, _ = _STANDS[destination]
    x, y = edge + (to_column + 0.72) * cell, edge + (to_row + 0.30) * cell
    # The destination: a pin as on maps.
    canvas.polygon([(x - 12, y + 4), (x + 12, y + 4), (x, y + 30)], PURPLE)
    canvas.disc(x, y, 14, PURPLE)
    canvas.disc(x, y, 6, WHITE)
    if passenger < 4 and passenger != destination:
        _, at_row, at_column, _ = _STANDS[passenger]
        person(canvas, edge + (at_column + 0.3) * cell, edge + (at_row + 0.62) * cell, cell * 0.6, PURPLE)
    x, y = edge + (column + 0.5) * cell, edge + (row + 0.55) * cell
    canvas.fill([canvas.circle(x + side, y + 17, 8) for side in (-18, 18)], INK)
    canvas.rounded(x - 34, y - 4, 68, 20, 7, (246, 196, 28))
    canvas.polygon([(x - 22, y - 3), (x - 15, y - 20), (x + 12, y - 20), (x + 22, y - 3)], (246, 196, 28))
    windows = [[(x - 17, y - 4), (x - 12, y - 16), (x - 3, y - 16), (x - 3, y - 4)]]
    windows.append([(x + 1, y - 4), (x + 1, y - 16), (x + 10, y - 16), (x + 16, y - 4)])
    canvas.fill(windows, (186, 220, 238))
    canvas.rectangles([(x - 30 + 10 * k, y + 4 + 4 * (k % 2)) for k in range(6)], 10, 4, INK)
    canvas.rounded(x - 11, y - 29, 20, 9, 2, WHITE)
    canvas.text(x - 1, y - 27, "TAXI", 5, INK, align="centre", weight=0.2)
    canvas.fill([canvas.circle(x + side, y + 17, 3.5) for side in (-18, 18)], LIGHT)
    if passenger == 4:
        canvas.rounded(x + 0.5, y - 7, 13, 4, 2, PURPLE)
        canvas.disc(x + 6, y - 10.5, 5, (238, 196, 158))
        canvas.disc(x + 7.5, y - 11, 1, INK)
    if passenger == destination:
        person(canvas, x - 25, y - 22, cell * 0.45, PURPLE)
    if scene.params["is_rainy"]:
        start = np.stack([(np.arange(40) * 67) % canvas.width, (np.arange(40) * 149) % canvas.height], axis=1)
        canvas.lines([[(x, y), (x - 4, y + 12)] for x, y in start.tolist()], 1.5, BLUE, 0.6, round_ends=False)


DRAWINGS = {
    "FrozenLake-v1": Drawing(_draw_frozen_lake, _lake_size),
    "CliffWalking-v1": Drawing(_draw_cliff, (4 * _CLIFF_CELL, 12 * _CLIFF_CELL)),
    "Taxi-v4": Drawing(_draw_taxi, (_CITY_SIZE, _CITY_SIZE)),
}
