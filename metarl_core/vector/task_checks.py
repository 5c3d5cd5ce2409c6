"""What the parameters of a task must be together, or beside those that its environment was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.builders import frozen_lake_desc
from metarl_core.vector.specs import EnvSpec

__all__ = ["check_together", "refuse"]

_Column = npt.NDArray[np.float64]
_MOUNTAIN_CAR = ("min_position", "max_position", "reset_low", "reset_high")


def refuse(name: str, column: _Column, bad: npt.NDArray[np.bool_], expected: str) -> None:
    """Raise ValueError for the first number that is bad."""
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(f"{name}[{i}] is {float(column[i])!r}; must be {expected}")


def check_together(spec: EnvSpec, params: Mapping[str, Any], names: Sequence[str], table: _Column) -> None:
    """Check tasks whose numbers are each in range.

    Args:
        spec: The environment.
        params: Its parameters, checked.
        names: Those that may differ between rows.
        table: The tasks, ``(tasks, len(names))``.

    Raises:
        ValueError: Numbers of a task contradict each other, or the environment.
    """

    def column(name: str) -> _Column:
        return table[:, names.index(name)]

    if spec.id.startswith("MountainCar"):
        low, high, start, end = map(column, _MOUNTAIN_CAR)
        refuse("min_position", low, ~(low < high), "< max_position")
        refuse("reset_low", start, ~((low <= start) & (start <= end)), "in [min_position, reset_high]")
        refuse("reset_high", end, ~(end <= high), "<= max_position")
    if spec.id == "MountainCarContinuous-v0":
        refuse("min_action", column("min_action"), ~(column("min_action") < column("max_action")), "< max_action")
    if spec.id == "BernoulliBandit-v0":
        refuse("mean_low", column("mean_low"), column("mean_low") > column("mean_high"), "<= mean_high")
    if spec.id == "Maze-v0":
        _check_goals(params, column("goal_row"), column("goal_column"))
    if spec.id == "FrozenLake-v1":
        rows = frozen_lake_desc(params)
        fits = len(rows) == len(rows[0]) >= 2
        expected = f"NaN, as the map has {len(rows)} rows and {len(rows[0])} columns and those of seeds are square"
        refuse("map_seed", column("map_seed"), ~np.isnan(column("map_seed")) & (not fits), expected)
    if spec.id == "DeepSea-v0" and not params["randomize_actions"]:
        unknown = (column("randomize_actions") != 0) & np.isnan(column("mapping_seed"))
        refuse("mapping_seed", column("mapping_seed"), unknown, "a seed, as the environment has no random mapping")
    if spec.id.startswith("MinAtar/") and not params["difficulty_ramping"]:
        hard = column("difficulty_ramping")
        refuse("difficulty_ramping", hard, hard != 0, "0, as the environment was made without")


def _check_goals(params: Mapping[str, Any], row: _Column, column: _Column) -> None:
    size = params["size"]
    drawn = (row == -1) & (column == -1)
    for name, cell in (("goal_row", row), ("goal_column", column)):
        bad = ~drawn & ((cell % 2 != 1) | (cell > size - 2) | (cell < 1))
        refuse(name, cell, bad, f"odd and in [1, {size - 2}], or both -1")
    if not params["random_start"]:
        refuse("goal_row", row, (row == 1) & (column == 1), "elsewhere than the start at (1, 1), or random_start True")
