"""Many steps of a vector environment in one call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core import _core
from metarl_core.errors import ResetNeededError
from metarl_core.vector.builders import BuildPlan
from metarl_core.vector.checks import check_fits_memory, checked_integer

__all__ = ["Rollout", "RolloutMethods"]


@dataclass(frozen=True, eq=False)
class Rollout:
    """Consecutive steps of ``num_envs`` environments, also the arrays that ``rollout(out=...)`` writes to.

    Where ``valid[t, i]``, environment i went from ``obs[t, i]`` by ``actions[t, i]`` to ``obs[t + 1, i]``
    (``same_step``: to ``final_obs[t, i]`` if its episode ended).

    Attributes:
        obs: ``(steps + 1, num_envs, *observation shape)``, dtype of the observation space; ``obs[steps]`` is what the
            next action will be taken on. Blackjack: int64 ``(steps + 1, num_envs, 3)``, whose columns are the tuple.
        actions: ``(steps, num_envs)`` int64, or float32 ``(steps, num_envs, n)`` for continuous actions of
            ``n`` numbers, mostly 1.
        reward: float64 ``(steps, num_envs)``.
        terminated: bool ``(steps, num_envs)``.
        truncated: bool ``(steps, num_envs)``.
        valid: bool ``(steps, num_envs)``: whether it is a transition. ``next_step``: False where the row was only reset
            (its action was ignored); ``disabled``: False after the row's episode ended; ``same_step``: True.
        final_obs: ``same_step``: ``(steps, num_envs, *observation shape)``, the last observation of the episode where
            ``terminated | truncated``; elsewhere zeros in new arrays, and what was there in arrays used again.
            Otherwise None.
        info: What the environment has of these. ``prob`` float64 ``(steps, num_envs)``: the transition's probability,
            1 where it is none. ``action_mask`` int8 ``(steps + 1, num_envs, actions)``: that of ``obs``. ``task_id``
            int64 ``(steps + 1, num_envs)``: the task of ``obs``, if tasks were set. ``bad_episode`` bool ``(steps,
            num_envs)``: DeepSea's, of the episodes that ended.
    """

    obs: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    reward: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]
    final_obs: npt.NDArray[Any] | None
    info: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.reward)


def agreed_steps(steps: int | None, length: int | None, out: Rollout | None) -> int:
    """Return the number of steps, of which a rollout's arguments say the same.

    Args:
        steps: What the caller says.
        length: How many there are actions for; None: for any number.
        out: Arrays that are to be written.

    Raises:
        TypeError: Nothing says it, or ``out`` is no :class:`Rollout`.
        ValueError: They differ.
    """
    if out is not None and not isinstance(out, Rollout):
        raise TypeError(f"out must be a Rollout from make_rollout_buffers, got {type(out).__name__}")
    number = None if steps is None else checked_integer("steps", steps, 1, None)
    for other, what in ((length, "actions have"), (None if out is None else len(out), "out has")):
        if other is not None and number is not None and other != number:
            raise ValueError(f"steps is {number}; {what} {other}")
        number = other if number is None else number
    if number is None:
        raise TypeError("rollout needs steps, or arrays in out")
    return number


class RolloutMethods:
    """The methods of a vector environment that take many steps at once."""

    num_envs: int
    single_action_space: Any
    single_observation_space: Any
    _core: _core.BatchEnv
    _plan: BuildPlan
    _same_step: bool
    _tuple_obs: bool
    _action_masks: npt.NDArray[np.int8] | None
    _ids_before: npt.NDArray[np.int64] | None
    _last_actions: npt.NDArray[Any] | None
    _reset_needed_class: type[ResetNeededError]

    def make_rollout_buffers(self, steps: int) -> Rollout:
        """Allocate the arrays of ``rollout(out=...)``, so that a rollout allocates next to nothing.

        Args:
            steps: Number of steps, >= 1.

        Raises:
            TypeError, ValueError: ``steps`` is no such integer.
            MemoryError: They do not fit into memory.
        """
        steps = checked_integer("steps", steps, 1, None)
        n = self.num_envs
        low = self._plan.observation_low
        dtype = np.dtype(np.int64) if low is None else low.dtype
        shape = (n, *self._plan.observation_shape)
        check_fits_memory(f"a rollout of {steps} steps", steps * (math.prod(shape) * dtype.itemsize + n * 19))
        obs = np.empty((steps + 1, *shape), dtype)
        discrete = self._plan.num_actions > 0
        info: dict[str, npt.NDArray[Any]] = {}
        if self._core.has_prob:
            info["prob"] = np.empty((steps, n))
        if self._action_masks is not None:
            info["action_mask"] = np.empty((steps + 1, n, self._plan.num_actions), np.int8)
        if self._core.task_ids() is not None:
            info["task_id"] = np.empty((steps + 1, n), np.int64)
        if self._core.has_end_flag:
            info["bad_episode"] = np.empty((steps, n), np.bool_)
        return Rollout(
            obs=obs,
            actions=np.empty((steps, n, *self._plan.action_shape), np.int64 if discrete else np.float32),
            reward=np.empty((steps, n)),
            terminated=np.empty((steps, n), np.bool_),
            truncated=np.empty((steps, n), np.bool_),
            valid=np.empty((steps, n), np.bool_),
            # Zeros: pages that nothing is written to take no memory.
            final_obs=np.zeros((steps, *shape), dtype) if self._same_step else None,
            info=info,
        )

    def rollout(
        self,
        policy: npt.ArrayLike | Callable[[Any], npt.ArrayLike] | str,
        steps: int | None = None,
        *,
        out: Rollout | None = None,
    ) -> Rollout:
        """Take many steps in every environment, with the results of as many calls of :meth:`step`, bit for bit.

        With an array or ``"random"`` it is one call into the core: each thread takes its rows through the steps a block
        at a time, which stays in its cache.

        Args:
            policy: The actions, ``(steps, num_envs)`` of any integer dtype or ``(steps, num_envs, 1)`` float32 or
                float64; or a function of the observations ``(num_envs, ...)`` that returns those of one step, called
                once a step with a view of the result, which it must not change; or ``"random"``: uniform in the action
                space, drawn from each row's own random numbers (Philox: its seed and stream, at the number of the
                episode and of the step in it), so that they do not depend on threads or on how a rollout is cut in two.
            steps: Number of steps, >= 1; by default that of the actions or of ``out``.
            out: Arrays from :meth:`make_rollout_buffers` to write to; None: new ones.

        Returns:
            ``out``, or a new :class:`Rollout`. With autoreset ``"disabled"`` a row whose episode ends stays as it is
            for the other steps, and needs a reset before the next call.

        Raises:
            TypeError: The actions or an array of ``out`` have the wrong dtype, or an argument the wrong type.
            ValueError: A wrong shape, an illegal action, numbers of steps that differ, or arrays of ``out`` that share
                memory.
            KeyError: ``out`` lacks an array, such as ``task_id`` if it was made before tasks were set.
            ResetNeededError: As of :meth:`step`.
            MemoryError: The arrays do not fit into memory.
            ClosedError: After ``close``.

        Nothing is changed when it raises, also for an illegal action in the last step; but the steps before a function
        raised or returned something illegal were taken, and after Ctrl-C in the midst of a call into the core a reset
        is needed.
        """
        play: Callable[[Any, int, dict[str, Any]], None]
        if isinstance(policy, str):
            if policy != "random":
                raise ValueError(f"policy is {policy!r}; must be actions, a function of observations, or 'random'")
            play, length = self._play_random, None
        elif callable(policy):
            play, length = self._play_policy, None
        else:
            actions = self._action_array(policy)
            play, length = self._play_actions, len(actions) if actions.ndim else 0
            policy = actions
        out = self._rollout_out(steps, length, out)
        arrays = {name: value for name, value in vars(out).items() if name != "info"} | out.info
        try:
            play(policy, len(out), arrays)
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None
        finally:
            self._ids_before = None if self._core.closed else self._core.task_ids()
            self._last_actions = None
        if self._action_masks is not None:
            np.take(self._action_masks, out.obs, axis=0, out=out.info["action_mask"])
        if "task_id" in out.info and self._ids_before is None:
            out.info["task_id"].fill(-1)
        return out

    def _rollout_out(self, steps: int | None, length: int | None, out: Rollout | None) -> Rollout:
        """Return arrays of a number of steps on which all agree."""
        number = agreed_steps(steps, length, out)
        if out is None:
            return self.make_rollout_buffers(number)
        mask = self._action_masks
        if mask is not None:
            shape = (number + 1, self.num_envs, mask.shape[1])
            given = out.info.get("action_mask")
            if not isinstance(given, np.ndarray) or given.shape != shape or given.dtype != mask.dtype:
                raise ValueError(f"out: 'action_mask' must be an int8 array of shape {shape}")
        return out

    def _action_array(self, actions: Any) -> npt.NDArray[Any]:
        array = np.asarray(actions)
        if not isinstance(actions, np.ndarray) and not self._plan.num_actions and array.dtype.kind in "iu":
            return array.astype(np.float32)  # a list of Python ints
        return array

    def _play(self, actions: Any, begin: int, end: int, arrays: dict[str, Any]) -> None:
        low, high = self._plan.action_low, self._plan.action_high
        self._core.rollout(actions, len(arrays["reward"]), begin, end, low, high, arrays)

    def _play_actions(self, actions: Any, steps: int, arrays: dict[str, Any]) -> None:
        self._play(actions, 0, steps, arrays)

    def _play_random(self, _policy: Any, steps: int, arrays: dict[str, Any]) -> None:
        self._play(None, 0, steps, arrays)

    def _play_policy(self, policy: Any, steps: int, arrays: dict[str, Any]) -> None:
        self._core.check_ready(False)
        obs = self._core.observe()
        shape = (self.num_envs, *self._plan.action_shape)
        for t in range(steps):
            chosen = self._action_array(policy(self._split(obs) if self._tuple_obs else obs))
            if chosen.shape != shape:
                raise ValueError(f"the policy's actions of step {t} have shape {chosen.shape}; must be {shape}")
            self._play(chosen[np.newaxis], t, t + 1, arrays)
            obs = arrays["obs"][t + 1]

    def _split(self, rows: npt.NDArray[Any]) -> Any:
        raise NotImplementedError
