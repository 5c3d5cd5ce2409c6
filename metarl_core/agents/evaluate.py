"""Greedy evaluation of a trained agent."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import metarl_core
from metarl_core.agents.common.actions import actions_of
from metarl_core.agents.common.devices import check_device
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.common.restoring import restoring
from metarl_core.agents.config import RunConfig, stored_config
from metarl_core.agents.parts import make_agent, make_encoder
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.agents.task_context import TaskContext, make_envs

__all__ = ["evaluate", "evaluate_agent"]

SEED_OFFSET = 1_000_003
"""Evaluation starts from other seeds than training, the same for every algorithm with the same seed."""

MAX_INSTANCES = 100


class GreedyAgent(Protocol):
    """What evaluation needs of an agent."""

    device: torch.device

    def greedy(self, obs: torch.Tensor) -> NDArray[Any]:
        """Encoded observations of B instances -> their actions, leading axis B."""
        ...


def evaluate_agent(
    config: RunConfig,
    agent: GreedyAgent,
    encoder: ObservationEncoder,
    episodes: int | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Play greedy episodes.

    Every instance plays the same number of episodes or one fewer, so short episodes are not over-represented.

    Args:
        config: the run that the agent belongs to.
        agent: acts greedily (CDER aggregates its heads).
        encoder: the run's observation encoder.
        episodes: how many; None: ``config.evaluation_episodes``.
        seed: of the environment; None: the run's seed + 1000003 (modulo 2^64).

    Returns:
        ``episodes``, ``seed``, ``return_mean``, ``return_std``, ``return_min``, ``return_max``, ``length_mean``,
        ``returns`` (list of float).
    """
    episodes = config.evaluation_episodes if episodes is None else episodes
    seed = (config.seed + SEED_OFFSET) % 2**64 if seed is None else seed
    instances = min(episodes, MAX_INSTANCES)
    envs = make_envs(config, instances, seed, config.evaluation_split)
    context_of = TaskContext(config)
    quota = np.full(instances, episodes // instances)
    quota[: episodes % instances] += 1
    totals, lengths = np.zeros(instances), np.zeros(instances, dtype=np.int64)
    returns: list[float] = []
    durations: list[int] = []
    try:
        obs, _ = envs.reset(seed=seed)
        while quota.any():
            encoded = torch.from_numpy(encoder(obs, context_of(envs))).to(agent.device)
            actions = agent.greedy(encoded.long() if encoder.one_hot else encoded)
            obs, reward, terminated, truncated, _ = envs.step(actions)
            totals += reward
            lengths += 1
            for env in np.flatnonzero(terminated | truncated):
                if quota[env]:
                    quota[env] -= 1
                    returns.append(float(totals[env]))
                    durations.append(int(lengths[env]))
                totals[env], lengths[env] = 0.0, 0
    finally:
        envs.close()
    return {
        "episodes": episodes,
        "seed": seed,
        "return_mean": float(np.mean(returns)),
        "return_std": float(np.std(returns)),
        "return_min": float(np.min(returns)),
        "return_max": float(np.max(returns)),
        "length_mean": float(np.mean(durations)),
        "returns": returns,
    }


def evaluate(
    run_dir: str | os.PathLike[str], episodes: int = 100, seed: int | None = None, device: str | None = None
) -> dict[str, Any]:
    """Evaluate the agent in a run's latest checkpoint.

    Args:
        run_dir: a run directory.
        episodes: greedy episodes to play.
        seed: of the environment; None: the run's seed + 1000003.
        device: where the networks live, and IMT's environments where they can; None: the run's.

    Returns:
        As :func:`evaluate_agent`, plus ``step``, the environment step of the checkpoint.

    Raises:
        FileNotFoundError: the run has no checkpoint.
        ConfigError: its configuration names an option that does not exist.
        CheckpointMismatchError: its checkpoint holds something else.
        ValueError: ``episodes`` is below 1.
    """
    from metarl_core.runs import RunReader

    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; must be >= 1")
    reader = RunReader(run_dir)
    config = stored_config(reader)
    config = dataclasses.replace(config, device=device or config.device)
    check_device(config.device)
    state = reader.load_checkpoint()
    if state is None:
        raise FileNotFoundError(f"{run_dir} holds no checkpoint to evaluate")
    own = ALGORITHMS[config.algorithm].evaluate
    if own is not None:
        return own(config, state, episodes, seed)
    torch.set_num_threads(config.hyperparameters.torch_threads)
    probe = metarl_core.make_vec(config.env_id, 1, num_threads=1, seed=0, **config.env_params)
    encoder = make_encoder(config, probe.single_observation_space)
    agent = make_agent(config, encoder, actions_of(probe.single_action_space, config.env_id), 1)
    probe.close()
    with restoring(run_dir):
        agent.load_modules(state["agent"])
        step = int(state["step"])
    return {**evaluate_agent(config, agent, encoder, episodes, seed), "step": step}
