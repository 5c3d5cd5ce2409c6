"""The router of IMT: weights of known tasks' networks on a new task, by task embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.recorded import recorded_bytes
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.routing import Rule
from metarl_core.errors import ConfigError
from metarl_core.tasks import TaskDataset

__all__ = ["Router"]

LEAST_TASKS = 3
"""Centred embeddings of two tasks are always opposite."""


class Router:
    """Embeddings of the tasks that have come, fitted anew with each, and the weights with which they are nearest.

    Args:
        features: Number of random features.
        ridge: Pull towards equal weights.
        held_out: Share of each task's episodes that the embeddings are fitted without.
        seed: Of the random features, and of which episodes are held out.

    Attributes:
        known: Vectors of the known tasks, float64 [known, E]; None while fewer than three are known.
    """

    def __init__(self, features: int, ridge: float, held_out: float, seed: int) -> None:
        self.features, self.ridge, self.held_out, self.seed = features, ridge, held_out, seed
        self.references: dict[int, tuple[TaskDataset, TaskDataset]] = {}
        self.embedding: TaskEmbedding | None = None
        self.known: NDArray[np.float64] | None = None

    def learn(self, task: int, reference: TaskDataset) -> None:
        """Take a task's reference transitions in, in place of earlier ones of the same task, and divide them once.

        Raises:
            ConfigError: an episode cannot be held out, or none would be left.
        """
        seed = purpose_seed(self.seed, "held out", task)
        try:
            fit, held = reference.split((1 - self.held_out, self.held_out), seed)
        except ValueError as error:
            raise ConfigError(
                f"held_out={self.held_out}: of the {len(reference.episodes)} reference episodes of task {task} none is "
                "held out, or all are; give another held_out, or more reference_steps"
            ) from error
        self.references[task] = (fit, held)
        if len(self.references) < LEAST_TASKS:
            return
        self.embedding = TaskEmbedding(self.features, whiten=True, seed=self.seed).fit(self.fitted)
        self.known = np.stack([self.embedding.vector(dataset) for dataset in self.fitted])

    @property
    def fitted(self) -> list[TaskDataset]:
        """Reference transitions of the known tasks that their embeddings are made of, in order of the tasks."""
        return [self.references[task][0] for task in sorted(self.references)]

    @property
    def held(self) -> list[TaskDataset]:
        """Those of the episodes that are held out."""
        return [self.references[task][1] for task in sorted(self.references)]

    def weights(self, reference: TaskDataset, rule: Rule | None = None) -> NDArray[np.float64]:
        """Weights of the known tasks for another one, float64 [known]; equal while fewer than three are known.

        Args:
            reference: Transitions of the other task.
            rule: How they are made; None: as a mixture.
        """
        if self.embedding is None or self.known is None:
            return np.full(len(self.references), 1 / len(self.references))
        rule = rule or Rule("mixture", self.ridge)
        return rule.weights(self.embedding.vector(reference), self.known)

    @property
    def nbytes(self) -> int:
        """Bytes of the reference transitions."""
        return recorded_bytes((*self.fitted, *self.held))
