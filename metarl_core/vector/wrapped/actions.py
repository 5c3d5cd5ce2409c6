"""Checks of a batch of actions, before any environment sees one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from metarl_core.vector.wrapped.layout import Leaf, SpaceLayout

__all__ = ["checked_actions", "store_actions"]


def _range(space: spaces.Space[Any]) -> tuple[Any, Any] | None:
    """Return the smallest integers and those above the largest, or None where any number will do."""
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec
    if isinstance(space, spaces.MultiBinary):
        return 0, 2
    return None


def _checked(layout: SpaceLayout, leaf: Leaf, value: Any, n: int) -> npt.NDArray[Any] | list[Any]:
    name = layout.name(leaf)
    if not leaf.fixed:
        values = list(value)
        if len(values) != n:
            raise ValueError(f"{name}: expected {n} actions, got {len(values)}")
        return values
    array = np.asarray(value)
    assert leaf.space.shape is not None
    shape = (n, *leaf.space.shape)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    limits = _range(leaf.space)
    kinds = "iu" if limits is not None else "fiu"
    if isinstance(leaf.space, spaces.MultiBinary) or leaf.space.dtype == np.bool_:
        kinds = "iub"
    elif isinstance(leaf.space, spaces.Box) and leaf.space.dtype is not None and leaf.space.dtype.kind in "iu":
        kinds = "iu"
    if array.dtype.kind not in kinds:
        expected = "real numbers" if kinds == "fiu" else "integers"
        raise TypeError(f"{name}: expected {expected}, got dtype {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name}{''.join(f'[{i}]' for i in at)} is {array[at]}; must be finite")
    if limits is not None:
        low, high = limits
        bad = (array < low) | (array >= high)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            low, high = (np.broadcast_to(limit, shape)[at] for limit in (low, high))
            place = "".join(f"[{i}]" for i in at)
            raise ValueError(f"{name}{place} is {int(array[at])}; must be in [{int(low)}, {int(high)})")
    return array


def checked_actions(layout: SpaceLayout, actions: Any, n: int) -> list[Any]:
    """Return the columns of a batch of actions.

    Raises:
        TypeError: An action is of the wrong kind, or the batch has not the space's structure.
        ValueError: A wrong number of actions, a wrong shape, or an action that is none.
    """
    try:
        columns = layout.split(actions)
    except (TypeError, KeyError, IndexError) as error:
        raise TypeError(
            f"actions must have the structure of action_space with a batch of {n} at each part; {error} is not there"
        ) from None
    return [_checked(layout, leaf, value, n) for leaf, value in zip(layout.leaves, columns, strict=True)]


def store_actions(layout: SpaceLayout, columns: Sequence[Any], values: Sequence[Any]) -> list[tuple[int, Any]]:
    """Write checked actions to the shared arrays; return leaf and values of those without a fixed size."""
    objects = []
    for k, (leaf, value) in enumerate(zip(layout.leaves, values, strict=True)):
        if leaf.fixed:
            # Checked: what is lost is the range of an integer type that is wider than it need be, or double precision.
            np.copyto(columns[k], value, casting="unsafe")
        else:
            objects.append((k, value))
    return objects
