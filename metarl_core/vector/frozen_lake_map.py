"""FrozenLake's random maps, as the core generates them for a row's ``map_seed``."""

from __future__ import annotations

import operator

import numpy as np
import numpy.typing as npt

__all__ = ["frozen_lake_map"]

_FROZEN_PROBABILITY = 0.8


def frozen_lake_map(map_seed: int, size: int) -> list[str]:
    """Return the map that FrozenLake-v1 has for a ``map_seed``.

    It is that of gymnasium's ``generate_random_map(size, seed=map_seed)``: every cell is frozen with probability 0.8,
    or else a hole, and maps are drawn until there is a path from the start in the first cell to the goal in the last.

    Args:
        map_seed: In [0, 2^32).
        size: Rows and columns, >= 2.

    Returns:
        ``size`` rows of the letters S (start), F (frozen), H (hole) and G (goal), as the parameter ``desc`` takes them.

    Raises:
        TypeError: An argument is no integer.
        ValueError: An argument is out of range.
    """
    map_seed, size = operator.index(map_seed), operator.index(size)
    if not 0 <= map_seed < 2**32:
        raise ValueError(f"map_seed is {map_seed}; must be in [0, 2**32)")
    if size < 2:
        raise ValueError(f"size is {size}; must be >= 2")
    rng = np.random.default_rng(map_seed)
    while True:
        frozen = rng.random((size, size)) < _FROZEN_PROBABILITY
        frozen[0, 0] = frozen[-1, -1] = True
        if _connected(frozen):
            break
    letters = np.where(frozen, "F", "H")
    letters[0, 0], letters[-1, -1] = "S", "G"
    return ["".join(row) for row in letters]


def _connected(frozen: npt.NDArray[np.bool_]) -> bool:
    """Whether the last cell can be reached from the first over frozen ones, up, down, left and right."""
    size = len(frozen)
    seen = np.zeros_like(frozen)
    frontier = [(0, 0)]
    while frontier:
        row, column = frontier.pop()
        if not (0 <= row < size and 0 <= column < size) or seen[row, column] or not frozen[row, column]:
            continue
        seen[row, column] = True
        frontier += [(row + 1, column), (row, column + 1), (row - 1, column), (row, column - 1)]
    return bool(seen[-1, -1])
