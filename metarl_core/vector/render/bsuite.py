"""Pictures of bsuite's environments, but for the cart, which classic_control draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from metarl_core.vector.builders_bsuite import bandit_means
from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.figures import star, treasure
from metarl_core.vector.render.palette import (
    BLUE,
    CREAM,
    DARK,
    GOLD,
    GREEN,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    PURPLE,
    RED,
    WHITE,
    mixed,
)
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWINGS"]

_FLOOR = 44  # height of the sea's floor


def _sea_cell(size: int) -> int:
    return max(400 // size, 1)


def _sea_size(params: Mapping[str, Any]) -> tuple[int, int]:
    side = params["size"] * _sea_cell(params["size"])
    return side + _FLOOR, side


@lru_cache(maxsize=4)
def _sea(size: int) -> Canvas:
    cell = _sea_cell(size)
    side = size * cell
    canvas = Canvas(side + _FLOOR, side)
    for row in range(size):
        shade = mixed((150, 208, 236), (16, 52, 104), row / max(size - 1, 1))
        canvas.rectangle(0, row * cell, side, cell, shade)
        if cell >= 8:
            canvas.rectangle(0, row * cell, side, 1, mixed(shade, WHITE, 0.25))
            canvas.rectangles([(k * cell, row * cell) for k in range(1, size)], 1, cell, mixed(shade, WHITE, 0.25))
    canvas.rectangle(0, side, side, _FLOOR, (206, 178, 120))
    waves = np.arange(0, side + 8, 8.0)
    sand = np.stack([waves, side + 5 + 3 * np.sin(waves * 0.13)], axis=1)
    canvas.polygon([(0, side), *sand, (side, side)], (16, 52, 104))
    # The way to the treasure: right in every row.
    if cell >= 8:
        canvas.fill([canvas.circle((k + 0.5) * cell, (k + 0.5) * cell, cell * 0.08 + 1) for k in range(size)], GOLD)
    else:
        canvas.line([(0, 0), (side, side)], 1, GOLD)
    treasure(canvas, side - 27, side + 22, 42)
    return canvas


def _draw_deep_sea(scene: Scene, canvas: Canvas) -> None:
    size = scene.params["size"]
    cell = _sea_cell(size)
    canvas.paste(0, 0, _sea(size))
    row, column = int(scene.state["row"]), int(scene.state["column"])
    x = (column + 0.5) * cell
    y = (row + 0.5) * cell if row < size else size * cell + 16
    u = max(cell, 26) / 10
    x, y = min(max(x, 3 * u), canvas.width - 3 * u), max(y, 3.5 * u)
    suit: Colour = (232, 120, 44)
    canvas.lines(
        [
            [(x - 0.9 * u, y + 1.5 * u), (x - 1.8 * u, y + 3.6 * u)],
            [(x + 0.9 * u, y + 1.5 * u), (x + 1.8 * u, y + 3.6 * u)],
        ],
        1.3 * u,
        suit,
    )
    canvas.lines(
        [
            [(x - 1.2 * u, y - 0.2 * u), (x - 2.8 * u, y + 0.9 * u)],
            [(x + 1.2 * u, y - 0.2 * u), (x + 2.8 * u, y + 0.9 * u)],
        ],
        1.1 * u,
        suit,
    )
    canvas.rounded(x - 1.5 * u, y - 0.9 * u, 3 * u, 3.2 * u, u, suit)
    canvas.disc(x, y - 2.2 * u, 2.0 * u, GOLD)
    canvas.disc(x, y - 2.2 * u, 1.3 * u, (40, 70, 96))
    canvas.disc(x - 0.4 * u, y - 2.7 * u, 0.35 * u, WHITE)
    bubbles = ((2.6, -3.2, 0.5), (3.2, -4.2, 0.35))
    canvas.fill([canvas.circle(x + a * u, y + b * u, r * u) for a, b, r in bubbles], WHITE, 0.8)


def _catch_cell(params: Mapping[str, Any]) -> int:
    return int(max(400 // max(params["rows"], params["columns"]), 2))


def _catch_size(params: Mapping[str, Any]) -> tuple[int, int]:
    cell = _catch_cell(params)
    return params["rows"] * cell, params["columns"] * cell


def _draw_catch(scene: Scene, canvas: Canvas) -> None:
    cell, rows, columns = _catch_cell(scene.params), scene.params["rows"], scene.params["columns"]
    canvas.rectangle(0, 0, canvas.width, canvas.height, (34, 40, 58))
    if cell >= 8:
        line: Colour = (52, 60, 82)
        for k in range(1, rows):
            canvas.rectangle(0, k * cell, canvas.width, 1, line)
        for k in range(1, columns):
            canvas.rectangle(k * cell, 0, 1, canvas.height, line)
    x, y = (scene.state["ball_column"] + 0.5) * cell, (scene.state["ball_row"] + 0.5) * cell
    canvas.rectangle(x - 1, 0, 2, max(y - cell * 0.3, 0), (86, 92, 112))
    at = scene.state["paddle"]
    caught = scene.state["ball_row"] == rows - 1 and scene.state["ball_column"] == at
    left, top = at * cell, (rows - 1) * cell
    # A bowl, which the ball fits into.
    canvas.rounded(left + cell * 0.04, top + cell * 0.62, cell * 0.92, cell * 0.26, cell * 0.12, BLUE)
    for side in (0.04, 0.84):
        canvas.rounded(left + cell * side, top + cell * 0.3, cell * 0.12, cell * 0.5, cell * 0.06, BLUE)
    canvas.disc(x, y - cell * 0.02, cell * 0.32, GREEN if caught else ORANGE)
    canvas.disc(x - cell * 0.1, y - cell * 0.12, cell * 0.07, WHITE, 0.8)


_ARM_TOP, _ARM_TALL = 92.0, 236.0


def _machine(canvas: Canvas, count: int, arm: int, mean: float, pulled: bool) -> None:
    """Draw an arm of ``count`` as a machine that is as full as its mean reward."""
    room = (canvas.width - 40) / count
    wide, top, tall = min(room * 0.72, 74.0), _ARM_TOP, _ARM_TALL
    x = 20 + (arm + 0.5) * room - wide / 2
    canvas.rounded(x, top, wide, tall + 12, min(8.0, wide / 3), ORANGE if pulled else (96, 108, 134))
    inner = max(wide * 0.14, 1.0)
    canvas.rectangle(x + inner, top + 8, wide - 2 * inner, tall - 4, INK)
    canvas.rectangle(x + inner, top + 8 + (tall - 4) * (1 - mean), wide - 2 * inner, (tall - 4) * mean, GREEN)
    if room >= 20:
        # The lever at the machine's side: down where it was pulled.
        lever, end = x + wide + room * 0.1, top + (90 if pulled else 24)
        canvas.lines([[(x + wide, top + 58), (lever, top + 58), (lever, end)]], max(room * 0.05, 2.0), GREY)
        canvas.disc(lever, end, min(room * 0.12, 9.0), RED)
        canvas.text(x + wide / 2, top + tall + 24, str(arm), min(room * 0.3, 14.0), INK, align="centre")


@lru_cache(maxsize=32)
def _machines(means: tuple[float, ...], pulled: int | None) -> Canvas:
    canvas = Canvas(400, 600, CREAM)
    canvas.text(24, 20, f"{len(means)} ARMS", 16, INK)
    for arm, mean in enumerate(means):
        _machine(canvas, len(means), arm, mean, arm == pulled)
    best = int(np.argmax(means))
    star(canvas, 20 + (best + 0.5) * (canvas.width - 40) / len(means), _ARM_TOP - 16, 11, GOLD)
    return canvas


def _draw_bandit(scene: Scene, canvas: Canvas) -> None:
    seed, count = scene.seed("mapping_seed"), int(scene.params["num_actions"])
    if seed is None:
        means = tuple(scene.constants[f"mean_{arm}"] for arm in range(count))
    else:
        means = tuple(bandit_means(count, seed).tolist())
    canvas.paste(0, 0, _machines(means, None if scene.action is None else int(scene.action)))
    canvas.text(canvas.width - 24, 22, f"REGRET {scene.state['total_regret']:.2f}", 13, DARK, align="right")


def _draw_memory_chain(scene: Scene, canvas: Canvas) -> None:
    bits, length = int(scene.params["num_bits"]), int(scene.params["memory_length"])
    step, query = int(scene.state["step"]), int(scene.state["query"])
    context = [int(scene.state[f"context_{bit}"]) for bit in range(bits)]
    canvas.rectangle(0, 0, canvas.width, canvas.height, CREAM)
    # The agent sees the bits at first only, we dimmed for the rest of the episode.
    seen = step <= 1
    canvas.text(24, 18, "BITS " + ("SHOWN" if seen else "TO REMEMBER"), 13, INK if seen else DARK)
    across = min(bits, 16) if bits <= 64 else 64
    cell = min((canvas.width - 48) / across, 44.0, 96.0 / math.ceil(bits / across))
    for bit, value in enumerate(context):
        row, column = divmod(bit, across)
        x, y = 24 + column * cell, 46 + row * cell
        if bit == query and step >= length:
            canvas.rectangle(x - 2, y - 2, cell + 3, cell + 3, ORANGE)
        tile = INK if value else WHITE
        canvas.rectangle(x + 2, y + 2, cell - 5, cell - 5, GREY)
        canvas.rectangle(x + 3, y + 3, cell - 7, cell - 7, tile if seen else mixed(tile, CREAM, 0.5))
        if cell > 15:
            ink = WHITE if value else INK
            canvas.text(x + cell / 2, y + cell * 0.3, str(value), cell * 0.36, ink, align="centre")
    # The chain of steps: what was, where we are, what is to come.
    y, left, right = 196.0, 44.0, canvas.width - 44.0
    canvas.rectangle(left, y - 2, right - left, 4, GREY)
    links = length + 2
    spots = [left + (right - left) * k / (links - 1) for k in range(links)] if links <= 42 else [left, right]
    radius = min((right - left) / len(spots) * 0.38, 15.0)
    done = min(max(step / (links - 1), 0.0), 1.0)
    canvas.rectangle(left, y - 2, (right - left) * done, 4, BLUE)
    now = left + (right - left) * done
    canvas.fill([canvas.circle(x, y, radius) for x in spots], GREY)
    canvas.fill([canvas.circle(x, y, radius - 1.5) for x in spots if x > now], WHITE)
    canvas.fill([canvas.circle(x, y, radius - 1.5) for x in spots if x <= now], BLUE)
    canvas.disc(now, y, radius + 3, GOLD)
    canvas.text(left, y + 24, "BITS", 9, DARK, align="centre")
    canvas.text(right, y + 24, "END", 9, DARK, align="centre")
    canvas.text(24, 252, f"STEP {step} OF {length + 1}", 13, INK)
    if step >= length:
        canvas.text(canvas.width / 2, 252, f"BIT {query}?", 13, ORANGE, align="centre", weight=0.18)
    if scene.done and scene.action is not None:
        right_answer = int(scene.action) == context[query]
        word = "RIGHT" if right_answer else "WRONG"
        text = f"{int(scene.action)} {word}"
        canvas.text(canvas.width - 24, 252, text, 13, GREEN if right_answer else RED, align="right", weight=0.18)
    score = f"{int(scene.state['perfect'])} RIGHT  {int(scene.state['mistakes'])} WRONG"
    canvas.text(canvas.width - 24, 20, score, 10, DARK, align="right")


_PAYS_AT = (1, 3, 10, 30, 100)
_FORK = 0.4  # where the chains part, in steps


def _chain_x(canvas: Canvas, step: float) -> float:
    # The chains differ by factors: a scale of ratios gives each of them room.
    return 62 + (canvas.width - 120) * math.log1p(step) / math.log1p(100)


def _chain_y(chain: int) -> float:
    return 90 + 65.0 * chain


@lru_cache(maxsize=8)
def _chains(chosen: int) -> Canvas:
    canvas = Canvas(400, 600, CREAM)
    for chain, pays_at in enumerate(_PAYS_AT):
        y, start, end = _chain_y(chain), _chain_x(canvas, _FORK), _chain_x(canvas, 100)
        colour = BLUE if chain == chosen else LIGHT if chosen >= 0 else GREY
        canvas.lines([[(36, _chain_y(2)), (start, y), (end, y)]], 5 if chain == chosen else 3, colour)
        canvas.text(_chain_x(canvas, pays_at), y + 20, f"AFTER {pays_at}", 8, DARK, align="centre")
    return canvas


def _draw_discounting_chain(scene: Scene, canvas: Canvas) -> None:
    step, chosen = int(scene.state["step"]), int(scene.state["chain"])
    seed = scene.seed("mapping_seed")
    bonus = int(scene.constants["bonus_chain"]) if seed is None else seed % 5
    canvas.paste(0, 0, _chains(chosen))
    canvas.text(24, 18, f"STEP {step}", 14, INK)
    here = (36.0, _chain_y(2))
    if chosen >= 0:
        y, start = _chain_y(chosen), _chain_x(canvas, _FORK)
        here = (max(_chain_x(canvas, step), start), y)
        canvas.line([(36, _chain_y(2)), (start, y), here], 7, PURPLE)
    for chain, pays_at in enumerate(_PAYS_AT):
        x, y = _chain_x(canvas, pays_at), _chain_y(chain)
        if chain == bonus:
            star(canvas, x, y, 23, GOLD)
        else:
            canvas.disc(x, y, 14, GOLD)
        canvas.text(x, y - 5, "1.1" if chain == bonus else "1", 9, INK, align="centre", weight=0.16)
    canvas.disc(36, _chain_y(2), 9, INK)
    canvas.disc(*here, 10, RED)


DRAWINGS = {
    "DeepSea-v0": Drawing(_draw_deep_sea, _sea_size),
    "Catch-v0": Drawing(_draw_catch, _catch_size),
    "Bandit-v0": Drawing(_draw_bandit),
    "MemoryChain-v0": Drawing(_draw_memory_chain, (290, 600)),
    "DiscountingChain-v0": Drawing(_draw_discounting_chain),
}
