"""What networks see of an environment's spaces: numbers of actions, vectors of observations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.actions import actions_of
from metarl_core.agents.common.observations import ObservationEncoder

__all__ = ["action_table", "count_actions", "dense_observations"]


def action_table(space: Any, levels: int, env_id: str) -> NDArray[Any] | None:
    """Every combination of ``levels`` evenly spaced values of each component, [levels^dims, dims]; None if discrete.

    Raises:
        ConfigError: the space is neither Discrete nor a bounded Box of one axis.
    """
    actions = actions_of(space, env_id)
    if isinstance(actions, int):
        return None
    unit = np.array(list(itertools.product(np.linspace(-1, 1, levels), repeat=actions.size)), dtype=np.float32)
    table: NDArray[Any] = actions.from_unit(unit)
    return table


def count_actions(space: Any, table: NDArray[Any] | None) -> int:
    """Number of actions to choose from: rows of the table, or of a Discrete space its own."""
    return int(space.n) if table is None else len(table)


def dense_observations(encoder: ObservationEncoder, obs: NDArray[Any]) -> NDArray[Any]:
    """Encoded observations as vectors, float32 [B, D], one-hot ones spelled out; or as images, [B, H, W, C]."""
    encoded = encoder(obs)
    if not encoder.one_hot:
        return encoded
    dense = np.zeros((len(encoded), encoder.size + 1), dtype=np.float32)
    dense[np.arange(len(encoded)), encoded] = 1
    return dense[:, : encoder.size]
