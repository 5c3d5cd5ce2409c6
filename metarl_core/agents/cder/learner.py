"""CDER's agent: signal networks, critic ensemble and behaviour policy, and the loss that ties them together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.cder.bonus_scale import BonusScale
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.imagined import ImaginedRows, imagined_errors
from metarl_core.agents.cder.policy import BehaviourPolicy, distillation_loss
from metarl_core.agents.cder.ratios import greedy_ratios, n_step_rho
from metarl_core.agents.cder.return_check import ReturnCheck
from metarl_core.agents.cder.signal import SignalModule, SignalSummary, return_target, stored_reward
from metarl_core.agents.common.critic import CriticEnsemble, aggregate_actions, double_q_target
from metarl_core.agents.common.images import Features, make_ensemble, stored_observation
from metarl_core.agents.common.learner import Agent, make_optimizer, restore_rng, rng_state
from metarl_core.agents.common.visits import EpisodicVisits

__all__ = ["CderAgent"]


class CderAgent(Agent):
    """Curiosity-driven exploration with prioritized replay, discrete actions.

    Steps 1 to 3 are in :mod:`metarl_core.agents.cder.signal`, step 4 (prioritized batches, schedule of tau) and step 7
    (K epochs) in :mod:`metarl_core.agents.training_loop`, step 5 (critic) here, step 6 in
    :mod:`metarl_core.agents.cder.policy`.
    """

    config: CderConfig

    def __init__(
        self,
        config: CderConfig,
        in_features: Features,
        num_actions: int,
        num_envs: int,
        seed: int,
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        super().__init__(config, in_features, num_actions, num_envs, seed, device)
        self.critic = self._make_critic(one_hot).to(self.device)
        self.signal = SignalModule(in_features, config, self.init_generator, one_hot).to(self.device)
        groups = [
            {"params": list(self.critic.online.parameters()), "lr": config.lr},
            {"params": list(self.signal.online.parameters()), "lr": config.signal_lr},
        ]
        self.pi = self._make_pi(one_hot)
        if self.pi is not None:
            self.pi.to(self.device)
            groups.append({"params": list(self.pi.parameters()), "lr": config.policy_lr})
        self.optimizer = make_optimizer(config, groups)
        self.policy = BehaviourPolicy(config, num_actions, num_envs, self.policy_rng)
        self.mask_rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 2))))
        self.imagined_rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 3))))
        self.one_hot = one_hot
        self.return_check = ReturnCheck(config.z_min, config.z_max, config.gamma, num_envs)
        self.bonus_scale = BonusScale(config.gamma, num_envs)
        self.visits: EpisodicVisits | None = None
        if config.bonus_visits == "first":
            shape, _ = stored_observation(in_features, one_hot)
            self.visits = EpisodicVisits(num_envs, math.prod(shape), config.visit_resolution)
        self._first: NDArray[np.bool_] | None = None
        self.imagined: ImaginedRows | None = None
        if config.imagined:
            self.imagined = ImaginedRows(config, *stored_observation(in_features, one_hot), seed)
        self._beta, self._stored, self._step = config.importance_exponents[0], 0, 0
        self._new_rows: dict[str, Tensor] = {}
        self._drawn: tuple[Any, NDArray[np.float32]] | None = None

    def _make_critic(self, one_hot: bool) -> CriticEnsemble:
        c = self.config
        return CriticEnsemble(
            c.members,
            self.in_features,
            c.hidden,
            self.num_actions,
            c.prior_scale,
            self.init_generator,
            c.prior_gain,
            one_hot,
        )

    def _make_pi(self, one_hot: bool) -> nn.Module | None:
        """The network of a parametric pi_c; None where there is none."""
        if self.config.behaviour != "distilled":
            return None
        return make_ensemble(
            1, self.in_features, self.config.hidden, self.num_actions, self.init_generator, one_hot=one_hot
        )

    def modules(self) -> dict[str, nn.Module]:
        """The critic ensemble and the signal networks, priors and slow copies included, and a distilled policy."""
        return {"critic": self.critic, "signal": self.signal, **({} if self.pi is None else {"policy": self.pi})}

    def begin_episodes(self, started: NDArray[np.bool_], returns: NDArray[np.float64]) -> None:
        """Redraw the Thompson heads of the instances that begin an episode."""
        self.policy.begin_episodes(started, returns)

    @torch.no_grad()
    def act(self, obs: Tensor, step: int) -> NDArray[Any]:
        """Step 6: execute the candidate action of pi_c."""
        return self.policy(self.critic(obs), step, self._logits(obs))

    def _logits(self, obs: Tensor) -> Tensor | None:
        """Logits of the distilled pi, float32 [B, A]; None where there is no such policy."""
        return None if self.pi is None else self.pi(obs)[0]

    def observe(self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]) -> None:
        """Check the episodes' returns against the atoms, and let the scale of the bonus follow the behaviour's."""
        if self.config.return_check == "error":
            self.return_check.update(columns["reward"], ended)
        if self.config.normalize_bonus:
            states = torch.from_numpy(columns["next_obs"]).to(self.device)
            bonus = self.bonus(states.long() if self.one_hot else states).cpu().numpy()
            if self.config.novelty_alpha > 0.0:
                before = torch.from_numpy(columns["obs"]).to(self.device)
                known = self.bonus(before.long() if self.one_hot else before).cpu().numpy()
                bonus = np.maximum(bonus - self.config.novelty_alpha * known, 0.0)
            paid = ~columns["terminated"] if self._first is None else self._first & ~columns["terminated"]
            self.bonus_scale.update(bonus * paid)

    def drop_running(self) -> None:
        """Forget the returns of the episodes that have not ended."""
        self.return_check.drop_running()
        if self.visits is not None:
            self.visits.begin_anew()

    @torch.no_grad()
    def bonus(self, states: Tensor) -> Tensor:
        """beta(s) of encoded states, as the slow networks have it now: float32 [B], not yet scaled."""
        summary = self.signal.summary(states, self.signal.prior(states), self.config.bonus == "aleatoric")
        values = self._target_values(states) if self.config.bonus == "q_epistemic" else torch.empty(0)
        return self._bonus(summary, values, slice(None))

    def _target_values(self, states: Tensor) -> Tensor:
        """Q'_k(s, .), float32 [K, B, A]."""
        q: Tensor = self.critic.target(states)
        prior = self.critic.prior(states)
        return q if prior is None else q + prior

    def begin_learning(self, beta: float, stored: int) -> None:
        """Note what the imagined rows need to know."""
        self._beta, self._stored = beta, stored

    def path_columns(self) -> tuple[str, ...]:
        """What rho needs of the steps that an n-step return runs over."""
        return ("obs", "action", "mu") if self.config.importance_ratios == "truncated" else ()

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> NDArray[Any]:
        """Aggregate the heads: mean value, vote, or the head with the best training returns."""
        q = self.critic(obs)
        if self.config.evaluation == "best":
            chosen = q[self.policy.best_head].argmax(dim=1)
        else:
            chosen = aggregate_actions(q, self.config.evaluation)
        actions: NDArray[np.int64] = chosen.cpu().numpy()
        return actions

    def extra_fields(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """The bootstrap mask, one byte a head, mu where rho needs it, and whether s' was new in its episode."""
        fields: dict[str, tuple[tuple[int, ...], Any]] = {}
        if self.visits is not None:
            fields["first_visit"] = ((), np.bool_)
        if self.config.mask_probability < 1:
            fields["mask"] = ((self.config.members,), np.uint8)
        if self.config.importance_ratios == "truncated":
            fields["mu"] = ((), np.float32)
        return fields

    def extra_columns(self, count: int) -> dict[str, NDArray[Any]]:
        """Draw bootstrap masks, uint8 [count, K]; mu of the last actions, float32 [count]."""
        columns: dict[str, NDArray[Any]] = {}
        if self.config.mask_probability < 1:
            drawn = self.mask_rng.random((count, self.config.members), dtype=np.float32)
            columns["mask"] = (drawn < self.config.mask_probability).astype(np.uint8)
        if self.config.importance_ratios == "truncated":
            columns["mu"] = self.policy.mu
        return columns

    def transition_columns(
        self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        """Those of :meth:`extra_columns`, and whether s' is visited for the first time in its episode."""
        extra = super().transition_columns(columns, ended)
        if self.visits is not None:
            self._first = extra["first_visit"] = self.visits.step(columns["obs"], columns["next_obs"], ended)
        return extra

    def learn(self, batch: Mapping[str, Tensor], weights: Tensor, step: int, collect: bool) -> NDArray[np.float32]:
        """One gradient step, and step 6 as typed where ``imagined`` asks for it: priorities, then new rows."""
        self._step = step
        errors = super().learn(batch, weights, step, collect)
        if self.imagined is not None:
            if self._drawn is not None:
                self.imagined.update(*self._drawn)
                self._drawn = None
            self.imagined.add(self._new_rows, self._stored, self.config.imagined_fraction)
        return errors

    def schedule(self, step: int) -> dict[str, float]:
        """Epsilon of the behaviour policy."""
        return {"epsilon": self.policy.epsilon(step)}

    def losses(self, batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        """Critic loss (step 5) plus signal loss (step 1) for one prioritized batch.

        Args:
            batch: obs, next_obs float32 [B, D]; action int64 [B]; reward, terminated float32 [B]; mask [B, K] where
                masks are used; n_obs, n_return, n_discount where n_step > 1; path_obs, path_action, path_mu
                [B, N - 1, ...] and path_length [B] where rho is used.
            weights: importance weights, float32 [B].
            collect: fill ``stats``.

        Returns:
            L = sum_j w_j sum_k m_jk rho_jk delta_jk^2 + signal cross-entropy, float32 []; mean_k rho_jk |delta_jk|,
            float32 [B].
        """
        c = self.config
        obs, next_obs, count = batch["obs"], batch["next_obs"], len(batch["obs"])
        terminated = batch["terminated"]
        with torch.no_grad():
            one_step = (batch["reward"], c.gamma * (1.0 - terminated), next_obs)
            n_steps = (batch["n_return"], batch["n_discount"], batch["n_obs"]) if c.n_step > 1 else one_step
            reward, discount, far_obs = n_steps if c.critic_n_step else one_step
            next_online, next_target, critic_prior = self._next_values(batch, far_obs)
            # Steps 1 to 3: what the slow signal ensemble says about s, s' and s_{t+N}.
            states = torch.cat((obs, next_obs, n_steps[2]) if c.n_step > 1 else (obs, next_obs))
            signal_prior = self.signal.prior(states)
            summary = self.signal.summary(states, signal_prior, collect or c.bonus == "aleatoric")
            bonus = self._bonus(summary, next_target, slice(count, 2 * count))
            if c.novelty_alpha > 0.0:
                own = self._target_values(obs) if c.bonus == "q_epistemic" else next_target
                bonus = (bonus - c.novelty_alpha * self._bonus(summary, own, slice(0, count))).clamp_(min=0.0)
            if c.reward_form == "corrected":
                bonus = bonus * (1.0 - terminated)
            if "first_visit" in batch:
                bonus = bonus * batch["first_visit"]
            if c.normalize_bonus:
                bonus = bonus * self.bonus_scale.factor
            phi, far_phi = (
                summary.phi[:count],
                summary.phi[-count:] if c.critic_n_step else summary.phi[count : 2 * count],
            )
            if not c.shaping:
                phi, far_phi = torch.zeros_like(phi), torch.zeros_like(far_phi)
            shaped = stored_reward(c.reward_form, reward, discount, phi, far_phi, bonus, c.kappa)
            returns = self._return_target(n_steps[0], n_steps[1], summary, count)
            target = double_q_target(shaped, discount, next_online, next_target, c.double_q)
            if c.target_bonus:
                target = target + c.kappa * bonus
            if self.imagined is not None:
                self._imagine(batch, next_online, target, c.kappa * bonus)
        # Step 5.
        q = self._values(batch)
        taken = self._of_taken(q, batch)
        if critic_prior is not None:
            target -= self._of_taken(critic_prior, batch)
        delta = taken - target
        squared = delta.square()
        if "mask" in batch:
            squared = squared * batch["mask"].t()
        errors = delta.detach().abs()
        if c.importance_ratios == "truncated":
            rho = self._rho(batch)
            squared, errors = squared * rho, errors * rho
        errors = errors.mean(dim=0)
        critic_loss = (squared.sum(dim=0) * weights).sum()
        if self.imagined is not None and len(self.imagined) >= self.imagined.rows_per_step:
            share = c.imagined_fraction
            critic_loss = (1.0 - share) * critic_loss + share * self._imagined_loss()
        if c.double_normalization:
            critic_loss = critic_loss / count
        signal_loss, clipped = self.signal.loss(
            obs, None if signal_prior is None else signal_prior[:, :count], returns, weights
        )
        if collect:
            assert summary.aleatoric is not None
            stats: dict[str, float | Tensor] = {
                "loss": critic_loss.detach(),
                "signal_loss": signal_loss.detach(),
                "td_error_mean": errors.mean(),
                "q_mean": taken.detach().mean(),
                "intrinsic_reward_mean": (c.kappa * bonus).mean(),
                "epistemic_std": summary.epistemic[:count].mean(),
                "aleatoric_std": summary.aleatoric[:count].mean(),
                "clipped_returns": clipped,
            }
            if c.normalize_bonus:
                stats["bonus_factor"] = self.bonus_scale.factor
            if self.imagined is not None:
                stats["imagined_rows"] = len(self.imagined)
        total = critic_loss + signal_loss
        if self.pi is not None:
            full = q.detach() if critic_prior is None else q.detach() + critic_prior
            policy_loss = self._policy_loss(batch, full, weights)
            total = total + policy_loss
            if collect:
                stats["policy_loss"] = policy_loss.detach()
        if collect:
            self.stats = stats
        return total, errors

    def _next_values(self, batch: Mapping[str, Tensor], far_obs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the target bootstraps from, and the fixed part of the critic at s.

        Returns:
            Q_k and Q'_k of ``far_obs``, prior included, float32 [K, B, A]; the prior of the values that
            :meth:`_values` gives (same shape), None without a prior.
        """
        count = len(far_obs)
        prior = self.critic.prior(torch.cat((batch["obs"], far_obs)))
        online, target = self.critic.online(far_obs), self.critic.target(far_obs)
        if prior is None:
            return online, target, None
        online += prior[:, count:]
        target += prior[:, count:]
        return online, target, prior[:, :count]

    def _values(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Trained part f_k of the critic at s, float32 [K, B, A]."""
        q: Tensor = self.critic.online(batch["obs"])
        return q

    def _of_taken(self, values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The values [K, B, A] of the actions taken, float32 [K, B]."""
        index = batch["action"].view(1, -1, 1).expand(self.config.members, -1, 1)
        return values.gather(2, index).squeeze(2)

    def _policy_loss(self, batch: Mapping[str, Tensor], q: Tensor, weights: Tensor) -> Tensor:
        """Loss of the parametric pi_c; ``q`` is Q_k at s, float32 [K, B, A], without gradient."""
        assert self.pi is not None
        return distillation_loss(self.pi(batch["obs"])[0], q, self.config.temperature, weights)

    def _return_target(self, n_return: Tensor, n_discount: Tensor, summary: SignalSummary, count: int) -> Tensor:
        """Step 3's G_t, [B] or [E, B], by whose slow copy closes it."""
        kind = self.config.signal_bootstrap
        if kind == "none":
            return n_return
        tails = summary.member_means[:, -count:] if kind == "own" else summary.phi[-count:]
        return return_target(n_return, n_discount, tails)

    def _bonus(self, summary: SignalSummary, target: Tensor, rows: slice) -> Tensor:
        """Beta of the states in ``rows`` of a summary, float32 [B]; ``target`` holds Q' of the same states."""
        kind = self.config.bonus
        if kind == "epistemic":
            return summary.epistemic[rows]
        if kind == "aleatoric":
            assert summary.aleatoric is not None
            return summary.aleatoric[rows]
        if kind == "q_epistemic":
            return target.amax(dim=2).std(dim=0, correction=0)
        return torch.zeros_like(summary.epistemic[rows])

    @torch.no_grad()
    def _rho(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Truncated product of pi / mu over the steps after the first, float32 [K, B]."""
        path, count = batch["path_obs"], len(batch["path_obs"])
        q = self.critic(path.flatten(0, 1))
        ratios = greedy_ratios(q, batch["path_action"].flatten(), batch["path_mu"].flatten())
        return n_step_rho(ratios.view(self.config.members, count, -1), batch["path_length"], self.config.rho_max)

    def _imagine(self, batch: Mapping[str, Tensor], next_q: Tensor, target: Tensor, intrinsic: Tensor) -> None:
        """Prepare rows ((s, a, y), (s', a', r + r')) from a random part of the batch; stored after the step."""
        assert self.imagined is not None
        size = min(self.imagined.rows_per_step, len(target[0]))
        chosen = self.imagined_rng.permutation(len(target[0]))[:size]
        rows = torch.from_numpy(chosen).to(self.device)
        states = batch["next_obs"][rows]
        if self.config.critic_n_step:  # next_q is then of the state n steps on
            next_q = self.critic(batch["next_obs"])
        actions = self.policy.candidates(next_q[:, rows], self._step, self.imagined_rng, self._logits(states))
        self._new_rows = {
            "obs": batch["obs"][rows],
            "action": batch["action"][rows],
            "target": target[:, rows].t().contiguous(),
            "next_obs": states,
            "candidate": torch.from_numpy(actions),
            "candidate_return": batch["reward"][rows] + intrinsic[rows],
        }

    def _imagined_loss(self) -> Tensor:
        """Weighted squared errors of a batch of imagined rows, both parts of each counting half; float32 []."""
        assert self.imagined is not None
        drawn, rows = self.imagined.sample(self._beta, self.device)
        states = (rows["obs"].long(), rows["next_obs"].long()) if self.one_hot else (rows["obs"], rows["next_obs"])
        delta = imagined_errors(self.critic(states[0]), self.critic(states[1]), rows)
        self._drawn = (drawn, delta.detach().abs().mean(dim=(0, 1)).cpu().numpy())
        return (delta.square().mean(dim=0).sum(dim=0) * rows["weights"]).sum()

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, heads in use, generators."""
        state = {
            **super().state_dict(),
            "policy": self.policy.state_dict(),
            "mask_rng": rng_state(self.mask_rng),
            "imagined_rng": rng_state(self.imagined_rng),
            "return_check": self.return_check.state_dict(),
            "bonus_scale": self.bonus_scale.state_dict(),
        }
        if self.visits is not None:
            state["visits"] = self.visits.state_dict()
        return state if self.imagined is None else {**state, "imagined": self.imagined.state_dict()}

    def load_modules(self, state: Mapping[str, Any]) -> None:
        """Load the networks, and which head did best."""
        super().load_modules(state)
        self.policy.head_returns = np.asarray(state["policy"]["head_returns"]).copy()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.policy.load_state_dict(state["policy"])
        restore_rng(self.mask_rng, state["mask_rng"])
        restore_rng(self.imagined_rng, state["imagined_rng"])
        self.return_check.load_state_dict(state["return_check"])
        self.bonus_scale.load_state_dict(state["bonus_scale"])
        if self.visits is not None:
            self.visits.load_state_dict(state["visits"])
        if self.imagined is not None:
            self.imagined.load_state_dict(state["imagined"])

    def update_targets(self) -> None:
        """Move the critic's target and the signal's slow copy."""
        super().update_targets()
        self.signal.update_target()
