"""The infos of single environments, from the one dict that a vector environment gives of all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

__all__ = ["row_infos"]


def row_infos(info: Mapping[str, Any], num_envs: int, leave_out: Collection[str] = ()) -> list[dict[str, Any]]:
    """Split an info, as ``gymnasium.vector.VectorEnv`` puts it together.

    Args:
        info: names to arrays of ``num_envs`` values, or to such dicts; ``_NAME`` tells which rows have NAME.
        num_envs: number of environments.
        leave_out: names that are not wanted.

    Returns:
        A dict of each environment, with what its own info had.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for name, values in info.items():
        if name in leave_out or (name.startswith("_") and name[1:] in info):
            continue
        there = info.get(f"_{name}")
        parts = row_infos(values, num_envs) if isinstance(values, Mapping) else values
        for row in range(num_envs) if there is None else np.flatnonzero(there).tolist():
            rows[row][name] = parts[row]
    return rows
