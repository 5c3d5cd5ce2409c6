"""Tianshou's prioritized buffers over our sum tree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tianshou.data import PrioritizedReplayBuffer, PrioritizedVectorReplayBuffer, to_numpy

from metarl_core.errors import BufferEmptyError
from metarl_core.integrations.mass_tree import MassTree, stratified

__all__ = ["MetaRLPrioritizedReplayBuffer", "MetaRLPrioritizedVectorReplayBuffer"]

_EPS = float(np.finfo(np.float32).eps)  # as the library's


class _Weights:
    """Our tree with the methods of the library's ``SegmentTree``: p^alpha of every slot."""

    def __init__(self, size: int) -> None:
        self.tree = MassTree(size)

    def __len__(self) -> int:
        return len(self.tree)

    def __getitem__(self, index: ArrayLike) -> Any:
        slots = np.asarray(index)
        slots = np.where(slots < 0, slots + len(self), slots)  # as the library's columns are indexed
        masses = self.tree.get(slots.reshape(-1)).reshape(slots.shape)
        return masses if slots.ndim else masses.item()

    def __setitem__(self, index: ArrayLike, value: ArrayLike) -> None:
        slots = np.atleast_1d(np.asarray(index, np.int64))
        self.tree.set(slots, np.broadcast_to(np.asarray(value, np.float64), slots.shape))

    def reduce(self, start: int = 0, end: int | None = None) -> float:
        """Sum of the slots in [start, end)."""
        if start == 0 and end is None:
            return self.tree.total
        return float(self[np.arange(len(self))[start:end]].sum())

    def get_prefix_sum_idx(self, value: ArrayLike) -> Any:
        """Slots where the cumulative sums reach ``value``."""
        found = self.tree.find(np.atleast_1d(np.asarray(value, np.float64)) / self.tree.total)
        return found if np.ndim(value) else found.item()


class _SumTreeBuffer(PrioritizedReplayBuffer):
    """What both buffers have: storage, n-step returns and episodes stay the library's, priorities are ours."""

    weight: _Weights

    def _prioritize(self, alpha: float, beta: float, weight_norm: bool, stratified: bool, random_seed: int) -> None:
        self._alpha, self._beta = _checked("alpha", alpha), _checked("beta", beta)
        self._weight_norm = weight_norm
        self.stratified = stratified
        self._random_state = np.random.RandomState(random_seed)  # the library's kind, in its place
        self._forget()

    def _forget(self) -> None:
        self.weight = _Weights(self.maxsize)
        self._max_prio = 1.0

    def reset(self, keep_statistics: bool = False) -> None:
        """Forget all transitions and their priorities."""
        super().reset(keep_statistics)
        self._forget()

    def set_beta(self, beta: float) -> None:
        """Set the exponent of the importance weights, >= 0."""
        self._beta = _checked("beta", beta)

    def sample_indices(self, batch_size: int | None) -> NDArray[np.int64]:
        """Slots drawn with probability p_i^alpha / sum_j p_j^alpha; all slots for 0 or None, as the library has it.

        Raises:
            BufferEmptyError: nothing is stored.
        """
        if batch_size is None or batch_size <= 0:
            slots: NDArray[np.int64] = super().sample_indices(batch_size)
            return slots
        if len(self) == 0:
            raise BufferEmptyError("cannot sample from an empty buffer")
        uniforms = self._random_state.rand(batch_size)
        return self.weight.tree.find(stratified(uniforms) if self.stratified else uniforms)

    def get_weight(self, index: int | NDArray[Any]) -> float | NDArray[Any]:
        """Importance weights (N P_i)^-beta / max_j (N P_j)^-beta over all j stored, in (0, 1]; 0 of an empty slot."""
        smallest = self.weight.tree.smallest
        masses = np.asarray(self.weight[index])
        there = masses > 0
        ratios = np.divide(masses, smallest, out=np.ones(masses.shape), where=there)
        weights: NDArray[np.float64] = np.where(there, ratios**-self._beta, 0.0)
        return weights if weights.ndim else weights.item()

    def update_weight(self, index: NDArray[Any], new_weight: Any) -> None:
        """Set priorities |new_weight| + 2^-23.

        Args:
            index: int [B]: slots; of equal ones the last wins.
            new_weight: TD errors, array or tensor of B numbers.

        Raises:
            ValueError: an error is not finite, or there is another number of them.
            IndexError: a slot is out of range or empty. Nothing was changed after any error.
        """
        slots = np.asarray(index, np.int64).reshape(-1)
        errors = np.abs(np.asarray(to_numpy(new_weight), np.float64)).reshape(-1)
        if errors.size != slots.size:
            raise ValueError(f"new_weight has {errors.size} numbers; must have one for each of {slots.size} indices")
        if slots.size == 0:
            return
        bad = np.flatnonzero(~np.isfinite(errors))
        if bad.size:
            raise ValueError(f"new_weight[{bad[0]}] is {errors[bad[0]]}; must be finite")
        bad = np.flatnonzero((slots < 0) | (slots >= self.maxsize))
        if bad.size:
            raise IndexError(f"index {slots[bad[0]]} at position {bad[0]} out of range for size {self.maxsize}")
        bad = np.flatnonzero(self.weight[slots] == 0)
        if bad.size:
            raise IndexError(f"index {slots[bad[0]]} at position {bad[0]}: no transition is stored there")
        priorities = errors + _EPS
        self.weight[slots] = priorities**self._alpha
        self._max_prio = max(self._max_prio, float(priorities.max()))


class MetaRLPrioritizedReplayBuffer(_SumTreeBuffer):
    """Prioritized replay in place of ``tianshou.data.PrioritizedReplayBuffer``, for one environment.

    See :class:`MetaRLPrioritizedVectorReplayBuffer` for the arguments; ``size`` is the number of transitions.
    """

    def __init__(
        self,
        size: int,
        alpha: float,
        beta: float,
        weight_norm: bool = True,
        *,
        stratified: bool = True,
        random_seed: int = 42,
        **kwargs: Any,
    ) -> None:
        _check_exponents(alpha, beta)
        super().__init__(size, alpha, beta, weight_norm, **kwargs)
        self._prioritize(alpha, beta, weight_norm, stratified, random_seed)


class MetaRLPrioritizedVectorReplayBuffer(_SumTreeBuffer, PrioritizedVectorReplayBuffer):
    """Prioritized replay in place of ``tianshou.data.PrioritizedVectorReplayBuffer``; the algorithms stay as they are.

    P_i = p_i^alpha / sum_j p_j^alpha with p = ``|TD error| + 2^-23`` (Schaul et al. 2016), 1 or the largest so far for
    new transitions. ``sample`` gives a ``Batch`` with ``weight``, float64 [B], as the library's own does: the
    algorithms multiply the losses by it and hand TD errors back through ``update_weight``. Storage, episodes, frame
    stacks and the slots of n-step returns are the library's. Sums are exact (see ``metarl_core.SumTree``).

    Args:
        total_size: number of transitions of all environments together.
        buffer_num: number of environments.
        alpha: exponent of the priorities, > 0.
        beta: exponent of the weights, >= 0; ``set_beta`` changes it.
        weight_norm: weights are divided by the largest of their batch; False: by the largest of the whole buffer.
        stratified: draw number i of B comes from the i-th of B equal slices of the total; False: independently.
        random_seed: of the draws.
        **kwargs: of the library's: ``stack_num``, ``ignore_obs_next``, ``save_only_last_obs``, ``sample_avail``.

    Raises:
        ValueError: alpha or beta is out of range.
        MemoryError: the tree does not fit.
    """

    def __init__(
        self,
        total_size: int,
        buffer_num: int,
        alpha: float,
        beta: float,
        weight_norm: bool = True,
        *,
        stratified: bool = True,
        random_seed: int = 42,
        **kwargs: Any,
    ) -> None:
        _check_exponents(alpha, beta)
        PrioritizedVectorReplayBuffer.__init__(self, total_size, buffer_num, alpha=alpha, beta=beta, **kwargs)
        self._prioritize(alpha, beta, weight_norm, stratified, random_seed)


def _check_exponents(alpha: float, beta: float) -> None:
    if _checked("alpha", alpha) == 0:
        raise ValueError("alpha is 0; must be > 0: tianshou.data.VectorReplayBuffer samples uniformly")
    _checked("beta", beta)


def _checked(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {value}; must be finite and >= 0")
    return float(value)
