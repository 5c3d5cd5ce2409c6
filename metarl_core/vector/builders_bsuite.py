"""bsuite's environments beside DeepSea: from parameters to a plan, and bsuite's bookkeeping from the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.builders import BuildPlan, _numbers

__all__ = ["BSUITE_BUILDERS", "bandit_means"]

_Fields = npt.NDArray[np.float64]


def _unbounded(shape: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    high = np.full(shape, np.inf, np.float32)
    return -high, high


def _catch(params: Mapping[str, Any]) -> BuildPlan:
    shape = (params["rows"], params["columns"])
    zeros = np.zeros(shape, np.float32)

    def info(fields: _Fields) -> dict[str, npt.NDArray[Any]]:
        return {"total_regret": 2.0 * fields[:, 3]}

    return BuildPlan(_numbers(params), shape, zeros, zeros + np.float32(1), num_actions=3, bsuite_info=info)


def bandit_means(count: int, mapping_seed: int | None) -> _Fields:
    """Return the arms' means, in bsuite's order of a seed, so that it names the same environment there and here."""
    order = np.random.RandomState(mapping_seed).choice(count, size=count, replace=False)
    means: _Fields = np.linspace(0, 1, count)[order]
    return means


def _bandit(params: Mapping[str, Any]) -> BuildPlan:
    count = params["num_actions"]
    means = bandit_means(count, params["mapping_seed"])
    numbers = {**_numbers(params), **{f"mean_{arm}": float(mean) for arm, mean in enumerate(means)}}

    def info(fields: _Fields) -> dict[str, npt.NDArray[Any]]:
        return {"total_regret": fields[:, 0].copy()}

    return BuildPlan(numbers, (1, 1), *_unbounded((1, 1)), num_actions=count, bsuite_info=info)


def _memory_chain(params: Mapping[str, Any]) -> BuildPlan:
    shape = (1, params["num_bits"] + 2)

    def info(fields: _Fields) -> dict[str, npt.NDArray[Any]]:
        return {"total_perfect": fields[:, 2].astype(np.int64), "total_regret": 2.0 * fields[:, 3]}

    return BuildPlan(_numbers(params), shape, *_unbounded(shape), num_actions=2, bsuite_info=info)


def _discounting_chain(params: Mapping[str, Any]) -> BuildPlan:
    seed = params["mapping_seed"]
    bonus = int(np.random.default_rng().integers(5)) if seed is None else seed % 5
    return BuildPlan(
        {**_numbers(params), "bonus_chain": float(bonus)},
        (1, 2),
        *_unbounded((1, 2)),
        num_actions=5,
        bsuite_info=lambda _fields: {},
    )


def _cartpole_swingup(params: Mapping[str, Any]) -> BuildPlan:
    def info(fields: _Fields) -> dict[str, npt.NDArray[Any]]:
        return {
            name: fields[:, column].copy()
            for name, column in (("raw_return", 6), ("total_upright", 8), ("best_episode", 7))
        }

    return BuildPlan(_numbers(params), (1, 8), *_unbounded((1, 8)), num_actions=3, bsuite_info=info)


BSUITE_BUILDERS: dict[str, Callable[[Mapping[str, Any]], BuildPlan]] = {
    "Catch-v0": _catch,
    "Bandit-v0": _bandit,
    "MemoryChain-v0": _memory_chain,
    "DiscountingChain-v0": _discounting_chain,
    "CartPoleSwingup-v0": _cartpole_swingup,
}
