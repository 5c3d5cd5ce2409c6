"""Playing the training tasks as their submodels explore, and storing the transitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.imt.actors import TaskActors
from metarl_core.agents.imt.stretches import Stretches

if TYPE_CHECKING:
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = ["Collection"]


class Collection(Stretches):
    """Steps of environments in host memory.

    Args:
        learner: whose submodels explore.
        actors: of the training tasks, or of those that last layers are tuned on.
        replay: where transitions go.
        epsilon: share of uniform actions, without curiosity.
    """

    def __init__(
        self, learner: ImtLearner, actors: TaskActors, replay: metarl_core.ReplayBuffer, epsilon: float
    ) -> None:
        self.learner, self.actors, self.replay, self.epsilon = learner, actors, replay, epsilon

    def begin(self, length: int) -> None:
        """There is nothing to prepare."""

    def step(self, at: int) -> None:  # noqa: ARG002
        """Step every instance once, and store."""
        columns = self.actors.step(self._act)
        self.replay.add(**columns)
        if self.learner.curiosity is not None:
            self.learner.curiosity.observe(self.actors, columns["reward"])

    def look(self, length: int) -> None:  # noqa: ARG002
        """Tell who watches."""
        self.learner.tick(self.actors)

    def _act(self, obs: NDArray[Any]) -> NDArray[np.int64]:
        learner, actors = self.learner, self.actors
        if learner.curiosity is not None:
            rows = torch.from_numpy(obs).to(learner.device)
            return learner.curiosity.act(rows.view(learner.num_tasks, actors.per_task, *rows.shape[1:]))
        greedy = learner._own_actions(actors, obs)
        uniform = learner.rng.random(len(obs)) < self.epsilon
        return np.where(uniform, learner.rng.integers(actors.num_actions, size=len(obs)), greedy)
