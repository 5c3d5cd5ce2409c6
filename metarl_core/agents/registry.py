"""The algorithms that can be trained by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from metarl_core.agents.baselines.bootdqn import BootstrappedDQN, BootstrappedDQNConfig
from metarl_core.agents.baselines.dltv import DltvConfig, DltvDQN
from metarl_core.agents.baselines.dqn import DoubleDQN, DoubleDQNConfig
from metarl_core.agents.baselines.icm import IcmConfig, IcmDQN
from metarl_core.agents.baselines.noveld import NovelDConfig, NovelDDQN
from metarl_core.agents.baselines.rnd import RndConfig, RndDQN
from metarl_core.agents.baselines.sb3_config import SacConfig, Td3Config
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.continuous import ContinuousCderAgent
from metarl_core.agents.cder.continuous_config import ContinuousCderConfig
from metarl_core.agents.cder.learner import CderAgent
from metarl_core.agents.common.actions import Actions, BoxActions
from metarl_core.agents.common.config import AgentConfig
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.imt.run_config import ImtRunConfig, settle_imt

__all__ = ["ALGORITHMS", "AlgorithmSpec", "Variant"]


@dataclasses.dataclass(frozen=True)
class Variant:
    """An algorithm for one kind of actions: its options and how to build its agent."""

    config_class: type[AgentConfig]
    make_agent: Callable[..., Any]


def _sb3_agent(*arguments: Any, **keywords: Any) -> Any:
    from metarl_core.agents.baselines.sb3_agent import Sb3Agent

    return Sb3Agent(*arguments, **keywords)


def _sb3_train(*arguments: Any) -> dict[str, Any]:
    from metarl_core.agents.baselines.sb3 import train_sb3

    return train_sb3(*arguments)


def _no_agent(*_arguments: Any, **_keywords: Any) -> Any:
    raise TypeError("IMT has a submodel for each task, and no agent of one environment; use train and evaluate")


def _imt_train(*arguments: Any) -> dict[str, Any]:
    from metarl_core.agents.imt.run import train_imt

    result: dict[str, Any] = train_imt(*arguments)
    return result


def _imt_evaluate(*arguments: Any) -> dict[str, Any]:
    from metarl_core.agents.imt.run import evaluate_imt

    outcome: dict[str, Any] = evaluate_imt(*arguments)
    return outcome


@dataclasses.dataclass(frozen=True)
class AlgorithmSpec:
    """One algorithm: its variants, what kind of replay it learns from.

    Attributes:
        name: as the command line takes it.
        description: one line.
        discrete: for discrete actions; None: it has none.
        continuous: for continuous actions; None: it has none.
        prioritized: learns from a prioritized replay.
        train: its own training loop in place of ours, called with the configuration, the run and the progress.
        evaluate: its own evaluation in place of ours, called with the configuration, the state of the last checkpoint,
            the number of episodes and the seed.
        defaults: settings of a run, environment included, where they differ from those of other algorithms.
        settle: checks settings and computes those that follow from others, called with the configuration and the names
            of the settings that were given; None: there is nothing to do.
    """

    name: str
    description: str
    discrete: Variant | None = None
    continuous: Variant | None = None
    prioritized: bool = False
    train: Callable[..., dict[str, Any]] | None = None
    evaluate: Callable[..., dict[str, Any]] | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settle: Callable[[Any, frozenset[str]], Any] | None = None

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Those that there are, that for discrete actions first."""
        return tuple(variant for variant in (self.discrete, self.continuous) if variant is not None)

    @property
    def config_class(self) -> type[AgentConfig]:
        """Options of the first variant."""
        return self.variants[0].config_class

    @property
    def option_names(self) -> list[str]:
        """Options of all variants."""
        names = [f.name for variant in self.variants for f in dataclasses.fields(variant.config_class)]
        return list(dict.fromkeys(names))

    def variant(self, env_id: str, actions: Actions) -> Variant:
        """The variant for an environment's actions.

        Raises:
            ConfigError: there is none.
        """
        continuous = isinstance(actions, BoxActions)
        found = self.continuous if continuous else self.discrete
        if found is None:
            has, needs = ("continuous", "discrete") if continuous else ("discrete", "continuous")
            raise ConfigError(f"{env_id} has {has} actions; {self.name} needs {needs} ones")
        return found

    def config_class_of(self, options: Any) -> type[AgentConfig]:
        """Class of a set of options: the first variant's that has them all; the first, if none has."""
        for variant in self.variants:
            if set(options) <= {f.name for f in dataclasses.fields(variant.config_class)}:
                return variant.config_class
        return self.config_class


ALGORITHMS: dict[str, AlgorithmSpec] = {
    spec.name: spec
    for spec in (
        AlgorithmSpec(
            "cder",
            "curiosity-driven exploration with prioritized replay (ensemble critic, epistemic bonus)",
            Variant(CderConfig, CderAgent),
            Variant(ContinuousCderConfig, ContinuousCderAgent),
            prioritized=True,
        ),
        AlgorithmSpec(
            "ddqn", "Double DQN, uniform replay, epsilon-greedy", Variant(DoubleDQNConfig, DoubleDQN), prioritized=False
        ),
        AlgorithmSpec(
            "ddqn-per",
            "Double DQN with prioritized replay, epsilon-greedy",
            Variant(DoubleDQNConfig, DoubleDQN),
            prioritized=True,
        ),
        AlgorithmSpec(
            "bootdqn",
            "bootstrapped DQN with randomised priors (Osband et al. 2016, 2018)",
            Variant(BootstrappedDQNConfig, BootstrappedDQN),
            prioritized=True,
        ),
        AlgorithmSpec(
            "rnd",
            "random network distillation on Double DQN (Burda et al. 2018)",
            Variant(RndConfig, RndDQN),
            prioritized=True,
        ),
        AlgorithmSpec(
            "icm",
            "intrinsic curiosity module on Double DQN (Pathak et al. 2017)",
            Variant(IcmConfig, IcmDQN),
            prioritized=True,
        ),
        AlgorithmSpec(
            "noveld", "NovelD on Double DQN (Zhang et al. 2021)", Variant(NovelDConfig, NovelDDQN), prioritized=True
        ),
        AlgorithmSpec(
            "dltv",
            "decaying left truncated variance on QR-DQN (Mavrin et al. 2019)",
            Variant(DltvConfig, DltvDQN),
            prioritized=True,
        ),
        AlgorithmSpec(
            "sac",
            "soft actor-critic (Haarnoja et al. 2018), stable-baselines3's, continuous actions",
            continuous=Variant(SacConfig, _sb3_agent),
            train=_sb3_train,
        ),
        AlgorithmSpec(
            "td3",
            "TD3 (Fujimoto et al. 2018), stable-baselines3's, continuous actions",
            continuous=Variant(Td3Config, _sb3_agent),
            train=_sb3_train,
        ),
        AlgorithmSpec(
            "imt",
            "independent multi-task learning: a submodel for each task, that act together on new ones",
            Variant(ImtRunConfig, _no_agent),
            Variant(ImtRunConfig, _no_agent),
            train=_imt_train,
            evaluate=_imt_evaluate,
            defaults={"env_id": "PointRobot-v0", "env_tasks": 8, "evaluation_split": "test"},
            settle=settle_imt,
        ),
    )
}
