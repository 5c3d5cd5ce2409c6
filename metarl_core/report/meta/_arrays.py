"""Arrays and labels that a caller hands in, brought to one form or refused with their name and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Axis", "array", "by_method", "labels", "rising", "shares"]

Array = npt.NDArray[np.float64]

Axis = tuple[str, "int | None"]
"""Name of an axis, and its size where it is known."""

_SUM_TOLERANCE = 1e-4  # of weights in single precision


def labels(where: str, names: Sequence[str]) -> tuple[str, ...]:
    """Check labels: at least one, all different, all text."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where} is {names!r}; expected a sequence of strings")
    if not names:
        raise ValueError(f"{where} is empty; expected at least one label")
    twice = [name for k, name in enumerate(names) if name in names[:k]]
    if twice:
        raise ValueError(f"{where} holds {twice[0]!r} twice; labels must differ")
    return tuple(names)


def array(where: str, values: npt.ArrayLike, *shapes: tuple[Axis, ...], nan: bool = True) -> Array:
    """Copy values to a read-only float64 array of one of the shapes, without infinities (and without NaN)."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} is no array of numbers: {error}") from None
    if not any(_fits(found.shape, axes) for axes in shapes):
        raise ValueError(f"{where} has shape {found.shape}; expected {' or '.join(map(_text, shapes))}")
    if np.isinf(found).any() or (not nan and np.isnan(found).any()):
        bad = found[~np.isfinite(found) if not nan else np.isinf(found)][0]
        raise ValueError(f"{where} holds {bad}; must be finite{', or NaN where it was not measured' if nan else ''}")
    found.setflags(write=False)
    return found


def by_method(where: str, values: Mapping[str, npt.ArrayLike], *shapes: tuple[Axis, ...]) -> dict[str, Array]:
    """Apply :func:`array` to the values of each method."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is a {type(values).__name__}; expected a mapping from methods to arrays")
    labels(where, list(values))
    return {method: array(f"{where}[{method!r}]", item, *shapes) for method, item in values.items()}


def rising(where: str, values: npt.ArrayLike, axis: Axis) -> Array:
    """Check that values rise from each to the next."""
    found = array(where, values, (axis,), nan=False)
    if (np.diff(found) <= 0).any():
        raise ValueError(f"{where} is {found.tolist()}; must rise from each to the next")
    return found


def shares(where: str, weights: Array, axis: int, *, signed: bool = False) -> Array:
    """Check that weights add up to 1 along an axis, and that none is negative unless they are ``signed``."""
    if not signed and (weights < 0).any():
        raise ValueError(f"{where} holds {weights.min()}; weights must not be negative")
    total = weights.sum(axis=axis)
    if (np.abs(total - 1) > _SUM_TOLERANCE).any():
        worst = total.ravel()[np.abs(total - 1).argmax()]
        raise ValueError(f"{where} add up to {worst:.6g} over the submodels; must add up to 1")
    return weights


def _fits(shape: tuple[int, ...], axes: tuple[Axis, ...]) -> bool:
    return len(shape) == len(axes) and all(
        have > 0 and want in (None, have) for have, (_, want) in zip(shape, axes, strict=True)
    )


def _text(axes: tuple[Axis, ...]) -> str:
    parts: list[Any] = [name if size is None else f"{name}={size}" for name, size in axes]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
