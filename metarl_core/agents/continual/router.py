"""The router of IMT: weights of known tasks' networks on a new task, by task embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.mixture import mixture_weights
from metarl_core.tasks import TaskDataset

__all__ = ["Router"]

LEAST_TASKS = 3
"""Centred embeddings of two tasks are always opposite."""


class Router:
    """Embeddings of the tasks that have come, fitted anew with each, and the mixture of them that is nearest.

    Args:
        features: Number of random features.
        ridge: Pull towards equal weights.
        seed: Of the random features.
    """

    def __init__(self, features: int, ridge: float, seed: int) -> None:
        self.features, self.ridge, self.seed = features, ridge, seed
        self.references: dict[int, TaskDataset] = {}
        self.embedding: TaskEmbedding | None = None
        self._known: NDArray[np.float64] | None = None

    def learn(self, task: int, reference: TaskDataset) -> None:
        """Take a task's reference transitions in, in place of earlier ones of the same task."""
        self.references[task] = reference
        if len(self.references) < LEAST_TASKS:
            return
        self.embedding = TaskEmbedding(self.features, whiten=True, seed=self.seed).fit(self.datasets)
        self._known = np.stack([self.embedding.vector(dataset) for dataset in self.datasets])

    @property
    def datasets(self) -> list[TaskDataset]:
        """Reference transitions of the known tasks, in order."""
        return [self.references[task] for task in sorted(self.references)]

    def weights(self, reference: TaskDataset) -> NDArray[np.float64]:
        """Weights of the known tasks for another one, float64 [known]; equal while fewer than three are known."""
        if self.embedding is None or self._known is None:
            return np.full(len(self.references), 1 / len(self.references))
        return mixture_weights(self.embedding.vector(reference), self._known, self.ridge)

    @property
    def nbytes(self) -> int:
        """Bytes of the reference transitions."""
        return sum(
            column.nbytes
            for d in self.datasets
            for column in (d.obs, d.actions, d.rewards, d.next_obs, d.terminated, d.truncated, d.episode)
        )
