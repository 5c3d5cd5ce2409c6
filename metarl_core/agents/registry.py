"""The algorithms that can be trained by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from metarl_core.agents.baselines.dqn import DoubleDQN, DoubleDQNConfig
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.learner import CderAgent
from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.learner import Agent

__all__ = ["ALGORITHMS", "AlgorithmSpec"]


@dataclasses.dataclass(frozen=True)
class AlgorithmSpec:
    """One algorithm: its options, how to build its agent, what kind of replay it learns from."""

    name: str
    config_class: type[LearnerConfig]
    description: str
    prioritized: bool
    make_agent: Callable[..., Agent]


ALGORITHMS: dict[str, AlgorithmSpec] = {
    spec.name: spec
    for spec in (
        AlgorithmSpec(
            "cder",
            CderConfig,
            "curiosity-driven exploration with prioritized replay (ensemble critic, epistemic bonus)",
            True,
            CderAgent,
        ),
        AlgorithmSpec("ddqn", DoubleDQNConfig, "Double DQN, uniform replay, epsilon-greedy", False, DoubleDQN),
        AlgorithmSpec(
            "ddqn-per", DoubleDQNConfig, "Double DQN with prioritized replay, epsilon-greedy", True, DoubleDQN
        ),
    )
}
