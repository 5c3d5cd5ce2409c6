"""Fields of sections: how they are set, and checks that several sections share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.report.meta._arrays import Array, array, by_method

__all__ = ["ROUNDING", "Setter", "numbers", "one_of", "subject_of", "with_tasks"]

ROUNDING = 1e-6  # of cosines and areas that come out of sums


class Setter:
    """Puts checked values into a frozen dataclass, and names its fields."""

    def __init__(self, section: Any) -> None:
        self._section = section

    def at(self, field: str) -> str:
        """Name of a field, for messages."""
        return f"{type(self._section).__name__}.{field}"

    def set(self, field: str, value: Any) -> Any:
        """Put a value in, and return it."""
        object.__setattr__(self._section, field, value)
        return value


def with_tasks(where: str, curves: Mapping[str, npt.ArrayLike], points: int) -> dict[str, Array]:
    """Bring curves to [seeds, tasks, points]; those without tasks get one."""
    short, full = (("seeds", None), ("points", points)), (("seeds", None), ("tasks", None), ("points", points))
    found = by_method(where, curves, short, full)
    return {method: curve[:, None] if curve.ndim == 2 else curve for method, curve in found.items()}


def subject_of(where: str, subject: str | None, methods: Mapping[str, Array]) -> str:
    """Check that the subject is one of the methods; None: the first."""
    return next(iter(methods)) if subject is None else one_of(where, subject, methods)


def one_of(where: str, method: str, methods: Mapping[str, Array]) -> str:
    """Check that a method is one of those there are."""
    if method not in methods:
        raise ValueError(f"{where} is {method!r}; expected one of {', '.join(map(repr, methods))}")
    return method


def numbers(where: str, values: npt.ArrayLike, axis: tuple[str, int], below: int) -> npt.NDArray[np.int64]:
    """Check that values are integers in [0, below)."""
    numbers = array(where, values, (axis,), nan=False)
    if (numbers != np.floor(numbers)).any() or (numbers < 0).any() or (numbers >= below).any():
        raise ValueError(f"{where} is {numbers.tolist()}; expected integers in [0, {below})")
    return numbers.astype(np.int64)
