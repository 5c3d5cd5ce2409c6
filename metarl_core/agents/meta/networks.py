"""From one network to another: layers, averages of several networks, and learners that go on from a sub-agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from metarl_core.agents.baselines.bootdqn import BootstrappedDQNConfig
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.common.config import LearnerConfig, NStepConfig
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.imt import ImtLearner, Submodels
from metarl_core.agents.imt.networks import BatchedConvNet
from metarl_core.agents.meta.q_learner import QLearner
from metarl_core.agents.meta.sub_agents import SubAgent
from metarl_core.tasks import Task

__all__ = ["average_parameters", "imt_sub_agents", "layers_of", "learner_from", "soup"]


def layers_of(sub_agent: SubAgent) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Weights and biases of the online critic, layer by layer, convolutions first.

    Raises:
        ConfigError: its critic is an ensemble, or there is none.
    """
    critic = sub_agent.agent.critic if sub_agent.valued else None
    if critic is None or critic.members != 1 or critic.prior_net is not None:
        raise ConfigError(
            f"{sub_agent.name!r} ({sub_agent.algorithm}) is not one network; needed is Double DQN (ddqn, ddqn-per), a "
            "QLearner with a DoubleDQNConfig, or a submodel of IMT"
        )
    net = critic.online
    filters = zip(getattr(net, "filters", ()), getattr(net, "filter_biases", ()), strict=True)
    return [*filters, *zip(net.weights, net.biases, strict=True)]


@torch.no_grad()
def average_parameters(networks: Sequence[Sequence[Tensor]], weights: ArrayLike) -> list[Tensor]:
    """Sum_i w_i theta_i of every parameter, added up in float64.

    Args:
        networks: the parameters of each network, of equal shapes.
        weights: w, [K].

    Returns:
        One tensor a parameter, of its own dtype.

    Raises:
        ValueError: numbers or shapes differ.
    """
    w = torch.as_tensor(np.asarray(weights, dtype=np.float64))
    if len(networks) == 0 or w.shape != (len(networks),):
        raise ValueError(f"weights has shape {tuple(w.shape)}; must be ({len(networks)},), one for each network")
    shapes = [[tuple(p.shape) for p in network] for network in networks]
    for i, own in enumerate(shapes):
        if own != shapes[0]:
            raise ValueError(f"networks[{i}] has parameters of shapes {own}; must be {shapes[0]}, as networks[0] has")
    return [
        torch.tensordot(w.to(same[0].device), torch.stack([p.double() for p in same]), dims=1).to(same[0].dtype)
        for same in zip(*networks, strict=True)
    ]


def _common_options(config: Any) -> dict[str, Any]:
    """The options of a sub-agent that a learner for single transitions takes over."""
    names = {f.name for f in dataclasses.fields(LearnerConfig)} & {f.name for f in dataclasses.fields(config)}
    return {name: getattr(config, name) for name in names}


def learner_from(sub_agent: SubAgent, task: Task | None = None, **options: Any) -> QLearner:
    """Copy a sub-agent into a learner that goes on by TD from where it is.

    One network becomes a Double DQN; an ensemble (CDER, bootstrapped DQN) the bootstrapped ensemble of its heads and
    priors, without the curiosity.

    Args:
        sub_agent: what to copy; it is not changed.
        task: of the learner; None: the sub-agent's.
        options: of ``DoubleDQNConfig`` or ``BootstrappedDQNConfig``, in place of the sub-agent's.

    Raises:
        ConfigError: the sub-agent has no action values, or an option does not exist.
    """
    if not sub_agent.valued:
        raise ConfigError(f"sub-agent {sub_agent.name!r} ({sub_agent.algorithm}) has no action values to go on from")
    critic, config = sub_agent.agent.critic, sub_agent.config
    given = {**_common_options(config), **options}
    made: NStepConfig
    if critic.members == 1 and critic.prior_net is None:
        made = DoubleDQNConfig(**given)
    else:
        ensemble = {
            "members": critic.members,
            "prior_scale": 0.0 if critic.prior_net is None else critic.prior_net.scale,
            "prior_gain": getattr(config, "prior_gain", 1.0),
            "mask_probability": getattr(config, "mask_probability", 1.0),
            "evaluation": "vote" if getattr(config, "evaluation", "mean") == "vote" else "mean",
        }
        made = BootstrappedDQNConfig(**{**ensemble, **given})
    learner = QLearner(
        sub_agent.task if task is None else task,
        made,
        name=sub_agent.name,
        seed=sub_agent.seed,
        levels=sub_agent.levels,
        accuracy=sub_agent.accuracy,
        device=sub_agent.device,
    )
    learner.agent.critic.load_state_dict(critic.state_dict())
    return learner


@torch.no_grad()
def soup(sub_agents: Sequence[SubAgent], weights: ArrayLike, name: str = "soup") -> QLearner:
    """One network whose weights are the weighted average of several (Wortsman et al. 2022, "Model soups").

    It means something for networks with a common start, as IMT's submodels have and the clients of an averaging round;
    the average of networks that were trained from different initial weights is no network for anything.

    Args:
        sub_agents: of one architecture, each one network.
        weights: w, [K].
        name: of the new one.

    Raises:
        ConfigError: one is an ensemble, or they have different layers.
    """
    networks = [[p for layer in layers_of(s) for p in layer] for s in sub_agents]
    try:
        mean = average_parameters(networks, weights)
    except ValueError as error:
        raise ConfigError(f"the sub-agents cannot be averaged: {error}") from error
    made = learner_from(sub_agents[0])
    made.name = name
    for own, value in zip((p for layer in layers_of(made) for p in layer), mean, strict=True):
        own.copy_(value)
    made.agent.critic.update_target()
    return made


@torch.no_grad()
def imt_sub_agents(learner: ImtLearner, device: str = "cpu") -> list[QLearner]:
    """The submodels of IMT as sub-agents: Q_i = h_i(f_phi_i(s)), with acc_i as accuracy.

    IMT learns from rewards times ``learner.reward_factor``; a sub-agent's values are of the environment's own rewards,
    so that it goes on learning from where it is.

    Args:
        learner: of any number of rounds.
        device: where their networks live.

    Raises:
        ConfigError: the submodels are ensembles (``exploration=curiosity``), which a sub-agent is not.
    """
    c, models = learner.config, learner.models
    if c.exploration == "curiosity":
        raise ConfigError(
            "exploration='curiosity': each submodel is an ensemble of last layers with priors, which a sub-agent does "
            "not hold; evaluate the run itself (metarl eval), or train it with exploration=epsilon_greedy"
        )
    config = DoubleDQNConfig(
        gamma=c.gamma,
        hidden=c.hidden,
        normalize_obs=c.normalize_obs,
        optimizer="adam",
        lr=c.lr,
        batch_size=c.batch_size,
        epochs=1,
        target_period=c.target_period,
        image_encoding=c.image_encoding,
        conv_filters=c.conv_filters,
        conv_kernel=c.conv_kernel,
        torch_threads=c.torch_threads,
    )
    made = []
    for i in range(learner.num_tasks):
        params = {name: float(values[i]) for name, values in learner.train_tasks.items()}
        task = Task(f"submodel {i}", learner.env_id, params, learner.params)
        agent = QLearner(
            task, config, seed=learner.seed, levels=c.action_levels, accuracy=learner.accuracy[i], device=device
        )
        for (weight, bias), (own_weight, own_bias) in zip(_submodel_layers(models, i), layers_of(agent), strict=True):
            # Of one-hot observations the first weights have a row more, for the all-zero one, which stays zero.
            own_weight.view(-1, *weight.shape[1:])[: len(weight)].copy_(weight)
            own_bias.view(-1).copy_(bias.view(-1))
        for parameter in layers_of(agent)[-1]:
            parameter.div_(float(learner.reward_factor))
        agent.agent.critic.update_target()
        made.append(agent)
    return made


def _submodel_layers(models: Submodels, member: int) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of one submodel, layer by layer, convolutions first."""
    trunk = models.trunks
    found: list[tuple[Tensor, Tensor]] = []
    if isinstance(trunk, BatchedConvNet):
        found = [(w[member], b[member]) for w, b in zip(trunk.filters, trunk.filter_biases, strict=True)]
        trunk = trunk.dense
    for net in (trunk, models.heads):
        found += [(w[member], b[member]) for w, b in zip(net.weights, net.biases, strict=True)]
    return found
