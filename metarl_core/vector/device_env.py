"""The vector environment in a GPU's memory: ``make_vec(..., device="cuda")``."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from metarl_core import _cuda_module
from metarl_core.errors import ResetNeededError
from metarl_core.vector.base import AutoresetMode, StepBuffers, make_batch
from metarl_core.vector.builders import BuildPlan
from metarl_core.vector.checks import checked_integer, checked_reset_mask
from metarl_core.vector.device_core import DeviceCore
from metarl_core.vector.numpy_env import NumpyVectorEnv
from metarl_core.vector.rollout import Rollout, agreed_steps
from metarl_core.vector.specs import EnvSpec

__all__ = ["DeviceVectorEnv"]

_STEP = ("obs", "reward", "terminated", "truncated")
_ROLLOUT = ("obs", "actions", "reward", "terminated", "truncated", "valid", "final_obs")


def _rollout_of(arrays: dict[str, Any]) -> Rollout:
    fields = {name: arrays.get(name) for name in _ROLLOUT}
    return Rollout(**fields, info={name: array for name, array in arrays.items() if name not in fields})  # type: ignore[arg-type]


def _arrays_of(out: Rollout) -> dict[str, Any]:
    return {name: array for name in _ROLLOUT if (array := getattr(out, name)) is not None} | out.info


class DeviceVectorEnv(NumpyVectorEnv):
    """``num_envs`` equal environments in the memory of a GPU; made by :func:`metarl_core.make_vec`.

    States, observations, rewards and flags have the bits of the CPU's environment. ``step``, ``rollout`` and ``reset``
    hand their work to a stream and return: with ``out`` they neither allocate nor wait nor read back, so a CUDA graph
    can record them (a ``reset`` without seeds, and with the mask on the device). What is wrong with the content of
    actions is found there: the call changes nothing, what it returns is undefined, and :meth:`check` raises it.

    Arrays are ``DeviceArray`` objects with ``__dlpack__`` and ``__cuda_array_interface__``
    (``torch.from_dlpack(obs)``), or what is passed as ``out``. Results are new; ``info`` is what the CPU's is, except:

    - What the CPU marks by a mask that is always True has none: ``_prob``, ``_action_mask``, ``_task_id``.
    - ``same_step``: ``final_obs``, dense, and its mask ``_final_obs`` are there in every step, as nobody knows whether
      an episode ended without waiting; there is no ``final_info``, and ``prob`` is that of the transition.
    - A Tuple observation (Blackjack) is one array ``(num_envs, 3)``.

    ``stream`` is an integer such as torch's ``stream.cuda_stream``; by default torch's current stream if torch uses
    CUDA, else the legacy default stream. A call on another stream than the one before waits for it; replays of a graph
    and the calls around them must be put in order by the caller.

    States and tasks are read and written on the host, in the CPU environment's formats, so that :meth:`snapshot` and
    :meth:`restore` take them from one to the other; these methods wait for the device. After tasks were set, or a table
    of another length, graphs must be recorded anew.
    """

    _core: DeviceCore  # type: ignore[assignment]

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        num_threads: int | None,
        autoreset_mode: Any,
        seed: int,
        dense_final_obs: bool,
        params: Mapping[str, Any],
        render_mode: str | None = None,
        device: Any = "cuda",
    ) -> None:
        """Use :func:`metarl_core.make_vec`."""
        if num_threads is not None:
            raise ValueError(f"num_threads is {num_threads!r}; must be None on a GPU, where a row has its own")
        if importlib.util.find_spec("gymnasium") is not None:
            from metarl_core.vector.gym_env import GymVectorEnv

            self._spaces = GymVectorEnv._spaces
            self._mode_class = GymVectorEnv._mode_class
            self._reset_needed_class = GymVectorEnv._reset_needed_class
        self._device = device
        super().__init__(spec, num_envs, None, autoreset_mode, seed, dense_final_obs, params, render_mode)

    def _make_core(self, plan: BuildPlan, threads: int, mode: AutoresetMode, seed: int) -> Any:  # noqa: ARG002
        number = _cuda_module.device_number(self._device)
        module = _cuda_module.cuda_module(self._device)
        make_host = functools.partial(
            make_batch, self.env_spec.id, self.num_envs, 1, mode, self.max_episode_steps, seed, plan
        )
        return DeviceCore(make_host, plan, module, number or 0)

    def _keep_actions(self) -> None:
        """Drawings show no actions: they are on the device."""

    @property
    def device(self) -> str:
        """Where the environments are: ``"cuda:0"``."""
        return str(self._core.batch.device)

    @property
    def nbytes(self) -> int:
        """Bytes of device memory, without results."""
        return int(self._core.batch.nbytes)

    def check(self) -> None:
        """Wait for the calls so far and raise the first error that one of them found; it is forgotten then.

        Raises:
            ValueError: An action was out of range or not finite.
            ResetNeededError: With autoreset ``"disabled"``, an episode had ended.
            ClosedError: After ``close``.
        """
        try:
            self._core.batch.check()
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
        out: Any = None,
        stream: int | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: As of the CPU's environment; seeds are copied to the device, which waits.
            options: ``{"reset_mask": mask}`` resets the rows where it is True only: bool or uint8 ``(num_envs,)`` on
                the device, or a NumPy array of bools, which is copied.
            out: A dict with the array ``obs``, and with ``action_mask`` or ``task_id`` if they are wanted; None: new
                ones of all.
            stream: Where the work is done.

        Returns:
            Observations of all environments and an info dict.

        Raises:
            TypeError, ValueError: As of the CPU's environment. A mask on the device may be all False.
            ResetNeededError: ``reset_mask`` was given before the first reset of all environments.
            RuntimeError: The stream records a graph, and memory would be allocated or copied from the host.
            ClosedError: After ``close``.
        """
        mask = self._mask(options)
        seeding = self._checked_seeds(seed, mask if isinstance(mask, np.ndarray) else None)
        try:
            found = self._core.batch.reset(mask, seeding, out, stream)
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None
        return found.pop("obs"), found

    def _mask(self, options: dict[str, Any] | None) -> Any:
        mask = None if not options else options.get("reset_mask")
        if mask is None or isinstance(mask, np.ndarray) or (options and len(options) > 1):
            return self._checked_mask(options)
        if isinstance(mask, (list, tuple)):
            checked_reset_mask(mask, self.num_envs)
        return mask

    def step(self, actions: Any, out: Any = None, *, stream: int | None = None) -> tuple[Any, Any, Any, Any, Any]:
        """Take one step in every environment.

        Args:
            actions: On the device, contiguous: ``(num_envs,)`` of any integer dtype, or ``(num_envs, n)`` float32 or
                float64 for continuous actions of n numbers.
            out: Arrays on the device to write to: :class:`StepBuffers`, or a dict with its names, in which ``prob``,
                ``action_mask``, ``task_id``, ``final_obs`` and ``_final_obs`` may be, too. Of these, ``info`` has those
                that are given, and ``final_obs`` with its mask always: without arrays for them, the environment's own,
                which the next step writes, and which hold older observations where no episode ended.
            stream: Where the work is done.

        Returns:
            ``(obs, reward, terminated, truncated, info)``.

        Raises:
            TypeError: An array has the wrong dtype, or is not on the device.
            ValueError: An array has the wrong shape, or gaps.
            KeyError: ``out`` lacks an array.
            ResetNeededError: Before the first reset.
            RuntimeError: ``out`` is missing while the stream records a graph.
            ClosedError: After ``close``.

        Nothing is changed when it raises. Illegal actions, and with autoreset ``"disabled"`` rows whose episode has
        ended, are raised by :meth:`check`; they change nothing either.
        """
        given = out
        if isinstance(out, StepBuffers):
            given = out._asdict()
        elif out is not None and not isinstance(out, dict):
            raise TypeError(f"out must be StepBuffers or a dict with {', '.join(_STEP)}, got {type(out).__name__}")
        try:
            found = self._core.step(actions, given, stream)
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None
        obs, reward, terminated, truncated = (found.pop(name) for name in _STEP)
        return obs, reward, terminated, truncated, found

    def make_buffers(self) -> StepBuffers:
        """Allocate arrays for ``step(out=...)``; read them, do not write to them.

        DeepSea and Catch keep the observation in these buffers up to date by changing the cells that differ, until a
        graph has recorded a call. A second call makes new buffers and ends that service for the first ones.
        """
        return StepBuffers(**self._core.batch.make_buffers())

    def make_rollout_buffers(self, steps: int) -> Rollout:
        """Allocate the arrays of ``rollout(out=...)``.

        Raises:
            TypeError, ValueError: ``steps`` is no integer >= 1.
            MemoryError: They do not fit into the device's memory.
        """
        return _rollout_of(self._core.batch.make_rollout_buffers(checked_integer("steps", steps, 1, None)))

    def rollout(
        self,
        policy: Any | Callable[[Any], Any] | str,
        steps: int | None = None,
        *,
        out: Rollout | None = None,
        stream: int | None = None,
    ) -> Rollout:
        """Take many steps in every environment, with the results of as many calls of :meth:`step`, bit for bit.

        With an array or ``"random"`` it is one launch, in which a thread takes its row through all steps.

        Args:
            policy: The actions, on the device, ``(steps, num_envs)`` of any integer dtype or ``(steps, num_envs, n)``
                float32 or float64; or a function of the observations that returns those of one step, called once a
                step with a view of the result; or ``"random"``: uniform in the action space, by each row's own random
                numbers, as on the CPU.
            steps: Number of steps, >= 1; by default that of the actions or of ``out``.
            out: Arrays from :meth:`make_rollout_buffers`, or other arrays on the device in a :class:`Rollout`; its
                ``info`` may lack what is not wanted.
            stream: Where the work is done. A function must work on it, too.

        Returns:
            ``out``, or a new :class:`Rollout`.

        Raises:
            TypeError, ValueError, KeyError, RuntimeError, ClosedError: As of :meth:`step`.
            MemoryError: The arrays do not fit into the device's memory.
        """
        if isinstance(policy, str) and policy != "random":
            raise ValueError(f"policy is {policy!r}; must be actions, a function of observations, or 'random'")
        many = isinstance(policy, str) or callable(policy)
        shape = None if many else getattr(policy, "shape", None)
        number = agreed_steps(steps, int(shape[0]) if shape else None, out)
        batch = self._core.batch
        low, high = self._plan.action_low, self._plan.action_high
        try:
            if not callable(policy):
                actions = None if isinstance(policy, str) else policy
                arrays = None if out is None else _arrays_of(out)
                found = batch.rollout(actions, number, 0, number, low, high, arrays, stream)
                return _rollout_of(found) if out is None else out
            out = self.make_rollout_buffers(number) if out is None else out
            arrays = _arrays_of(out)
            obs = batch.observe(stream)
            for t in range(number):
                batch.rollout(policy(obs), number, t, t + 1, low, high, arrays, stream)
                obs = out.obs[t + 1]
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None
        return out

    def observe(self, *, stream: int | None = None) -> Any:
        """Return the observations of the current states, as a new array."""
        return self._core.batch.observe(stream)

    def final_obs_dense(self) -> tuple[Any, Any]:
        """Not on a GPU: every step's ``info`` has ``final_obs`` and its mask.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("on a GPU the info of every step has 'final_obs' and '_final_obs', its mask")

    def bad_episode(self) -> Any:
        """DeepSea: whether the episode that ended in the last step left the path of right moves by a left move.

        Returns:
            bool ``(num_envs,)``, the environment's own: the next call writes it.

        Raises:
            RuntimeError: Another environment than DeepSea.
        """
        flags = self._core.batch.batch_array("end_flag")
        if flags is None:
            raise RuntimeError("this environment has no such flag")
        return flags

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.env_spec.id}, num_envs={self.num_envs}, device={str(self._device)!r})"
