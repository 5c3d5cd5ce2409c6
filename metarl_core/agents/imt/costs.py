"""What a run of IMT keeps: weights that are trained, and bytes of everything else.

Counted is what the method uses, as :class:`metarl_core.agents.continual.ContinualLearner` counts: no slow copies, no
optimisers, no copy of the best round. ``sharing=none`` has neither a common trunk nor embedding predictors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from metarl_core.agents.imt.batches import replay_fields, row_bytes
from metarl_core.agents.imt.building import make_submodels
from metarl_core.agents.imt.config import ImtConfig
from metarl_core.agents.imt.curiosity import make_signal
from metarl_core.agents.imt.networks import Submodels
from metarl_core.agents.imt.recorded import recorded_bytes
from metarl_core.agents.imt.reference import Reference
from metarl_core.agents.imt.run_config import ImtRunConfig

if TYPE_CHECKING:
    from metarl_core.agents.cder.signal import SignalModule
    from metarl_core.agents.config import RunConfig
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = ["Costs", "PlannedCosts", "learner_costs"]


class Costs(NamedTuple):
    """What is kept."""

    parameters: int
    """Weights that are trained."""
    stored_bytes: int
    """Bytes of transitions (the reference policy's and the replay's) and of random networks that are never trained."""

    @property
    def all_bytes(self) -> int:
        """Both, float32 weights being 4 bytes each."""
        return 4 * self.parameters + self.stored_bytes


def learner_costs(learner: ImtLearner) -> Costs:
    """What a learner keeps now; its replay holds more with every round, until it is full."""
    signal = None if learner.curiosity is None else learner.curiosity.signal
    signal = signal if _asks_signal(learner.config) else None
    replays = [learner.replay]
    if learner.tuning_replay is not learner.replay:
        replays.append(learner.tuning_replay)
    transitions = sum(len(replay) for replay in replays) * row_bytes(replay_fields(learner.actors.features))
    recorded = recorded_bytes((*learner.datasets, *learner.held_out_datasets))
    return Costs(
        _count(_trained(learner.config, learner.models, signal)),
        recorded + transitions + 4 * _count(_fixed(learner.models, signal)),
    )


class PlannedCosts:
    """What a run keeps, by its configuration alone: nothing is trained, no transition is recorded.

    Args:
        config: a resolved run of IMT.

    Raises:
        ConfigError: the environment does not fit.
    """

    def __init__(self, config: RunConfig) -> None:
        hyper = config.hyperparameters
        assert isinstance(hyper, ImtRunConfig)
        self._config, self._hyper = config, hyper
        reference = Reference(config.env_id, hyper, config.env_params)
        features, one_hot = reference.encoder.features, hyper.one_hot_obs or reference.encoder.one_hot
        generator, signal = torch.Generator(), None
        models = make_submodels(hyper, config.env_tasks, features, reference.num_actions, one_hot, generator)
        if _asks_signal(hyper):
            assert isinstance(features, int)
            options = hyper.cder(hyper.gamma, hyper.hidden)
            signal = make_signal(options, config.env_tasks, features, one_hot, generator)
        self.parameters = _count(_trained(hyper, models, signal))
        self._fixed_bytes = 4 * _count(_fixed(models, signal))
        self._recorded_row = _recorded_row_bytes(reference.observation_space, reference.action_space)
        self._replay_row = row_bytes(replay_fields(features))

    def after(self, environment_steps: int | None = None) -> Costs:
        """What is kept after so many environment steps of all tasks, the reference policy's included.

        Args:
            environment_steps: as a run's result has them; None: those of all rounds.
        """
        config, hyper = self._config, self._hyper
        steps = config.total_steps if environment_steps is None else environment_steps
        recorded = config.env_tasks * hyper.reference_steps
        played = [config.env_tasks, *([hyper.test_tasks] if hyper.tune_on == "test" else [])]
        each = (steps - recorded) // sum(played)
        kept = sum(min(hyper.replay_capacity, tasks * each) for tasks in played)
        stored = recorded * self._recorded_row + kept * self._replay_row + self._fixed_bytes
        return Costs(self.parameters, stored)


def _asks_signal(config: ImtConfig) -> bool:
    """Whether there are signal networks that anything asks: for a bonus, or for shaping."""
    return config.exploration == "curiosity" and (config.kappa > 0 or config.shaping)


def _trained(config: ImtConfig, models: Submodels, signal: SignalModule | None) -> list[nn.Module]:
    shared = [models.common, models.predictors] if config.sharing == "average" else []
    return [models.trunks, models.heads, *shared, *([] if signal is None else [signal.online])]


def _fixed(models: Submodels, signal: SignalModule | None) -> list[nn.Module]:
    nets = (models.prior_net, None if signal is None else signal.prior_net)
    return [net for net in nets if net is not None]


def _count(nets: Iterable[nn.Module]) -> int:
    return sum(p.numel() for net in nets for p in net.parameters())


def _recorded_row_bytes(observation_space: Any, action_space: Any) -> int:
    """Bytes of one transition of a :class:`TaskDataset`."""
    spaces = (observation_space, action_space)
    sizes: list[int] = [math.prod(space.shape) * np.dtype(space.dtype).itemsize for space in spaces]
    obs, action = sizes
    return 2 * obs + action + 8 + 1 + 1 + 8  # reward, terminated, truncated, episode
