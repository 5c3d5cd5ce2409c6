"""CDER's exploration for all tasks of IMT at once: signal networks, intrinsic reward, and a head for an episode."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.policy import BehaviourPolicy
from metarl_core.agents.cder.return_check import ReturnCheck
from metarl_core.agents.cder.signal import SignalModule, return_target, shaped_reward
from metarl_core.agents.common.critic import double_q_target
from metarl_core.agents.imt.batches import TaskBatch
from metarl_core.agents.imt.networks import Submodels, one_hot_indices
from metarl_core.agents.imt.task_rows import TaskRows

__all__ = ["Curiosity", "TaskEnsemble", "ensemble_td_errors", "make_signal"]


class TaskEnsemble(nn.Module):
    """``members`` ReLU perceptrons for each of K tasks, all of them evaluated together on rows of their own task.

    A task's are an :class:`EnsembleMLP`: the first layer is one product with the members' weights side by side, or of
    one-hot observations a look-up, each later layer one ``baddbmm``.

    Args:
        tasks: K.
        members: E, of each task.
        widths: of the input D, the hidden layers (at least one) and the output O.
        generator: source of the initial weights, uniform in +-1/sqrt(fan_in).
        one_hot: inputs are indices in [0, D], D standing for the all-zero vector, whose row is zero and stays so.
    """

    def __init__(
        self, tasks: int, members: int, widths: Sequence[int], generator: torch.Generator, *, one_hot: bool = False
    ) -> None:
        super().__init__()
        self.tasks, self.members, self.in_features, self.one_hot = tasks, members, widths[0], one_hot
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            bound = fan_in**-0.5
            if layer == 0:
                weight = self._drawn((tasks, fan_in, members * fan_out), bound, generator)
                if one_hot:
                    weight = torch.cat((weight, torch.zeros(tasks, 1, members * fan_out)), dim=1)
                bias = self._drawn((tasks, 1, members * fan_out), bound, generator)
            else:
                weight = self._drawn((tasks * members, fan_in, fan_out), bound, generator)
                bias = self._drawn((tasks * members, 1, fan_out), bound, generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))

    @staticmethod
    def _drawn(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
        return (torch.rand(*shape, generator=generator) * 2 - 1) * bound

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate float32 [K, B, D], or int64 [K, B] if made with ``one_hot``; float32 [E, K * B, O], rows by task."""
        first, rows = self.weights[0], x.shape[1]
        h: Tensor
        if self.one_hot:
            shift = torch.arange(self.tasks, device=x.device).unsqueeze(1) * (self.in_features + 1)
            # The gradient of the last row, the all-zero vector's, is kept away: it stays zero.
            index = (x + shift).masked_fill(x == self.in_features, self.in_features)
            h = torch.embedding(first.flatten(0, 1), index, self.in_features) + self.biases[0]
        else:
            h = torch.baddbmm(self.biases[0], x, first)
        h = h.view(self.tasks, rows, self.members, -1).transpose(1, 2).flatten(0, 1)  # [K * E, B, H]
        for weight, bias in itertools.islice(zip(self.weights, self.biases, strict=True), 1, None):
            h = torch.baddbmm(bias, torch.relu(h), weight)
        h = h.view(self.tasks, self.members, rows, -1).transpose(0, 1).flatten(1, 2)
        return h


def make_signal(
    config: CderConfig, tasks: int, features: int, one_hot: bool, generator: torch.Generator
) -> SignalModule:
    """Make the signal networks of all tasks, in host memory.

    Args:
        config: CDER's options.
        tasks: K.
        features: width of an observation, D.
        one_hot: observations are indices in [0, D].
        generator: source of the initial weights.
    """
    widths = (features, *config.signal_hidden, config.atoms)
    trained = TaskEnsemble(tasks, config.signal_members, widths, generator, one_hot=one_hot)
    return SignalModule(features, config, generator, one_hot, trained=trained)


def ensemble_td_errors(
    models: Submodels, batch: TaskBatch, reward: Tensor, gamma: float, *, frozen: bool = False
) -> Tensor:
    """Q_ik(s, a) - (r~ + gamma (1 - d) Q'_ik(s', argmax_a Q_ik(s', a))) of every head k of every submodel i.

    Each head follows its own slow copy, as in bootstrapped DQN; Q_ik holds the head's fixed prior.

    Args:
        models: the submodels.
        batch: rows of its own for each submodel, [K, B].
        reward: r~ of these rows, float32 [K, B], in place of the batch's.
        gamma: discount.
        frozen: a gradient reaches the last layers alone (alternation A).

    Returns:
        float32 [K, H, B].
    """
    count = batch.shape[1]
    with torch.no_grad():
        online, slow = models.trained_values(batch.next_obs), models.trained_values(batch.next_obs, target=True)
        prior = models.prior(torch.cat((batch.obs, batch.next_obs), dim=1))
        if prior is not None:
            online, slow = online + prior[:, :, count:], slow + prior[:, :, count:]
        pairs = (models.members * models.critic_heads, count)
        each = (v.unsqueeze(1).expand(-1, models.critic_heads, -1).reshape(pairs) for v in (reward, batch.terminated))
        rewards, terminated = each
        target = double_q_target(rewards, gamma * (1 - terminated), online.flatten(0, 1), slow.flatten(0, 1))
        target = target.view(models.members, models.critic_heads, count)
    action = batch.action.view(models.members, 1, count, 1).expand(-1, models.critic_heads, -1, -1)
    taken: Tensor = models.trained_values(batch.obs, frozen=frozen).gather(3, action).squeeze(3)
    if prior is not None:
        target = target - prior[:, :, :count].gather(3, action).squeeze(3)
    return taken - target


class Curiosity:
    """What each task's submodel is curious about, and how it acts while it learns.

    Args:
        config: CDER's options.
        models: the submodels, made with ``config.members`` last layers.
        features: width of an observation, D.
        actors: the training tasks' environments.
        reward_factor: by which rewards are multiplied before they are learned from.
        seed: of initial weights and of the heads in use.
        device: where the networks live.

    Attributes:
        signal: signal networks R_psi(s), E for each task. Priors are the same for all tasks.
        policy: optimistic Thompson sampling; one head for each instance and episode.
    """

    def __init__(
        self,
        config: CderConfig,
        models: Submodels,
        features: int,
        actors: TaskRows,
        reward_factor: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.config, self.models, self.reward_factor = config, models, reward_factor
        generator = torch.Generator().manual_seed(seed >> 1)
        self.signal = make_signal(config, models.members, features, models.one_hot, generator).to(device)
        self.optimizer = torch.optim.Adam(self.signal.online.parameters(), lr=config.signal_lr, fused=True)
        rows = actors.num_tasks * actors.per_task
        self.policy = BehaviourPolicy(config, actors.num_actions, rows, np.random.default_rng([seed, 14]))
        self.return_check = ReturnCheck(config.z_min, config.z_max, config.gamma, rows)

    @torch.no_grad()
    def act(self, obs: Tensor) -> NDArray[np.int64]:
        """Actions of the heads in use; observations [K, n, ...] -> int64 [K * n]."""
        return self.policy(self.values(obs), step=0)

    def values(self, obs: Tensor) -> Tensor:
        """Values of every head, as the policy takes them; observations [K, n, ...] -> float32 [H, K * n, A]."""
        return self.models.head_values(obs).transpose(0, 1).flatten(1, 2)

    def observe(self, actors: TaskRows, reward: NDArray[np.float32]) -> None:
        """Draw a head for every instance whose episode ended with the last step, whose rewards are float32 [K * n].

        Raises:
            ConfigError: the discounted return of an episode is outside the atoms.
        """
        ended, returns = np.zeros(len(reward), dtype=np.bool_), np.zeros(len(reward))
        for row, total, _ in actors.ended:
            ended[row], returns[row] = True, total
        self.return_check.update(reward * self.reward_factor, ended)
        self.policy.begin_episodes(ended, returns)

    def _states(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Observations [K, B, D] as the signal's trained networks take them, and, flat, as its priors do."""
        states = one_hot_indices(obs) if self.models.one_hot else obs
        return states, states.flatten(0, 1)

    def learn_signal(self, batch: TaskBatch) -> Tensor:
        """Steps 1 to 3 of CDER: one gradient step of all signal networks; r~ as it was before, float32 [K, B]."""
        c, (tasks, count) = self.config, batch.shape
        states, flat = self._states(torch.cat((batch.obs, batch.next_obs), dim=1))
        with torch.no_grad():
            prior = self.signal.prior(flat)
            summary = self.signal.summary(states, prior, aleatoric=False)
            phi, next_phi = summary.phi.view(tasks, 2, count).unbind(dim=1)
            continues = 1.0 - batch.terminated
            bonus = summary.epistemic.view(tasks, 2, count)[:, 1] * continues
            potentials = (phi, next_phi) if c.shaping else (torch.zeros_like(phi), torch.zeros_like(phi))
            reward = shaped_reward(batch.reward, c.gamma * continues, *potentials, bonus, c.kappa)
            tails = summary.member_means.view(-1, tasks, 2, count)[:, :, 1]
            returns = return_target(batch.reward, c.gamma * continues, tails).flatten(1)
        own_prior = None if prior is None else prior.view(-1, tasks, 2, count, c.atoms)[:, :, 0].flatten(1, 2)
        weights = torch.full((tasks * count,), 1.0 / count, device=returns.device)
        loss, _ = self.signal.loss(states[:, :count], own_prior, returns, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.signal.update_target()
        return reward

    def td_losses(self, batch: TaskBatch, *, frozen: bool = False) -> Tensor:
        """Mean squared TD error of every submodel over its heads, with the intrinsic reward; float32 [K].

        Without bonus and shaping nothing asks the signal networks, and they do not learn.
        """
        reward = self.learn_signal(batch) if self.config.kappa > 0 or self.config.shaping else batch.reward
        errors = ensemble_td_errors(self.models, batch, reward, self.config.gamma, frozen=frozen)
        return errors.square().mean(dim=(1, 2))

    @torch.no_grad()
    def bonus(self, obs: Tensor) -> Tensor:
        """beta(s) of observations [K, B, D] as the slow signal networks have it now, float32 [K, B]."""
        states, flat = self._states(obs)
        summary = self.signal.summary(states, self.signal.prior(flat), aleatoric=False)
        return summary.epistemic.view(obs.shape[:2])

    def state_dict(self) -> dict[str, Any]:
        """All that later rounds depend on."""
        return {
            "signal": self.signal.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "policy": self.policy.state_dict(),
            "return_check": self.return_check.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.signal.load_state_dict(state["signal"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.policy.load_state_dict(state["policy"])
        self.return_check.load_state_dict(state["return_check"])
