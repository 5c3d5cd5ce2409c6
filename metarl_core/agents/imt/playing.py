"""Greedy episodes of the submodels, together and each by itself, and episodes of uniform actions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.imt.aggregation import aggregate_actions, weight_soup
from metarl_core.agents.imt.task_sets import Tasks
from metarl_core.agents.imt.updates import uploaded

if TYPE_CHECKING:
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = ["play_each", "play_together", "play_uniformly"]

Floats = NDArray[np.float64]


def play_together(
    learner: ImtLearner, tasks: Tasks, weights: Floats, how: str, episodes: int, seed: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Play the submodels put together.

    Args:
        learner: whose submodels act.
        tasks: parameter name -> values, float64 [T].
        weights: of the submodels on each task, [K, T].
        how: of ``AGGREGATIONS``.
        episodes: of each task.
        seed: of the environments.

    Returns:
        Returns float64 and lengths int64 of the episodes, [T, episodes] each.
    """
    models = learner.models
    soups = [weight_soup(models, w) for w in weights.T] if how == "soup" else None
    each = torch.from_numpy(np.repeat(weights, episodes, axis=1)).to(learner.device)
    actors = learner.make_actors(tasks, seed, per_task=episodes)

    @torch.no_grad()
    def act(obs: Tensor) -> Tensor:
        if soups is not None:
            parts = obs.view(actors.num_tasks, 1, episodes, *obs.shape[1:])
            q = torch.cat([soup(part)[0] for soup, part in zip(soups, parts, strict=True)])
            return q.argmax(dim=1)
        return aggregate_actions(models.q(models.rows_for_all(obs)), each, how)

    return actors.first_episodes(act, lambda: learner.tick(None))


def play_each(learner: ImtLearner, tasks: Tasks, episodes: int, seed: int) -> Floats:
    """Mean return of greedy episodes of every submodel by itself on every task, [K, T]."""
    members, count = learner.num_tasks, len(next(iter(tasks.values())))
    actors = learner.make_actors({n: np.tile(v, members) for n, v in tasks.items()}, seed, per_task=episodes)

    @torch.no_grad()
    def act(obs: Tensor) -> Tensor:
        each = obs.view(members, count * episodes, *obs.shape[1:])
        return learner.models.q(each).argmax(dim=2).flatten()

    returns, _ = actors.first_episodes(act, lambda: learner.tick(None))
    means: Floats = returns.mean(axis=1).reshape(members, count)
    return means


def play_uniformly(learner: ImtLearner, tasks: Tasks, episodes: int, seed: int) -> Floats:
    """Mean return of episodes of uniform actions on every task, [T]."""
    actors = learner.make_actors(tasks, seed, per_task=episodes)
    rng, rows = np.random.default_rng([seed, 13]), actors.num_tasks * episodes
    drawn: Iterator[Tensor] = iter(())

    def draw(length: int) -> None:
        nonlocal drawn
        drawn = iter(uploaded([rng.integers(actors.num_actions, size=rows) for _ in range(length)], actors.device))

    returns, _ = actors.first_episodes(lambda _: next(drawn), lambda: learner.tick(None), draw)
    means: Floats = returns.mean(axis=1)
    return means
