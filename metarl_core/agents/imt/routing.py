"""Which weights new tasks get, chosen by leaving one known task out at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl_core.agents.imt.aggregation import aggregate_actions, weight_soup
from metarl_core.agents.imt.mixture import NEAREST

if TYPE_CHECKING:
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = [
    "LEAST_TO_CHOOSE",
    "RULES",
    "Rule",
    "choice_states",
    "fixed_rule",
    "leave_one_out_rule",
    "left_out_weights",
    "routing_rule",
]

LEAST_TO_CHOOSE = 4
"""Tasks that a choice needs: of those that are left, at least three have embeddings that are not just opposite."""

_CHOICE_STATES = 512
_FLAT = 1e-6  # of the size of the values: what float32 can tell apart, and a bit
_CHUNK = 64  # states of a task whose values are computed at once


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


def fixed_rule(routing: str, tasks: int, ridge: float) -> Rule | None:
    """The rule where there is nothing to choose; None: ``leave_one_out`` has to.

    Args:
        routing: of ``ROUTINGS``.
        tasks: that are known. With fewer than ``LEAST_TO_CHOOSE`` the rule is a mixture.
        ridge: of the rule.
    """
    if routing != "leave_one_out":
        return Rule(routing, ridge)
    return Rule("mixture", ridge) if tasks < LEAST_TO_CHOOSE else None


def choice_states(rows: int) -> slice:
    """Which of a task's reference transitions a choice looks at: some hundred, evenly from all of them."""
    count = min(_CHOICE_STATES, rows)
    step = rows // count
    return slice(0, step * count, step)


def leave_one_out_rule(
    task_embeddings: ArrayLike, values: Tensor, act: Callable[[NDArray[np.float64]], Tensor]
) -> Rule:
    """Choose the rule by which the other tasks' networks together do best on a known task, by its own network.

    Of a rule and a task i counts how much Q_i loses by the others' actions in states of the task, as a share of what
    it loses by uniform ones (0 where all actions are alike to it); the mean over tasks decides. Nothing is played.

    A left-out task is not quite a new one: the judge Q_i is an estimate itself, embeddings were fitted with the task
    among them, and submodels of IMT have learned its embedding.

    Args:
        task_embeddings: float64 [K, E], K at least ``LEAST_TO_CHOOSE``.
        values: Q_i of states of task i, float32 [K, B, A].
        act: weights, column i for task i, [K, K] -> greedy actions of the networks so weighted, int64 [K, B].

    Returns:
        The best of ``RULES``.
    """
    q = values.double()
    best = q.max(dim=2).values
    span = (best - q.mean(dim=2)).mean(dim=1)
    differs = span > _FLAT * q.abs().amax(dim=(1, 2))

    def regret(rule: Rule) -> float:
        actions = act(left_out_weights(rule, task_embeddings))
        lost = (best - q.gather(2, actions.unsqueeze(2)).squeeze(2)).mean(dim=1)
        return float(torch.where(differs, lost / span.clamp_min(1e-300), 0.0).mean())

    return min(RULES, key=regret)


@torch.no_grad()
def routing_rule(learner: ImtLearner, routing: str, aggregation: str) -> Rule:
    """How the submodels of a learner, as they are now, are weighed on new tasks.

    Args:
        learner: whose submodels, reference transitions and embeddings these are.
        routing: of ``ROUTINGS``.
        aggregation: how they will act together, of ``AGGREGATIONS``.
    """
    models, (tasks, rows) = learner.models, learner.reference.shape
    rule = fixed_rule(routing, tasks, learner.config.mixture_ridge)
    if rule is not None:
        return rule
    obs = learner.reference.obs[:, choice_states(rows)]
    count = obs.shape[1]
    own = torch.cat([models.q(part) for part in torch.split(obs, _CHUNK, dim=1)], dim=1)
    # All submodels' values of all states, whatever the weights; a soup is another network for each of them.
    every = None
    if aggregation != "soup":
        every = torch.cat(
            [models.q(models.rows_for_all(part)) for part in torch.split(obs.flatten(0, 1), _CHUNK)], dim=1
        )

    def act(weights: NDArray[np.float64]) -> Tensor:
        if every is not None:
            each = torch.from_numpy(np.repeat(weights, count, axis=1)).to(every.device)
            return aggregate_actions(every, each, aggregation).view(tasks, count)
        soups = [weight_soup(models, w) for w in weights.T]
        q = [
            torch.cat([soup(p[None])[0] for p in torch.split(mine, _CHUNK)])
            for soup, mine in zip(soups, obs, strict=True)
        ]
        return torch.stack(q).argmax(dim=2)

    return leave_one_out_rule(learner._known, own, act)
