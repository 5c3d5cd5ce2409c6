"""A vector environment made of environments written in Python."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from metarl_core import _core
from metarl_core.errors import ClosedError, ResetNeededError, WorkerError
from metarl_core.vector.base import StepBuffers, _checked_seed, parse_autoreset_mode
from metarl_core.vector.checks import checked_integer, checked_reset_mask
from metarl_core.vector.wrapped.actions import checked_actions, store_actions
from metarl_core.vector.wrapped.arrays import SharedMemory, array_specs, row_arrays
from metarl_core.vector.wrapped.group import Description, GroupPlan, Outcome
from metarl_core.vector.wrapped.layout import Column, SpaceLayout
from metarl_core.vector.wrapped.seeding import row_seeds
from metarl_core.vector.wrapped.setters import ApplyTask
from metarl_core.vector.wrapped.tasks import WrappedTaskMethods
from metarl_core.vector.wrapped.workers import GRACE, Failure, ProcessWorker, SerialWorker, ThreadWorker, Worker

__all__ = ["BACKENDS", "WrappedVectorEnv"]

BACKENDS = ("process", "thread", "serial")
# What a worker's method is called with; a function where it depends on its rows.
_Arguments: TypeAlias = "tuple[Any, ...] | Callable[[slice], tuple[Any, ...]]"
_START_SECONDS = 120.0  # importing packages and making environments takes longer than a step


class _WrappedResetNeededError(ResetNeededError, gymnasium.error.ResetNeeded):
    """Both this package's error and Gymnasium's."""


class WrappedVectorEnv(WrappedTaskMethods, VectorEnv):
    """Steps ``num_envs`` environments written in Python together; made by :func:`metarl_core.make_vec`.

    The interface of the native environments, whose classes are made for speed; here an environment's own ``step`` and
    ``reset`` are called, in other processes, in threads or one after another. What comes out depends on the seeds and
    actions only, not on the backend or the number of workers, as long as the environments keep to the random numbers
    that Gymnasium gives them.

    An environment that raises, a process that ends and one that does not answer within ``timeout`` are a
    :class:`metarl_core.WorkerError`, never a hang. After an environment raised, ``reset`` goes on; after a worker
    ended, ``close`` is all that is left.

    One caller at a time: a second thread that calls while a call is running gets a ``RuntimeError``. A forked child
    cannot use it.

    Attributes:
        backend: ``"process"``, ``"thread"`` or ``"serial"``.
        num_threads: Number of workers.
        params: Keywords that the environments were made with.
        timeout: Seconds that a call waits for a worker; None: forever.
    """

    render_mode: str | None

    def __init__(
        self,
        makers: Sequence[Callable[[], Any]],
        num_threads: int | None = None,
        autoreset_mode: Any = "next_step",
        seed: int = 0,
        dense_final_obs: bool = False,
        *,
        backend: str = "auto",
        timeout: float | None = None,
        task_parameters: Sequence[str] | None = None,
        apply_task: ApplyTask | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Use :func:`metarl_core.make_vec`."""
        self._workers: list[Worker] = []
        self._owner = os.getpid()
        mode = parse_autoreset_mode(autoreset_mode)
        self.num_envs = checked_integer("num_envs", len(makers), 1, 2**32 - 1)
        limit = _core.available_cpus() if num_threads is None else checked_integer("num_threads", num_threads, 1, 1024)
        self._seed: int | None = _checked_seed("seed", seed)
        self.timeout = _checked_timeout(timeout)
        names = _checked_names(task_parameters)
        if apply_task is not None and not callable(apply_task):
            raise TypeError(f"apply_task is {apply_task!r}; must be a function of an environment and a dict")
        if apply_task is not None and not names:
            raise ValueError("apply_task needs task_parameters, the names that its dict has")
        count = min(limit, self.num_envs)
        if backend not in ("auto", *BACKENDS):
            raise ValueError(f"backend is {backend!r}; must be one of 'auto', 'process', 'thread', 'serial'")
        if backend == "auto":
            backend = "process" if count > 1 else "serial"
        self.backend, self.num_threads = backend, 1 if backend == "serial" else count
        self.params = dict(params or {})
        self._mode = mode.name.lower()
        self._dense_final_obs = bool(dense_final_obs)
        self._ready = False
        self._broken: str | None = None
        self._lock = threading.Lock()
        self._close_wanted = False
        self._finals: list[tuple[int, Any]] = []
        parts = np.array_split(np.arange(self.num_envs), self.num_threads)
        plans = [
            GroupPlan(tuple(makers[part[0] : part[-1] + 1]), int(part[0]), self._mode, names, apply_task)
            for part in parts
        ]
        # Also when nobody closes it; at the end of the interpreter, too.
        self._stop = weakref.finalize(self, _stop, self._workers, self._owner)
        try:
            self._start(plans)
        except BaseException:
            _stop(self._workers, self._owner, at_once=True)
            self.closed = True
            raise
        self.metadata = {**self._description.metadata, "autoreset_mode": AutoresetMode(mode.value)}
        self.render_mode = self._description.render_mode
        self.spec = self._description.spec

    def _start(self, plans: Sequence[GroupPlan]) -> None:
        memory = SharedMemory() if self.backend == "process" else None
        try:
            for plan in plans:
                if memory is not None:
                    self._workers.append(ProcessWorker(plan, memory))
                else:
                    self._workers.append((ThreadWorker if self.backend == "thread" else SerialWorker)(plan))
            deadline = None if self.timeout is None else time.monotonic() + max(self.timeout, _START_SECONDS)
            for worker in self._workers:
                worker.ask("describe")
            said: list[Description] = []
            for worker in self._workers:
                found = worker.answered(deadline)
                if isinstance(found, Failure):
                    raise found.error from _remote(found)
                said += found
            self._description = said[0]
            self._check_alike(said)
            self._make_spaces()
            specs = array_specs(self._obs, self._actions, self.num_envs, len(self.task_parameters))
            if memory is not None:
                arrays = memory.arrays(specs, grow=True)
            else:
                arrays = [np.zeros(shape, dtype) for shape, dtype in specs]
            self._arrays = row_arrays(arrays, self._obs, self._actions, self.num_envs)
            for worker in self._workers:
                worker.attach(self._arrays, self._obs, self._actions, self.num_envs)
            for worker in self._workers:
                found = worker.answered(deadline)
                if isinstance(found, Failure):
                    raise found.error from _remote(found)
        finally:
            if memory is not None:
                memory.close()

    def _check_alike(self, said: Sequence[Description]) -> None:
        for row, one in enumerate(said):
            for name in ("observation_space", "action_space"):
                if getattr(one, name) != getattr(said[0], name):
                    raise ValueError(
                        f"the environments must have one {name}; that of environment {row} is {getattr(one, name)}, "
                        f"that of environment 0 {getattr(said[0], name)}"
                    )

    def _make_spaces(self) -> None:
        self.single_observation_space = self._description.observation_space
        self.single_action_space = self._description.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._obs = SpaceLayout(self.single_observation_space, "obs")
        self._actions = SpaceLayout(self.single_action_space, "actions")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One caller at a time, in the process that made it."""
        if os.getpid() != self._owner:
            raise RuntimeError("this environment's workers belong to the process that made it; make one after the fork")
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("this environment is in use by another thread")
        try:
            if self.closed:
                raise ClosedError("the environment is closed")
            if self._broken is not None:
                raise WorkerError(f"the environment is of no use any more: {self._broken}; close it")
            yield
        finally:
            self._lock.release()
            if self._close_wanted:
                self.close()

    def _exchange(self, method: str, arguments: _Arguments, steps: bool) -> list[Any]:
        """Ask all workers and return their answers; ``steps``: if it goes wrong, a reset is needed."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        ready = self._ready
        try:
            for worker in self._workers:
                if worker.waiting:
                    worker.answered(deadline)  # of a call that was interrupted
            for worker in self._workers:
                worker.ask(method, *(arguments(worker.rows) if callable(arguments) else arguments))
                if steps:
                    self._ready = False
            found = [worker.answered(deadline) for worker in self._workers]
        except WorkerError as error:
            self._abandon(str(error))
            raise
        for answer in found:
            if isinstance(answer, Failure):
                _remote(answer)
                raise self._row_failed(answer) from answer.error
        self._ready = ready
        return found

    def _row_failed(self, failure: Failure) -> WorkerError:
        which = f"environment {failure.row}" if failure.row >= 0 else "an environment"
        return WorkerError(f"{which} raised {type(failure.error).__name__}: {failure.error}", env_id=failure.row)

    def _abandon(self, why: str) -> None:
        self._broken = why
        _stop(self._workers, self._owner, at_once=True)

    def _ask_all(self, method: str, arguments: _Arguments = (), *, steps: bool = False) -> list[Any]:
        with self._turn():
            return self._exchange(method, arguments, steps)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: An int seeds all environments, each with a number of its own, all different (Gymnasium's ``seed + i``
                would give neighbouring seeds the same episodes). A sequence gives each environment its number (None:
                not), as Gymnasium's vectors take it. None continues the random numbers.
            options: ``{"reset_mask": bool[num_envs]}`` resets the rows where it is True only; the rest is for the
                environments.

        Returns:
            Observations of all environments and an info dict.

        Raises:
            TypeError: A seed or the mask has the wrong type.
            ValueError: A seed is negative, the sequence or the mask has the wrong length, or the mask is all False.
            ResetNeededError: ``reset_mask`` was given before the first reset of all environments, or after a step
                that failed.
            WorkerError: An environment raised, or a worker ended or did not answer.
            ClosedError: After ``close``.
        """
        options = None if options is None else dict(options)
        mask = self._checked_mask(options)
        seeds = self._checked_seeds(seed)
        with self._turn():
            if not mask.all() and not self._ready:
                raise _WrappedResetNeededError("reset_mask before the environments were all reset")
            if self._seed is not None:  # the first reset: what is not seeded now is by the constructor's
                seeds = [own or other for own, other in zip(seeds, self._checked_seeds(self._seed), strict=True)]
            found = self._exchange("reset", lambda rows: (mask[rows], seeds[rows], options), steps=True)
            self._seed = None
            self._ready = True
            info = self._collect(found)
            if self._ids_before is not None:
                self._report_tasks(info, mask.copy())
            return self._obs.batch([_copied(column) for column in self._arrays.obs]), info

    def _checked_mask(self, options: dict[str, Any] | None) -> npt.NDArray[np.bool_]:
        if options is None or "reset_mask" not in options:
            return np.ones(self.num_envs, np.bool_)
        return checked_reset_mask(options.pop("reset_mask"), self.num_envs)

    def _checked_seeds(self, seed: int | Sequence[int | None] | None) -> list[tuple[int, int, int] | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (Sequence, np.ndarray)) and not isinstance(seed, (str, bytes)):
            if len(seed) != self.num_envs:
                raise ValueError(f"seed has length {len(seed)}; must be num_envs={self.num_envs}")
            numbers = [None if s is None else _checked_seed(f"seed[{i}]", s) for i, s in enumerate(seed)]
            return [None if s is None else (s, s, 0) for s in numbers]
        number = _checked_seed("seed", seed)
        return [(int(own), number, row) for row, own in enumerate(row_seeds(number, self.num_envs))]

    def step(
        self, actions: Any, out: StepBuffers | Mapping[str, Any] | None = None
    ) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in every environment.

        Args:
            actions: A batch of ``action_space``, of any dtype of its kind.
            out: Arrays to write to, as :class:`StepBuffers` or a dict with its names; None: new ones. ``obs`` has the
                structure of ``observation_space``.

        Returns:
            ``(obs, reward, terminated, truncated, info)``, as Gymnasium's SyncVectorEnv gives them: float64 and bool
            ``(num_envs,)``; ``info`` has what the environments say. With ``autoreset_mode="same_step"``, it has
            ``final_obs``, ``final_info`` and their masks when an episode ended. After :meth:`set_tasks`, ``info`` has
            ``task_id``.

        Raises:
            TypeError: ``actions`` has the wrong kind of dtype or structure, or an array of ``out`` the wrong dtype.
            ValueError: A wrong number of actions, an illegal action, or an array of ``out`` of the wrong shape.
            ResetNeededError: Before the first reset, after a step that failed, or an episode has ended with
                ``autoreset_mode="disabled"``.
            WorkerError: An environment raised, or a worker ended or did not answer.
            ClosedError: After ``close``.

        Nothing is changed when it raises one of the first three.
        """
        with self._turn():
            if not self._ready:
                raise _WrappedResetNeededError("step before reset of all environments, or after a step that failed")
            if self._mode == "disabled":
                ended = self._arrays.terminated | self._arrays.truncated
                if ended.any():
                    row = int(ended.argmax())
                    raise _WrappedResetNeededError(f"the episode of environment {row} has ended and it was not reset")
            checked = checked_actions(self._actions, actions, self.num_envs)
            written = None if out is None else self._checked_out(out)
            objects = store_actions(self._actions, self._arrays.actions, checked)
            asked: _Arguments = () if not objects else lambda rows: ([(k, values[rows]) for k, values in objects],)
            info = self._collect(self._exchange("step", asked, steps=True))
            if self._ids_before is not None:
                self._report_tasks(info, np.ones(self.num_envs, np.bool_))
            arrays = self._arrays
            given: list[Any] = [*arrays.obs, arrays.reward, arrays.terminated, arrays.truncated]
            if written is None:
                written = [_copied(column) for column in given]
            else:
                for target, source in zip(written, given, strict=True):
                    np.copyto(target, source)
            return self._obs.batch(written[:-3]), written[-3], written[-2], written[-1], info

    def _checked_out(self, out: StepBuffers | Mapping[str, Any]) -> list[Any]:
        if not self._obs.fixed:
            raise ValueError("out: observations of this environment have no fixed size; leave it out")
        named = out if isinstance(out, Mapping) else out._asdict()
        missing = [repr(name) for name in StepBuffers._fields if name not in named]
        if missing:
            raise KeyError(f"out has no {missing[0]}")
        arrays = self._arrays
        found = [*self._obs.split(named["obs"]), *(named[name] for name in StepBuffers._fields[1:])]
        names = [*(f"out.{self._obs.name(leaf)}" for leaf in self._obs.leaves)]
        names += [f"out.{name}" for name in StepBuffers._fields[1:]]
        own: list[Any] = [*arrays.obs, arrays.reward, arrays.terminated, arrays.truncated]
        for name, array, like in zip(names, found, own, strict=True):
            if not isinstance(array, np.ndarray) or array.dtype != like.dtype:
                raise TypeError(f"{name} must be an array of {like.dtype}, got {getattr(array, 'dtype', type(array))}")
            if array.shape != like.shape:
                raise ValueError(f"{name}: expected shape {like.shape}, got {array.shape}")
            if not array.flags.writeable:
                raise ValueError(f"{name} is read-only")
        return found

    def _collect(self, found: Sequence[Outcome | None]) -> dict[str, Any]:
        """Put the infos of all environments together, and keep what is not in the arrays."""
        info: dict[str, Any] = {}
        self._finals = []
        for outcome in found:
            if outcome is None:
                continue
            for row, leaf, value in outcome.objects:
                self._arrays.obs[leaf][row] = value
            for row, one in outcome.infos:
                if self._mode == "same_step" and "final_obs" in one:
                    self._finals.append((row, one["final_obs"]))
                info = self._add_info(info, one, row)
        if self._dense_final_obs and self._finals:
            info["final_obs"] = self.final_obs_dense()[0]
        return info

    def final_obs_dense(self) -> tuple[Any, npt.NDArray[np.bool_]]:
        """Return the last observations of the episodes that ended in the last step, and where.

        Returns:
            A batch of observations, 0 in the other rows (None where they have no fixed size), and the bool
            ``(num_envs,)`` mask.

        Raises:
            RuntimeError: The mode is not ``same_step``.
        """
        if self._mode != "same_step":
            raise RuntimeError("final_obs_dense needs autoreset_mode='same_step'")
        arrays = [np.zeros(shape, dtype) for shape, dtype in self._obs.array_specs(self.num_envs)]
        columns: list[Column] = self._obs.columns(arrays, self.num_envs)
        mask = np.zeros(self.num_envs, np.bool_)
        for row, obs in self._finals:
            self._obs.write_row(columns, row, obs)
            mask[row] = True
        return self._obs.batch(columns), mask

    def make_buffers(self) -> StepBuffers:
        """Allocate arrays for ``step(out=...)``.

        Raises:
            ValueError: Observations have no fixed size.
        """
        if not self._obs.fixed:
            raise ValueError("observations of this environment have no fixed size")
        arrays = self._arrays
        obs = self._obs.batch([_copied(column) for column in arrays.obs])
        return StepBuffers(obs, arrays.reward.copy(), arrays.terminated.copy(), arrays.truncated.copy())

    def render(self) -> tuple[Any, ...] | None:
        """Return what every environment's ``render`` gives; None without a ``render_mode``."""
        if self.render_mode is None:
            return None
        return tuple(picture for part in self._ask_all("render") for picture in part)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return an attribute of every environment, or of a wrapper; if it can be called, what it returns.

        Raises:
            WorkerError: It raised, or there is none.
            ClosedError: After ``close``.
        """
        if name in ("reset", "step", "close"):
            raise ValueError(f"name is {name!r}; use the method of this object")
        return tuple(value for part in self._ask_all("call", (name, args, kwargs)) for value in part)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of every environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of every environment.

        Args:
            name: The attribute.
            values: A list or tuple with one value for each environment, or one value for all.

        Raises:
            ValueError: A wrong number of values.
        """
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"values has length {len(values)}; must be num_envs={self.num_envs}")
        self._ask_all("set_attr", lambda rows: (name, values[rows]))

    def close(self, **kwargs: Any) -> None:
        """Close the environments and end the workers; every later use raises ``ClosedError``.

        While a call is running, in another thread or around a signal handler, that happens when it ends.
        """
        if self.closed:
            return
        if not self._lock.acquire(blocking=False):
            self._close_wanted = True
            return
        try:
            self._close_wanted = False
            super().close(**kwargs)
        finally:
            self._lock.release()

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 - Gymnasium's signature
        """End the workers; use :meth:`close`."""
        self._stop()


def _stop(workers: list[Worker], owner: int, at_once: bool = False, wait: float = GRACE) -> None:
    """End all workers. Does nothing in a forked child, whose parent they belong to."""
    if os.getpid() != owner:
        return
    ending, workers[:] = list(workers), []
    if not at_once:
        for worker in ending:
            worker.dismiss()
    deadline = time.monotonic() + (0.0 if at_once else wait)
    for worker in ending:
        worker.stop(deadline)


class _RemoteError(Exception):
    """Shows the traceback of another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _remote(failure: Failure) -> BaseException | None:
    """Return the failure's exception, with its traceback as text where it has none."""
    if failure.traceback is None:
        return failure.error.__cause__
    failure.error.__cause__ = _RemoteError(failure.traceback)
    return failure.error.__cause__


def _copied(column: Any) -> Any:
    return list(column) if isinstance(column, list) else column.copy()


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is {timeout!r}; must be a number of seconds or None")
    if not 0 < timeout < 1e6:
        raise ValueError(f"timeout is {timeout!r}; must be > 0 and < 1e6 seconds, or None")
    return float(timeout)


def _checked_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"task_parameters is {names!r}; must be a sequence of names")
    if len(set(names)) != len(names):
        raise ValueError(f"task_parameters is {names!r}; names a parameter twice")
    return tuple(names)
