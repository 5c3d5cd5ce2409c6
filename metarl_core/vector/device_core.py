"""A batch in a GPU's memory with the methods that the core's batch has for states and tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core import _core
from metarl_core.errors import ClosedError, ResetNeededError
from metarl_core.vector.builders import BuildPlan
from metarl_core.vector.library import library_kernels

__all__ = ["DeviceCore"]


class DeviceCore:
    """Stands in for ``_core.BatchEnv`` in the methods of a vector environment that are not about steps.

    What they read or write is copied between the device and a batch of the core's that is made for it, whose arrays are
    the same ones: so checks, formats of states, and what follows from tasks (maps, for example) are the core's. They
    wait for the device.

    Args:
        make_host: Makes the core's batch.
        plan: How the environment is built.
        module: The extension module of the device.
        device: Number of the device.

    Raises:
        ValueError: There are no kernels for GPUs of this environment; the message says why and what to do.
    """

    num_threads = 1

    def __init__(self, make_host: Callable[[], _core.BatchEnv], plan: BuildPlan, module: Any, device: int) -> None:
        host = make_host()
        self.field_names = host.field_names
        self.task_parameters = host.task_parameters
        self.has_prob = host.has_prob
        self.has_end_flag = host.has_end_flag
        self.action_masks = host.action_masks
        self._make_host = make_host
        told = host.describe()
        self._disabled = told["autoreset_mode"] == "disabled"
        told |= {"obs_shape": tuple(plan.observation_shape), "action_shape": tuple(plan.action_shape)}
        told |= library_kernels(told["name"], "float32" if plan.numbers.get("float32") else "float64")
        self.batch = module.BatchEnv(told, host.read_arrays(), device)
        self.step = self.batch.step

    @property
    def closed(self) -> bool:
        """Whether the device's memory was given back."""
        return bool(self.batch.closed)

    def close(self) -> None:
        """Give the device's memory back, but for arrays that somebody holds."""
        self.batch.close()

    def _copy(self) -> _core.BatchEnv:
        if self.closed:
            raise ClosedError("this environment was closed")
        host = self._make_host()
        host.write_arrays(self.batch.read_arrays(), self.batch.ready)
        return host

    @contextmanager
    def _changed(self) -> Iterator[_core.BatchEnv]:
        """Hand out a copy, and take it over if nothing was raised."""
        host = self._copy()
        yield host
        self.batch.write_arrays(host.read_arrays(), host.ready)

    def check_ready(self, rows_may_have_ended: bool) -> None:
        """See ``_core.BatchEnv``; waits for the device if rows may not."""
        if self.closed or (self._disabled and not rows_may_have_ended):
            self._copy().check_ready(rows_may_have_ended)
        elif not self.batch.ready:
            raise ResetNeededError("reset must be called before step")

    def observe(self) -> npt.NDArray[Any]:
        """Return the observations of the current states on the host, for drawings."""
        array: npt.NDArray[Any] = self.batch.observe().numpy()
        return array

    def get_field(self, field: int) -> npt.NDArray[np.float64]:
        """See ``_core.BatchEnv``, as for the methods below."""
        return self._copy().get_field(field)

    def get_state(self, rows: npt.NDArray[np.int64] | None = None) -> dict[str, npt.NDArray[Any]]:  # noqa: D102
        return self._copy().get_state(rows)

    def set_state(self, *arguments: Any) -> None:  # noqa: D102
        with self._changed() as host:
            host.set_state(*arguments)

    def get_tasks(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]] | None:  # noqa: D102
        return self._copy().get_tasks() if self.batch.has_tasks else None

    def set_tasks(self, values: npt.NDArray[np.float64] | None, ids: npt.NDArray[np.int32] | None) -> None:  # noqa: D102
        with self._changed() as host:
            host.set_tasks(values, ids)

    def get_task_table(self) -> npt.NDArray[np.float64] | None:  # noqa: D102
        return self._copy().get_task_table() if self.batch.has_tasks else None

    def set_task_table(self, values: npt.NDArray[np.float64]) -> None:  # noqa: D102
        with self._changed() as host:
            host.set_task_table(values)

    def task_ids(self) -> npt.NDArray[np.int64] | None:  # noqa: D102
        return self._copy().task_ids() if self.batch.has_tasks else None
