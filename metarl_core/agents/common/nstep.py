"""Turns single steps of several instances into transitions that carry their N-step return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["NStepAssembler", "bootstrap_columns"]

Columns = dict[str, NDArray[Any]]


def bootstrap_columns(batch: Mapping[str, Tensor], gamma: float, n_step: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a critic's target y = reward + discount V(state) is made of, for one step or N.

    Args:
        batch: a replay batch; with ``n_return``, ``n_discount`` and ``n_obs`` if n_step > 1.
        gamma: discount.
        n_step: N >= 1.

    Returns:
        reward float32 [B], discount float32 [B] (0 where the episode terminated), states as in the batch.
    """
    if n_step > 1:
        return batch["n_return"], batch["n_discount"], batch["n_obs"]
    return batch["reward"], gamma * (1.0 - batch["terminated"]), batch["next_obs"]


class NStepAssembler:
    """Delays each transition until N rewards are known or its episode has ended.

    Emitted transitions keep their one-step columns and gain ``n_return`` = sum_{k<n} gamma^k r_{t+k+1},
    ``n_obs`` = s_{t+n} and ``n_discount`` = gamma^n, zero if the episode terminated within the n <= N steps. Nothing
    reaches over an episode's end; a truncated end keeps its discount (the tail is bootstrapped).

    Args:
        n_step: N >= 1.
        gamma: discount.
        num_envs: instances.
        path: columns whose values at t + 1 ... t + n - 1 a transition carries too, as ``path_`` and the name,
            [N - 1, ...], with ``path_length`` = n - 1; beyond that they are zero.
    """

    def __init__(self, n_step: int, gamma: float, num_envs: int, path: Sequence[str] = ()) -> None:
        self.path = tuple(path)
        self.n_step = n_step
        self.gamma = gamma
        self.num_envs = num_envs
        self._pending: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]

    def push(self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]) -> Columns | None:
        """Add one step of every instance.

        Args:
            columns: ``obs``, ``next_obs``, ``reward``, ``terminated`` and any others, leading axis num_envs.
            ended: terminated or truncated, bool [num_envs].

        Returns:
            Columns of the transitions that are complete now, oldest first per instance; None if there are none.
        """
        ready: list[dict[str, Any]] = []
        for env in range(self.num_envs):
            queue = self._pending[env]
            row: dict[str, Any] = {name: column[env] for name, column in columns.items()}
            row["n_return"], row["n_discount"] = 0.0, 1.0
            queue.append(row)
            reward, alive = float(row["reward"]), 0.0 if row["terminated"] else 1.0
            for item in queue:
                item["n_return"] += item["n_discount"] * reward
                item["n_discount"] *= self.gamma * alive
                item["n_obs"] = row["next_obs"]
            if ended[env]:
                ready.extend(self._with_path(queue, i) for i in range(len(queue)))
                queue.clear()
            elif len(queue) == self.n_step:
                ready.append(self._with_path(queue, 0))
                queue.pop(0)
        return self._stack(ready) if ready else None

    def _with_path(self, queue: Sequence[dict[str, Any]], first: int) -> dict[str, Any]:
        row, rest = queue[first], queue[first + 1 :]
        if self.path:
            for name in self.path:
                values = np.zeros((self.n_step - 1, *np.shape(row[name])), np.asarray(row[name]).dtype)
                for i, later in enumerate(rest):
                    values[i] = later[name]
                row[f"path_{name}"] = values
            row["path_length"] = len(rest)
        return row

    @staticmethod
    def _stack(rows: list[dict[str, Any]]) -> Columns:
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        for name in ("n_return", "n_discount"):
            stacked[name] = stacked[name].astype(np.float32)
        return stacked

    def state_dict(self) -> dict[str, Any]:
        """Transitions still waiting, as arrays."""
        rows = [row for queue in self._pending for row in queue]
        state: dict[str, Any] = {"counts": np.array([len(queue) for queue in self._pending])}
        if rows:
            state["rows"] = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        position = 0
        for env, count in enumerate(np.asarray(state["counts"])):
            self._pending[env] = []
            for i in range(position, position + int(count)):
                row = {name: np.asarray(column)[i] for name, column in state["rows"].items()}
                row["n_return"], row["n_discount"] = float(row["n_return"]), float(row["n_discount"])
                self._pending[env].append(row)
            position += int(count)
