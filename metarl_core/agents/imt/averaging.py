"""Step 3 of IMT: the common trunk moves to a weighted average of the submodels' trunks."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metarl_core.agents.imt.networks import Submodels

__all__ = [
    "WEIGHTINGS",
    "RoundWeights",
    "average_trunks",
    "averaging_weights",
    "cosine_similarity",
    "effective_sample_size",
    "embedding_accuracy",
    "return_accuracy",
]

Array = NDArray[np.float64]

WEIGHTINGS = ("similarity_accuracy", "similarity", "accuracy", "uniform", "random", "shuffled")
"""How submodels are weighted: the article's, and the controls that show what each part of it is worth."""


def cosine_similarity(predicted: ArrayLike, actual: ArrayLike) -> Array:
    """sim_i = cos(e^_i, e_i), row by row; float64 [K, E] twice -> [K]. A zero vector is similar to nothing (0)."""
    a, b = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    products = (a * b).sum(axis=-1)
    cosine: Array = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return cosine


def embedding_accuracy(predicted: ArrayLike, actual: ArrayLike) -> Array:
    """acc_i = clip(1 - |e^_i - e_i|^2 / |mean_{j != i} e_j - e_i|^2, 0, 1).

    The share of the distance to task i that the predictor removes, beside always answering with the mean of the tasks
    it was trained on: what an R^2 is, but for a target that is constant within a task, where R^2 is not defined.

    Args:
        predicted: e^_i, mean of g_i over held-out transitions of task i, [K, E].
        actual: e_i, [K, E]; K >= 2.

    Returns:
        float64 [K], in [0, 1].

    Raises:
        ValueError: fewer than two tasks, or different shapes.
    """
    a, b = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"predicted has shape {a.shape}, actual {b.shape}; both must be (tasks, embedding size)")
    if len(b) < 2:
        raise ValueError(f"actual has {len(b)} task; must have at least 2, as the others are what it is compared with")
    others = (b.sum(axis=0) - b) / (len(b) - 1)
    error, baseline = ((a - b) ** 2).sum(axis=1), ((others - b) ** 2).sum(axis=1)
    share = np.divide(error, baseline, out=np.full(len(b), np.inf), where=baseline > 0)
    accuracy: Array = np.clip(1 - share, 0.0, 1.0)
    return accuracy


def return_accuracy(returns: ArrayLike, random_returns: ArrayLike, reference_returns: ArrayLike) -> Array:
    """acc_i = clip((J_i - J_rand) / (J_ref - J_rand), 0, 1); 0 where J_ref does not exceed J_rand; float64 [K]."""
    j, low, high = (np.asarray(v, dtype=np.float64) for v in (returns, random_returns, reference_returns))
    span = high - low
    share = np.divide(j - low, span, out=np.zeros(np.broadcast(j, span).shape), where=span > 0)
    return np.clip(share, 0.0, 1.0)


def averaging_weights(
    similarity: ArrayLike,
    accuracy: ArrayLike,
    *,
    temperature: float = 0.2,
    accuracy_eps: float = 0.01,
    weighting: str = "similarity_accuracy",
    rng: np.random.Generator | None = None,
) -> Array:
    """w_i ∝ exp(sim_i / T) (acc_i + eps), or a control.

    Args:
        similarity: sim_i, [K].
        accuracy: acc_i, [K].
        temperature: T > 0.
        accuracy_eps: eps >= 0; keeps a submodel of accuracy 0 from vanishing.
        weighting: one of ``WEIGHTINGS``. ``random``: uniform on the simplex; ``shuffled``: the article's weights, given
            to the wrong submodels.
        rng: of the two random controls.

    Returns:
        float64 [K] with sum 1. If all are 0 (accuracy 0 everywhere and eps = 0), they are equal.

    Raises:
        ValueError: unknown ``weighting``, or no ``rng`` where it needs one, or ``temperature`` is not > 0.
    """
    sim, acc = np.asarray(similarity, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting is {weighting!r}; must be one of {', '.join(map(repr, WEIGHTINGS))}")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; must be > 0")
    if weighting in ("random", "shuffled") and rng is None:
        raise ValueError(f"rng is None; weighting={weighting!r} draws random numbers")
    count = len(sim)
    if weighting == "uniform":
        return np.full(count, 1 / count)
    if weighting == "random":
        assert rng is not None
        return rng.dirichlet(np.ones(count))
    raw = np.ones(count)
    if weighting != "accuracy":
        raw = raw * np.exp((sim - sim.max()) / temperature)
    if weighting != "similarity":
        raw = raw * (acc + accuracy_eps)
    weights = raw / raw.sum() if raw.sum() > 0 else np.full(count, 1 / count)
    if weighting == "shuffled":
        assert rng is not None
        weights = weights[derangement(count, rng)]
    return weights


def derangement(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random permutation that leaves nobody in place (Sattolo's cycle); of one element the identity."""
    order = np.arange(count)
    for i in range(count - 1, 0, -1):
        j = int(rng.integers(i))
        order[[i, j]] = order[[j, i]]
    return order


def effective_sample_size(weights: ArrayLike) -> float:
    """1 / sum w_i^2 of weights with sum 1: K if they are equal, 1 if one has all."""
    w = np.asarray(weights, dtype=np.float64)
    return float(1 / (w**2).sum())


@dataclasses.dataclass(frozen=True)
class RoundWeights:
    """What one averaging round did, for the log.

    Attributes:
        similarity: sim_i, [K].
        accuracy: acc_i, [K].
        weights: w_i, [K].
        change: length of phi_new - phi_old.
        relative_change: the same over the length of phi_old, which the stopping rule looks at.
    """

    similarity: Array
    accuracy: Array
    weights: Array
    change: float
    relative_change: float

    @property
    def effective_sample_size(self) -> float:
        """Of the weights."""
        return effective_sample_size(self.weights)


@torch.no_grad()
def average_trunks(models: Submodels, weights: ArrayLike, eta: float) -> tuple[float, float]:
    """Phi <- (1 - eta) phi + eta sum_i w_i phi_i; eta = 1 is the article's.

    Args:
        models: whose common trunk moves.
        weights: w, [K], sum 1.
        eta: step, in (0, 1].

    Returns:
        |phi_new - phi_old|, and that over |phi_old|.
    """
    before = models.trunk_vector(models.common)
    w = torch.as_tensor(np.asarray(weights, dtype=np.float64))
    for common, own in zip(models.common.parameters(), models.trunks.parameters(), strict=True):
        # In float64: the average of equal trunks is then the trunk, and the change of a converged phi is exactly 0.
        mean = torch.tensordot(w.to(own.device), own.double(), dims=1)
        common.copy_(((1 - eta) * common[0].double() + eta * mean).unsqueeze(0))
    change = (models.trunk_vector(models.common) - before).double().norm().item()
    return change, change / max(before.double().norm().item(), 1e-12)
