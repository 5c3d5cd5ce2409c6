"""The prioritized replay buffer in a GPU's memory, and how buffers come there."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_core._cuda_module import cuda_module, device_number
from metarl_core.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer
from metarl_core.replay.device_base import DeviceReplayBuffer

__all__ = ["DevicePrioritizedReplayBuffer", "DeviceReplayBuffer", "make_on_device", "move_to_device"]


class DevicePrioritizedReplayBuffer(DeviceReplayBuffer):
    """``PrioritizedReplayBuffer`` in the memory of a GPU, made by its argument ``device``.

    As ``DeviceReplayBuffer``, with priorities; the same memory a transition.
    """

    _on_host = PrioritizedReplayBuffer

    def _kind_options(self) -> dict[str, Any]:
        model = self._model
        return {
            "uniform": False,
            "alpha": model.alpha,
            "eps": model.eps,
            "max_priority": model.max_priority,
            "weight_normalization": model.weight_normalization,
            "stratified": model.stratified,
        }

    @property
    def alpha(self) -> float:
        """Exponent of the priorities."""
        return float(self._model.alpha)

    @property
    def eps(self) -> float:
        """Smallest priority (float32)."""
        return float(self._model.eps)

    @property
    def max_priority(self) -> float | None:
        """Largest priority (float32), or None."""
        limit: float | None = self._model.max_priority
        return limit

    @property
    def stratified(self) -> bool:
        """Whether batches are stratified."""
        return bool(self._model.stratified)

    @property
    def weight_normalization(self) -> str:
        """What the importance weights are divided by."""
        return str(self._model.weight_normalization)

    @property
    def beta(self) -> float:
        """Exponent of the next batch's weights. If it is a function, its argument is read from the device."""
        given = self._model._beta
        return float(given(self.draws)) if callable(given) else float(given)

    @beta.setter
    def beta(self, beta: Any) -> None:
        self._model.beta = beta

    @property
    def stale_updates(self) -> int:
        """Priority updates skipped so far because their slot had been overwritten; waits for the device."""
        return int(self._buffer.stale_updates)

    @property
    def running_max_priority(self) -> float:
        """Raw priority that new transitions get; waits for the device."""
        return float(self._buffer.running_max_priority)

    def priorities(self, indices: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return raw priorities p, before the exponent alpha, in host memory; waits for the device.

        Args:
            indices: Slots, in host memory; all filled ones by default.

        Raises:
            IndexError: A slot was never written.
        """
        priorities: NDArray[np.float64] = self._buffer.priorities()
        if indices is None:
            return priorities
        slots = np.asarray(indices)
        outside = np.flatnonzero((slots < 0) | (slots >= len(priorities)))
        if len(outside):
            bad = outside[0]
            raise IndexError(f"index {slots.flat[bad]} at position {bad} out of range for size {len(priorities)}")
        chosen: NDArray[np.float64] = priorities[slots]
        return chosen

    def _current_beta(self) -> float:
        given = self._model._beta
        return self.beta if callable(given) else float(given)

    def _empty_on_host(self) -> Any:
        return PrioritizedReplayBuffer(self.capacity, self.fields, **{**self._given, "beta": self._model._beta})


def _device_class(kind: Any) -> type[DeviceReplayBuffer]:
    return DevicePrioritizedReplayBuffer if issubclass(kind, PrioritizedReplayBuffer) else DeviceReplayBuffer


def make_on_device(kind: Any, device: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> DeviceReplayBuffer:
    """Make what ``kind(*arguments, device=device, **keywords)`` is; ``kind`` is one of the buffers' classes."""
    number = device_number(device)
    bound = inspect.signature(kind.__init__).bind(None, *arguments, **keywords)
    bound.apply_defaults()
    options = dict(bound.arguments)
    for name in ("self", "device"):
        options.pop(name)
    capacity, fields = options.pop("capacity"), options.pop("fields")
    return _device_class(kind)(cuda_module(device), number or 0, capacity, fields, options)


def move_to_device(buffer: ReplayBuffer | PrioritizedReplayBuffer, device: Any) -> DeviceReplayBuffer:
    """Make a buffer on a device with the arguments and the content of one in host memory."""
    options = {name: buffer._argument(name) for name in buffer._options}
    capacity = options.pop("capacity")
    options.update(num_threads=None, storage="memory")
    if options["sequence_length"] is None:
        options["stride"] = None
    make = _device_class(type(buffer))
    moved = make(cuda_module(device), device_number(device) or 0, capacity, buffer.fields, options)
    moved._take(buffer)
    return moved
