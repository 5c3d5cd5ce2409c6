"""Replay buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metarl_core import _core
from metarl_core.replay.batch import Batch
from metarl_core.replay.fields import Fields, parse_fields
from metarl_core.replay.state import buffer_state, load_buffer_state

__all__ = ["PrioritizedReplayBuffer", "ReplayBuffer"]


class ReplayBuffer(_core.UniformReplayBase):
    """Ring of transitions that are sampled uniformly, with replacement.

    The interface is that of PrioritizedReplayBuffer; all weights are 1, and ``update_priorities`` checks its arguments
    but changes nothing. Methods may be called from any thread.

    Args:
        capacity: Number of transitions that are kept, >= 1; then the oldest are overwritten.
        fields: Mapping of column name to (shape, dtype), for example
            ``{"obs": ((4,), np.float32), "done": ((), bool)}``; see also fields_from_spaces.
        seed: Key of the random numbers, in [0, 2**64). Equal seeds and calls give equal bits on every machine.

    Raises:
        ValueError: A value is out of range.
        TypeError: A dtype is not boolean, integer, floating-point or complex.
        MemoryError: The storage does not fit; the message states its bytes.
    """

    def __init__(self, capacity: int, fields: Fields, seed: int = 0) -> None:
        parsed = parse_fields(fields)
        super().__init__(capacity, parsed, seed, Batch)
        self._fields = parsed

    @property
    def fields(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The columns: name to (shape, dtype)."""
        return {name: (shape, dtype) for name, shape, dtype in self._fields}

    def _config(self) -> dict[str, Any]:
        return {"kind": "uniform", "capacity": self.capacity, "seed": self.seed}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that determines the buffer's future behaviour, as copies.

        Returns:
            A dict of numbers, strings, and NumPy arrays; ``columns`` is a dict of arrays of shape (size, ...).
        """
        return buffer_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; a buffer that goes on from it returns the same bits as the one that gave it.

        Args:
            state: What ``state_dict`` of a buffer with the same arguments returned.

        Raises:
            CheckpointMismatchError: The state belongs to a buffer of other arguments; the message lists those
            CheckpointVersionError: The state has another format.
            ValueError: An entry is missing or malformed; the message names it. After any error the buffer is unchanged.
        """
        load_buffer_state(self, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), (self.capacity, self.fields, self.seed), self.state_dict())


class PrioritizedReplayBuffer(_core.PrioritizedReplayBase):
    """Ring of transitions that are sampled in proportion to priority^alpha.

    Proportional prioritization (Schaul et al., "Prioritized experience replay", ICLR 2016) over an exact integer sum
    tree: see SumTree for the fixed-point numbers. New transitions get the largest raw priority that was assigned since
    construction or ``clear`` (1 at first, within [eps, max_priority]); overwriting the transition that had it does not
    lower it. Raw priorities are kept in float32. If all priorities are zero (possible with ``eps=0``), sampling is
    uniform. Methods may be called from any thread.

    Memory a transition: the packed row of its fields up to 256 bytes each (padded to its largest item), 64-byte
    multiples for larger fields, and 10 bytes for priority and tree: ``bytes_per_transition``.

    Args:
        capacity: Number of transitions that are kept, 1 ... 2**31 - 1; then the oldest are overwritten.
        fields: Mapping of column name to (shape, dtype); see also fields_from_spaces.
        alpha: Exponent of the priorities, >= 0; 0 is uniform.
        beta: Exponent of the importance weights, >= 0; ``sample`` may override it.
        eps: Smallest priority, >= 0; its power alpha must not overflow.
        max_priority: Largest priority, or None; its power alpha must not overflow.
        weight_normalization: What the weights are divided by: ``"max"`` (the largest weight of any item in the buffer),
            ``"batch_max"``, ``"sum"`` (they add up to 1) or ``"none"``.
        seed: Key of the random numbers, in [0, 2**64). Equal seeds and calls give equal bits on every machine.
        stratified: Draw number i of a batch comes from the i-th of B equal slices of the total; otherwise the draws are
            independent.

    Raises:
        ValueError: A value is out of range.
        TypeError: A dtype is not boolean, integer, floating-point or complex.
        MemoryError: The storage does not fit; the message states its bytes.
    """

    def __init__(
        self,
        capacity: int,
        fields: Fields,
        alpha: float = 0.6,
        beta: float = 0.4,
        eps: float = 1e-6,
        max_priority: float | None = None,
        weight_normalization: str = "max",
        seed: int = 0,
        stratified: bool = True,
    ) -> None:
        parsed = parse_fields(fields)
        super().__init__(
            capacity, parsed, alpha, beta, eps, max_priority, weight_normalization, stratified, seed, Batch
        )
        self._fields = parsed

    @property
    def fields(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The columns: name to (shape, dtype)."""
        return {name: (shape, dtype) for name, shape, dtype in self._fields}

    def _config(self) -> dict[str, Any]:
        return {
            "kind": "prioritized",
            "capacity": self.capacity,
            "seed": self.seed,
            "alpha": self.alpha,
            "eps": self.eps,
            "max_priority": self.max_priority,
            "weight_normalization": self.weight_normalization,
            "stratified": self.stratified,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything that determines the buffer's future behaviour, as copies.

        Returns:
            A dict of numbers, strings, None and NumPy arrays; ``columns`` is a dict of arrays of shape (size, ...),
            ``priorities`` the raw ones (float32), ``masses`` the tree's leaves (uint32). ``beta`` is not part of it:
            it is the caller's schedule.
        """
        return buffer_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; a buffer that goes on from it returns the same bits as the one that gave it.

        Args:
            state: What ``state_dict`` of a buffer with the same arguments returned.

        Raises:
            CheckpointMismatchError: The state belongs to a buffer of other arguments; the message lists those
            CheckpointVersionError: The state has another format.
            ValueError: An entry is missing or malformed; the message names it. After any error the buffer is unchanged.
        """
        load_buffer_state(self, state)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (
            self.capacity,
            self.fields,
            self.alpha,
            self.beta,
            self.eps,
            self.max_priority,
            self.weight_normalization,
            self.seed,
            self.stratified,
        )
        return _rebuild, (type(self), arguments, self.state_dict())


def _rebuild(
    cls: type[ReplayBuffer | PrioritizedReplayBuffer], arguments: tuple[Any, ...], state: Mapping[str, Any]
) -> ReplayBuffer | PrioritizedReplayBuffer:
    buffer = cls(*arguments)
    buffer.load_state_dict(state)
    return buffer
