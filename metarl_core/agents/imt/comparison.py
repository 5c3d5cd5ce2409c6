"""What the submodels together are worth on held-out tasks, beside chance, single submodels and a control."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.imt.averaging import derangement
from metarl_core.agents.imt.learner import ImtLearner
from metarl_core.agents.imt.outcomes import Adapted
from metarl_core.agents.imt.playing import play_each, play_uniformly
from metarl_core.agents.imt.reference import purpose_seed

__all__ = ["FEW_EPISODES", "METHODS", "SHUFFLES", "Comparison", "compare"]

SHUFFLES = 5
"""Random orders that the control is the mean of."""

FEW_EPISODES = 10
"""Episodes of a new task that ``imt_10`` makes its weights from."""

METHODS: Mapping[str, str] = MappingProxyType(
    {
        "imt": "IMT as configured",
        "imt_mixture": "IMT as configured, but none of its weights negative (routing=mixture)",
        "imt_10": f"IMT as configured, its weights from {FEW_EPISODES} episodes of the new task alone",
        "chance": "uniform actions",
        "single_accuracy": "one submodel: the one with the most accurate embedding predictor",
        "single_train": "one submodel: the one with the highest mean return on the training tasks",
        "single_hindsight": "one submodel: the best on these tasks, chosen in hindsight",
        "best": "for each task the submodel with the largest weight",
        "uniform": "mean of the standardised values, equal weights",
        "uniform_soup": "mean of the networks, equal weights",
        "vote": "weighted vote",
        "weighted": "weighted mean of the standardised values",
        "soup": "weighted mean of the networks",
        "shuffled": f"control: IMT with the weights given to the wrong submodels (mean of {SHUFFLES} orders)",
    }
)
"""Methods of a comparison: name -> what acts on a held-out task."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Mean returns on held-out tasks; every method plays as many episodes.

    Attributes:
        returns: method of ``METHODS`` -> float64 [T]; without ``single_accuracy`` where nothing predicts embeddings
            (``sharing=none``), so that no submodel is the most accurate, and without ``imt_mixture`` where no weight
            can be negative.
        on_train: of submodel i on training task j, float64 [K, K].
        on_test: of submodel i on held-out task j, float64 [K, T].
        adaptation_steps: transitions of a new task, under uniform actions, that the weights were made from, by method;
            "imt" stands for all methods that weigh.
    """

    returns: dict[str, NDArray[np.float64]]
    on_train: NDArray[np.float64]
    on_test: NDArray[np.float64]
    adaptation_steps: dict[str, float]


def compare(learner: ImtLearner, adapted: Adapted, episodes: int = 20) -> Comparison:
    """Play every method on held-out tasks.

    All but single submodels and chance play from the same first states, and all that weigh have the same weights, which
    ``leave_one_out`` chooses for the aggregation that is configured. ``single_hindsight`` is chosen by the very
    episodes that it is measured by: what it says is that no single submodel does better.

    Args:
        learner: with its submodels trained.
        adapted: the held-out tasks.
        episodes: of each method on each task.
    """
    count = learner.num_tasks
    seed = purpose_seed(learner.seed, "evaluate")
    on_train = play_each(learner, learner.train_tasks, episodes, seed)
    on_test = play_each(learner, adapted.tasks, episodes, seed)
    equal = dataclasses.replace(adapted, weights=np.full_like(adapted.weights, 1 / count))
    played = {how: learner.evaluate(adapted, how, episodes=episodes) for how in ("best", "uniform", "vote", "weighted")}
    played["soup"] = learner.evaluate(adapted, "soup", episodes=episodes)
    played["uniform_soup"] = learner.evaluate(equal, "soup", episodes=episodes)
    played["imt"] = played[learner.config.aggregation]
    if learner.config.routing in ("affine", "leave_one_out"):
        played["imt_mixture"] = learner.evaluate(learner.reweigh(adapted, "mixture"), episodes=episodes)
    few = learner.adapt(adapted.tasks, episodes=FEW_EPISODES, seed=purpose_seed(learner.seed, "few episodes"))
    played["imt_10"] = learner.evaluate(few, episodes=episodes)
    played["chance"] = play_uniformly(learner, adapted.tasks, episodes, seed)
    played["single_train"] = on_test[int(on_train.mean(axis=1).argmax())]
    played["single_hindsight"] = on_test[int(on_test.mean(axis=1).argmax())]
    if learner.config.sharing == "average":
        played["single_accuracy"] = on_test[int(learner.accuracy.argmax())]
    rng = np.random.default_rng(purpose_seed(learner.seed, "shuffle"))
    orders = [derangement(count, rng) for _ in range(SHUFFLES)]
    shuffled = [dataclasses.replace(adapted, weights=adapted.weights[order]) for order in orders]
    played["shuffled"] = np.mean([learner.evaluate(wrong, episodes=episodes) for wrong in shuffled], axis=0)
    steps = {"imt": float(adapted.steps.mean()), "imt_10": float(few.steps.mean())}
    return Comparison({name: played[name] for name in METHODS if name in played}, on_train, on_test, steps)
