"""What is known of one row of a batch when it is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Scene"]


@dataclass(frozen=True)
class Scene:
    """One environment of a batch.

    Attributes:
        id: The environment's id.
        state: Name of a field -> its number, of every field of ``get_state``.
        params: The parameters, with those of the row's task in place of the environment's own.
        common: The parameters that the environment was made with, the same for all rows: for what should not change in
            size from row to row.
        constants: The core's numbers that the parameters stand for, such as a bandit's means.
        table: The core's table (FrozenLake: letters of the map; DeepSea: action mapping), or None.
        actions: The numbers of the last action, where it is known and a step was taken since the row's reset; else
            None.
        elapsed: Steps since the row's reset.
        done: Whether the episode has ended and the row was not reset yet.
    """

    id: str
    state: Mapping[str, float]
    params: Mapping[str, Any]
    common: Mapping[str, Any]
    constants: Mapping[str, float]
    table: npt.NDArray[np.uint8] | None
    actions: tuple[float, ...] | None
    elapsed: int
    done: bool
    _observe: Callable[[], npt.NDArray[Any]] = field(repr=False)

    def seed(self, name: str) -> int | None:
        """A parameter that is a seed or None, which is NaN in a task."""
        seed = self.params[name]
        return None if seed is None or math.isnan(seed) else int(seed)

    @property
    def action(self) -> float | None:
        """The last action, of environments whose actions are one number, where it is known; else None."""
        return None if self.actions is None else self.actions[0]

    @property
    def observation(self) -> npt.NDArray[Any]:
        """What the agent sees: the row's observation as an array."""
        return self._observe()
