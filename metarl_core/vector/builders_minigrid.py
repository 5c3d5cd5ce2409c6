"""MiniGrid's environments, for the table in :mod:`metarl_core.vector.builders`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metarl_core.vector.builders import BuildPlan
from metarl_core.vector.minigrid_levels import FAMILIES, MINIGRID_LEVELS, MiniGridLevel

__all__ = ["MINIGRID_BUILDERS"]

_IMAGE = (7, 7, 3)
_FIELDS_BEFORE_CELLS = 7
_ACTIONS = 7


def _builder(level: MiniGridLevel) -> Callable[[Mapping[str, Any]], BuildPlan]:
    def build(params: Mapping[str, Any]) -> BuildPlan:
        numbers = {
            "family": float(FAMILIES.index(level.family)),
            "map_seed": float(params["map_seed"]),
            **{
                name: float(getattr(level, name))
                for name in ("width", "height", "count", "room_size", "random_start", "lava")
            },
        }
        return BuildPlan(
            numbers,
            _IMAGE,
            np.zeros(_IMAGE, np.uint8),
            np.full(_IMAGE, 255, np.uint8),
            num_actions=_ACTIONS,
            missions=level.missions,
            row_bytes=64 + _FIELDS_BEFORE_CELLS + level.width * level.height,
        )

    return build


MINIGRID_BUILDERS = {name: _builder(level) for name, level in MINIGRID_LEVELS.items()}
