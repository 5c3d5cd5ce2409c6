"""What a round of IMT comes to, and new tasks as its submodels see them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.imt.averaging import RoundWeights

__all__ = ["Adapted", "Round"]


@dataclasses.dataclass(frozen=True)
class Adapted:
    """New tasks as the submodels see them.

    Attributes:
        tasks: parameter name -> values, float64 [T].
        embeddings: e_tau, [T, E].
        weights: v, what each submodel counts on each task, [K, T], columns of sum 1.
        steps: transitions of each task that these were made from, int64 [T].
        vectors: embeddings before they are scaled to length 1, [T, E], which all routings but ``similarity``
            go by; empty where embeddings are of the common trunk.
        rule: how the weights were made, in words.
    """

    tasks: dict[str, NDArray[np.float64]]
    embeddings: NDArray[np.float64]
    weights: NDArray[np.float64]
    steps: NDArray[np.int64]
    vectors: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
    rule: str = ""


@dataclasses.dataclass(frozen=True)
class Round:
    """What one round came to.

    Attributes:
        number: from 1.
        steps: environment steps so far, over all training tasks, those of the reference policy included.
        embedding_loss: of step 2, mean over its updates, [K].
        td_loss: the same of the TD error, [K].
        weights: of step 3.
        train_returns: mean return of the episodes (played with epsilon) that each training task ended in this round,
            nan without one, [K].
        validation_returns: of the aggregated submodels on the validation tasks; None: there are none.
        stop: why training stops; None: it goes on.
        selection_steps: environment steps on the validation tasks so far, which choose the round that is kept and are
            not among ``steps``: transitions recorded to weigh the submodels, and episodes.
    """

    number: int
    steps: int
    embedding_loss: NDArray[np.float64]
    td_loss: NDArray[np.float64]
    weights: RoundWeights
    train_returns: NDArray[np.float64]
    validation_returns: NDArray[np.float64] | None
    stop: str | None
    selection_steps: int = 0
