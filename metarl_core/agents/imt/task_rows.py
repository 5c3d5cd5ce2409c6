"""Several tasks at once in one batched environment, wherever that lives: rows of a task stand together."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import metarl_core
from metarl_core.agents.common.images import Features, ImageFeatures
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.imt.spaces import action_table, count_actions

__all__ = ["Ended", "Policy", "TaskRows"]

Policy = Callable[[Tensor], Tensor]
"""Encoded observations [K * n, D] or [K * n, H, W, C] -> actions int64 [K * n]."""

_LONGEST = 100_000  # steps of one episode


class Ended(NamedTuple):
    """An episode that ended: its row, its undiscounted return, its number of steps."""

    row: int
    total: float
    length: int


class TaskRows(abc.ABC):
    """K tasks with n instances each, stepped by one call; row k * n + i is instance i of task k.

    Args:
        env_id: a native environment.
        tasks: parameter name -> values, float64 [K], as a task distribution samples them.
        per_task: n.
        seed: of the first reset.
        levels: of continuous actions, see :func:`action_table`.
        normalize_obs: map bounded observations to [-1, 1].
        params: parameters that all tasks have in common.
        image: what to do with images; None: flatten them.
        core_device: where the environments live.
        device: of the networks; where ``core_device`` is a GPU, that one.

    Attributes:
        device: where a :data:`Policy` has its tensors.
        longest: steps that can be made between two looks of the host; 1 in host memory.
        num_tasks: K.
        num_actions: A.
        steps: environment steps of each task so far.
        returns: returns of the episodes that ended, a list for each task, in order.
        ended: the episodes that the last step ended.
    """

    longest = 1

    def __init__(
        self,
        env_id: str,
        tasks: Mapping[str, NDArray[np.float64]],
        per_task: int,
        *,
        seed: int,
        levels: int = 3,
        normalize_obs: bool = True,
        params: Mapping[str, Any] | None = None,
        image: ImageFeatures | None = None,
        core_device: str = "cpu",
        device: torch.device | str = "cpu",
    ) -> None:
        self.env_id, self.per_task, self.core_device = env_id, per_task, core_device
        self.device = torch.empty(0, device=device).device  # with a number: "cuda" is torch's current one
        self.num_tasks = len(next(iter(tasks.values())))
        rows = self.num_tasks * per_task
        self.envs: Any = metarl_core.make_vec(
            env_id, rows, autoreset_mode="same_step", seed=seed, device=core_device, **dict(params or {})
        )
        try:
            self.envs.set_tasks({name: np.repeat(values, per_task) for name, values in tasks.items()})
            self.table = action_table(self.envs.single_action_space, levels, env_id)
            self.num_actions = count_actions(self.envs.single_action_space, self.table)
            self.encoder = ObservationEncoder(self.envs.single_observation_space, normalize_obs, image=image)
            self._task_ids = np.repeat(np.arange(self.num_tasks, dtype=np.int32), self.per_task)
            self._begin(self.envs.reset(seed=seed)[0])
        except Exception:
            self.envs.close()
            raise
        self.steps = 0
        self.returns: list[list[float]] = [[] for _ in range(self.num_tasks)]
        self.ended: list[Ended] = []
        self._totals, self._lengths = np.zeros(rows), np.zeros(rows, dtype=np.int64)

    @abc.abstractmethod
    def _begin(self, obs: Any) -> None:
        """Go on from the first observations, as the environment gave them."""

    @property
    def features(self) -> Features:
        """Width of an encoded observation, D, or what its images are."""
        return self.encoder.features

    @abc.abstractmethod
    def last_observations(self) -> NDArray[Any]:
        """Encoded observations that the next actions are for, a copy in host memory."""

    @abc.abstractmethod
    def see(self, obs: NDArray[Any]) -> None:
        """Go on from encoded observations in host memory."""

    @abc.abstractmethod
    def _stretch(self, policy: Policy, length: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Step every instance ``length`` times, ``longest`` at most, without counting it.

        Yields:
            Of every step the rewards and whether the episodes ended with it, [K * n] each.
        """

    def first_episodes(
        self,
        policy: Policy,
        tick: Callable[[], None] = lambda: None,
        prepare: Callable[[int], None] = lambda _: None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Play until every instance has ended one episode, and close.

        The host looks after every step, or on a GPU after stretches that become longer, so that the steps after the
        end, which nobody needs, are at most 8 and an eighth of those before it.

        Args:
            policy: what acts; on a GPU it neither copies nor waits.
            tick: called after every step that counts; what it raises ends the playing.
            prepare: called before every stretch with the number of its steps, for a policy that draws random numbers.

        Returns:
            Returns float64 [K, n] and lengths int64 [K, n] of these episodes.

        Raises:
            RuntimeError: episodes do not end.
        """
        rows, steps = self.num_tasks * self.per_task, 0
        totals, lengths, playing = np.zeros(rows), np.zeros(rows, dtype=np.int64), np.ones(rows, dtype=np.bool_)
        try:
            while playing.any():
                length = min(self.longest, 8 + steps // 8)
                prepare(length)
                for reward, ended in self._stretch(policy, length):
                    if not playing.any():
                        break
                    steps += 1
                    totals[playing] += reward[playing]
                    lengths[playing] += 1
                    playing &= ~ended
                    tick()
                    if steps > _LONGEST:
                        raise RuntimeError(f"{self.env_id}: an episode did not end within {_LONGEST} steps")
        finally:
            self.close()
        shape = (self.num_tasks, self.per_task)
        return totals.reshape(shape), lengths.reshape(shape)

    def account(self, reward: NDArray[Any], ended: NDArray[np.bool_]) -> None:
        """Count one step of every instance: rewards [K * n], whether their episodes ended with it, bool [K * n]."""
        self._totals += reward
        self._lengths += 1
        self.ended = [Ended(int(r), float(self._totals[r]), int(self._lengths[r])) for r in np.flatnonzero(ended)]
        for row, total, _ in self.ended:
            self.returns[row // self.per_task].append(total)
        self._totals[ended], self._lengths[ended] = 0.0, 0
        self.steps += self.per_task

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, and what was counted."""
        return {
            "envs": self.envs.snapshot(),
            "obs": self.last_observations(),
            "steps": self.steps,
            "returns": [np.array(r, dtype=np.float64) for r in self.returns],
            "totals": self._totals.copy(),
            "lengths": self._lengths.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict` of actors that were made with the same arguments."""
        self.envs.restore(state["envs"])
        self.see(np.array(state["obs"]))
        self.steps = int(state["steps"])
        self.returns = [[float(total) for total in task] for task in state["returns"]]
        self._totals, self._lengths = np.array(state["totals"]), np.array(state["lengths"])
        self.ended = []

    def close(self) -> None:
        """Close the environment."""
        self.envs.close()
