"""The colours of the pictures."""

from __future__ import annotations

from metarl_core.vector.render.canvas import Colour

__all__ = [
    "BLUE",
    "CREAM",
    "DARK",
    "GOLD",
    "GREEN",
    "GREY",
    "INK",
    "LIGHT",
    "ORANGE",
    "PURPLE",
    "RED",
    "WHITE",
    "mixed",
]

WHITE: Colour = (255, 255, 255)
CREAM: Colour = (250, 247, 239)
LIGHT: Colour = (226, 228, 232)
GREY: Colour = (150, 156, 166)
DARK: Colour = (84, 90, 102)
INK: Colour = (36, 40, 50)
RED: Colour = (214, 64, 62)
ORANGE: Colour = (232, 138, 44)
GOLD: Colour = (240, 190, 48)
GREEN: Colour = (66, 160, 88)
BLUE: Colour = (58, 122, 198)
PURPLE: Colour = (134, 88, 172)


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour that is ``share`` of the way from ``a`` to ``b``."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue
