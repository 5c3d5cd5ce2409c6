"""Gymnasium's spaces, or ours without Gymnasium, as TorchRL's specs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchrl.data import Binary, Bounded, Categorical, Composite, OneHot, Unbounded

__all__ = ["batched_spec"]


def batched_spec(space: Any, num_envs: int, device: Any, one_hot: bool = False) -> Any:
    """Spec of ``num_envs`` rows of a space.

    Args:
        space: Box, Discrete from 0, MultiBinary, or a Dict or Tuple of such, of one environment.
        num_envs: number of rows, the first axis of all shapes.
        device: of the spec.
        one_hot: a Discrete space has one-hot vectors, rather than its numbers.

    Raises:
        TypeError: another space, or a Discrete one that does not begin at 0.
    """
    parts = _parts(space)
    if parts is not None:
        specs = {name: batched_spec(part, num_envs, device, one_hot) for name, part in parts.items()}
        return Composite(specs, shape=(num_envs,), device=device)
    kind = type(space).__name__
    if kind == "Discrete" and int(space.start) == 0:
        spec = OneHot(int(space.n), device=device) if one_hot else Categorical(int(space.n), device=device)
        return spec.expand(num_envs, *spec.shape)
    if kind not in ("Box", "MultiBinary"):
        raise TypeError(f"the space {space} has no spec; known are Box, Discrete from 0, MultiBinary, Dict and Tuple")
    shape = (num_envs, *space.shape)
    dtype = torch.from_numpy(np.empty(0, space.dtype)).dtype
    if dtype == torch.bool or kind == "MultiBinary":
        return Binary(shape=shape, device=device, dtype=dtype)
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        return Unbounded(shape=shape, device=device, dtype=dtype)
    low, high = (torch.from_numpy(np.array(bound)).expand(shape) for bound in (space.low, space.high))
    return Bounded(low=low, high=high, shape=shape, device=device, dtype=dtype)


def _parts(space: Any) -> dict[str, Any] | None:
    """Spaces within a space by name, of a Tuple by position."""
    kind = type(space).__name__
    if kind == "Dict":
        return dict(space.spaces)
    if kind == "Tuple":
        return {str(position): part for position, part in enumerate(space.spaces)}
    return None
