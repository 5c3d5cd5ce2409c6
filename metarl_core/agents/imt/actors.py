"""Several tasks at once in an environment in host memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.imt.spaces import dense_observations
from metarl_core.agents.imt.task_rows import TaskRows

__all__ = ["TaskActors"]

_LONGEST = 100_000  # steps of one episode
Policy = Callable[[NDArray[Any]], NDArray[np.int64]]


class TaskActors(TaskRows):
    """Tasks whose environments live in host memory; arguments and attributes as of :class:`TaskRows`."""

    def _begin(self, obs: NDArray[Any]) -> None:
        self.obs = self._encoded(obs)

    def _encoded(self, obs: NDArray[Any]) -> NDArray[Any]:
        return dense_observations(self.encoder, obs)

    def last_observations(self) -> NDArray[Any]:
        """See :class:`TaskRows`."""
        return np.array(self.obs)

    def see(self, obs: NDArray[Any]) -> None:
        """See :class:`TaskRows`."""
        self.obs = obs

    def step(self, policy: Policy) -> dict[str, NDArray[Any]]:
        """Step every instance once.

        Args:
            policy: encoded observations [K * n, D] or [K * n, H, W, C] -> actions int64 [K * n].

        Returns:
            The transitions: ``obs``, ``action``, ``reward``, ``next_obs`` (the last observation of an episode that
            ended, not the first of the next), ``terminated`` and ``task_id``, leading axis K * n.
        """
        actions = policy(self.obs)
        obs, reward, terminated, truncated, _ = self.envs.step(self._native(actions))
        ended = terminated | truncated
        encoded = self._encoded(obs)
        following = encoded
        if ended.any():
            final, mask = self.envs.final_obs_dense()
            following = np.where(mask.reshape(-1, *(1,) * (encoded.ndim - 1)), self._encoded(final), encoded)
        columns = {
            "obs": self.obs,
            "action": actions,
            "reward": reward.astype(np.float32),
            "next_obs": following,
            "terminated": terminated.copy(),
            "task_id": self._task_ids,
        }
        self.account(reward, ended)
        self.obs = encoded
        return columns

    def first_episodes(
        self, policy: Policy, tick: Callable[[], None] = lambda: None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Play until every instance has ended one episode and close.

        Args:
            policy: as of :meth:`step`.
            tick: called before every step; what it raises ends the playing.

        Returns:
            Returns float64 [K, n] and lengths int64 [K, n] of these episodes.

        Raises:
            RuntimeError: episodes do not end.
        """
        rows = self.num_tasks * self.per_task
        found, lengths, steps = np.full(rows, np.nan), np.zeros(rows, dtype=np.int64), 0
        totals = np.zeros(rows)
        try:
            while np.isnan(found).any():
                tick()
                obs, reward, terminated, truncated, _ = self.envs.step(self._native(policy(self.obs)))
                playing = np.isnan(found)
                totals += np.where(playing, reward, 0.0)
                lengths += playing
                found = np.where((terminated | truncated) & playing, totals, found)
                self.obs = self._encoded(obs)
                steps += 1
                if steps > _LONGEST:
                    raise RuntimeError(f"{self.env_id}: an episode did not end within {_LONGEST} steps")
        finally:
            self.close()
        shape = (self.num_tasks, self.per_task)
        return found.reshape(shape), lengths.reshape(shape)

    def _native(self, actions: NDArray[np.int64]) -> NDArray[Any]:
        return actions if self.table is None else self.table[actions]
