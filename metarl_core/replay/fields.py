"""Descriptions of the columns of a replay buffer."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["Fields", "fields_from_spaces", "parse_fields"]

# name -> (shape, dtype), or a mapping or tuple of such
Fields = Mapping[str, Any]

# NumPy's limit of dimensions, less the batch axis.
_MAX_AXES = (64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32) - 1

_RESERVED = ("indices", "weights", "probabilities")


def _parse_shape(name: str, shape: Any) -> tuple[int, ...]:
    extents = shape if isinstance(shape, Iterable) else (shape,)
    try:
        parsed = tuple(operator.index(extent) for extent in extents)
    except TypeError:
        raise TypeError(f"shape of field {name!r} is {shape!r}; must be a tuple of integers") from None
    if any(extent < 1 for extent in parsed):
        raise ValueError(f"shape of field {name!r} is {parsed}; every extent must be >= 1")
    if len(parsed) > _MAX_AXES:
        raise ValueError(f"shape of field {name!r} has {len(parsed)} axes; NumPy allows {_MAX_AXES} besides the batch")
    return parsed


def parse_fields(fields: Fields) -> list[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    """Check a mapping of fields and return (name, shape, dtype) triples.

    Raises:
        TypeError: ``fields`` is no mapping of name to (shape, dtype), or a dtype has no fixed size or holds Python
            objects.
        ValueError: There are no fields, a name is reserved, or a shape is not positive or has too many axes.
        MemoryError: One element alone is beyond the address space.
    """
    if not isinstance(fields, Mapping):
        raise TypeError(f"fields must be a mapping of name to (shape, dtype), got {type(fields).__name__}")
    if not fields:
        raise ValueError("fields is empty; must have at least one field")
    parsed = []
    for name, spec in fields.items():
        if not isinstance(name, str):
            raise TypeError(f"field names must be str, got {name!r}")
        if name in _RESERVED:
            raise ValueError(f"field name {name!r} is reserved; a batch has a column of that name")
        if not isinstance(spec, tuple | list) or len(spec) != 2:
            raise TypeError(f"field {name!r} is {spec!r}; must be (shape, dtype)")
        shape = _parse_shape(name, spec[0])
        dtype = np.dtype(spec[1])
        if dtype.subdtype is not None:
            dtype, inner = dtype.subdtype
            shape = _parse_shape(name, (*shape, *inner))
        if dtype.kind not in "biufcSUVmM" or dtype.hasobject or dtype.itemsize == 0:
            raise TypeError(f"dtype of field {name!r} is {dtype}; must have a fixed size and hold no Python objects")
        element_bytes = math.prod(shape) * dtype.itemsize
        if element_bytes > sys.maxsize:
            raise MemoryError(f"cannot allocate {element_bytes} bytes for an element of field {name!r}")
        parsed.append((name, shape, dtype.newbyteorder("=")))
    return parsed


def _space_spec(kind: str, space: Any) -> Any:
    parts = getattr(space, "spaces", None)
    if isinstance(parts, Mapping):
        return {name: _space_spec(kind, part) for name, part in parts.items()}
    if isinstance(parts, tuple | list):
        return tuple(_space_spec(kind, part) for part in parts)
    shape, dtype = getattr(space, "shape", None), getattr(space, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(
            f"{kind} is {space!r}; must have a fixed shape and dtype (Box, Discrete, ...; Dict and Tuple of these)"
        )
    return tuple(shape), np.dtype(dtype)


def fields_from_spaces(observation_space: Any, action_space: Any) -> dict[str, Any]:
    """Derive the fields of one transition from Gymnasium spaces.

    Args:
        observation_space: The space of one environment's observations (``single_observation_space`` of a vector
            environment), of fixed shape and dtype: Box, Discrete, MultiDiscrete or MultiBinary, or a Dict or Tuple of
            such, however deep.
        action_space: Likewise of actions.

    Returns:
        A mapping for ``obs``, ``action``, ``reward`` (float32), ``next_obs``, ``terminated`` and ``truncated`` (bool);
        Dict and Tuple spaces become nested fields.

    Raises:
        TypeError: A space has no fixed shape and dtype (Text, Sequence, Graph, ...).
    """
    obs = _space_spec("observation_space", observation_space)
    return {
        "obs": obs,
        "action": _space_spec("action_space", action_space),
        "reward": ((), np.dtype(np.float32)),
        "next_obs": obs,
        "terminated": ((), np.dtype(np.bool_)),
        "truncated": ((), np.dtype(np.bool_)),
    }
