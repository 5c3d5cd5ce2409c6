"""A new task by known ones: the weights with which their mean embedding is nearest to the new embedding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["NEAREST", "ROUTINGS", "affine_weights", "mixture_weights", "project_to_simplex"]

Array = NDArray[np.float64]

_STEPS = 20_000


def project_to_simplex(values: ArrayLike) -> Array:
    """Nearest point with entries >= 0 and sum 1, float64 [K] -> [K] (Duchi et al. 2008, ICML, fig. 1)."""
    v = np.asarray(values, dtype=np.float64)
    descending = np.sort(v)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, len(v) + 1)
    cut = excess[np.flatnonzero(descending > excess)[-1]]
    projected: Array = np.maximum(v - cut, 0.0)
    return projected


def mixture_weights(embedding: ArrayLike, task_embeddings: ArrayLike, ridge: float = 1e-3) -> Array:
    """Solve v = argmin over the simplex of |e - sum_i v_i e_i|^2 + ridge s |v|^2, with s the mean |e_i|^2.

    An embedding is a mean of features of transitions. Where reward and dynamics of a task are, to the features, those
    of a mixture of known tasks, these are its shares; a softmax of cosines only says which tasks are near. (Exact for
    means; the standard deviations that an embedding may hold besides, and whitening, make it a heuristic.)

    Args:
        embedding: of the new task, [E]; not scaled to length 1, which a mean of several does not have.
        task_embeddings: of the known ones, [K, E], in the same units.
        ridge: >= 0; spreads the weights where several mixtures are equally near.

    Returns:
        float64 [K], >= 0, sum 1.

    Raises:
        ValueError: the widths differ, there are no tasks, or ``ridge`` is negative.
    """
    gram, products = _equations(embedding, task_embeddings, ridge)
    count = len(gram)
    lipschitz = float(np.linalg.eigvalsh(gram)[-1])
    weights = np.full(count, 1 / count)
    if lipschitz <= 0:
        return weights
    # Accelerated projected gradient (Beck & Teboulle 2009) with restarts where the momentum points uphill.
    ahead, momentum = weights, 1.0
    for _ in range(_STEPS):
        gradient = gram @ ahead - products
        following = project_to_simplex(ahead - gradient / lipschitz)
        moved = following - weights
        if gradient @ moved > 0:
            # A step without momentum points uphill by rounding alone: there is nothing left to gain.
            if ahead is weights or np.abs(moved).max() < 1e-12:
                break
            ahead, momentum = weights, 1.0
            continue
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, momentum, weights = following + (momentum - 1) / grown * moved, grown, following
        if np.abs(moved).max() < 1e-12:
            break
    return weights


def affine_weights(embedding: ArrayLike, task_embeddings: ArrayLike, ridge: float = 1e-3) -> Array:
    """Solve v = argmin over sum_i v_i = 1 of |e - sum_i v_i e_i|^2 + ridge s |v|^2, with s the mean |e_i|^2.

    As :func:`mixture_weights`, but weights may be negative: tasks beyond the known ones are met, too, and those between
    them are not drawn to the middle. It helps as far as what is averaged with these weights is linear in the task.
    Weights of a task far outside may be large: only the ridge, in units of the known tasks, holds them.

    Args:
        embedding: of the new task, [E].
        task_embeddings: of the known ones, [K, E], in the same units.
        ridge: >= 0; keeps the weights small where several are equally near.

    Returns:
        float64 [K], sum 1.

    Raises:
        ValueError: as of :func:`mixture_weights`.
    """
    gram, products = _equations(embedding, task_embeddings, ridge)
    count = len(gram)
    scale = np.trace(gram) / count
    if scale <= 0:
        return np.full(count, 1 / count)
    # Where the constraint holds all derivatives are equal. Without a ridge many weights may do: the smallest.
    ones = np.ones((count, 1))
    system = np.block([[gram / scale, ones], [ones.T, np.zeros((1, 1))]])
    solution: Array = np.linalg.lstsq(system, np.append(products / scale, 1.0), rcond=None)[0][:count]
    return solution


def _equations(embedding: ArrayLike, task_embeddings: ArrayLike, ridge: float) -> tuple[Array, Array]:
    """Of the quadratic v G v / 2 - v p that both minimise: G, float64 [K, K], and p, [K]."""
    new, known = np.asarray(embedding, dtype=np.float64), np.asarray(task_embeddings, dtype=np.float64)
    if known.ndim != 2 or len(known) == 0 or new.shape != known.shape[1:]:
        raise ValueError(f"embedding has shape {new.shape}, task_embeddings {known.shape}; must be (E,) and (K, E)")
    if not ridge >= 0:
        raise ValueError(f"ridge is {ridge}; must be >= 0")
    gram = known @ known.T
    return gram + ridge * np.trace(gram) / len(known) * np.eye(len(known)), known @ new


NEAREST: Mapping[str, Callable[[ArrayLike, ArrayLike, float], Array]] = MappingProxyType(
    {"mixture": mixture_weights, "affine": affine_weights}
)
"""Name -> function of the new embedding, the known ones and the ridge."""

ROUTINGS = (*NEAREST, "leave_one_out")
"""Options of routing by embeddings before they are scaled to length 1; the last chooses among the others."""
