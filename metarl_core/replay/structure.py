"""Nested fields: dicts and tuples of columns, which the core keeps as flat columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Structure", "flatten_fields", "is_leaf"]


def is_leaf(spec: Any) -> bool:
    """Tell whether a field's description is (shape, dtype) and not a tuple of further fields."""
    if isinstance(spec, Mapping):
        return False
    if not isinstance(spec, tuple | list) or len(spec) != 2:
        return not isinstance(spec, tuple | list)  # let the parser complain about it
    shape, dtype = spec
    if not isinstance(dtype, tuple | list | Mapping):  # no field
        return True
    return hasattr(shape, "__index__") or (
        isinstance(shape, tuple | list) and all(hasattr(extent, "__index__") for extent in shape)
    )


def _children(spec: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(spec, Mapping):
        for key, child in spec.items():
            if not isinstance(key, str):
                raise TypeError(f"field names must be str, got {key!r}")
            yield key, child
    else:
        for position, child in enumerate(spec):
            yield str(position), child


def flatten_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return name -> (shape, dtype) with names such as ``obs.image`` and ``obs.0``.

    Raises:
        ValueError: Two fields get one name, or a group of fields is empty.
    """
    flat: dict[str, Any] = {}

    def visit(name: str, spec: Any) -> None:
        if is_leaf(spec):
            if name in flat:
                raise ValueError(f"fields has two columns named {name!r}")
            flat[name] = spec
            return
        children = list(_children(spec))
        if not children:
            raise ValueError(f"field {name!r} is empty")
        for key, child in children:
            visit(f"{name}.{key}", child)

    for name, spec in fields.items():
        visit(name, spec)
    return flat


class Structure:
    """Turns nested values into flat columns and back.

    Args:
        fields: As given to the buffer.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._groups = {name: spec for name, spec in fields.items() if not is_leaf(spec)}

    def flatten(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns by their flat names.

        Raises:
            KeyError: A part of a group is missing or unknown.
            TypeError: A group is given as something that is no mapping (or no sequence, for a tuple).
        """
        flat: dict[str, Any] = {}
        for name, value in columns.items():
            if name in self._groups:
                self._flatten(name, self._groups[name], value, flat)
            else:
                flat[name] = value
        return flat

    def _flatten(self, name: str, spec: Any, value: Any, flat: dict[str, Any]) -> None:
        if is_leaf(spec):
            flat[name] = value
            return
        if isinstance(spec, Mapping):
            if not isinstance(value, Mapping):
                raise TypeError(f"{name!r} must be a mapping with the keys {list(spec)}, got {type(value).__name__}")
            for key in value:
                if key not in spec:
                    raise KeyError(f"unknown field {key!r} in {name!r}; the fields are {list(spec)}")
            parts = value
        else:
            if not isinstance(value, tuple | list):
                raise TypeError(f"{name!r} must be a tuple of {len(spec)}, got {type(value).__name__}")
            if len(value) != len(spec):
                raise ValueError(f"{name!r} must be a tuple of {len(spec)}, got {len(value)}")
            parts = {str(position): part for position, part in enumerate(value)}
        for key, child in _children(spec):
            if key not in parts:
                raise KeyError(f"missing field {name + '.' + key!r}")
            self._flatten(f"{name}.{key}", child, parts[key], flat)

    def nest(self, batch: dict[str, Any]) -> None:
        """Replace the flat columns of a batch by the groups, in place."""
        for name, spec in self._groups.items():
            batch[name] = self._nest(name, spec, batch)

    def _nest(self, name: str, spec: Any, batch: dict[str, Any]) -> Any:
        if is_leaf(spec):
            return batch.pop(name)
        parts = {key: self._nest(f"{name}.{key}", child, batch) for key, child in _children(spec)}
        return parts if isinstance(spec, Mapping) else tuple(parts.values())
