"""Episode bookkeeping: returns and lengths per instance, solve rules, state visitation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpisodeTracker", "VisitationCounter"]

BAD_EPISODE_THRESHOLD = 0.9
"""bsuite's rule for DeepSea: solved once total_bad_episodes / episodes is below this."""

WINDOW = 100


class EpisodeTracker:
    """Counts episodes over all instances in finishing order (ties within a step by instance number).

    Solved is decided at each finished episode: by bsuite's rule where the environment tells bad episodes, else, where
    ``solve_return`` is given, by the mean return of the last 100 episodes.

    Args:
        num_envs: instances.
        counts_bad: whether the environment reports bad episodes.
        solve_return: threshold on the mean return of the last 100 episodes, or None.
    """

    def __init__(self, num_envs: int, counts_bad: bool, solve_return: float | None = None) -> None:
        self.counts_bad = counts_bad
        self.solve_return = solve_return
        self.returns = np.zeros(num_envs, dtype=np.float64)
        self.lengths = np.zeros(num_envs, dtype=np.int64)
        self.recent: list[float] = []
        self.interval: list[float] = []
        self.episodes = 0
        self.bad_episodes = 0
        self.best_return: float | None = None
        self.episodes_to_solve: int | None = None

    @property
    def solved(self) -> bool | None:
        """True or False by the rule in force, None without a rule."""
        if not self.counts_bad and self.solve_return is None:
            return None
        return self.episodes_to_solve is not None

    @property
    def final_return(self) -> float | None:
        """Mean return of the last 100 episodes; None before the first."""
        return float(np.mean(self.recent)) if self.recent else None

    def update(
        self, step: int, reward: NDArray[Any], ended: NDArray[np.bool_], bad: NDArray[np.bool_] | None
    ) -> list[dict[str, Any]]:
        """Account for one step of every instance.

        Args:
            step: environment steps done, this one included.
            reward: [num_envs].
            ended: terminated or truncated, bool [num_envs].
            bad: the episode that ended was bad, bool [num_envs]; None where there is no such thing.

        Returns:
            One row per finished episode, in finishing order.
        """
        self.returns += reward
        self.lengths += 1
        rows = []
        for env in np.flatnonzero(ended):
            self.episodes += 1
            value = float(self.returns[env])
            self.recent.append(value)
            self.interval.append(value)
            del self.recent[:-WINDOW]
            self.best_return = value if self.best_return is None else max(self.best_return, value)
            is_bad = None if bad is None else bool(bad[env])
            self.bad_episodes += bool(is_bad)
            if self.episodes_to_solve is None and self._rule():
                self.episodes_to_solve = self.episodes
            rows.append(
                {
                    "episode": self.episodes,
                    "step": step,
                    "env": int(env),
                    "return": value,
                    "length": int(self.lengths[env]),
                    "bad_episode": is_bad,
                }
            )
        self.returns[ended] = 0.0
        self.lengths[ended] = 0
        return rows

    def _rule(self) -> bool:
        if self.counts_bad:
            return self.bad_episodes / self.episodes < BAD_EPISODE_THRESHOLD
        if self.solve_return is None or len(self.recent) < WINDOW:
            return False
        return float(np.mean(self.recent)) >= self.solve_return

    def take_interval(self) -> dict[str, Any]:
        """Mean and maximum return since the last call (None if no episode ended)."""
        row = {
            "return_mean": float(np.mean(self.interval)) if self.interval else None,
            "return_max": float(np.max(self.interval)) if self.interval else None,
        }
        self.interval = []
        return row

    def drop_running(self) -> None:
        """Forget the episodes that have not ended."""
        self.returns[:], self.lengths[:] = 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return {
            "returns": self.returns.copy(),
            "lengths": self.lengths.copy(),
            "recent": np.array(self.recent),
            "interval": np.array(self.interval),
            "episodes": self.episodes,
            "bad_episodes": self.bad_episodes,
            "best_return": self.best_return,
            "episodes_to_solve": self.episodes_to_solve,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.returns = np.asarray(state["returns"]).copy()
        self.lengths = np.asarray(state["lengths"]).copy()
        self.recent = np.asarray(state["recent"]).tolist()
        self.interval = np.asarray(state["interval"]).tolist()
        self.episodes = int(state["episodes"])
        self.bad_episodes = int(state["bad_episodes"])
        self.best_return = state["best_return"]
        self.episodes_to_solve = state["episodes_to_solve"]


class VisitationCounter:
    """How often each cell of a one-hot grid observation was acted in, with snapshots over time.

    Args:
        shape: of the grid, (rows, columns).
        total_steps: length of the run; about ``snapshots`` snapshots are spread over it.
        snapshots: how many.
    """

    def __init__(self, shape: tuple[int, int], total_steps: int, snapshots: int = 20) -> None:
        self.visits = np.zeros(shape, dtype=np.int64)
        self.interval = max(1, total_steps // snapshots)
        self.steps: list[int] = []
        self.visits_at: list[NDArray[np.int64]] = []

    def update(self, obs: NDArray[Any], step: int) -> None:
        """Count the cells of one-hot observations [num_envs, rows, columns] acted in; ``step`` includes them."""
        self.count(obs.reshape(len(obs), -1).argmax(axis=1), step)

    def count(self, cells: NDArray[np.int64], step: int) -> None:
        """Count cells by their numbers, [num_envs]; see :meth:`update`."""
        np.add.at(self.visits.reshape(-1), cells, 1)
        if step // self.interval > (self.steps[-1] // self.interval if self.steps else 0):
            self.steps.append(step)
            self.visits_at.append(self.visits.copy())

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """``visits`` [rows, columns], ``visits_at`` [S, rows, columns], ``steps`` [S]."""
        stacked = np.array(self.visits_at, dtype=np.int64).reshape(-1, *self.visits.shape)
        return {"visits": self.visits.copy(), "visits_at": stacked, "steps": np.array(self.steps, dtype=np.int64)}

    def load(self, arrays: Mapping[str, Any]) -> None:
        """Continue from :meth:`arrays`."""
        self.visits = np.asarray(arrays["visits"]).copy()
        self.visits_at = [row.copy() for row in np.asarray(arrays["visits_at"])]
        self.steps = [int(s) for s in np.asarray(arrays["steps"])]
