"""What a training loop is built from: the agent, the encoder of its observations, the replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

import metarl_core
from metarl_core.agents.common.actions import Actions, action_field
from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.images import image_features
from metarl_core.agents.common.learner import Agent
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.config import RunConfig
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.agents.task_context import TaskContext

__all__ = ["Fields", "Replay", "make_agent", "make_encoder", "make_replay", "replay_fields"]

Fields = Mapping[str, tuple[tuple[int, ...], Any]]
"""Column name -> shape and dtype."""


class Replay(Protocol):
    """What training loops ask of a replay."""

    def add(self, **columns: Any) -> Any:
        """Store transitions."""

    def sample(self, batch_size: int, beta: float | None = None) -> Any:
        """Draw a batch."""

    def state_dict(self) -> dict[str, Any]:
        """The whole content."""
        ...

    def load_state_dict(self, state: Any) -> None:
        """Continue from :meth:`state_dict`."""

    def __len__(self) -> int:
        """Transitions that can be sampled."""
        ...


def make_agent(config: RunConfig, encoder: ObservationEncoder, actions: Actions, num_envs: int) -> Any:
    """Build the agent of a configuration for ``num_envs`` instances.

    Returns:
        An :class:`Agent`; of an algorithm with a loop of its own, what :func:`evaluate_agent` needs of one.

    Raises:
        ConfigError: the algorithm has nothing for such actions, or the configuration is for another kind of them.
    """
    variant = ALGORITHMS[config.algorithm].variant(config.env_id, actions)
    hyper = config.hyperparameters
    if type(hyper) is not variant.config_class:
        raise ConfigError(
            f"{config.env_id}: hyperparameters are {type(hyper).__name__}; expected {variant.config_class.__name__}"
        )
    return variant.make_agent(hyper, encoder.features, actions, num_envs, config.seed, config.device, encoder.one_hot)


def make_encoder(config: RunConfig, space: Any) -> ObservationEncoder:
    """Build the observation encoder of a configuration."""
    hyper = config.hyperparameters
    if not isinstance(hyper, LearnerConfig):
        return ObservationEncoder(space, hyper.normalize_obs, context_size=TaskContext(config).size)
    image = image_features(hyper.image_encoding, config.env_id, hyper.conv_filters, hyper.conv_kernel, hyper.trunk)
    return ObservationEncoder(space, hyper.normalize_obs, hyper.one_hot_obs, image, TaskContext(config).size)


def replay_fields(agent: Agent, encoder: ObservationEncoder, actions: Actions, n_step: int) -> Fields:
    """Columns of the replay: the transition, the agent's own, and what N steps need."""
    width = encoder.shape
    fields: dict[str, tuple[tuple[int, ...], Any]] = {
        "obs": (width, encoder.dtype),
        "action": action_field(actions),
        "reward": ((), np.float32),
        "next_obs": (width, encoder.dtype),
        "terminated": ((), np.bool_),
        **agent.extra_fields(),
    }
    if n_step > 1:
        fields |= {
            "n_obs": (width, encoder.dtype),
            "n_return": ((), np.float32),
            "n_discount": ((), np.float32),
        }
        path = agent.path_columns()
        fields |= {f"path_{name}": ((n_step - 1, *fields[name][0]), fields[name][1]) for name in path}
        fields |= {"path_length": ((), np.int64)} if path else {}
    return fields


def make_replay(config: RunConfig, fields: Fields, device: str = "cpu") -> Replay:
    """Make the replay of a configuration's algorithm.

    Args:
        config: the run.
        fields: the columns.
        device: where the transitions lie.
    """
    hyper, fields = config.hyperparameters, dict(fields)
    assert isinstance(hyper, LearnerConfig)
    capacity = min(hyper.replay_capacity, config.total_steps + config.num_envs)
    if not ALGORITHMS[config.algorithm].prioritized:
        uniform: Replay = metarl_core.ReplayBuffer(capacity, fields, seed=config.seed, device=device)
        return uniform
    prioritized: Replay = metarl_core.PrioritizedReplayBuffer(
        capacity,
        fields,
        alpha=hyper.priority_exponent,
        beta=hyper.importance_exponents[0],
        eps=hyper.priority_eps,
        max_priority=hyper.priority_max,
        weight_normalization=hyper.weight_normalization,
        seed=config.seed,
        device=device,
    )
    return prioritized
