"""Our sum tree behind TorchRL's replay buffers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchrl.data import PrioritizedSampler

from metarl_core.errors import BufferEmptyError
from metarl_core.integrations.mass_tree import MassTree, stratified
from metarl_core.replay import importance_weights

__all__ = ["MetaRLPrioritizedSampler"]

_UNSET = -1.0
_REDUCTIONS = ("max", "min", "median", "mean")
_NORMALIZATIONS = ("max", "batch_max", "sum", "none")
_NUMBERS = ("alpha", "beta", "eps", "unit")
_ARRAYS = ("priorities", "masses")


class MetaRLPrioritizedSampler(PrioritizedSampler):
    """Prioritized sampling in place of ``torchrl.data.PrioritizedSampler``, for any storage and writer of TorchRL.

    P(i) = (p_i + eps)^alpha / sum_j (p_j + eps)^alpha and w_i = (N P(i))^-beta / max_j w_j (Schaul et al. 2016), as the
    library's own has them: info, or the TensorDict of a ``TensorDictReplayBuffer``, gets ``priority_weight`` (float32
    [B]) and ``index``. It is a subclass because the buffers update priorities of such samplers only; nothing of the
    library's compiled trees is used, so that it works with any version of torch.

    Sums are exact (see ``metarl_core.SumTree``): no slot without a transition is ever drawn, there is no drift. Random
    numbers come from the generator of the buffer (``set_rng``, ``generator=``), else from NumPy's global one, as the
    library's.

    Args:
        max_capacity: number of transitions that the storage holds, >= 1.
        alpha: exponent of the priorities, >= 0. May be set later, also by the library's schedulers; then all masses are
            computed again from the priorities.
        beta: exponent of the weights, >= 0. May be set later.
        eps: what is added to priorities, > 0.
        reduction: what becomes of the priorities of a trajectory: "max", "min", "median" or "mean".
        max_priority_within_buffer: new transitions get the largest priority of those in the buffer, rather than the
            largest ever.
        stratified: draw number i of B comes from the i-th of B equal slices of the total; False: independently.
        weight_normalization: what weights are divided by: "max", the largest of any transition in the buffer;
            "batch_max"; "sum" (they add up to 1); "none".

    Raises:
        ValueError: a value is out of range.
        MemoryError: the tree does not fit.
    """

    def __init__(
        self,
        max_capacity: int,
        alpha: float,
        beta: float,
        eps: float = 1e-8,
        *,
        reduction: str = "max",
        max_priority_within_buffer: bool = False,
        stratified: bool = True,
        weight_normalization: str = "max",
    ) -> None:
        # The parent's constructor makes the compiled trees.
        self._max_capacity = max_capacity
        self._alpha = _checked("alpha", alpha)
        self._beta = _checked("beta", beta)
        self._eps = _checked_eps(eps)
        for name, value, known in (
            ("reduction", reduction, _REDUCTIONS),
            ("weight_normalization", weight_normalization, _NORMALIZATIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; must be one of {', '.join(map(repr, known))}")
        self.reduction = reduction
        self.stratified = stratified
        self.weight_normalization = weight_normalization
        self._max_priority_within_buffer = max_priority_within_buffer
        self._init()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(alpha={self._alpha}, beta={self._beta}, eps={self._eps})"

    def _init(self) -> None:
        self._tree = MassTree(self._max_capacity)
        self._priorities = np.full(self._max_capacity, _UNSET)
        self._largest: float | None = None

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def alpha(self) -> float:
        """Exponent of the priorities."""
        return self._alpha

    @alpha.setter
    def alpha(self, value: float) -> None:
        alpha = _checked("alpha", value)
        slots = np.flatnonzero(self._priorities != _UNSET)
        self._tree.set(slots, self._masses(self._priorities[slots], alpha))
        self._alpha = alpha

    @property
    def beta(self) -> float:
        """Exponent of the importance weights."""
        return self._beta

    @beta.setter
    def beta(self, value: float) -> None:
        self._beta = _checked("beta", value)

    @property
    def default_priority(self) -> float:
        """Priority of a new transition: the largest so far, or in the buffer; 1 before any other was set."""
        if self._max_priority_within_buffer:
            largest = float(self._priorities.max())
            return 1.0 if largest == _UNSET else largest
        return 1.0 if self._largest is None else self._largest

    def priorities(self, index: Tensor) -> Tensor:
        """Priorities as they were given, float64 of the shape of ``index`` (int64, flat); -1 where none was."""
        return torch.from_numpy(self._priorities[index.cpu().numpy()])

    def sample(self, storage: Any, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """Draw a batch.

        Returns:
            Indices, int64 [B] (a tuple of such for a storage of several dimensions), and ``priority_weight``.

        Raises:
            BufferEmptyError: nothing is stored; a RuntimeError, as the library's.
        """
        if len(storage) == 0:
            raise BufferEmptyError("cannot sample from an empty storage")
        slots = self._tree.find(self._uniforms(batch_size))
        total = self._tree.total
        weights = importance_weights(
            self._tree.get(slots) / total,
            len(storage),
            self._beta,
            self.weight_normalization,
            self._tree.smallest / total,
            np.float32,
        )
        index: Any = torch.from_numpy(slots)
        if storage.ndim > 1:
            index = torch.unravel_index(index, storage.shape)
        return index, {"priority_weight": torch.from_numpy(weights)}

    def _uniforms(self, count: int) -> NDArray[np.float64]:
        if self._rng is None:
            uniforms = np.random.rand(count)  # noqa: NPY002 - where the library's own draws from
        else:
            device = self._rng.device
            uniforms = torch.rand(count, dtype=torch.float64, generator=self._rng, device=device).cpu().numpy()
        return stratified(uniforms) if self.stratified else uniforms

    def add(self, index: Any) -> None:
        """Nothing is left to do: the writer has called :meth:`mark_update`."""

    def extend(self, index: Any) -> None:
        """Nothing is left to do: the writer has called :meth:`mark_update`."""

    def mark_update(self, index: Any, *, storage: Any = None) -> None:
        """Give new transitions the :attr:`default_priority`.

        Raises:
            IndexError: an index is out of range.
        """
        slots = self._slots(index, storage)
        slots = slots[slots >= 0]
        if self._max_priority_within_buffer:
            self._priorities[slots] = _UNSET  # what was there is in the buffer no more
        self._set(slots, np.full(len(slots), self.default_priority))

    @torch.no_grad()
    def update_priority(self, index: Any, priority: Any, *, storage: Any = None) -> None:
        """Set priorities.

        Args:
            index: int64 scalar or [B], or [B, d] for a storage of d dimensions; -1 is skipped. Of equal ones the last
                wins.
            priority: a number, or [B]; >= 0.
            storage: what the indices belong to.

        Raises:
            ValueError: a priority is negative or not finite, or there is another number of them.
            IndexError: an index is out of range. Nothing was changed after any error.
        """
        slots = self._slots(index, storage)
        values = torch.as_tensor(priority).detach().cpu().double().numpy()
        if values.size == 1:
            values = np.full(len(slots), values.item())
        elif values.size != len(slots):
            raise ValueError(f"priority has shape {values.shape}; must be one number, or one for each of {len(slots)}")
        values = values.reshape(-1)
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if bad.size:
            raise ValueError(f"priority[{bad[0]}] is {values[bad[0]]}; must be finite and >= 0")
        there = slots >= 0
        self._set(slots[there], values[there])

    def _set(self, slots: NDArray[np.int64], priorities: NDArray[np.float64]) -> None:
        if slots.size == 0:
            return
        self._tree.set(slots, self._masses(priorities, self._alpha))
        self._priorities[slots] = priorities
        largest = float(priorities.max())
        self._largest = largest if self._largest is None else max(self._largest, largest)

    def _masses(self, priorities: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):
            masses: NDArray[np.float64] = (priorities + self._eps) ** alpha
        bad = np.flatnonzero(~np.isfinite(masses))
        if bad.size:
            raise ValueError(f"priority[{bad[0]}] is {priorities[bad[0]]}; too large for alpha={alpha}")
        return masses

    def _slots(self, index: Any, storage: Any) -> NDArray[np.int64]:
        """Flat indices, or -1."""
        found = torch.as_tensor(index, dtype=torch.int64).cpu().numpy()
        size = self._max_capacity if storage is None else len(storage)
        if found.ndim > 1:
            if storage is None:
                raise ValueError(f"index has shape {found.shape}; needs storage, whose shape tells what it means")
            try:
                found = np.ravel_multi_index(tuple(np.moveaxis(found, -1, 0)), tuple(storage.shape))
            except ValueError as error:
                raise IndexError(f"index out of range for a storage of shape {tuple(storage.shape)}") from error
        slots = np.atleast_1d(found).reshape(-1)
        bad = np.flatnonzero((slots < -1) | (slots >= size))
        if bad.size:
            raise IndexError(f"index {slots[bad[0]]} at position {bad[0]} out of range for size {size}")
        return slots

    def state_dict(self) -> dict[str, Any]:
        """Return all that determines what is drawn, but for the random numbers, as copies."""
        masses, unit = self._tree.state()
        return {
            "alpha": self._alpha,
            "beta": self._beta,
            "eps": self._eps,
            "largest": self._largest,
            "unit": unit,
            "priorities": torch.from_numpy(self._priorities.copy()),
            "masses": torch.from_numpy(masses),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, all or nothing.

        Raises:
            ValueError: it is that of another sampler or capacity, or a value is out of range.
        """
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"state_dict is a {type(state_dict).__name__}; must be what state_dict() returned")
        missing = [name for name in (*_NUMBERS, "largest", *_ARRAYS) if name not in state_dict]
        if missing:
            raise ValueError(f"state_dict has no {missing[0]!r}; it is not of a {type(self).__name__}")
        alpha, beta, eps, unit = (_checked(name, state_dict[name]) for name in _NUMBERS)
        _checked_eps(eps)
        largest = None if state_dict["largest"] is None else _checked("largest", state_dict["largest"])
        arrays = []
        for name in _ARRAYS:
            array = torch.as_tensor(state_dict[name]).detach().cpu().double().clone().numpy()
            if array.shape != (self._max_capacity,):
                raise ValueError(f"state_dict[{name!r}] has shape {array.shape}; must be ({self._max_capacity},)")
            if not np.isfinite(array).all():
                raise ValueError(f"state_dict[{name!r}] has a value that is not finite")
            arrays.append(array)
        priorities, masses = arrays
        there = priorities != _UNSET
        if (priorities[there] < 0).any() or (there != (masses > 0)).any() or (masses < 0).any():
            raise ValueError("state_dict['priorities'] and ['masses'] do not belong together")
        tree = MassTree.of(masses, unit)
        self._alpha, self._beta, self._eps = alpha, beta, eps
        self._largest = largest
        self._tree, self._priorities = tree, priorities

    def dumps(self, path: Any) -> None:
        """Write the state to a folder: ``sampler_metadata.json`` and two arrays in NumPy's format; no code."""
        folder = Path(path).absolute()
        folder.mkdir(exist_ok=True)
        state = self.state_dict()
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", state.pop(name).numpy())
        (folder / "sampler_metadata.json").write_text(json.dumps(state), encoding="utf-8")

    def loads(self, path: Any) -> None:
        """Take over what :meth:`dumps` wrote; runs no code from the files.

        Raises:
            OSError: a file cannot be read.
            ValueError: as of :meth:`load_state_dict`.
        """
        folder = Path(path).absolute()
        state = json.loads((folder / "sampler_metadata.json").read_text(encoding="utf-8"))
        if not isinstance(state, dict):
            raise ValueError(f"{folder / 'sampler_metadata.json'} holds no state of a sampler, but {state!r}")
        for name in _ARRAYS:
            state[name] = torch.from_numpy(np.load(folder / f"{name}.npy", allow_pickle=False))
        self.load_state_dict(state)


def _checked_eps(value: Any) -> float:
    eps = _checked("eps", value)
    if eps == 0:
        raise ValueError("eps is 0; must be > 0, so that every transition can be drawn")
    return eps


def _checked(name: str, value: Any) -> float:
    try:
        number = float(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; must be a number") from None
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} is {value}; must be finite and >= 0")
    return number
