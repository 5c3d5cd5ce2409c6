"""The uniform replay buffer in a GPU's memory, and what both kinds have in common there."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from metarl_core.replay.batch import Batch
from metarl_core.replay.buffers import ReplayBuffer
from metarl_core.replay.state import load_buffer_state

__all__ = ["DeviceReplayBuffer"]

# Options that a buffer on a GPU lacks: which values ask for nothing of them, and what to do instead.
_MISSING: dict[str, tuple[Callable[[Any], bool], str]] = {
    "eviction": (lambda value: value == "fifo", "leave eviction out"),
    "storage": (lambda value: value == "memory", "leave storage out"),
    "num_threads": (lambda value: value is None, "leave num_threads out: the GPU copies"),
}


def _refuse_missing(options: Mapping[str, Any]) -> None:
    for name, (asks_nothing, instead) in _MISSING.items():
        if not asks_nothing(options[name]):
            raise NotImplementedError(
                f"{name} is {options[name]!r}; a buffer on a GPU has no {name} yet: {instead}, or use device='cpu'"
            )


def _model_capacity(capacity: Any, options: Mapping[str, Any]) -> Any:
    """A small capacity of which all arguments are as good or bad as of the given one."""
    if isinstance(capacity, bool) or not hasattr(capacity, "__index__"):
        return 1  # whoever makes the buffer refuses it
    stack = options["frame_stack"]
    depths = list(stack.values()) if isinstance(stack, Mapping) else [stack]
    steps, envs, length = options["n_step"], options["num_envs"], options["sequence_length"] or 1
    if not all(hasattr(number, "__index__") for number in (steps, envs, length, *depths)):
        return 1  # the model refuses these
    depth = max([1, *depths])
    return min(operator.index(capacity), max(steps, length, 2 * (depth + 2), envs * (depth + 1)))


class DeviceReplayBuffer:
    """``ReplayBuffer`` in the memory of a GPU, made by its argument ``device``.

    Equal seeds and calls give the bits of the buffer on the CPU. Batches are of ``DeviceArray`` objects, which other
    libraries read in place: ``batch.torch()``. ``add`` of arrays on the device, ``sample`` with ``out``, and
    ``update_priorities`` hand their work to a stream and return: they neither allocate nor wait nor read back, so a
    CUDA graph can record them, and each replay adds to the next slots and draws anew. What is wrong with the content of
    arguments is found on the device; ``check`` raises it.

    ``stream`` is an integer such as torch's ``stream.cuda_stream``; by default torch's current stream if torch uses
    CUDA, else the legacy default stream. A call on another stream than the one before waits for it. Replays of a graph,
    and the calls around them, must be put in order by the caller. Not to be used by several threads at once.

    Memory a transition: the packed row of its fields up to 256 bytes each, padded to 16 bytes, 16-byte multiples for
    larger fields, and 12.4 bytes for the tree, which says which slots can be drawn. Options that link transitions add 4
    or 8 bytes to the row, with ``next_obs="next"`` the newest next observation of each environment, and some scratch.
    Tasks add 16 bytes, with priorities 24.6, and for each number that the task field can hold up to 65535 12 bytes and,
    of at most as many as there are slots, 32.
    """

    _on_host: ClassVar[Any] = ReplayBuffer

    def __init__(self, module: Any, number: int, capacity: int, fields: Mapping[str, Any], options: dict[str, Any]):
        _refuse_missing(options)
        options = {name: value for name, value in options.items() if name not in _MISSING}
        # Checks the arguments, holds beta, and says how the configuration is written.
        self._model = self._on_host(_model_capacity(capacity, options), fields, **options)
        if "stream" in self._model.fields:
            raise ValueError("field name 'stream' is reserved on a GPU; add() has an argument of that name")
        self._given = options
        self._structure = self._model._structure
        self._staging: ReplayBuffer | None = None  # of rows that come from host memory
        self._buffer = module.ReplayBuffer(
            [(name, shape, dtype) for name, (shape, dtype) in self._model.columns.items()],
            {
                "capacity": capacity,
                "seed": self._model.seed,
                "links": self._model._links(),
                "task_field": self._model.task_field,
                **self._kind_options(),
            },
            number,
        )

    def _kind_options(self) -> dict[str, Any]:
        return {"uniform": True}

    def __len__(self) -> int:
        """Return the number of transitions that can be sampled; waits for the device."""
        return len(self._buffer)

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return int(self._buffer.capacity)

    @property
    def device(self) -> str:
        """Where the buffer lies: "cuda:0"."""
        return str(self._buffer.device)

    @property
    def nbytes(self) -> int:
        """Bytes of device memory."""
        return int(self._buffer.nbytes)

    @property
    def bytes_per_transition(self) -> int:
        """Bytes of device memory a slot takes, index structures included."""
        return int(self._buffer.bytes_per_transition)

    @property
    def seed(self) -> int:
        """Key of the random numbers."""
        return int(self._buffer.seed)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields: name to (shape, dtype), or to a dict or tuple of such."""
        fields: dict[str, Any] = self._model.fields
        return fields

    @property
    def columns(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The columns: flat name (``obs.image`` in a nested field) to (shape, dtype)."""
        columns: dict[str, tuple[tuple[int, ...], Any]] = self._model.columns
        return columns

    @property
    def task_field(self) -> str | None:
        """Name of the field that holds the task, or None."""
        field: str | None = self._model.task_field
        return field

    @property
    def draws(self) -> int:
        """Batches drawn so far; waits for the device."""
        return int(self._buffer.draws)

    def add(self, *, stream: int | None = None, **columns: Any) -> None:
        """Store one transition, or a batch of them, in the slots that follow those written last.

        Args:
            stream: Where the work is done.
            **columns: One value for every field, of the field's shape or with a leading batch axis, the same for all.
                Either all are contiguous arrays of the field's dtype on the device, or all are in host memory: these
                are converted as on the CPU, copied over, and the call waits for that.

        Raises:
            KeyError: A field is missing or unknown.
            ValueError: A shape is wrong, an array has gaps, or a number overflows the field's type.
            TypeError: A dtype does not fit, or columns lie on both sides.
            RuntimeError: The stream records a graph, and the columns are in host memory.
        """
        if "env_ids" in columns:
            raise NotImplementedError(
                "env_ids is given; on a GPU rows are one of each environment, in their order: leave it out"
            )
        if self._structure is not None:
            columns = self._structure.flatten(columns)
        on_device = self._buffer.are_on_device(columns)
        self._buffer.add(columns if on_device else self._converted(columns), on_device, stream)

    def _converted(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Rows in host memory as dense arrays: a buffer there checks and converts them as ``add`` does on the CPU."""
        first = next(iter(columns))
        shape = np.shape(columns[first])
        rows = shape[0] if len(shape) > len(self.columns[first][0]) else 1
        if self._staging is None or self._staging.capacity < rows:
            self._staging = ReplayBuffer(max(rows, 1), self.columns)  # without links: rows as they are given
        self._staging.clear()
        self._staging.add(**columns)
        dense: dict[str, Any] = self._staging._snapshot()["columns"]
        return dense

    def sample(
        self,
        batch_size: int,
        beta: Any = None,
        mode: str | None = None,
        task: int | None = None,
        task_weights: Any = None,
        *,
        out: dict[str, Any] | None = None,
        stream: int | None = None,
    ) -> Any:
        """Draw a batch of transitions.

        Args:
            batch_size: Number of transitions B >= 1.
            beta: Exponent of the importance weights, which a buffer without priorities has no use for: a number, or an
                array of one float64 on the device, which is read when the work is done, so that a replayed graph
                follows a schedule. By default the buffer's own; if that is a function, the call waits for the device
                to tell the number of batches.
            mode: "stratified", "iid" or "uniform"; the buffer's own by default.
            task: Draw from this task alone, an integer in [0, 65535]; needs ``task_field``.
            task_weights: Draw from several tasks, as on the CPU: "balanced" (equal shares of all tasks present), a
                mapping of task to weight, or an array with the weight of task i at position i. An array of float32 or
                float64 on the device is read when the work is done. Other weights of more than 128 tasks are copied
                over, which waits for the stream; while a graph is recorded they are refused.
            out: A Batch of an earlier call with this batch size, or a mapping of all its names to contiguous arrays on
                the device, to be overwritten and returned; nothing is allocated then.
            stream: Where the work is done.

        Returns:
            A Batch of ``DeviceArray`` objects: every field, ``indices`` (int64), ``weights`` (float32) and
            ``probabilities`` (float64); with ``n_step`` ``discount`` (float32), with ``sequence_length`` ``mask``
            (bool), as on the CPU. From an empty buffer, from a task without transitions, and with bad weights on the
            device: ``indices``, ``weights`` and ``probabilities`` are zeros; ``check`` raises it.

        Raises:
            ValueError: ``batch_size`` is below 1, ``mode`` unknown, ``beta`` negative or not finite, an array of
                ``out`` has another shape or shares memory with another one; ``task`` or ``task_weights`` are out of
                range, all 0 or both given, or the buffer has no tasks.
            TypeError, KeyError: ``out`` or ``beta`` are not such arrays, or one is missing.
            RuntimeError: The stream records a graph, and ``out`` is missing, ``beta`` is a function, or weights of more
                than 128 tasks are in host memory.
        """
        if beta is None:
            beta = self._current_beta()
        if out is None:
            columns, mark = self._buffer.sample(batch_size, beta, mode, task, task_weights, None, None, stream)
            batch = Batch(columns)
            batch._mark = mark
            if self._structure is not None:
                self._structure.nest(batch)
            return batch
        if not isinstance(out, dict):
            raise TypeError(f"out must be a Batch or a dict, got {type(out).__name__}")
        flat = out if self._structure is None else self._structure.flatten(out)
        self._buffer.sample(batch_size, beta, mode, task, task_weights, flat, getattr(out, "_mark", None), stream)
        return out

    def _current_beta(self) -> float:
        return 1.0

    def update_priorities(
        self, indices: Any, td_errors: Any, strict: bool = False, *, stream: int | None = None
    ) -> None:
        """Set the priorities of transitions to p = clip(abs(td_error), eps, max_priority), if the buffer has any.

        Args:
            indices: The Batch that was sampled, or slots: int64 on the device, shape (B,). The last of equal ones wins.
                Only with a Batch is it known which slots were overwritten since: these are skipped and counted in
                ``stale_updates``.
            td_errors: Signed TD errors: float32 or float64 on the device, finite in float32, shape (B,). For sequences
                also of shape (B, sequence_length): mixed as on the CPU, over the steps behind burn_in that the Batch's
                mask has.
            strict: Refuse the whole update if a slot of the Batch is not in the buffer any more.
            stream: Where the work is done.

        Raises:
            TypeError: An argument is not an array of such a dtype on this device.
            ValueError: The lengths differ, or an array has gaps.

        A bad index or error, and with ``strict`` a stale slot, leaves the priorities unchanged; ``check`` raises it.
        """
        mark = steps_mask = None
        of_steps = self._model._options["sequence_length"] is not None and len(getattr(td_errors, "shape", ())) == 2
        if isinstance(indices, Batch):
            mark = getattr(indices, "_mark", None)
            if mark is None:
                raise TypeError("indices is a Batch that was not sampled from a buffer; pass its indices")
            steps_mask = indices["mask"] if of_steps else None
            indices = indices["indices"]
        self._buffer.update_priorities(indices, td_errors, mark, bool(strict), of_steps, steps_mask, stream)

    def check(self) -> None:
        """Wait for the calls so far and raise the first error that one of them found; it is forgotten then.

        Raises:
            IndexError: A slot was never written.
            ValueError: A TD error, its power, ``beta``, the weight of a task or a task that was added was out of
                range, or a stack of frames that was added did not go on from the one before by one frame.
            StaleIndexError: A strict update of a batch whose slots were overwritten.
            BufferEmptyError: A sample of an empty buffer, or of a task without transitions.
        """
        self._buffer.check()

    def task_counts(self) -> dict[int, int]:
        """Return how many transitions of each task can be sampled, tasks ascending; waits for the device.

        Raises:
            ValueError: The buffer was made without ``task_field``.
        """
        counts: dict[int, int] = self._buffer.task_counts()
        return counts

    def task_masses(self) -> dict[int, float]:
        """Return the sum of priority^alpha of each task as it is sampled, tasks ascending; waits for the device.

        A buffer without priorities counts 1 for each transition.

        Raises:
            ValueError: The buffer was made without ``task_field``.
        """
        masses: dict[int, float] = self._buffer.task_masses()
        return masses

    def clear_task(self, task: int) -> int:
        """Forget the transitions of one task, as on the CPU; waits for the device.

        Args:
            task: In [0, 65535].

        Returns:
            How many transitions were forgotten, 0 for a task without any.

        Raises:
            ValueError: The buffer was made without ``task_field``, or ``task`` is out of range.
        """
        return int(self._buffer.clear_task(task))

    def clear(self) -> None:
        """Forget all transitions; the random stream goes on. Waits for the device."""
        self._buffer.clear()

    def cpu(self) -> Any:
        """Return a buffer in host memory with the same content, which goes on with the same bits; waits."""
        buffer = self._empty_on_host()
        buffer._restore(self._buffer.snapshot())
        return buffer

    def _empty_on_host(self) -> Any:
        return self._on_host(self.capacity, self.fields, **self._given)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as ``ReplayBuffer.state_dict`` does, in host memory; waits for the device."""
        state: dict[str, Any] = self.cpu().state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a buffer with the same arguments, on whatever device it was.

        Raises:
            CheckpointMismatchError, CheckpointVersionError, ValueError: As on the CPU. After any error the buffer is
                unchanged.
        """
        buffer = self._empty_on_host()
        load_buffer_state(buffer, state)
        self._take(buffer)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file that the buffer on the CPU writes; its copy is in host memory meanwhile."""
        self.cpu().save(path)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Replace the content by a checkpoint of a buffer with the same arguments, as on the CPU."""
        buffer = self._empty_on_host()
        buffer.restore(path)
        self._take(buffer)

    def to_bytes(self) -> bytes:
        """Return the bytes that ``save`` writes."""
        return bytes(self.cpu().to_bytes())

    def _take(self, buffer: Any) -> None:
        state = buffer._snapshot()
        if state.get("random_stream", 0) != 0:
            raise NotImplementedError(
                "the state has a random stream (of a forked process, or of a buffer for another library that was made "
                "without a seed), which a GPU does not have"
            )
        self._buffer.restore(state)
