"""CDER's agent for continuous actions: the maxima over actions are taken over candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.cder.continuous_config import ContinuousCderConfig
from metarl_core.agents.cder.learner import CderAgent
from metarl_core.agents.cder.proposal import Noise, Proposal, draw_noise, proposal_loss
from metarl_core.agents.common.action_critic import ActionCritic, candidate_values, member_values
from metarl_core.agents.common.actions import BoxActions
from metarl_core.agents.common.critic import aggregate_actions
from metarl_core.agents.common.images import Features
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.options import ConfigError

__all__ = ["ContinuousCderAgent", "take_candidates"]


def take_candidates(candidates: Tensor, index: Tensor) -> Tensor:
    """Pick candidates by their number.

    Args:
        candidates: float32 [B, C, dims].
        index: int64 [..., B].

    Returns:
        float32 [..., B, dims].
    """
    return candidates[torch.arange(len(candidates), device=candidates.device), index]


class ContinuousCderAgent(CderAgent):
    """CDER with a Box of actions: candidates drawn from pi_c and uniformly, argmax of Q over them.

    Signal networks, shaping, bonus, weights, masks, n-step returns and priorities are :class:`CderAgent`'s. What
    differs: the critic reads state and action, every max over actions runs over a state's candidates, and the proposal
    pi_c learns each head's best candidate of s' (:mod:`metarl_core.agents.cder.proposal`). Inside, actions are in unit
    coordinates.

    Args:
        config: the options.
        in_features: width of a vector observation.
        actions: the action space.
        num_envs: instances it acts for.
        seed: seed of everything random in the agent.
        device: where the networks live.
        one_hot: must be False.

    Raises:
        ConfigError: observations are images or indices.
    """

    config: ContinuousCderConfig
    critic: ActionCritic
    pi: Proposal

    def __init__(
        self,
        config: ContinuousCderConfig,
        in_features: Features,
        actions: BoxActions,
        num_envs: int,
        seed: int,
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        if one_hot or not isinstance(in_features, int):
            what = "indices (one_hot_obs, or a Discrete space)" if one_hot else "images (set image_encoding=flat)"
            raise ConfigError(f"continuous actions need vector observations; these are {what}")
        self.actions = actions
        super().__init__(config, in_features, config.candidates, num_envs, seed, device)
        self.candidate_rng = torch.Generator().manual_seed(int(np.random.SeedSequence((seed, 4)).generate_state(1)[0]))
        # One noise for all states and calls: evaluation is a fixed function of the state.
        self.evaluation_noise = self._noise(1, config.acting_candidates)
        self._best: tuple[Tensor, Tensor, Tensor] | None = None

    def _make_critic(self, one_hot: bool) -> ActionCritic:  # noqa: ARG002
        c = self.config
        assert isinstance(self.in_features, int)
        return ActionCritic(
            c.members, self.in_features, self.actions.size, c.hidden, c.prior_scale, self.init_generator, c.prior_gain
        )

    def _make_pi(self, one_hot: bool) -> Proposal:  # noqa: ARG002
        c = self.config
        assert isinstance(self.in_features, int)
        return Proposal(
            self.in_features, self.actions.size, c.proposal_components, c.proposal_hidden, self.init_generator
        )

    def _noise(self, count: int, candidates: int) -> Noise:
        proposals, uniform = self.config.split(candidates)
        return draw_noise(count, proposals, uniform, self.actions.size, self.candidate_rng)

    def _unit(self, actions: Tensor) -> Tensor:
        """Stored actions [B, dims] in unit coordinates."""
        middle = torch.from_numpy(self.actions.middle).to(actions.device)
        return (actions - middle) / torch.from_numpy(self.actions.half_width).to(actions.device)

    @torch.no_grad()
    def act(self, obs: Tensor, step: int) -> NDArray[Any]:
        """Step 6: execute the candidate action of pi_c; float [num_envs, dims] within the bounds.

        Raises:
            TrainingDivergedError: it is NaN, as the networks are.
        """
        if self.config.behaviour == "proposal":
            noise = draw_noise(len(obs), 1, 0, self.actions.size, self.candidate_rng)
            chosen = self.pi.candidates(obs, noise)[:, 0]
        else:
            candidates = self.pi.candidates(obs, self._noise(len(obs), self.config.acting_candidates))
            index = self.policy.best(self.critic.candidates(obs, candidates))
            chosen = take_candidates(candidates, torch.from_numpy(index).to(obs.device))
        unit: NDArray[np.float32] = chosen.cpu().numpy()
        epsilon = self.policy.epsilon(step)
        if epsilon > 0:
            drawn = self.policy_rng.uniform(-1.0, 1.0, unit.shape).astype(np.float32)
            unit = np.where(self.policy_rng.random((len(unit), 1)) < epsilon, drawn, unit)
        if not np.isfinite(unit).all():
            raise TrainingDivergedError(
                f"an action is no longer finite at environment step {step}, gradient step {self.updates}; try a "
                "smaller lr or policy_lr"
            )
        return self.actions.from_unit(unit)

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> NDArray[Any]:
        """Best candidate by the heads' mean value, vote, or the head with the best training returns."""
        candidates = self.pi.candidates(obs, self.evaluation_noise)
        q = self.critic.candidates(obs, candidates)
        if self.config.evaluation == "best":
            index = q[self.policy.best_head].argmax(dim=1)
        else:
            index = aggregate_actions(q, self.config.evaluation)
        return self.actions.from_unit(take_candidates(candidates, index).cpu().numpy())

    def _target_values(self, states: Tensor) -> Tensor:
        """Q'_k of the candidates of states, float32 [K, B, C]."""
        candidates = self.pi.candidates(states, self._noise(len(states), self.config.candidates))
        return self.critic.candidates(states, candidates, target=True)

    def _next_values(self, batch: Mapping[str, Tensor], far_obs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Q_k and Q'_k of the candidates of ``far_obs``, and the prior at (s, a), float32 [K, B, 1].

        With double Q the target network need value the chosen candidate of each head alone: both come as [K, B, 1].
        """
        c, critic = self.config, self.critic
        candidates = self.pi.candidates(far_obs, self._noise(len(far_obs), c.candidates))
        online, prior = (
            candidate_values(critic.online, far_obs, candidates),
            critic.candidate_prior(far_obs, candidates),
        )
        if prior is not None:
            online += prior
        highest, index = online.max(dim=2, keepdim=True)
        best = take_candidates(candidates, index.squeeze(2))
        alive = batch["n_discount"] > 0 if c.critic_n_step and c.n_step > 1 else batch["terminated"] == 0
        self._best = (far_obs, best, alive)
        if c.double_q and c.bonus != "q_epistemic":
            online = highest
            target = member_values(critic.target, far_obs, best).unsqueeze(2)
            prior = None if prior is None else prior.gather(2, index)
        else:
            target = candidate_values(critic.target, far_obs, candidates)
        if prior is not None:
            target += prior
        return online, target, critic.candidate_prior(batch["obs"], self._unit(batch["action"]).unsqueeze(1))

    def _values(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Trained part f_k of the critic at (s, a), float32 [K, B, 1]."""
        return candidate_values(self.critic.online, batch["obs"], self._unit(batch["action"]).unsqueeze(1))

    def _of_taken(self, values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """They are those of the action taken already."""
        return values.squeeze(2)

    def _policy_loss(self, batch: Mapping[str, Tensor], q: Tensor, weights: Tensor) -> Tensor:  # noqa: ARG002
        """Likelihood of every head's best candidate of s', which the target has just found."""
        assert self._best is not None
        far_obs, best, alive = self._best
        return proposal_loss(self.pi(far_obs), best, weights * alive)

    def state_dict(self) -> dict[str, Any]:
        """As of discrete actions, and the generator of the candidates."""
        return {**super().state_dict(), "candidate_rng": self.candidate_rng.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.candidate_rng.set_state(state["candidate_rng"])
