"""The vector environment's methods, for both the Gymnasium class and the one that needs NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from metarl_core import _core
from metarl_core.errors import ResetNeededError
from metarl_core.vector.builders import BuildPlan, build_plan
from metarl_core.vector.checks import check_fits_memory, checked_integer, checked_reset_mask
from metarl_core.vector.render.registry import render_fps
from metarl_core.vector.render_methods import RENDER_MODES, RenderMethods, checked_render_mode
from metarl_core.vector.rollout import RolloutMethods
from metarl_core.vector.specs import EnvSpec, shown
from metarl_core.vector.state import StateMethods
from metarl_core.vector.task_methods import TaskMethods

__all__ = ["AutoresetMode", "StepBuffers", "VectorEnvMethods"]

_NO_LIMIT = 2**31 - 1
# Positions in the core's state.
_MINIGRID_DIRECTION, _MINIGRID_TARGET = 2, 6
_StepResult: TypeAlias = tuple[
    npt.NDArray[Any], npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]
]


class AutoresetMode(Enum):
    """What happens after an episode ended; the values are Gymnasium's."""

    NEXT_STEP = "NextStep"
    SAME_STEP = "SameStep"
    DISABLED = "Disabled"


class StepBuffers(NamedTuple):
    """Arrays of the caller that ``step(out=...)`` writes to, so that a step allocates nothing.

    Attributes:
        obs: ``(num_envs, *observation shape)``, dtype of the observation space; for Blackjack int64 ``(num_envs, 3)``,
            whose columns ``step`` returns as a tuple.
        reward: float64 ``(num_envs,)``.
        terminated: bool ``(num_envs,)``.
        truncated: bool ``(num_envs,)``.
    """

    obs: npt.NDArray[Any]
    reward: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]


def parse_autoreset_mode(mode: Any) -> AutoresetMode:
    """Return the mode that a name, Gymnasium's enum or :class:`AutoresetMode` means.

    Raises:
        ValueError: None of them.
    """
    value = getattr(mode, "value", mode)
    for known in AutoresetMode:
        if value in (known.value, known.name.lower()):
            return known
    raise ValueError(f"autoreset_mode is {mode!r}; must be 'next_step', 'same_step' or 'disabled'")


def _checked_seed(name: str, value: Any) -> int:
    return checked_integer(name, value, 0, 2**64 - 1)


def _check_memory(num_envs: int, plan: BuildPlan, same_step: bool) -> None:
    # Asked for in one go by the core.
    element = 4 if plan.observation_low is None else plan.observation_low.itemsize
    rows = plan.row_bytes + element * int(np.prod(plan.observation_shape)) * (2 if same_step else 1)
    check_fits_memory(f"num_envs={shown(num_envs)}", num_envs * rows)


def make_batch(
    env_id: str, num_envs: int, threads: int, mode: AutoresetMode, limit: int | None, seed: int, plan: BuildPlan
) -> _core.BatchEnv:
    """Make the core's batch of checked arguments."""
    return _core.BatchEnv(
        env_id,
        num_envs,
        threads,
        mode.name.lower(),
        _NO_LIMIT if limit is None else limit,
        seed,
        plan.observation_shape,
        plan.action_shape,
        plan.numbers,
        plan.table,
    )


class VectorEnvMethods(StateMethods, RolloutMethods, TaskMethods, RenderMethods):
    """Steps ``num_envs`` equal environments together; made by :func:`metarl_core.make_vec`.

    One caller at a time: a second thread that calls while a call is running gets a ``RuntimeError``, and so does a
    signal handler that calls in the midst of a step. ``close`` may come at any time: it lets a running call end. Arrays
    that are returned are new and never change afterwards, except those given as ``out``.
    """

    num_envs: int
    render_mode: str | None = None
    metadata: dict[str, Any]
    _spaces: Any
    _mode_class: type[Enum] = AutoresetMode
    _reset_needed_class: type[ResetNeededError] = ResetNeededError

    def _setup(
        self,
        spec: EnvSpec,
        num_envs: int,
        num_threads: int | None,
        autoreset_mode: Any,
        seed: int,
        dense_final_obs: bool,
        params: Mapping[str, Any],
        render_mode: str | None = None,
    ) -> None:
        mode = parse_autoreset_mode(autoreset_mode)
        self.render_mode = checked_render_mode(render_mode)
        self.num_envs = checked_integer("num_envs", num_envs, 1, None)
        threads = (
            _core.available_cpus() if num_threads is None else checked_integer("num_threads", num_threads, 1, 1024)
        )
        seed = _checked_seed("seed", seed)
        self.env_spec = spec
        self.params: dict[str, Any] = spec.resolve(params)
        plan = build_plan(spec.id, self.params)
        self._plan = plan
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._dense_final_obs = bool(dense_final_obs)
        self._bsuite_info = plan.bsuite_info
        self._missions = plan.missions
        self._tuple_obs = bool(plan.observation_tuple)
        self._scalar_obs = plan.observation_low is None and not self._tuple_obs
        _check_memory(self.num_envs, plan, self._same_step)
        checked_integer("num_envs", num_envs, 1, 2**32 - 1)  # rows are numbered with 32 bits
        self._make_spaces(plan)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": render_fps(spec.id),
            "autoreset_mode": self._mode_class(mode.value),
        }
        self.max_episode_steps: int | None = self.params["max_episode_steps"]
        self._core = self._make_core(plan, threads, mode, seed)
        self._core_step = self._core.step
        if self.render_mode is not None:
            self._keep_actions()
        self._reports_prob: bool = self._core.has_prob
        self._action_masks: npt.NDArray[np.int8] | None = self._core.action_masks
        # The core's is complete where it is dense and has no more to tell.
        self._completes_final = self._same_step and (not self._dense_final_obs or self._reports_prob or self._tuple_obs)

    def _make_core(self, plan: BuildPlan, threads: int, mode: AutoresetMode, seed: int) -> Any:
        return make_batch(self.env_spec.id, self.num_envs, threads, mode, self.max_episode_steps, seed, plan)

    def _make_spaces(self, plan: BuildPlan) -> None:
        spaces, n = self._spaces, self.num_envs
        self.single_observation_space: Any
        self.single_action_space: Any
        self.observation_space: Any
        self.action_space: Any
        if plan.observation_tuple:
            self.single_observation_space = spaces.Tuple([spaces.Discrete(size) for size in plan.observation_tuple])
            self.observation_space = spaces.Tuple(
                [spaces.MultiDiscrete(np.full(n, size)) for size in plan.observation_tuple]
            )
        elif plan.observation_low is None or plan.observation_high is None:
            self.single_observation_space = spaces.Discrete(plan.num_observations)
            self.observation_space = spaces.MultiDiscrete(np.full(n, plan.num_observations))
        else:
            low, high, shape = plan.observation_low, plan.observation_high, plan.observation_shape
            self.single_observation_space = spaces.Box(low, high, shape, low.dtype)
            # Broadcast views: no copy of the bounds for every row.
            batch = (n, *shape)
            self.observation_space = spaces.Box(
                np.broadcast_to(low, batch), np.broadcast_to(high, batch), batch, low.dtype
            )
        if plan.num_actions:
            self.single_action_space = spaces.Discrete(plan.num_actions)
            self.action_space = spaces.MultiDiscrete(np.full(n, plan.num_actions))
        else:
            shape = plan.action_shape
            self.single_action_space = spaces.Box(plan.action_low, plan.action_high, shape, np.float32)
            self.action_space = spaces.Box(plan.action_low, plan.action_high, (n, *shape), np.float32)

    @property
    def num_threads(self) -> int:
        """The largest number of threads a step uses, the caller's included; small batches use one."""
        return int(self._core.num_threads)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: An int seeds all environments; each has its own stream of random numbers, and different seeds share
                none (Gymnasium's ``seed + i`` would). A sequence seeds them one by one (None: not), and equal seeds
                play equal episodes. None continues the streams.
            options: ``{"reset_mask": bool[num_envs]}`` resets the rows where it is True only.

        Returns:
            Observations of all environments and an info dict.

        Raises:
            TypeError: A seed or the mask has the wrong type.
            ValueError: A seed is negative, the sequence or the mask has the wrong length, the mask is all False, or an
                option is unknown.
            ResetNeededError: ``reset_mask`` was given before the first reset of all environments.
            ClosedError: After ``close``.
        """
        mask = self._checked_mask(options)
        seeding = self._checked_seeds(seed, mask)
        try:
            obs = self._core.reset(mask, seeding)
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None
        info = self._reset_info(mask, obs)
        return (self._split(obs) if self._tuple_obs else obs), info

    def _split(self, rows: npt.NDArray[Any]) -> Any:
        """Return the columns of a Tuple observation's rows, as Gymnasium hands them out."""
        return tuple(rows[:, column] for column in range(rows.shape[1]))

    def _reset_info(self, mask: npt.NDArray[np.bool_] | None, obs: npt.NDArray[Any]) -> dict[str, Any]:
        info: dict[str, Any] = {}
        there = np.ones(self.num_envs, np.bool_) if mask is None else mask.copy()
        if self._reports_prob:
            info = {"prob": there.astype(np.float64), "_prob": there}
            if self._action_masks is not None:
                masks = self._action_masks[obs]
                masks[~there] = 0
                info.update(action_mask=masks, _action_mask=there.copy())
        if self._ids_before is not None:
            self._report_tasks(info, there.copy())
        return info

    def _checked_mask(self, options: dict[str, Any] | None) -> npt.NDArray[np.bool_] | None:
        if not options:
            return None
        unknown = sorted(repr(key) for key in options if key != "reset_mask")
        if unknown:
            raise ValueError(f"options has the unknown key {unknown[0]}; valid keys: 'reset_mask'")
        return np.ascontiguousarray(checked_reset_mask(options["reset_mask"], self.num_envs))

    def _checked_seeds(
        self, seed: int | Sequence[int | None] | None, mask: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.uint32]] | None:
        if seed is None:
            return None
        rows = np.arange(self.num_envs, dtype=np.int64)
        if isinstance(seed, (Sequence, np.ndarray)) and not isinstance(seed, (str, bytes)):
            if len(seed) != self.num_envs:
                raise ValueError(f"seed has length {len(seed)}; must be num_envs={self.num_envs}")
            given = np.array([s is not None for s in seed], np.bool_)
            seeds = np.array(
                [0 if s is None else _checked_seed(f"seed[{i}]", s) for i, s in enumerate(seed)], np.uint64
            )
            streams = np.zeros(self.num_envs, np.uint32)
            chosen = given if mask is None else given & mask
        else:
            seeds = np.full(self.num_envs, _checked_seed("seed", seed), np.uint64)
            streams = rows.astype(np.uint32)
            chosen = np.ones(self.num_envs, np.bool_) if mask is None else mask
        return rows[chosen], seeds[chosen], streams[chosen]

    def step(
        self, actions: npt.ArrayLike, out: StepBuffers | Mapping[str, npt.NDArray[Any]] | None = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Take one step in every environment.

        Args:
            actions: ``(num_envs,)`` of any integer dtype, or for continuous actions float32 or float64 of the action
                space's shape, ``(num_envs, 1)`` but for the point robots' ``(num_envs, 2)``. Used in place when
                contiguous.
            out: Arrays to write to, as :class:`StepBuffers` or a dict with its names; None: new ones.

        Returns:
            ``(obs, reward, terminated, truncated, info)``: ``(num_envs, ...)``, float64, bool, bool, dict. With
            ``autoreset_mode="same_step"``, ``info`` has ``final_obs``, ``final_info`` and their masks ``_final_obs``,
            ``_final_info`` when an episode ended. After :meth:`set_tasks`, ``info`` has ``task_id``.

        Raises:
            TypeError: ``actions`` has the wrong kind of dtype, or an array of ``out`` the wrong dtype.
            ValueError: The wrong number of actions, an illegal action, or an array of ``out`` of the wrong shape.
            ResetNeededError: Before the first reset (Gymnasium's ``ResetNeeded`` too, where Gymnasium is installed), or
                an episode has ended with ``autoreset_mode="disabled"``.
            ClosedError: After ``close``.

        Nothing is changed when it raises.
        """
        try:
            result: _StepResult = self._core_step(actions, out)
        except ResetNeededError as error:
            raise self._reset_needed_class(str(error)) from None
        if self._completes_final and "final_obs" in result[4]:
            self._complete_final(result[4])
        if self._tuple_obs:
            result = (self._split(result[0]), *result[1:])
        if self._ids_before is not None:
            self._report_tasks(result[4], np.ones(self.num_envs, np.bool_))
        return result

    def _complete_final(self, info: dict[str, Any]) -> None:
        mask, dense = info["_final_obs"], info["final_obs"]
        if self._reports_prob:
            info["final_info"] = self._final_info(info, mask, dense)
            info["_final_info"] = mask.copy()
        if self._dense_final_obs:
            if self._tuple_obs:
                info["final_obs"] = self._split(dense)
            return
        final = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(mask):
            if self._tuple_obs:
                final[row] = tuple(dense[row].tolist())
            else:
                final[row] = int(dense[row]) if self._scalar_obs else dense[row]
        info["final_obs"] = final

    def _final_info(self, info: dict[str, Any], mask: npt.NDArray[np.bool_], dense: npt.NDArray[Any]) -> dict[str, Any]:
        if "prob" not in info:
            return {}
        # The step reports the transition's probability; the row was reset since, whose probability is 1.
        final: dict[str, Any] = {"prob": np.where(mask, info["prob"], 0.0), "_prob": mask.copy()}
        info["prob"][mask] = 1.0
        if self._action_masks is not None:
            masks = self._action_masks[dense]
            masks[~mask] = 0
            final.update(action_mask=masks, _action_mask=mask.copy())
        return final

    def final_obs_dense(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return the last observations of the episodes that ended in the last step, and where.

        Returns:
            ``(num_envs, ...)`` observations, 0 in the other rows, and the bool ``(num_envs,)`` mask.

        Raises:
            RuntimeError: The mode is not ``same_step``.
        """
        obs, mask = self._core.final_obs()
        return (self._split(obs) if self._tuple_obs else obs), mask

    def make_buffers(self) -> StepBuffers:
        """Allocate arrays for ``step(out=...)``; read them, do not write to them.

        DeepSea and Catch keep the observation in these buffers up to date by changing the cells that differ instead of
        writing the whole grid. A second call makes new buffers and ends that service for the first ones, which stay
        usable.
        """
        return StepBuffers(*self._core.allocate_outputs())

    def bad_episode(self) -> npt.NDArray[np.bool_]:
        """DeepSea: whether the episode that ended in the last step left the path of right moves by a left move.

        Returns:
            bool ``(num_envs,)``; False in rows whose episode did not end in the last step.

        Raises:
            RuntimeError: Another environment than DeepSea.
        """
        return self._core.end_flags()

    def bsuite_info(self) -> dict[str, npt.NDArray[Any]]:
        """Return bsuite's bookkeeping, per environment since it was made, ``(num_envs,)`` each.

        Returns:
            DeepSea: ``total_bad_episodes`` int64, ``denoised_return`` float64. Catch and Bandit: ``total_regret``
            float64. MemoryChain: ``total_perfect`` int64, ``total_regret`` float64. CartPoleSwingup: ``raw_return``,
            ``total_upright``, ``best_episode`` float64. DiscountingChain: nothing.

        Raises:
            RuntimeError: The environment is none of bsuite's.
        """
        fields = self._core.get_state()["state"]
        if self._bsuite_info is None:
            raise RuntimeError("this environment is none of bsuite's: it has no such flag")
        return self._bsuite_info(fields)

    def minigrid_info(self) -> dict[str, npt.NDArray[Any]]:
        """MiniGrid: what its observation says beside the image, of the current states.

        Returns:
            ``direction`` int64 ``(num_envs,)``: where the agent looks, 0 right, 1 down, 2 left, 3 up. ``mission`` str
            ``(num_envs,)``: what it is to do.

        Raises:
            RuntimeError: The environment is none of MiniGrid's.
        """
        if self._missions is None:
            raise RuntimeError("this environment is none of MiniGrid's: it has no mission")
        direction, target = (self._core.get_field(field) for field in (_MINIGRID_DIRECTION, _MINIGRID_TARGET))
        colour = (target.astype(np.int64) >> 4) & 7
        return {"direction": direction.astype(np.int64), "mission": np.array(self._missions)[colour]}

    def observe(self) -> npt.NDArray[Any]:
        """Return the observations of the current states, as a new array (Blackjack: a tuple of three)."""
        obs = self._core.observe()
        return self._split(obs) if self._tuple_obs else obs

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 - Gymnasium's signature
        """End the threads and free the core; every later use raises ``ClosedError``.

        While a call is running, in another thread or around a signal handler, they are freed when it ends.
        """
        self._core.close()
