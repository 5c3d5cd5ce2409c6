"""CDER's agent: signal networks, critic ensemble and behaviour policy, and the loss that ties them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.policy import BehaviourPolicy
from metarl_core.agents.cder.signal import SignalModule, SignalSummary, return_target, shaped_reward
from metarl_core.agents.common.critic import CriticEnsemble, aggregate_actions, double_q_target
from metarl_core.agents.common.learner import Agent, make_optimizer, restore_rng, rng_state

__all__ = ["CderAgent"]


class CderAgent(Agent):
    """Curiosity-driven exploration with prioritized replay, discrete actions.

    Steps 1 to 3 are in :mod:`metarl_core.agents.cder.signal`, step 4 (prioritized batches, schedule of tau) and step 7
    (K epochs) in :mod:`metarl_core.agents.loop`, step 5 (critic) here, step 6 in :mod:`metarl_core.agents.cder.policy`.
    """

    config: CderConfig

    def __init__(
        self,
        config: CderConfig,
        in_features: int,
        num_actions: int,
        num_envs: int,
        seed: int,
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        super().__init__(config, in_features, num_actions, num_envs, seed, device)
        self.critic = CriticEnsemble(
            config.members,
            in_features,
            config.hidden,
            num_actions,
            config.prior_scale,
            self.init_generator,
            config.prior_gain,
            one_hot,
        ).to(self.device)
        self.signal = SignalModule(in_features, config, self.init_generator, one_hot).to(self.device)
        self.optimizer = make_optimizer(
            config,
            [
                {"params": list(self.critic.online.parameters()), "lr": config.lr},
                {"params": list(self.signal.online.parameters()), "lr": config.signal_lr},
            ],
        )
        self.policy = BehaviourPolicy(config, num_actions, num_envs, self.policy_rng)
        self.mask_rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 2))))

    def modules(self) -> dict[str, nn.Module]:
        """The critic ensemble and the signal networks, priors and slow copies included."""
        return {"critic": self.critic, "signal": self.signal}

    def begin_episodes(self, started: NDArray[np.bool_], returns: NDArray[np.float64]) -> None:
        """Redraw the Thompson heads of the instances that begin an episode."""
        self.policy.begin_episodes(started, returns)

    @torch.no_grad()
    def act(self, obs: Tensor, step: int) -> NDArray[np.int64]:
        """Step 6: execute the candidate action of pi_c."""
        return self.policy(self.critic(obs), step)

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> NDArray[np.int64]:
        """Aggregate the heads: mean value, vote, or the head with the best training returns."""
        q = self.critic(obs)
        if self.config.evaluation == "best":
            chosen = q[self.policy.best_head].argmax(dim=1)
        else:
            chosen = aggregate_actions(q, self.config.evaluation)
        actions: NDArray[np.int64] = chosen.cpu().numpy()
        return actions

    def extra_fields(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The bootstrap mask, one byte a head."""
        return {"mask": ((self.config.members,), np.uint8)} if self.config.mask_probability < 1 else {}

    def extra_columns(self, count: int) -> dict[str, NDArray[Any]]:
        """Draw bootstrap masks, uint8 [count, K]."""
        if self.config.mask_probability >= 1:
            return {}
        drawn = self.mask_rng.random((count, self.config.members), dtype=np.float32)
        return {"mask": (drawn < self.config.mask_probability).astype(np.uint8)}

    def schedule(self, step: int) -> dict[str, float]:
        """Epsilon of the behaviour policy."""
        return {"epsilon": self.policy.epsilon(step)}

    def losses(self, batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        """Critic loss (step 5) plus signal loss (step 1) for one prioritized batch.

        Args:
            batch: obs, next_obs float32 [B, D]; action int64 [B]; reward, terminated float32 [B]; mask [B, K] where
                masks are used; n_obs, n_return, n_discount where n_step > 1.
            weights: importance weights, float32 [B].
            collect: fill ``stats``.

        Returns:
            L = sum_j w_j sum_k m_jk delta_jk^2 + signal cross-entropy, float32 []; mean_k |delta_jk|, float32 [B].
        """
        c = self.config
        obs, next_obs, count = batch["obs"], batch["next_obs"], len(batch["obs"])
        terminated = batch["terminated"]
        with torch.no_grad():
            one_step = (batch["reward"], c.gamma * (1.0 - terminated), next_obs)
            n_steps = (batch["n_return"], batch["n_discount"], batch["n_obs"]) if c.n_step > 1 else one_step
            reward, discount, far_obs = n_steps if c.critic_n_step else one_step
            critic_prior = self.critic.prior(torch.cat((obs, far_obs)))
            next_online = self.critic.online(far_obs)
            next_target = self.critic.target(far_obs)
            if critic_prior is not None:
                next_online += critic_prior[:, count:]
                next_target += critic_prior[:, count:]
            # Steps 1 to 3: what the slow signal ensemble says about s, s' and s_{t+N}.
            states = torch.cat((obs, next_obs, n_steps[2]) if c.n_step > 1 else (obs, next_obs))
            signal_prior = self.signal.prior(states)
            summary = self.signal.summary(states, signal_prior)
            bonus = self._bonus(summary, next_target, count) * (1.0 - terminated)
            phi, far_phi = (
                summary.phi[:count],
                summary.phi[-count:] if c.critic_n_step else summary.phi[count : 2 * count],
            )
            if not c.shaping:
                phi, far_phi = torch.zeros_like(phi), torch.zeros_like(far_phi)
            shaped = shaped_reward(reward, discount, phi, far_phi, bonus, c.kappa)
            tails = summary.member_means[:, -count:] if c.signal_bootstrap == "own" else summary.phi[-count:]
            returns = return_target(n_steps[0], n_steps[1], tails)
            target = double_q_target(shaped, discount, next_online, next_target, c.double_q)
        # Step 5.
        q = self.critic.online(obs)
        taken = q.gather(2, batch["action"].view(1, -1, 1).expand(c.members, -1, 1)).squeeze(2)
        if critic_prior is not None:
            prior_obs = critic_prior[:, :count]
            target -= prior_obs.gather(2, batch["action"].view(1, -1, 1).expand(c.members, -1, 1)).squeeze(2)
        delta = taken - target
        squared = delta.square()
        if "mask" in batch:
            squared = squared * batch["mask"].t()
        critic_loss = (squared.sum(dim=0) * weights).sum()
        signal_loss, clipped = self.signal.loss(
            obs, None if signal_prior is None else signal_prior[:, :count], returns, weights
        )
        errors = delta.detach().abs().mean(dim=0)
        if collect:
            self.stats = {
                "loss": critic_loss.item(),
                "signal_loss": signal_loss.item(),
                "td_error_mean": errors.mean().item(),
                "q_mean": taken.detach().mean().item(),
                "intrinsic_reward_mean": (c.kappa * bonus).mean().item(),
                "epistemic_std": summary.epistemic[:count].mean().item(),
                "aleatoric_std": summary.aleatoric[:count].mean().item(),
                "clipped_returns": clipped.item(),
            }
        return critic_loss + signal_loss, errors

    def _bonus(self, summary: SignalSummary, next_target: Tensor, count: int) -> Tensor:
        """beta(s'), float32 [B], before it is set to zero at termination."""
        kind = self.config.bonus
        if kind == "epistemic":
            return summary.epistemic[count : 2 * count]
        if kind == "aleatoric":
            return summary.aleatoric[count : 2 * count]
        if kind == "q_epistemic":
            return next_target.amax(dim=2).std(dim=0, correction=0)
        return torch.zeros_like(summary.epistemic[:count])

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, heads in use, generators."""
        return {**super().state_dict(), "policy": self.policy.state_dict(), "mask_rng": rng_state(self.mask_rng)}

    def load_modules(self, state: Mapping[str, Any]) -> None:
        """Load the networks, and which head did best."""
        super().load_modules(state)
        self.policy.head_returns = np.asarray(state["policy"]["head_returns"]).copy()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.policy.load_state_dict(state["policy"])
        restore_rng(self.mask_rng, state["mask_rng"])

    def update_targets(self) -> None:
        """Move the critic's target and the signal's slow copy."""
        super().update_targets()
        self.signal.update_target()
