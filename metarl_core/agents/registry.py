"""The algorithms that can be trained by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from metarl_core.agents.baselines.bootdqn import BootstrappedDQN, BootstrappedDQNConfig
from metarl_core.agents.baselines.dltv import DltvConfig, DltvDQN
from metarl_core.agents.baselines.dqn import DoubleDQN, DoubleDQNConfig
from metarl_core.agents.baselines.icm import IcmConfig, IcmDQN
from metarl_core.agents.baselines.noveld import NovelDConfig, NovelDDQN
from metarl_core.agents.baselines.rnd import RndConfig, RndDQN
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
        AlgorithmSpec(
            "bootdqn",
            BootstrappedDQNConfig,
            "bootstrapped DQN with randomised priors (Osband et al. 2016, 2018)",
            True,
            BootstrappedDQN,
        ),
        AlgorithmSpec("rnd", RndConfig, "random network distillation on Double DQN (Burda et al. 2018)", True, RndDQN),
        AlgorithmSpec("icm", IcmConfig, "intrinsic curiosity module on Double DQN (Pathak et al. 2017)", True, IcmDQN),
        AlgorithmSpec("noveld", NovelDConfig, "NovelD on Double DQN (Zhang et al. 2021)", True, NovelDDQN),
        AlgorithmSpec(
            "dltv", DltvConfig, "decaying left truncated variance on QR-DQN (Mavrin et al. 2019)", True, DltvDQN
        ),
    )
}
