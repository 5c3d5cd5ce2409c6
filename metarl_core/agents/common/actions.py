"""Continuous actions: what a Box action space asks for, and the way between its units and [-1, 1]."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.observations import is_discrete
from metarl_core.agents.common.options import ConfigError

__all__ = ["Actions", "BoxActions", "action_field", "actions_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class BoxActions:
    """A bounded Box of real vectors. Networks see actions in *unit coordinates*, every component in [-1, 1].

    Attributes:
        low: smallest values, float32 [dims].
        high: largest values, float32 [dims].
        dtype: floating type that the environment takes.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    dtype: Any = np.float32

    @property
    def size(self) -> int:
        """Number of components, dims."""
        return len(self.low)

    @property
    def middle(self) -> NDArray[np.float32]:
        """Where unit coordinate 0 lies, float32 [dims]."""
        middle: NDArray[np.float32] = (self.low + self.high) / np.float32(2)
        return middle

    @property
    def half_width(self) -> NDArray[np.float32]:
        """Length of one unit, float32 [dims]."""
        half_width: NDArray[np.float32] = (self.high - self.low) / np.float32(2)
        return half_width

    def from_unit(self, unit: NDArray[np.float32]) -> NDArray[Any]:
        """Unit coordinates float32 [..., dims] -> actions of ``dtype``, never outside the bounds."""
        actions = np.clip(self.middle + self.half_width * unit, self.low, self.high)
        return np.asarray(actions, dtype=self.dtype)


Actions = int | BoxActions
"""What an agent may do: one of so many actions, or a vector of a Box."""


def actions_of(space: Any, env_id: str) -> Actions:
    """Read the action space of one instance.

    Args:
        space: ``Discrete``, or a ``Box`` of floats, one axis, finite bounds.
        env_id: for the message of an error.

    Raises:
        ConfigError: it is neither; the message says what is missing.
    """
    if is_discrete(space):
        return int(space.n)
    if not hasattr(space, "low") or np.dtype(space.dtype).kind != "f":
        raise ConfigError(f"{env_id} has the action space {space}; expected Discrete, or a Box of floats")
    if len(space.shape) != 1:
        raise ConfigError(f"{env_id} has actions of shape {tuple(space.shape)}; expected one axis (flatten them)")
    low, high = np.asarray(space.low, dtype=np.float32), np.asarray(space.high, dtype=np.float32)
    for name, bound in (("low", low), ("high", high)):
        if not np.isfinite(bound).all():
            at = int(np.argmin(np.isfinite(bound)))
            raise ConfigError(
                f"{env_id}: action_space.{name}[{at}] is {bound[at]}; must be finite (actions are drawn between the "
                "bounds; wrap the environment so that it has some)"
            )
    if not (low < high).all():
        at = int(np.argmin(low < high))
        raise ConfigError(f"{env_id}: action_space.low[{at}] is {low[at]}; must be < high[{at}], which is {high[at]}")
    return BoxActions(low, high, np.dtype(space.dtype).type)


def action_field(actions: Actions) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of one action as the replay stores it."""
    return ((actions.size,), np.float32) if isinstance(actions, BoxActions) else ((), np.int64)
