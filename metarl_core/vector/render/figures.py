"""Figures that appear in pictures of more than one environment; each fills about a square of ``size`` around (x, y)."""

from __future__ import annotations

import math

import numpy as np

from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.palette import GOLD, INK, RED, WHITE, mixed

__all__ = ["flag", "person", "star", "treasure"]

_SKIN: Colour = (238, 196, 158)


def person(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    """Draw somebody from the front, dressed in ``colour``."""
    u = size / 10
    canvas.lines(
        [[(x - u, y + 1.5 * u), (x - 1.2 * u, y + 4.2 * u)], [(x + u, y + 1.5 * u), (x + 1.2 * u, y + 4.2 * u)]],
        1.4 * u,
        INK,
    )
    canvas.lines(
        [
            [(x - 1.4 * u, y - 0.9 * u), (x - 2.9 * u, y + 1.1 * u)],
            [(x + 1.4 * u, y - 0.9 * u), (x + 2.9 * u, y + 1.1 * u)],
        ],
        1.1 * u,
        mixed(colour, INK, 0.25),
    )
    canvas.rounded(x - 1.9 * u, y - 1.6 * u, 3.8 * u, 4.0 * u, 1.2 * u, colour)
    canvas.disc(x, y - 3.0 * u, 1.7 * u, _SKIN)
    hat = np.array([(-1.9, -3.4), (1.9, -3.4), (0.9, -4.9), (-0.9, -4.9)]) * u + (x, y)
    canvas.polygon(hat, mixed(colour, INK, 0.4))
    canvas.fill(
        [canvas.circle(x - 0.6 * u, y - 2.8 * u, 0.28 * u), canvas.circle(x + 0.6 * u, y - 2.8 * u, 0.28 * u)], INK
    )


def flag(canvas: Canvas, x: float, y: float, size: float, colour: Colour = RED) -> None:
    """Draw a flag on a pole."""
    u = size / 10
    canvas.rectangle(x - 2.2 * u, y - 4.2 * u, 0.8 * u, 8.4 * u, INK)
    canvas.polygon([(x - 1.4 * u, y - 4.0 * u), (x + 3.6 * u, y - 2.0 * u), (x - 1.4 * u, y)], colour)
    canvas.ellipse(x - 1.8 * u, y + 4.2 * u, 1.8 * u, 0.6 * u, INK)


def star(canvas: Canvas, x: float, y: float, radius: float, colour: Colour) -> None:
    """Draw a star of five points."""
    angle = -math.pi / 2 + np.arange(10) * (math.pi / 5)
    far = radius * np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
    canvas.polygon(np.stack([x + far * np.cos(angle), y + far * np.sin(angle)], axis=1), colour)


def treasure(canvas: Canvas, x: float, y: float, size: float) -> None:
    """Draw a chest of gold."""
    u = size / 10
    wood: Colour = (140, 84, 40)
    canvas.fill(
        [canvas.circle(x + k * 1.5 * u, y - 0.9 * u - (k % 2) * 0.5 * u, 0.9 * u) for k in (-1.6, -0.6, 0.4, 1.4)], GOLD
    )
    canvas.rounded(x - 3.6 * u, y - 0.6 * u, 7.2 * u, 3.9 * u, 0.5 * u, wood)
    canvas.rounded(x - 3.6 * u, y - 3.6 * u, 7.2 * u, 2.0 * u, 0.9 * u, mixed(wood, INK, 0.2))
    canvas.rectangle(x - 3.6 * u, y - 0.6 * u, 7.2 * u, 0.7 * u, GOLD)
    canvas.rectangle(x - 0.8 * u, y - 0.4 * u, 1.6 * u, 1.8 * u, GOLD)
    canvas.disc(x, y + 0.5 * u, 0.4 * u, INK)
    canvas.disc(x + 2.8 * u, y - 4.4 * u, 0.4 * u, WHITE)
