"""MinAtar's games, for the table in :mod:`metarl_core.vector.builders`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metarl_core.vector.builders import BuildPlan

__all__ = ["MINATAR_BUILDERS"]

# channels, minimal actions, bytes of state a row
_GAMES = {
    "Asterix": (4, 5, 64),
    "Breakout": (4, 3, 36),
    "Freeway": (7, 3, 112),
    "Seaquest": (10, 6, 804),
    "SpaceInvaders": (6, 4, 80),
}
_ACTIONS = 6


def _builder(channels: int, minimal: int, state_bytes: int) -> Callable[[Mapping[str, Any]], BuildPlan]:
    def build(params: Mapping[str, Any]) -> BuildPlan:
        numbers = {
            name: float(params[name]) for name in ("use_minimal_action_set", "sticky_action_prob", "difficulty_ramping")
        }
        shape = (10, 10, channels)
        return BuildPlan(
            numbers,
            shape,
            np.zeros(shape, np.bool_),
            np.ones(shape, np.bool_),
            num_actions=minimal if params["use_minimal_action_set"] else _ACTIONS,
            row_bytes=64 + state_bytes,
        )

    return build


MINATAR_BUILDERS = {
    f"MinAtar/{name}-v{version}": _builder(*numbers) for name, numbers in _GAMES.items() for version in (1, 0)
}
