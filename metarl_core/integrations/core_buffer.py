"""The buffer of ours that a library's replay buffer is a face of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import metarl_core as mc
from metarl_core.replay.seeding import make_seeded

__all__ = ["Beta", "make_core"]

Beta = float | Callable[[int], float]


def make_core(
    capacity: int,
    fields: Mapping[str, Any],
    *,
    prioritized: bool,
    n_envs: int,
    optimize_memory_usage: bool,
    alpha: float,
    beta: Beta,
    eps: float,
    weight_normalization: str,
    n_steps: int,
    gamma: float,
    frame_stack: int | None,
    storage: str,
    seed: int | None,
) -> Any:
    """Make it from the options that the buffers for stable-baselines3 and CleanRL have in common.

    Args:
        capacity: number of transitions, a multiple of ``n_envs``.
        fields: as of ``metarl_core.ReplayBuffer``.
        prioritized: whether it is a ``PrioritizedReplayBuffer``; without, the options of one are not looked at.
        n_envs: number of environments.
        optimize_memory_usage: store every observation once.
        alpha: exponent of the priorities.
        beta: exponent of the weights, or a function of the number of batches so far.
        eps: smallest priority.
        weight_normalization: "max", "batch_max", "sum" or "none".
        n_steps: steps of the returns.
        gamma: discount factor of the returns.
        frame_stack: number of frames of an observation, each of which is then stored once.
        storage: "memory", or "mmap:FOLDER".
        seed: of the draws, or None.

    Raises:
        ValueError: a value is out of range.
    """
    options: dict[str, Any] = {
        "num_envs": n_envs,
        "n_step": n_steps,
        "gamma": gamma,
        "storage": storage,
        "seed": seed,
    }
    if optimize_memory_usage:
        options["next_obs"] = "next"
    if frame_stack is not None:
        options["frame_stack"] = frame_stack
    if not prioritized:
        return make_seeded(mc.ReplayBuffer, capacity, fields, **options)
    weighted: dict[str, Any] = {
        "alpha": alpha,
        "beta": beta,
        "eps": eps,
        "weight_normalization": weight_normalization,
    }
    return make_seeded(mc.PrioritizedReplayBuffer, capacity, fields, **options, **weighted)
