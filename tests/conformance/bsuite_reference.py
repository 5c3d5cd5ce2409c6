"""bsuite's environments beside DeepSea: what of them is our state, in and out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from bsuite.environments import bandit, cartpole, catch, discounting_chain, memory_chain
from bsuite.experiments.cartpole_swingup import cartpole_swingup
from bsuite.utils import wrappers


def make(env_id: str, seed: int | None = None, **params: Any) -> Any:
    """Return bsuite's environment for our parameters."""
    if env_id == "Catch-v0":
        return catch.Catch(seed=seed, **params)
    if env_id == "MemoryChain-v0":
        return memory_chain.MemoryChain(**{"memory_length": 10, **params}, seed=seed)
    if env_id == "DiscountingChain-v0":
        return discounting_chain.DiscountingChain(**{"mapping_seed": 0, **params})
    if env_id == "CartPoleSwingup-v0":
        return cartpole_swingup.CartpoleSwingup(seed=seed, **params)
    arms = {"mapping_seed": 0, **{k: v for k, v in params.items() if k in ("mapping_seed", "num_actions")}}
    env = bandit.SimpleBandit(**arms)
    if "noise_scale" in params:
        return wrappers.RewardNoise(env, params["noise_scale"], seed=seed)
    if "reward_scale" in params:
        return wrappers.RewardScale(env, params["reward_scale"])
    return env


def fields_of(env_id: str, env: Any) -> list[float]:
    """Return our fields of a reference."""
    if env_id == "Catch-v0":
        return [env._ball_y, env._ball_x, env._paddle_x, env._total_regret / 2]
    if env_id == "Bandit-v0":
        return [env._total_regret]
    if env_id == "MemoryChain-v0":
        return [env._timestep, env._query, env._total_perfect, env._total_regret / 2, *env._context]
    if env_id == "DiscountingChain-v0":
        return [env._timestep, env._context]
    return [*env._state, env._episode_return, env._raw_return, env._best_episode, env._total_upright]


def set_episode(env_id: str, env: Any, fields: np.ndarray) -> None:
    """Put a reference at the state of our fields, except for what goes on over episodes."""
    if env_id == "Catch-v0":
        env._ball_y, env._ball_x, env._paddle_x = (int(x) for x in fields[:3])
    elif env_id == "MemoryChain-v0":
        env._timestep, env._query = int(fields[0]), int(fields[1])
        env._context = fields[4:].astype(int)
    elif env_id == "DiscountingChain-v0":
        env._timestep, env._context = int(fields[0]), int(fields[1])
    elif env_id == "CartPoleSwingup-v0":
        env._state = cartpole.CartpoleState(*(float(x) for x in fields[:5]))


def observation_of(env_id: str, env: Any) -> np.ndarray:
    """Return what a reference shows of its state."""
    if env_id == "Catch-v0":
        return env._observation()
    return env.observation if env_id == "CartPoleSwingup-v0" else env._get_observation()


def quietly(function: Any, *args: Any) -> Any:
    """Call without NumPy's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)
