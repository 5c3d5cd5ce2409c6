"""Several tasks at once in an environment in host memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_core.agents.imt.spaces import dense_observations
from metarl_core.agents.imt.task_rows import Policy, TaskRows

__all__ = ["TaskActors"]


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

    def step(self, policy: Callable[[NDArray[Any]], NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
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

    def _stretch(self, policy: Policy, length: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        for _ in range(length):
            actions = policy(torch.from_numpy(self.obs).to(self.device)).cpu().numpy()
            obs, reward, terminated, truncated, _ = self.envs.step(self._native(actions))
            self.obs = self._encoded(obs)
            yield reward, terminated | truncated

    def _native(self, actions: NDArray[np.int64]) -> NDArray[Any]:
        return actions if self.table is None else self.table[actions]
