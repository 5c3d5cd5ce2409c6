"""Environments that step in the background: ``send`` takes actions, ``recv`` returns the first results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metarl_core.errors import ResetNeededError
from metarl_core.vector.base import AutoresetMode, VectorEnvMethods
from metarl_core.vector.checks import checked_integer, checked_rows
from metarl_core.vector.task_methods import Tasks

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AsyncEnvs"]


class AsyncEnvs:
    """``num_envs`` environments of which each steps when its action has come; made by :func:`metarl_core.make_async`.

    The interface is EnvPool's: ``async_reset()``, then ``recv()`` hands out the ``batch_size`` environments that are
    ready first, and ``send(actions, env_id)`` gives them their next actions, while the others go on in the background::

        envs.async_reset()
        while True:
            obs, reward, terminated, truncated, info = envs.recv()
            envs.send(policy(obs), info["env_id"])

    What an environment returns depends on its seed and its own actions only, bit for bit as in :func:`make_vec`. Which
    environments make up a batch, and in which order, depends on timing, except with ``num_threads=1``: then they come
    in the order in which they were sent.

    All methods may be called by several threads at once. In a forked child, where the threads do not exist, they raise
    ``RuntimeError``; make the environments there.

    Attributes:
        num_envs: Number of environments.
        batch_size: Number of environments that ``recv`` hands out.
        env_spec: Description of the environment.
        params: Its parameters, with defaults.
        single_observation_space: Space of one observation.
        single_action_space: Space of one action.
        metadata: ``autoreset_mode``.
    """

    def __init__(self, envs: VectorEnvMethods, batch_size: int, num_threads: int) -> None:
        """Use :func:`metarl_core.make_async`."""
        if envs.metadata["autoreset_mode"].value == AutoresetMode.DISABLED.value:
            raise ValueError("autoreset_mode is 'disabled'; environments in the background must reset themselves")
        self.batch_size = checked_integer("batch_size", batch_size, 1, envs.num_envs)
        self._envs = envs
        self.num_envs = envs.num_envs
        self.env_spec = envs.env_spec
        self.params = envs.params
        self.metadata = envs.metadata
        self.single_observation_space = envs.single_observation_space
        self.single_action_space = envs.single_action_space
        self.task_parameters = envs.task_parameters
        self._received: npt.NDArray[np.int64] | None = None
        self._core = envs._core.make_async(self.batch_size, num_threads)

    @property
    def num_threads(self) -> int:
        """Number of threads that step in the background."""
        return int(self._core.num_threads)

    @property
    def in_flight(self) -> int:
        """Number of environments that were sent an action (or are being reset) and not received since."""
        return int(self._core.in_flight)

    def async_reset(self, *, seed: int | Sequence[int | None] | None = None) -> None:
        """Start new episodes in all environments; results that were not received yet are dropped.

        ``recv`` then hands out the first observations, with reward 0.

        Args:
            seed: As of ``reset`` of a vector environment.

        Raises:
            TypeError, ValueError: The seed, as there.
            ClosedError: After ``close``.
            RuntimeError: In a forked child.
        """
        self._core.reset(self._envs._checked_seeds(seed, None))
        self._received = None

    def send(self, actions: npt.ArrayLike, env_id: npt.ArrayLike | None = None) -> None:
        """Give environments their next actions; returns at once.

        Args:
            actions: ``(k,)`` of any integer dtype, or float32 or float64 ``(k, n)`` for continuous
                actions of ``n`` numbers, mostly 1.
            env_id: Integers ``(k,)``: the environments; None: those that the last ``recv`` handed out.

        Raises:
            TypeError: The actions or ``env_id`` have the wrong kind of dtype.
            ValueError: A wrong shape, an illegal action, or an environment that is named twice.
            IndexError: An environment that is not there.
            RuntimeError: An environment is in flight already; or in a forked child.
            ResetNeededError: Before ``async_reset``.
            ClosedError: After ``close``.

        Nothing is sent when it raises.
        """
        if env_id is None:
            if self._received is None:
                raise ValueError("send needs env_id before the first recv")
            env_id = self._received
        rows = checked_rows("env_id", env_id, self.num_envs)
        with self._gymnasium_errors():
            self._core.send(actions, rows)

    def recv(
        self, timeout: float | None = None
    ) -> tuple[Any, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Return the ``batch_size`` environments that are ready first, after waiting for them.

        Args:
            timeout: Seconds to wait at most, >= 0; None: as long as it takes. It never waits for environments that
                nobody sent an action.

        Returns:
            ``(obs, reward, terminated, truncated, info)`` as of ``step`` of a vector environment, with ``batch_size``
            rows, and their numbers in ``info["env_id"]``, int64. With ``"same_step"``, ``info["final_obs"]`` is one
            dense array.

        Raises:
            RuntimeError: Fewer than ``batch_size`` environments are in flight; or in a forked child.
            TimeoutError: They were not ready in time; they stay in flight.
            TypeError, ValueError: ``timeout`` is no number >= 0.
            ResetNeededError: Before ``async_reset``.
            ClosedError: After ``close``, also if it comes while this waits.

        Ctrl-C ends it; the environments stay in flight. An exception that a thread met is raised here and by ``send``
        until the next ``async_reset``.
        """
        with self._gymnasium_errors():
            obs, reward, terminated, truncated, rows, extras = self._core.recv(_seconds(timeout))
        self._received = rows
        info = {"env_id": rows, **self._info(obs, extras)}
        return (self._envs._split(obs) if self._envs._tuple_obs else obs), reward, terminated, truncated, info

    def _info(self, obs: npt.NDArray[Any], extras: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Return what the info of a vector environment's step says of these rows."""
        envs = self._envs
        there = np.ones(self.batch_size, np.bool_)
        info: dict[str, Any] = {}
        if "prob" in extras:
            info = {"prob": extras["prob"], "_prob": there.copy()}
        if envs._action_masks is not None:
            info.update(action_mask=envs._action_masks[obs], _action_mask=there.copy())
        ended = extras.get("ended")
        if ended is not None and ended.any():
            dense = extras["final_obs"]
            info.update(final_info=envs._final_info(info, ended, dense), _final_info=ended.copy())
            info.update(final_obs=envs._split(dense) if envs._tuple_obs else dense, _final_obs=ended)
        if "task_id" in extras:
            info.update(task_id=extras["task_id"], _task_id=there.copy())
            if "final_info" in info:
                before = np.where(info["_final_info"], extras["task_before"], 0)
                info["final_info"].update(task_id=before, _task_id=info["_final_info"].copy())
        return info

    def reset(self, *, seed: int | Sequence[int | None] | None = None) -> tuple[Any, dict[str, Any]]:
        """Call :meth:`async_reset` and :meth:`recv`; return the observations and the info."""
        self.async_reset(seed=seed)
        obs, _, _, _, info = self.recv()
        return obs, info

    def step(
        self, actions: npt.ArrayLike, env_id: npt.ArrayLike | None = None
    ) -> tuple[Any, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Call :meth:`send` and :meth:`recv`."""
        self.send(actions, env_id)
        return self.recv()

    @contextmanager
    def _all_done(self) -> Iterator[VectorEnvMethods]:
        """Wait for the steps that were sent, then lend out the environments."""
        self._core.pause()
        try:
            yield self._envs
        finally:
            self._core.resume()

    @contextmanager
    def _gymnasium_errors(self) -> Iterator[None]:
        try:
            yield
        except ResetNeededError as error:
            raise self._envs._reset_needed_class(str(error)) from None

    def set_tasks(self, tasks: Tasks | None, task_id: npt.ArrayLike | None = None) -> None:
        """Give every environment parameters of its own, from the actions on that are sent afterwards.

        Arguments and errors are those of a vector environment's ``set_tasks``.
        """
        with self._all_done() as envs:
            envs.set_tasks(tasks, task_id)

    def sample_tasks_at_reset(self, tasks: Tasks) -> None:
        """Let every environment draw one of ``tasks`` whenever it is reset; as of a vector environment."""
        with self._all_done() as envs:
            envs.sample_tasks_at_reset(tasks)

    def get_tasks(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the parameters of every environment, after the steps that were sent."""
        with self._all_done() as envs:
            return envs.get_tasks()

    def get_state(self, rows: Sequence[int] | npt.NDArray[Any] | None = None) -> dict[str, npt.NDArray[Any]]:
        """Return the state, after the steps that were sent; arguments as of a vector environment's ``get_state``."""
        with self._all_done() as envs:
            return envs.get_state(rows)

    def close(self) -> None:
        """End the threads; a ``recv`` that waits raises ``ClosedError``, and so does every later use."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.env_spec.id}, num_envs={self.num_envs}, batch_size={self.batch_size})"


def _seconds(timeout: Any) -> float:
    if timeout is None:
        return -1.0
    if isinstance(timeout, (bool, str, bytes)):
        raise TypeError(f"timeout is {timeout!r}; must be a number of seconds or None")
    try:
        seconds = float(timeout)
    except (TypeError, ValueError):
        raise TypeError(f"timeout is {timeout!r}; must be a number of seconds or None") from None
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"timeout is {timeout!r}; must be >= 0")
    return seconds
