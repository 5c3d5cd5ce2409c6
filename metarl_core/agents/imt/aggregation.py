"""What the submodels do on a task that none of them was made for: their predictions, put together."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl_core.agents.imt.averaging import cosine_similarity
from metarl_core.agents.imt.networks import Submodels, one_hot_actions

__all__ = ["AGGREGATIONS", "aggregate_actions", "routing_weights", "standardized", "weight_soup"]

AGGREGATIONS = ("weighted", "uniform", "vote", "best", "soup")
"""Sum of weighted standardised Q_i; their plain mean; weighted vote; the submodel with the largest weight; one network
whose weights are the weighted average (Wortsman et al. 2022, "Model soups")."""


def routing_weights(
    embedding: ArrayLike, task_embeddings: ArrayLike, accuracy: ArrayLike, temperature: float = 0.2
) -> NDArray[np.float64]:
    """v_i ∝ exp(cos(e_tau, e_i) / T) acc_i; equal weights if every accuracy is 0.

    Args:
        embedding: e_tau of the new task, [E].
        task_embeddings: e_i of the submodels' tasks, [K, E].
        accuracy: acc_i, [K], in [0, 1].
        temperature: T > 0.

    Returns:
        float64 [K], sum 1.

    Raises:
        ValueError: ``temperature`` is not > 0, or the embeddings' widths differ.
    """
    tasks = np.asarray(task_embeddings, dtype=np.float64)
    new = np.asarray(embedding, dtype=np.float64)
    if new.shape != tasks.shape[1:]:
        raise ValueError(f"embedding has shape {new.shape}; must be {tasks.shape[1:]}, as the tasks' have")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; must be > 0")
    similarity = cosine_similarity(np.broadcast_to(new, tasks.shape), tasks)
    raw = np.exp((similarity - similarity.max()) / temperature) * np.asarray(accuracy, dtype=np.float64)
    return raw / raw.sum() if raw.sum() > 0 else np.full(len(tasks), 1 / len(tasks))


def standardized(q: Tensor) -> Tensor:
    """(Q_i - mean_a Q_i) / std_a Q_i of every row, 0 where all actions are equal; float32 [K, B, A].

    Tasks have returns of different scales; what a submodel says about a state is the order of the actions and how
    clear it is.
    """
    std, mean = torch.std_mean(q, dim=2, correction=0, keepdim=True)
    return torch.where(std > 0, (q - mean) / std.clamp_min(torch.finfo(q.dtype).tiny), torch.zeros_like(q))


@torch.no_grad()
def aggregate_actions(q: Tensor, weights: Tensor | ArrayLike, how: str = "weighted") -> Tensor:
    """Greedy actions of the submodels together; with weights that are on the device of ``q``, without waiting for it.

    Args:
        q: Q_i(s, .), float32 [K, B, A].
        weights: v, float64 [K] for all rows, or [K, B].
        how: of ``AGGREGATIONS``, but ``soup``, which is a network of its own (:func:`weight_soup`).

    Returns:
        int64 [B], on the device of ``q``.

    Raises:
        ValueError: unknown ``how``, or ``weights`` has another shape.
    """
    if how not in AGGREGATIONS or how == "soup":
        choices = [name for name in AGGREGATIONS if name != "soup"]
        raise ValueError(f"how is {how!r}; must be one of {', '.join(map(repr, choices))}")
    members, rows, actions = q.shape
    v = weights if isinstance(weights, Tensor) else torch.from_numpy(np.asarray(weights, dtype=np.float64)).to(q.device)
    if tuple(v.shape) not in ((members,), (members, rows)):
        raise ValueError(f"weights has shape {tuple(v.shape)}; must be ({members},) or ({members}, {rows})")
    v = v.view(members, -1, 1).expand(members, rows, 1)
    if how == "best":
        scores = q.gather(0, v.argmax(dim=0, keepdim=True).expand(1, rows, actions))[0].double()
    elif how == "vote":
        scores = (v * one_hot_actions(q.argmax(dim=2), actions)).sum(dim=0)
    elif how == "uniform":
        scores = standardized(q).double().mean(dim=0)
    else:
        scores = (v * standardized(q)).sum(dim=0)
    return scores.argmax(dim=1)


@torch.no_grad()
def weight_soup(models: Submodels, weights: ArrayLike) -> torch.nn.Sequential:
    """One network whose trunk and last layer are weighted averages of the submodels'; obs [1, B, D] -> [1, B, A]."""
    w = torch.as_tensor(np.asarray(weights, dtype=np.float64))
    parts = []
    for net in (models.trunks, models.heads):
        soup = copy.deepcopy(net)
        soup.members = 1
        for own in soup.parameters():
            own.data = torch.tensordot(w.to(own.device), own.double(), dims=1).float().unsqueeze(0)
            own.requires_grad_(False)
        parts.append(soup)
    if models.critic_heads == 1 and models.prior_net is None:
        return torch.nn.Sequential(*parts)
    return _HeadSoup(models, *parts)


class _HeadSoup(torch.nn.Sequential):
    """Trunk and last layers; the mean of their values, plus that of the priors, which all submodels have in common."""

    def __init__(self, models: Submodels, *parts: torch.nn.Module) -> None:
        super().__init__(*parts)
        self._mean = models.mean_value  # a bound method, so that the submodels are no part of this network

    def forward(self, obs: Tensor) -> Tensor:
        trunk, heads = self
        return self._mean(heads(trunk(obs)), obs)
