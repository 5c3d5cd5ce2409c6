"""Which weights new tasks get, chosen by leaving one known task out at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl_core.agents.imt.mixture import NEAREST
from metarl_core.agents.imt.playing import together

if TYPE_CHECKING:
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = ["CHOICE_STATES", "LEAST_TASKS", "RULES", "Rule", "leave_one_out_rule", "left_out_weights", "routing_rule"]

CHOICE_STATES = 512
"""States of each task, of its reference transitions, at which a choice looks at most."""

LEAST_TASKS = 4
"""Tasks that a choice needs: of those that are left, at least three have embeddings that are not just opposite."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """How weights come from embeddings.

    Attributes:
        name: of ``NEAREST``.
        ridge: pull towards equal weights.
    """

    name: str
    ridge: float

    def weights(self, embedding: ArrayLike, task_embeddings: ArrayLike) -> NDArray[np.float64]:
        """Weights of the known tasks, embeddings [K, E], for a new one, [E]; float64 [K], sum 1."""
        return NEAREST[self.name](embedding, task_embeddings, self.ridge)

    def __str__(self) -> str:
        return f"{self.name}, ridge {self.ridge:g}"


RULES = tuple(Rule(name, ridge) for name in NEAREST for ridge in (1e-3, 1e-2, 1e-1, 1.0))
"""What is chosen from; of equally good ones the first."""


def left_out_weights(rule: Rule, task_embeddings: ArrayLike) -> NDArray[np.float64]:
    """Weights for every known task as if it were new, by the others, whose embeddings are centred without it.

    Args:
        rule: how weights are made.
        task_embeddings: float64 [K, E].

    Returns:
        float64 [K, K]; column i is for task i, with a 0 in row i.
    """
    known = np.asarray(task_embeddings, dtype=np.float64)
    weights = np.zeros((len(known), len(known)))
    for i in range(len(known)):
        others = np.arange(len(known)) != i
        centre = known[others].mean(axis=0)
        weights[others, i] = rule.weights(known[i] - centre, known[others] - centre)
    return weights


def leave_one_out_rule(
    task_embeddings: ArrayLike, values: Tensor, act: Callable[[NDArray[np.float64]], Tensor]
) -> Rule:
    """Choose the rule by which the other tasks' networks together do best on a known task, by its own network.

    Of a rule and a task i counts how much Q_i loses by the others' actions in states of the task, as a share of what
    it loses by uniform ones; the mean over tasks decides. Nothing is played for it.

    Args:
        task_embeddings: float64 [K, E], K at least ``LEAST_TASKS``.
        values: Q_i of states of task i, float32 [K, B, A].
        act: weights, column i for task i, [K, K] -> greedy actions of the networks so weighted, int64 [K, B].

    Returns:
        The best of ``RULES``.
    """
    best, mean = values.max(dim=2).values, values.mean(dim=2)
    span = (best - mean).mean(dim=1).clamp_min(torch.finfo(values.dtype).tiny)

    def regret(rule: Rule) -> float:
        actions = act(left_out_weights(rule, task_embeddings))
        lost = best - values.gather(2, actions.unsqueeze(2)).squeeze(2)
        return float((lost.mean(dim=1) / span).mean())

    return min(RULES, key=regret)


def routing_rule(learner: ImtLearner, task_embeddings: ArrayLike, routing: str) -> Rule:
    """How the submodels of a learner, as they are now, are weighed on new tasks.

    Args:
        learner: whose submodels and reference transitions these are.
        task_embeddings: before they are scaled to length 1, float64 [K, E].
        routing: of ``ROUTINGS``. Where there are too few tasks to leave one out, it is a mixture.
    """
    c = learner.config
    if routing != "leave_one_out":
        return Rule(routing, c.mixture_ridge)
    tasks, rows = learner.reference.shape
    if tasks < LEAST_TASKS:
        return Rule("mixture", c.mixture_ridge)
    count = min(CHOICE_STATES, rows)
    obs = learner.reference.obs[:, :: rows // count][:, :count]
    with torch.no_grad():
        values = learner.models.q(obs)

    def act(weights: NDArray[np.float64]) -> Tensor:
        return together(learner.models, weights, c.aggregation)(obs.flatten(0, 1)).view(tasks, count)

    return leave_one_out_rule(task_embeddings, values, act)
