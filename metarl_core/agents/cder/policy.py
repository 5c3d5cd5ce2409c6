"""Behaviour policies pi_c over an ensemble of critics (step 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.common.learner import restore_rng, rng_state
from metarl_core.agents.common.schedules import linear

__all__ = ["HEAD_POLICIES", "BehaviourPolicy", "distillation_loss", "sample_rows", "ucb_scores"]


HEAD_POLICIES = ("thompson", "optimistic_thompson")
"""Policies under which one head acts for an instance for a whole episode."""


def ucb_scores(q: Tensor, c: float) -> Tensor:
    """Mean + c std over the heads; q float32 [K, B, A] -> float32 [B, A]."""
    spread, mean = torch.std_mean(q, dim=0, correction=0)
    return mean + c * spread


def distillation_loss(logits: Tensor, q: Tensor, temperature: float, weights: Tensor) -> Tensor:
    """Cross-entropy of the parametric pi against softmax(mean_k Q_k / T), weighted.

    Args:
        logits: of pi(.|s), float32 [B, A].
        q: Q_k(s, .), float32 [K, B, A], no gradient.
        temperature: T.
        weights: float32 [B].

    Returns:
        float32 [].
    """
    teacher = torch.softmax(q.mean(dim=0) / temperature, dim=1)
    return -((teacher * torch.log_softmax(logits, dim=1)).sum(dim=1) * weights).sum()


def sample_rows(probabilities: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one index a row from float [B, A] (rows sum to 1) by inversion -> int64 [B]."""
    levels = np.cumsum(probabilities, axis=1, dtype=np.float64)
    drawn = rng.random(len(levels)) * levels[:, -1]
    found: NDArray[np.int64] = np.minimum((levels <= drawn[:, None]).sum(axis=1), probabilities.shape[1] - 1)
    return found


class BehaviourPolicy:
    """The candidate action a' ~ pi_c is executed, so every candidate becomes a real transition.

    ``thompson`` follows one head per instance, redrawn when its episode begins (Osband et al. 2016, bootstrapped DQN);
    ``optimistic_thompson`` adds c std over the heads to the head's values: where nobody has data the heads differ, so
    an action that all of them happen to underrate is tried all the same (the optimism for untried actions of OPIQ,
    Rashid et al. 2020, with the ensemble in place of counts); ``ucb`` takes mean + c std (Chen et al. 2017);
    ``epsilon_greedy`` the mean; ``distilled`` draws from a parametric pi. A share epsilon of the actions may be
    uniform.

    Args:
        config: CDER's options.
        num_actions: A.
        num_envs: instances it acts for.
        rng: source of the heads and the uniform actions.

    Attributes:
        mu: probability with which each of the last actions was chosen, float32 [num_envs]; under Thompson sampling that
            of the head in use, as it stays for the whole episode.
    """

    def __init__(self, config: CderConfig, num_actions: int, num_envs: int, rng: np.random.Generator) -> None:
        self.config = config
        self.num_actions = num_actions
        self.rng = rng
        self.heads = rng.integers(config.members, size=num_envs)
        self.head_returns = np.full(config.members, -np.inf)
        self.mu = np.ones(num_envs, dtype=np.float32)

    @property
    def best_head(self) -> int:
        """Head with the highest running mean return (weight 0.1 on the newest) of the episodes it acted in."""
        return int(self.head_returns.argmax())

    def begin_episodes(self, started: NDArray[np.bool_], returns: NDArray[np.float64]) -> None:
        """Draw a new head for the instances marked in bool [num_envs]; credit the old one with the episode's return."""
        count = int(started.sum())
        if count:
            for head, value in zip(self.heads[started], returns[started], strict=True):
                old = self.head_returns[head]
                self.head_returns[head] = old + 0.1 * (value - old) if np.isfinite(old) else value
            self.heads[started] = self.rng.integers(self.config.members, size=count)

    def epsilon(self, step: int) -> float:
        """Share of uniform actions at an environment step."""
        c = self.config
        return linear(c.epsilon_start, c.epsilon_end, step, c.epsilon_steps)

    def __call__(self, q: Tensor, step: int, logits: Tensor | None = None) -> NDArray[np.int64]:
        """Choose actions and note their probabilities in ``mu``.

        Args:
            q: float32 [K, num_envs, A].
            step: environment step.
            logits: of the parametric pi, float32 [num_envs, A]; needed by ``distilled`` alone.

        Returns:
            int64 [num_envs].
        """
        kind = self.config.behaviour
        epsilon = self.epsilon(step)
        actions: NDArray[np.int64]
        pi: NDArray[np.float32] | None = None
        if kind == "distilled":
            assert logits is not None
            pi = torch.softmax(logits, dim=1).cpu().numpy()
            actions = sample_rows(pi, self.rng)
        else:
            actions = self.best(q)
        base = actions
        if epsilon > 0:
            uniform = self.rng.random(len(actions)) < epsilon
            actions = np.where(uniform, self.rng.integers(self.num_actions, size=len(actions)), actions)
        of_base = (actions == base).astype(np.float32) if pi is None else pi[np.arange(len(actions)), actions]
        self.mu = ((1.0 - epsilon) * of_base + epsilon / self.num_actions).astype(np.float32)
        return actions

    def best(self, q: Tensor) -> NDArray[np.int64]:
        """Each instance's best of float32 [K, num_envs, A]: by its head (and c std), mean + c std, or the mean."""
        found: NDArray[np.int64] = self.scores(q, torch.from_numpy(self.heads)).argmax(dim=1).cpu().numpy()
        return found

    def scores(self, q: Tensor, heads: Tensor | None) -> Tensor:
        """What the policy maximises, float32 [B, A]; ``heads`` int64 [B] where a head acts for each row."""
        kind = self.config.behaviour
        if heads is None or kind not in HEAD_POLICIES:
            return ucb_scores(q, self.config.ucb_c) if kind == "ucb" else q.mean(dim=0)
        own = q[heads, torch.arange(len(heads), device=heads.device)]
        return own if kind == "thompson" else own + self.config.ucb_c * q.std(dim=0, correction=0)

    def candidates(self, q: Tensor, step: int, rng: np.random.Generator, logits: Tensor | None) -> NDArray[np.int64]:
        """Step 6's a' ~ pi_c(.|s') for states of the replay: a head, or the draw of ``distilled``, for each row.

        Args:
            q: Q_k(s', .), float32 [K, B, A].
            step: environment step, for epsilon.
            rng: source of the heads and draws.
            logits: as of :meth:`__call__`.

        Returns:
            int64 [B].
        """
        kind, count = self.config.behaviour, q.shape[1]
        if kind == "distilled":
            assert logits is not None
            actions = sample_rows(torch.softmax(logits, dim=1).cpu().numpy(), rng)
        else:
            heads = None
            if kind in HEAD_POLICIES:
                heads = torch.from_numpy(rng.integers(self.config.members, size=count))
            actions = self.scores(q, heads).argmax(dim=1).cpu().numpy()
        uniform = rng.random(count) < self.epsilon(step)
        return np.where(uniform, rng.integers(self.num_actions, size=count), actions)

    def state_dict(self) -> dict[str, Any]:
        """Heads in use and the generator."""
        return {"heads": self.heads.copy(), "head_returns": self.head_returns.copy(), "rng": rng_state(self.rng)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.heads = np.asarray(state["heads"]).copy()
        self.head_returns = np.asarray(state["head_returns"]).copy()
        restore_rng(self.rng, state["rng"])
