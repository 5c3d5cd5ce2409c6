"""Gymnasium's environments of small discrete states, and its continuous mountain car: from parameters to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metarl_core.vector.builders import BuildPlan, _check_reset_range, _numbers

__all__ = ["TOY_TEXT_BUILDERS"]


def _mountain_car_continuous(params: Mapping[str, Any]) -> BuildPlan:
    for low, high in (("min_position", "max_position"), ("min_action", "max_action")):
        if not params[low] < params[high]:
            raise ValueError(f"{low} is {params[low]!r}; must be < {high}, which is {params[high]!r}")
    _check_reset_range(params)
    return BuildPlan(
        _numbers(params),
        (2,),
        np.array([params["min_position"], -params["max_speed"]], np.float32),
        np.array([params["max_position"], params["max_speed"]], np.float32),
        action_low=params["min_action"],
        action_high=params["max_action"],
    )


def _cliff_walking(params: Mapping[str, Any]) -> BuildPlan:
    return BuildPlan(_numbers(params), (), num_observations=48, num_actions=4)


def _taxi(params: Mapping[str, Any]) -> BuildPlan:
    return BuildPlan(_numbers(params), (), num_observations=500, num_actions=6)


def _blackjack(params: Mapping[str, Any]) -> BuildPlan:
    return BuildPlan(_numbers(params), (3,), observation_tuple=(32, 11, 2), num_actions=2)


TOY_TEXT_BUILDERS: dict[str, Callable[[Mapping[str, Any]], BuildPlan]] = {
    "MountainCarContinuous-v0": _mountain_car_continuous,
    "CliffWalking-v1": _cliff_walking,
    "Taxi-v4": _taxi,
    "Blackjack-v1": _blackjack,
}
