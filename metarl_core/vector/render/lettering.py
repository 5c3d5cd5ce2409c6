"""Letters for pictures, as strokes: capitals, digits and a few signs on a grid of 4 x 6."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["advance", "strokes_of", "width_of"]

# Strokes of a sign, each a path of points "xy".
_STROKES = {
    "A": "06 02 20 42 46,04 44",
    "B": "00 06 36 45 44 33 03,33 42 41 30 00",
    "C": "41 30 10 01 05 16 36 45",
    "D": "00 06 26 44 42 20 00",
    "E": "40 00 06 46,03 33",
    "F": "40 00 06,03 33",
    "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06,40 46,03 43",
    "I": "10 30,20 26,16 36",
    "J": "40 45 36 16 05",
    "K": "00 06,40 04,13 46",
    "L": "00 06 46",
    "M": "06 00 23 40 46",
    "N": "06 00 46 40",
    "O": "10 01 05 16 36 45 41 30 10",
    "P": "06 00 30 41 42 33 03",
    "Q": "10 01 05 16 36 45 41 30 10,24 46",
    "R": "06 00 30 41 42 33 03,23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40,20 26",
    "U": "00 05 16 36 45 40",
    "V": "00 26 40",
    "W": "00 16 23 36 40",
    "X": "00 46,40 06",
    "Y": "00 23 40,23 26",
    "Z": "00 40 06 46",
    "0": "10 01 05 16 36 45 41 30 10",
    "1": "11 20 26,16 36",
    "2": "01 10 30 41 42 06 46",
    "3": "00 40 22 33 44 45 36 16 05",
    "4": "36 30 04 44",
    "5": "40 00 02 32 43 45 36 06",
    "6": "30 10 01 05 16 36 45 44 33 03",
    "7": "00 40 16",
    "8": "10 01 02 13 33 44 45 36 16 05 04 13,33 42 41 30 10",
    "9": "16 36 45 41 30 10 01 02 13 43",
    ".": "25 26",
    ",": "25 16",
    ":": "22 22.5,25 25.5",
    "-": "13 33",
    "+": "03 43,21 25",
    "_": "06 46",
    "=": "02 42,04 44",
    "/": "06 40",
    "%": "06 40,00 01,45 46",
    "(": "30 12 14 36",
    ")": "10 32 34 16",
    "[": "30 10 16 36",
    "]": "10 30 36 16",
    "<": "40 03 46",
    ">": "00 43 06",
    "?": "01 10 30 41 42 23 24,25.7 26",
    "!": "20 24,25.7 26",
    "*": "20 24,01 43,41 03",
    "^": "12 20 32",
}
_ADVANCE = 5.6  # from a sign to the next


@lru_cache(maxsize=128)
def _strokes(sign: str) -> tuple[npt.NDArray[np.float64], ...]:
    paths = _STROKES.get(sign.upper())
    if paths is None:
        return ()
    return tuple(np.array([(float(p[0]), float(p[1:])) for p in path.split()]) for path in paths.split(","))


def advance(size: float) -> float:
    """Return the distance from a sign to the next, of a text whose capitals are ``size`` high."""
    return _ADVANCE * size / 6


def width_of(text: str, size: float) -> float:
    """Return the width of a line of text whose capitals are ``size`` high."""
    return max(len(text) * _ADVANCE - 1.6, 0.0) * size / 6


def strokes_of(sign: str, size: float) -> list[npt.NDArray[np.float64]]:
    """Return the strokes of a sign from (0, 0) on, ``(n, 2)`` points each; none of an unknown sign."""
    return [stroke * (size / 6) for stroke in _strokes(sign)]
