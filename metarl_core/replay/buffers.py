"""Replay buffers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from metarl_core import _core
from metarl_core._cuda_module import device_number
from metarl_core.replay.face import ReplayFace
from metarl_core.replay.fields import Fields
from metarl_core.replay.schedules import Schedule

__all__ = ["PrioritizedReplayBuffer", "ReplayBuffer"]


class ReplayBuffer(ReplayFace, _core.UniformReplayBase):
    """Ring of transitions that are sampled uniformly, with replacement.

    The interface is that of PrioritizedReplayBuffer; all weights are 1, and ``update_priorities`` checks its arguments
    but changes nothing. Methods may be called from any thread.

    Args:
        capacity: Number of transitions that are kept, >= 1; then the oldest are overwritten.
        fields: Mapping of column name to (shape, dtype), for example
            ``{"obs": ((4,), np.float32), "done": ((), bool)}``, of any dtype of fixed size, or to a dict or tuple of
            such; see also fields_from_spaces.
        seed: Key of the random numbers, in [0, 2**64). Equal seeds and calls give equal bits on every machine.
        num_envs: Number of environments that transitions come from: ``add`` takes one row of each, or ``env_ids``.
            At most capacity / (frames of a stack + 1 with a shared ``next_obs``), if anything links transitions.
        n_step: Steps of the returns: ``reward`` is then r_0 + gamma r_1 + ... over up to n_step transitions, computed
            in float64 while sampling, ``next_obs``, ``terminated`` and ``truncated`` are those of the last of them, and
            the batch has ``discount``: gamma^k for k transitions, 0 after a termination. Returns end at
            ``terminated``, at ``truncated``, at the newest transition, and where the next row's ``obs`` is not this
            row's ``next_obs``. Needs ``reward`` (float32 or float64) and ``terminated`` (bool).
        gamma: Discount factor of one step, in [0, 1].
        next_obs: ``"stored"``, or ``"next"``: fields ``next_X`` are not stored but taken from ``X`` of the following
            transition; what ends an episode, or a run of rows of one environment, takes one slot more. Samples are the
            same. ``"stored"`` by default, ``"next"`` with ``frame_stack``.
        frame_stack: Number of frames on the first axis of ``obs`` (a mapping for other fields: name to number). Each
            frame is stored once, stacks are rebuilt while sampling, just as they were added; ``next_obs`` must be
            ``obs`` moved on by one frame. Overwriting a frame hides the transitions whose stacks hold it.
        autoreset_mode: Of the vector environment the rows come from: in ``"next_step"`` the row after an end is a reset
            and is not stored. Gymnasium's AutoresetMode works too.
        sequence_length: Items are sequences of that many transitions instead: fields have the shape
            (B, sequence_length, ...), and ``mask`` (bool) tells which steps exist, as the last ones of an episode may
            be fewer; the others are 0. ``len`` counts complete sequences, and those that an end has cut short.
        burn_in: First steps of a sequence that only warm up a recurrent state; sequences without a step behind them
            are not kept, and these steps do not count in priorities.
        stride: Steps between the starts of two sequences; ``sequence_length - burn_in`` by default, so that every step
            is learned from once.
        recurrent_fields: Fields of which a sequence has only its first step's value (B, ...): recurrent states.
        task_field: Name of the field that says which task a transition belongs to, of integer dtype and shape (), with
            values in [0, 65535]; then ``sample`` takes ``task`` and ``task_weights``, and there are ``task_counts``,
            ``task_masses`` and ``clear_task``. Costs up to 16 bytes a transition.
        eviction: What a new transition replaces in a full buffer: ``"fifo"``, the oldest one; ``"reservoir"``, a random
            one or none, so that at all times every transition ever added is equally likely to be kept (algorithm R:
            Vitter, "Random sampling with a reservoir", ACM TOMS 1985). ``add`` returns -1 for what is not kept. A
            reservoir holds single transitions: no n-step returns, frame stacks, shared observations or sequences.
        num_threads: Threads that share the copying of large batches (1 MiB or more), the calling one included; they
            start with the first such batch. By default the processors that this process may use, at most 4.
        storage: ``"memory"``, or ``"mmap:FOLDER"``: columns lie in memory-mapped files in that folder, which is made
            if missing, and may be larger than memory. A folder that holds a buffer of the same arguments is opened
            again, with what was flushed last: see ``flush`` and ``close``, and docs/replay.md for what a crash costs.
            One buffer at a time has a folder; a forked child cannot use its parent's. Not with a reservoir.
        device: "cpu", or "cuda", "cuda:1", ...: the buffer then lies in the memory of that GPU, and the object is a
            ``DeviceReplayBuffer``, whose methods take and return arrays there. It has no reservoir
            and no files (docs/cuda.md).

    Raises:
        ValueError: A value is out of range.
        TypeError: A dtype has no fixed size or holds Python objects, or an argument has the wrong type.
        MemoryError: The storage does not fit; the message states its bytes.
        OSError: The folder cannot be used, or the disk is too full for the files, whose space is reserved at once.
        StorageInUseError: Another buffer, in this process or another one, has the folder open.
        CheckpointMismatchError: The folder holds a buffer with other arguments; the message lists them.
        CheckpointCorruptError: The folder's files are damaged; the message names the file or section.
        NotImplementedError: A buffer on a GPU lacks an option that was given; the message says what to do.
        RuntimeError: The device cannot be used: CUDA is not in this build, or there is no driver or no such GPU.
    """

    _kind = "uniform"

    def __new__(cls, *arguments: Any, device: Any = "cpu", **keywords: Any) -> Any:
        """Make the buffer of the device."""
        if device_number(device) is None:
            return super().__new__(cls)
        from metarl_core.replay.device_buffer import make_on_device

        return make_on_device(cls, device, arguments, keywords)

    def __init__(
        self,
        capacity: int,
        fields: Fields,
        seed: int = 0,
        *,
        num_envs: int = 1,
        n_step: int = 1,
        gamma: float = 0.99,
        next_obs: str | None = None,
        frame_stack: int | Mapping[str, int] = 1,
        autoreset_mode: Any = None,
        sequence_length: int | None = None,
        burn_in: int = 0,
        stride: int | None = None,
        recurrent_fields: Sequence[str] = (),
        task_field: str | None = None,
        eviction: str = "fifo",
        num_threads: int | None = None,
        storage: str = "memory",
        device: Any = "cpu",  # noqa: ARG002
    ) -> None:
        options = {
            "capacity": capacity,
            "seed": seed,
            "num_envs": num_envs,
            "n_step": n_step,
            "gamma": gamma,
            "next_obs": next_obs,
            "frame_stack": frame_stack,
            "autoreset_mode": autoreset_mode,
            "sequence_length": sequence_length,
            "burn_in": burn_in,
            "stride": stride,
            "recurrent_fields": recurrent_fields,
            "task_field": task_field,
            "eviction": eviction,
            "num_threads": num_threads,
            "storage": storage,
        }
        self._build(_core.UniformReplayBase, fields, options)

    # Or the signature of the class would be that of __new__.
    __new__.__signature__ = inspect.signature(__init__)  # type: ignore[attr-defined]


class PrioritizedReplayBuffer(ReplayFace, _core.PrioritizedReplayBase):
    """Ring of transitions that are sampled in proportion to priority^alpha.

    Proportional prioritization (Schaul et al., "Prioritized experience replay", ICLR 2016) over an exact integer sum
    tree: see SumTree for the fixed-point numbers. New transitions get the largest raw priority that was assigned since
    construction or ``clear`` (1 at first, within [eps, max_priority]); overwriting the transition that had it does not
    lower it. Raw priorities are kept in float32. If all priorities are zero (possible with ``eps=0``), sampling is
    uniform. Methods may be called from any thread.

    Memory a transition: the packed row of its fields up to 256 bytes each (padded to 4 bytes), 16-byte multiples for
    larger fields, and 9 bytes for priority and tree: ``bytes_per_transition``.

    Args:
        capacity: Number of transitions that are kept, 1 ... 2**31 - 1; then the oldest are overwritten.
        fields: Mapping of column name to (shape, dtype), of any dtype of fixed size, or to a dict or tuple of such; see
            also fields_from_spaces.
        alpha: Exponent of the priorities, >= 0; 0 is uniform.
        beta: Exponent of the importance weights, >= 0, or a function that returns it for the number of batches sampled
            so far, such as LinearSchedule; ``sample`` may override it.
        eps: Smallest priority, >= 0; its power alpha must not overflow.
        max_priority: Largest priority, or None; its power alpha must not overflow.
        weight_normalization: What the weights are divided by: ``"max"`` (the largest weight of any item in the buffer),
            ``"batch_max"``, ``"sum"`` (they add up to 1) or ``"none"``.
        seed: Key of the random numbers, in [0, 2**64). Equal seeds and calls give equal bits on every machine.
        stratified: Draw number i of a batch comes from the i-th of B equal slices of the total; otherwise the draws are
            independent.
        num_envs: Number of environments that transitions come from: ``add`` takes one row of each, or ``env_ids``.
            At most capacity / (frames of a stack + 1 with a shared ``next_obs``), if anything links transitions.
        n_step: Steps of the returns: ``reward`` is then r_0 + gamma r_1 + ... over up to n_step transitions, computed
            in float64 while sampling, ``next_obs``, ``terminated`` and ``truncated`` are those of the last of them, and
            the batch has ``discount``: gamma^k for k transitions, 0 after a termination. Returns end at
            ``terminated``, at ``truncated``, at the newest transition, and where the next row's ``obs`` is not this
            row's ``next_obs``. Needs ``reward`` (float32 or float64) and ``terminated`` (bool).
        gamma: Discount factor of one step, in [0, 1].
        next_obs: ``"stored"``, or ``"next"``: fields ``next_X`` are not stored but taken from ``X`` of the following
            transition; what ends an episode, or a run of rows of one environment, takes one slot more. Samples are the
            same. ``"stored"`` by default, ``"next"`` with ``frame_stack``.
        frame_stack: Number of frames on the first axis of ``obs`` (a mapping for other fields: name to number). Each
            frame is stored once, stacks are rebuilt while sampling, just as they were added; ``next_obs`` must be
            ``obs`` moved on by one frame. Overwriting a frame hides the transitions whose stacks hold it.
        autoreset_mode: Of the vector environment the rows come from: in ``"next_step"`` the row after an end is a reset
            and is not stored. Gymnasium's AutoresetMode works too.
        sequence_length: Items are sequences of that many transitions instead: fields have the shape
            (B, sequence_length, ...), and ``mask`` (bool) tells which steps exist, as the last ones of an episode may
            be fewer; the others are 0. ``len`` counts complete sequences, and those that an end has cut short.
        burn_in: First steps of a sequence that only warm up a recurrent state; sequences without a step behind them
            are not kept, and these steps do not count in priorities.
        stride: Steps between the starts of two sequences; ``sequence_length - burn_in`` by default, so that every step
            is learned from once.
        recurrent_fields: Fields of which a sequence has only its first step's value (B, ...): recurrent states.
        task_field: Name of the field that says which task a transition belongs to, of integer dtype and shape (), with
            values in [0, 65535]; then ``sample`` takes ``task`` and ``task_weights``, and there are ``task_counts``,
            ``task_masses`` and ``clear_task``. Costs up to 26 bytes a transition and 64 a task.
        eviction: What a new transition replaces in a full buffer: ``"fifo"``, the oldest one; ``"reservoir"``, a random
            one or none, so that at all times every transition ever added is equally likely to be kept (algorithm R:
            Vitter, "Random sampling with a reservoir", ACM TOMS 1985). ``add`` returns -1 for what is not kept. A
            reservoir holds single transitions: no n-step returns, frame stacks, shared observations or sequences.
        num_threads: Threads that share the copying of large batches (1 MiB or more), the calling one included; they
            start with the first such batch. By default the processors that this process may use, at most 4.
        storage: ``"memory"``, or ``"mmap:FOLDER"``: columns lie in memory-mapped files in that folder, which is made
            if missing, and may be larger than memory. A folder that holds a buffer of the same arguments is opened
            again, with what was flushed last: see ``flush`` and ``close``, and docs/replay.md for what a crash costs.
            One buffer at a time has a folder; a forked child cannot use its parent's. Not with a reservoir.
        priority_mix: A sequence's priority is this share of its largest absolute error plus the rest of the mean one
            (Kapturowski et al., "Recurrent experience replay in distributed reinforcement learning", ICLR 2019).
        device: "cpu", or "cuda", "cuda:1", ...: the buffer then lies in the memory of that GPU, and the object is a
            ``DevicePrioritizedReplayBuffer``, whose methods take and return arrays there. It has no reservoir
            and no files (docs/cuda.md).

    Raises:
        ValueError: A value is out of range.
        TypeError: A dtype has no fixed size or holds Python objects, or an argument has the wrong type.
        MemoryError: The storage does not fit; the message states its bytes.
        OSError: The folder cannot be used, or the disk is too full for the files, whose space is reserved at once.
        StorageInUseError: Another buffer, in this process or another one, has the folder open.
        CheckpointMismatchError: The folder holds a buffer with other arguments; the message lists them.
        CheckpointCorruptError: The folder's files are damaged; the message names the file or section.
        NotImplementedError: A buffer on a GPU lacks an option that was given; the message says what to do.
        RuntimeError: The device cannot be used: CUDA is not in this build, or there is no driver or no such GPU.
    """

    _kind = "prioritized"

    def __new__(cls, *arguments: Any, device: Any = "cpu", **keywords: Any) -> Any:
        """Make the buffer of the device."""
        if device_number(device) is None:
            return super().__new__(cls)
        from metarl_core.replay.device_buffer import make_on_device

        return make_on_device(cls, device, arguments, keywords)

    def __init__(
        self,
        capacity: int,
        fields: Fields,
        alpha: float = 0.6,
        beta: float | Schedule = 0.4,
        eps: float = 1e-6,
        max_priority: float | None = None,
        weight_normalization: str = "max",
        seed: int = 0,
        stratified: bool = True,
        *,
        num_envs: int = 1,
        n_step: int = 1,
        gamma: float = 0.99,
        next_obs: str | None = None,
        frame_stack: int | Mapping[str, int] = 1,
        autoreset_mode: Any = None,
        sequence_length: int | None = None,
        burn_in: int = 0,
        stride: int | None = None,
        recurrent_fields: Sequence[str] = (),
        task_field: str | None = None,
        eviction: str = "fifo",
        num_threads: int | None = None,
        storage: str = "memory",
        priority_mix: float = 0.9,
        device: Any = "cpu",  # noqa: ARG002
    ) -> None:
        options = {
            "capacity": capacity,
            "alpha": alpha,
            "beta": beta,
            "eps": eps,
            "max_priority": max_priority,
            "weight_normalization": weight_normalization,
            "seed": seed,
            "stratified": stratified,
            "num_envs": num_envs,
            "n_step": n_step,
            "gamma": gamma,
            "next_obs": next_obs,
            "frame_stack": frame_stack,
            "autoreset_mode": autoreset_mode,
            "sequence_length": sequence_length,
            "burn_in": burn_in,
            "stride": stride,
            "recurrent_fields": recurrent_fields,
            "task_field": task_field,
            "eviction": eviction,
            "num_threads": num_threads,
            "storage": storage,
            "priority_mix": priority_mix,
        }
        self._build(_core.PrioritizedReplayBase, fields, options)

    # Or the signature of the class would be that of __new__.
    __new__.__signature__ = inspect.signature(__init__)  # type: ignore[attr-defined]
