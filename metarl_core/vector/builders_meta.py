"""Environments of the meta-learning literature: from parameters to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metarl_core.vector.builders import BuildPlan, _numbers

__all__ = ["META_BUILDERS"]


def _point_robot(params: Mapping[str, Any]) -> BuildPlan:
    high = np.full(2, np.inf, np.float32)
    return BuildPlan(
        _numbers(params),
        (2,),
        -high,
        high,
        action_size=2,
        action_low=-params["max_step"],
        action_high=params["max_step"],
    )


def _bandit(params: Mapping[str, Any], reward_low: float, reward_high: float) -> BuildPlan:
    arms = params["num_arms"]
    low = np.zeros(arms + 1, np.float32)
    high = low + np.float32(1)
    low[-1], high[-1] = reward_low, reward_high
    return BuildPlan(_numbers(params), (arms + 1,), low, high, num_actions=arms, row_bytes=96 + 8 * arms)


def _bernoulli_bandit(params: Mapping[str, Any]) -> BuildPlan:
    if params["mean_low"] > params["mean_high"]:
        raise ValueError(f"mean_low is {params['mean_low']!r}; must be <= mean_high, which is {params['mean_high']!r}")
    return _bandit(params, 0.0, 1.0)


def _gaussian_bandit(params: Mapping[str, Any]) -> BuildPlan:
    return _bandit(params, -np.inf, np.inf)


def _tabular_mdp(params: Mapping[str, Any]) -> BuildPlan:
    states, actions = params["num_states"], params["num_actions"]
    history = params["observation"] == "history"
    numbers = {**_numbers(params), "history": float(history)}
    if not history:
        return BuildPlan(numbers, (), num_observations=states, num_actions=actions, row_bytes=96)
    low = np.zeros(states + actions + 2, np.float32)
    high = low + np.float32(1)
    low[-2], high[-2] = -np.inf, np.inf
    return BuildPlan(numbers, low.shape, low, high, num_actions=actions, row_bytes=96)


def _maze(params: Mapping[str, Any]) -> BuildPlan:
    size, goal = params["size"], (params["goal_row"], params["goal_column"])
    if size % 2 == 0:
        raise ValueError(f"size is {size}; must be odd")
    if goal != (-1, -1):
        for name, cell in zip(("goal_row", "goal_column"), goal, strict=True):
            if cell % 2 == 0 or not 0 < cell < size - 1:
                raise ValueError(f"{name} is {cell}; must be odd and in [1, {size - 2}], or both be -1")
    if goal == (1, 1) and not params["random_start"]:
        raise ValueError("goal_row and goal_column are 1, where the start is; must differ, or random_start be True")
    limit = params["max_episode_steps"]
    low = np.zeros(15, np.float32)
    high = low + np.float32(1)
    low[13], high[13] = -np.inf, np.inf
    return BuildPlan(
        {**_numbers(params), "time_limit": float(limit or 0)},
        (15,),
        low,
        high,
        num_actions=4,
        row_bytes=128 + 8 * size,
    )


META_BUILDERS: dict[str, Callable[[Mapping[str, Any]], BuildPlan]] = {
    "PointRobot-v0": _point_robot,
    "SparsePointRobot-v0": _point_robot,
    "BernoulliBandit-v0": _bernoulli_bandit,
    "GaussianBandit-v0": _gaussian_bandit,
    "TabularMDP-v0": _tabular_mdp,
    "Maze-v0": _maze,
}
