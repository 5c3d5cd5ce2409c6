"""The arrays that a vector environment and its workers share."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.wrapped.layout import ArraySpec, Column, SpaceLayout

__all__ = ["RowArrays", "SharedMemory", "array_specs", "row_arrays"]

_ALIGNMENT = 64


class SharedMemory:
    """Memory without a name, which processes share by inheriting its descriptor: nothing is left behind, whoever dies.

    Args:
        descriptor: Of memory that another process made; None: make some. It is closed with the object.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            if hasattr(os, "memfd_create"):
                descriptor = os.memfd_create("metarl_core", os.MFD_CLOEXEC)
            else:
                with tempfile.TemporaryFile() as file:
                    descriptor = os.dup(file.fileno())
        self.descriptor = descriptor

    def arrays(self, specs: Sequence[ArraySpec], *, grow: bool = False) -> list[npt.NDArray[Any]]:
        """Return the arrays of these shapes and dtypes, one after the other; with ``grow``, all zero."""
        offsets, size = [], 0
        for shape, dtype in specs:
            offsets.append(size)
            size += -(-dtype.itemsize * int(np.prod(shape)) // _ALIGNMENT) * _ALIGNMENT
        if grow:
            os.truncate(self.descriptor, max(size, 1))
        buffer = mmap.mmap(self.descriptor, max(size, 1))
        return [np.ndarray(shape, dtype, buffer, at) for (shape, dtype), at in zip(specs, offsets, strict=True)]

    def close(self) -> None:
        """Close the descriptor; the arrays stay."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass
class RowArrays:
    """What a step reads and writes, one row for each environment.

    Attributes:
        obs: Columns of the observations.
        actions: Columns of the actions.
        reward: float64.
        terminated: bool.
        truncated: bool.
        task_id: int64, -1 without a task.
        task_values: float64 ``(rows, parameters)``, the parameters in force.
        busy: int64; in the first row of a worker's: which row it works on, from 1; 0: none.
    """

    obs: list[Column]
    actions: list[Column]
    reward: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    task_id: npt.NDArray[np.int64]
    task_values: npt.NDArray[np.float64]
    busy: npt.NDArray[np.int64]

    def rows(self, begin: int, end: int) -> RowArrays:
        """Return views of these rows; of a list, a copy."""
        part = slice(begin, end)
        return RowArrays(
            [column[part] for column in self.obs],
            [column[part] for column in self.actions],
            self.reward[part],
            self.terminated[part],
            self.truncated[part],
            self.task_id[part],
            self.task_values[part],
            self.busy[part],
        )


def array_specs(obs: SpaceLayout, actions: SpaceLayout, n: int, num_parameters: int) -> list[ArraySpec]:
    """Return shapes and dtypes of the arrays of ``n`` rows, in the order of :func:`row_arrays`."""
    kinds: list[Any] = [np.float64, np.bool_, np.bool_, np.int64, np.float64, np.int64]
    shapes: list[tuple[int, ...]] = [(n,)] * 6
    shapes[4] = (n, num_parameters)
    common = [(shape, np.dtype(kind)) for shape, kind in zip(shapes, kinds, strict=True)]
    return [*obs.array_specs(n), *actions.array_specs(n), *common]


def row_arrays(arrays: Sequence[npt.NDArray[Any]], obs: SpaceLayout, actions: SpaceLayout, n: int) -> RowArrays:
    """Name the arrays that :func:`array_specs` describes."""
    first = len(obs.array_specs(0))
    second = first + len(actions.array_specs(0))
    return RowArrays(obs.columns(arrays[:first], n), actions.columns(arrays[first:second], n), *arrays[second:])
