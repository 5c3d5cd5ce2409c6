"""Several tasks at once in one batched environment: rows of a task stand together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.common.actions import actions_of
from metarl_core.agents.common.images import Features, ImageFeatures
from metarl_core.agents.common.observations import ObservationEncoder

__all__ = ["Ended", "TaskActors", "action_table", "count_actions", "dense_observations"]

_LONGEST = 100_000  # steps of one episode
Policy = Callable[[NDArray[Any]], NDArray[np.int64]]


def action_table(space: Any, levels: int, env_id: str) -> NDArray[Any] | None:
    """Every combination of ``levels`` evenly spaced values of each component, [levels^dims, dims]; None if discrete.

    Raises:
        ConfigError: the space is neither Discrete nor a bounded Box of one axis.
    """
    actions = actions_of(space, env_id)
    if isinstance(actions, int):
        return None
    unit = np.array(list(itertools.product(np.linspace(-1, 1, levels), repeat=actions.size)), dtype=np.float32)
    table: NDArray[Any] = actions.from_unit(unit)
    return table


def count_actions(space: Any, table: NDArray[Any] | None) -> int:
    """Number of actions to choose from: rows of the table, or of a Discrete space its own."""
    return int(space.n) if table is None else len(table)


def dense_observations(encoder: ObservationEncoder, obs: NDArray[Any]) -> NDArray[Any]:
    """Encoded observations as vectors, float32 [B, D], one-hot ones spelled out; or as images, [B, H, W, C]."""
    encoded = encoder(obs)
    if not encoder.one_hot:
        return encoded
    dense = np.zeros((len(encoded), encoder.size + 1), dtype=np.float32)
    dense[np.arange(len(encoded)), encoded] = 1
    return dense[:, : encoder.size]


class Ended(NamedTuple):
    """An episode that ended: its row, its undiscounted return, its number of steps."""

    row: int
    total: float
    length: int


class TaskActors:
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

    Attributes:
        num_tasks: K.
        num_actions: A.
        steps: environment steps of each task so far.
        returns: returns of the episodes that ended, a list for each task, in order.
        ended: the episodes that the last step ended.
    """

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
    ) -> None:
        self.env_id, self.per_task = env_id, per_task
        self.num_tasks = len(next(iter(tasks.values())))
        rows = self.num_tasks * per_task
        self.envs = metarl_core.make_vec(env_id, rows, autoreset_mode="same_step", seed=seed, **dict(params or {}))
        try:
            self.envs.set_tasks({name: np.repeat(values, per_task) for name, values in tasks.items()})
            self.table = action_table(self.envs.single_action_space, levels, env_id)
            self.num_actions = count_actions(self.envs.single_action_space, self.table)
            self.encoder = ObservationEncoder(self.envs.single_observation_space, normalize_obs, image=image)
        except Exception:
            self.envs.close()
            raise
        self.steps = 0
        self.returns: list[list[float]] = [[] for _ in range(self.num_tasks)]
        self.ended: list[Ended] = []
        self._totals, self._lengths = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        obs, _ = self.envs.reset(seed=seed)
        self.obs = self._encoded(obs)

    def _encoded(self, obs: NDArray[Any]) -> NDArray[Any]:
        return dense_observations(self.encoder, obs)

    @property
    def features(self) -> Features:
        """Width of an encoded observation, D, or what its images are."""
        return self.encoder.features

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
            "task_id": np.repeat(np.arange(self.num_tasks, dtype=np.int32), self.per_task),
        }
        self._totals += reward
        self._lengths += 1
        self.ended = [Ended(int(r), float(self._totals[r]), int(self._lengths[r])) for r in np.flatnonzero(ended)]
        for row, total, _ in self.ended:
            self.returns[row // self.per_task].append(total)
        self._totals[ended], self._lengths[ended] = 0.0, 0
        self.obs = encoded
        self.steps += self.per_task
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

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on, and what was counted."""
        return {
            "envs": self.envs.snapshot(),
            "obs": self.obs.copy(),
            "steps": self.steps,
            "returns": [np.array(r, dtype=np.float64) for r in self.returns],
            "totals": self._totals.copy(),
            "lengths": self._lengths.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict` of actors that were made with the same arguments."""
        self.envs.restore(state["envs"])
        self.obs = np.array(state["obs"])
        self.steps = int(state["steps"])
        self.returns = [[float(total) for total in task] for task in state["returns"]]
        self._totals, self._lengths = np.array(state["totals"]), np.array(state["lengths"])
        self.ended = []

    def _native(self, actions: NDArray[np.int64]) -> NDArray[Any]:
        return actions if self.table is None else self.table[actions]

    def close(self) -> None:
        """Close the environment."""
        self.envs.close()
