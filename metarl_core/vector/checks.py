"""Checks of arguments that the modules of vector environments share."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.specs import shown

__all__ = ["check_fits_memory", "checked_integer", "checked_reset_mask", "checked_rows"]


def checked_integer(name: str, value: Any, low: int, high: int | None) -> int:
    """Return ``value`` as an int in [low, high].

    Raises:
        TypeError: It is no integer.
        ValueError: It is out of range.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; must be an integer") from None
    if number < low or (high is not None and number > high):
        expected = f">= {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} is {shown(number)}; must be {expected}")
    return number


def checked_reset_mask(mask: Any, num_envs: int) -> npt.NDArray[np.bool_]:
    """Return ``options["reset_mask"]`` of a reset.

    Raises:
        TypeError: It is no bool array.
        ValueError: It has the wrong shape, or is nowhere True.
    """
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a bool array, got {getattr(mask, 'dtype', type(mask))}")
    if mask.shape != (num_envs,):
        raise ValueError(f"options['reset_mask'] must have shape ({num_envs},), got {mask.shape}")
    if not mask.any():
        raise ValueError("options['reset_mask'] must be True somewhere")
    return mask


def checked_rows(name: str, rows: Any, num_envs: int) -> npt.NDArray[np.int64]:
    """Return row numbers as int64, contiguous.

    Raises:
        TypeError: They are no integers.
        ValueError: They are not one-dimensional.
        IndexError: One is not in [0, num_envs).
    """
    array = np.asarray(rows)
    if array.dtype.kind not in "iu" and array.size:
        hint = "; of a mask, numpy.flatnonzero(mask)" if array.dtype.kind == "b" else ""
        raise TypeError(f"{name} must be integers, got {array.dtype}{hint}")
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; must have one dimension")
    bad = (array < 0) | (array >= num_envs)
    if bad.any():
        k = int(bad.argmax())
        raise IndexError(f"{name}[{k}] is {int(array[k])}; must be in [0, {num_envs})")
    return np.ascontiguousarray(array, np.int64)


def check_fits_memory(what: str, num_bytes: int) -> None:
    """Refuse what this machine's memory cannot hold: the kernel may grant it and kill the process later.

    Raises:
        MemoryError: It does not fit.
    """
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if num_bytes > available:
        raise MemoryError(f"{what} needs about {shown(num_bytes)} bytes; this machine has {available}")
