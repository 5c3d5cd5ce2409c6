"""The replay buffers of cpprb 11 by their signatures, over ours.

Beyond speed, these differ from the original:

- a bad priority (negative, NaN, infinite) is a ValueError; the original samples NaN weights from then on. An empty
  buffer raises BufferEmptyError; the original returns uninitialised rows;
- n-step returns need no waiting: each transition can be sampled at once, with as many steps as there are, and the last
  ones of an episode have their own next observation. ``done`` is 1 as soon as the return holds the last step; the
  original's is 0 where it is the n-th of the return, which then bootstraps from the end. A batch has ``discounts``:
  gamma^k for k steps, 0 after ``done``;
- with ``next_of`` the last observation of an episode takes a slot of its own, and ``env_dict`` must have ``done``;
- indices are int64, not uint64; files have our format.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from metarl_core.replay import Batch
from metarl_core.replay import PrioritizedReplayBuffer as _Prioritized
from metarl_core.replay import ReplayBuffer as _Uniform
from metarl_core.replay.seeding import make_seeded

__all__ = ["PrioritizedReplayBuffer", "ReplayBuffer"]


class ReplayBuffer:
    """Uniform replay.

    Args:
        size: number of transitions that are kept, >= 1.
        env_dict: name to ``{"shape": ..., "dtype": ...}``; without a shape it is 1, without a dtype ``default_dtype``.
        next_of: names X whose observations are stored once: ``next_X`` is added to ``env_dict``.
        stack_compress: not there; see ``frame_stack`` of ``metarl_core.ReplayBuffer``.
        default_dtype: of the names without one; float32.
        Nstep: ``{"size": n, "gamma": 0.99, "rew": name, "next": name}`` for n-step returns; ``env_dict`` has ``done``.
        mmap_prefix: folder for memory-mapped files; ``core.flush()`` and ``core.close()`` make the content durable, and
            a buffer of the same arguments has it again.
        **options: of ``metarl_core.ReplayBuffer``, such as ``seed``. By default NumPy's global generator decides what
            is drawn, and the file or folder after loading one.

    Raises:
        ValueError: a value is out of range, or ``stack_compress`` is given.
        KeyError: a name of ``next_of`` or ``Nstep`` is not in ``env_dict``.
    """

    _core: type[Any] = _Uniform

    def __init__(
        self,
        size: int,
        env_dict: Mapping[str, Mapping[str, Any]],
        *,
        next_of: str | Sequence[str] | None = None,
        stack_compress: Any = None,
        default_dtype: DTypeLike | None = None,
        Nstep: Mapping[str, Any] | None = None,
        mmap_prefix: str | None = None,
        **options: Any,
    ) -> None:
        if stack_compress is not None:
            raise ValueError(
                f"stack_compress is {stack_compress!r}; stacks are stored once by metarl_core.ReplayBuffer("
                "frame_stack=...), which has the frames on the first axis"
            )
        default = np.dtype(np.float32 if default_dtype is None else default_dtype)
        specs = {name: _spec(entry, default) for name, entry in env_dict.items()}
        if next_of is not None:
            shared = [next_of] if isinstance(next_of, str) else list(next_of)
            for name in shared:
                _need(name, specs)
                specs[f"next_{name}"] = specs[name]
            options["next_obs"] = "next"
        self._specs = specs
        # For every name the core's name, shape and dtype: those of n-step returns are given.
        self._inner: dict[str, tuple[str, tuple[int, ...], Any]] = {name: (name, *specs[name]) for name in specs}
        if Nstep is not None:
            reward = Nstep["rew"] if isinstance(Nstep["rew"], str) else _only(Nstep["rew"])
            _need(reward, specs)
            self._inner[reward] = ("reward", (), np.float32)
            options |= {"n_step": Nstep["size"], "gamma": Nstep.get("gamma", 0.99)}
        self._linked = Nstep is not None or next_of is not None
        if self._linked:
            _need("done", specs)
            self._inner["done"] = ("terminated", (), np.bool_)
        if mmap_prefix is not None:
            options["storage"] = f"mmap:{mmap_prefix}"
        self._nstep = Nstep is not None
        fields = {name: (shape, dtype) for name, shape, dtype in self._inner.values()}
        options = {"seed": None, **options}
        self.core: Any = make_seeded(self._core, int(size), fields, **options)
        self._next: int | None = None

    def add(self, **columns: Any) -> int:
        """Store one transition, or several that follow one another.

        Args:
            **columns: an array for every name, [...] or [n, ...], cast to the name's dtype.

        Returns:
            The slot of the first one.

        Raises:
            KeyError: a name is missing or unknown.
            ValueError: an array has the wrong shape, or there are different numbers of rows.
        """
        return int(self._store(self._rows(columns))[0])

    def _rows(self, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        rows = {}
        for name, values in columns.items():
            if name not in self._specs:
                raise KeyError(f"{name!r} is not in env_dict; its names are {', '.join(self._specs)}")
            inner, shape, dtype = self._inner[name]
            rows[inner] = np.asarray(values, dtype).reshape(-1, *shape)
        return rows

    def _store(self, rows: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        slots: NDArray[np.int64] = np.atleast_1d(self.core.add(**rows))
        self._next = (int(slots[-1]) + 1) % self.core.capacity
        return slots

    def sample(self, batch_size: int) -> dict[str, NDArray[Any]]:
        """Draw a batch: an array [batch_size, ...] for every name; with n-step returns ``discounts`` too.

        Raises:
            BufferEmptyError: nothing is stored.
        """
        return self._batch(self.core.sample(batch_size))

    def _batch(self, batch: Batch) -> dict[str, NDArray[Any]]:
        found = {}
        for name, (shape, dtype) in self._specs.items():
            values = batch[self._inner[name][0]]
            found[name] = values.astype(dtype, copy=False).reshape(len(values), *shape)
        if "discount" in batch:
            found["discounts"] = batch["discount"].reshape(-1, 1)
        return found

    def get_all_transitions(self, shuffle: bool = False) -> dict[str, NDArray[Any]]:
        """Return copies of all transitions, [stored size, ...] by slot, or in random order.

        Raises:
            ValueError: the buffer has n-step returns or shared observations, which only a batch puts together.
        """
        if self._linked:
            raise ValueError("get_all_transitions: not with Nstep or next_of; use sample")
        columns = self.core.state_dict()["columns"]
        order = np.random.permutation(len(self.core)) if shuffle else slice(None)  # noqa: NPY002
        return {name: columns[name][order] for name in self._specs}

    def get_stored_size(self) -> int:
        """Transitions that can be sampled."""
        return len(self.core)

    def get_buffer_size(self) -> int:
        """Slots."""
        return int(self.core.capacity)

    def get_next_index(self) -> int:
        """Slot of the next transition."""
        if self._next is None:  # of a file or folder; asked for here, as the state is a copy of everything
            self._next = int(self.core.state_dict()["written"] % self.core.capacity)
        return self._next

    def is_Nstep(self) -> bool:  # noqa: N802 - its name
        """Whether there are n-step returns."""
        return self._nstep

    def on_episode_end(self) -> None:
        """Nothing: an episode ends with ``done``, or where an observation is not the one that was announced."""

    def clear(self) -> None:
        """Forget everything."""
        self.core.clear()
        self._next = 0

    def save_transitions(self, file: str | os.PathLike[str]) -> None:
        """Write the buffer, priorities and random state included, to a file of our format: see ``save``."""
        self.core.save(file)

    def load_transitions(self, file: str | os.PathLike[str]) -> None:
        """Replace the content by that of a file of our format: see ``restore``."""
        self.core.restore(file)
        self._next = None


class PrioritizedReplayBuffer(ReplayBuffer):
    """Proportional prioritized replay: P ~ (p + eps)^alpha, and weights divided by the buffer's largest.

    Args:
        size: number of transitions that are kept, >= 1.
        env_dict: as of :class:`ReplayBuffer`.
        alpha: exponent of the priorities, >= 0.
        Nstep: as of :class:`ReplayBuffer`.
        eps: added to every priority, >= 0.
        check_for_update: ignore the priorities of transitions that were overwritten since the last batch.
        **options: of :class:`ReplayBuffer`, or of ``metarl_core.PrioritizedReplayBuffer``.

    Raises:
        ValueError, KeyError: as of :class:`ReplayBuffer`.
    """

    _core = _Prioritized

    def __init__(
        self,
        size: int,
        env_dict: Mapping[str, Mapping[str, Any]],
        *,
        alpha: float = 0.6,
        Nstep: Mapping[str, Any] | None = None,
        eps: float = 1e-4,
        check_for_update: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(size, env_dict, Nstep=Nstep, alpha=alpha, eps=eps, **options)
        self._eps = eps
        self._check = check_for_update
        self._recall()

    def _recall(self) -> None:
        """Take what is kept beside the core from it: it may be new, cleared, or from a file or folder."""
        largest = self.core.running_max_priority  # float32, and with eps, unless there never was a transition
        self._begun = largest > 1
        self._max_priority = max(1.0, float(np.float32(largest - self._eps)))
        self._last: Batch | None = None

    def add(self, *, priorities: ArrayLike | None = None, **columns: Any) -> int:
        """Store one transition, or several that follow one another.

        Args:
            priorities: float, a number or [n]; by default the largest one so far.
            **columns: as of :class:`ReplayBuffer`.

        Returns:
            The slot of the first one.

        Raises:
            KeyError, ValueError: as of :class:`ReplayBuffer`; a priority is negative or not finite.
        """
        given, rows = None, self._rows(columns)
        if priorities is not None:
            given = np.ravel(np.asarray(priorities, np.float64))
            _check(given)
            count = max(map(len, rows.values()), default=0)
            if len(given) not in (1, count):
                raise ValueError(f"priorities has {len(given)} elements; must have 1 or one for each of {count} rows")
        slots = self._store(rows)
        if not self._begun:
            # The first priority is 1 + eps; the core, whose own is 1, goes on from this one.
            self._begun = True
            self.core.update_priorities(slots, np.full(len(slots), self._max_priority + self._eps))
        if given is not None:
            self._set(slots, np.broadcast_to(given, slots.shape))
        return int(slots[0])

    def sample(self, batch_size: int, beta: float = 0.4) -> dict[str, NDArray[Any]]:
        """Draw a stratified batch.

        Returns:
            As of :class:`ReplayBuffer`, and ``weights``, float32 [B], and ``indexes``, int64 [B].

        Raises:
            BufferEmptyError: nothing is stored.
            ValueError: ``beta`` is negative or not finite.
        """
        self._last = batch = self.core.sample(batch_size, beta=beta)
        return {**self._batch(batch), "weights": batch.weights, "indexes": batch.indices}

    def update_priorities(self, indexes: ArrayLike, priorities: ArrayLike) -> None:
        """Set the priorities p of the transitions in these slots; of equal ones the last wins.

        Args:
            indexes: of a batch, [B].
            priorities: float [B], >= 0: absolute TD errors.

        Raises:
            ValueError: the lengths differ, or a priority is negative or not finite.
            IndexError: an index is out of range.
        """
        priorities = np.asarray(priorities, np.float64)
        _check(priorities)
        batch = self._last if self._check else None
        if batch is not None and (indexes is batch.indices or np.array_equal(indexes, batch.indices)):
            self._set(batch, priorities)
        else:
            self._set(np.asarray(indexes, np.int64), priorities)

    def _set(self, slots: Any, priorities: NDArray[np.float64]) -> None:
        self.core.update_priorities(slots, priorities + self._eps)
        self._max_priority = max(self._max_priority, float(priorities.max(initial=0.0)))

    def get_max_priority(self) -> float:
        """Largest priority so far, which new transitions get; 1 at first."""
        return self._max_priority

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._recall()

    def load_transitions(self, file: str | os.PathLike[str]) -> None:
        """Replace the content by that of a file of our format: see ``restore``."""
        super().load_transitions(file)
        self._recall()


def _spec(entry: Mapping[str, Any], default: np.dtype[Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    shape = entry.get("shape", 1)
    return tuple(np.atleast_1d(shape).tolist()), np.dtype(entry.get("dtype", default))


def _need(name: str, specs: Mapping[str, Any]) -> None:
    if name not in specs:
        raise KeyError(f"{name!r} is not in env_dict, whose names are {', '.join(specs)}; Nstep or next_of needs it")


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        raise ValueError(f"Nstep['rew'] is {names!r}; must be one name")
    return names[0]


def _check(priorities: NDArray[np.float64]) -> None:
    if priorities.size and not (priorities.min() >= 0 and priorities.max() < np.inf):
        first = np.flatnonzero(~(np.isfinite(priorities) & (priorities >= 0)))[0]
        raise ValueError(f"priorities[{first}] is {priorities.flat[first]}; must be finite and >= 0")
