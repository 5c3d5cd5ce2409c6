"""Importance ratios rho = prod pi/mu of the critic's n-step target (step 4)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["greedy_ratios", "n_step_rho"]


def greedy_ratios(q: Tensor, actions: Tensor, mu: Tensor) -> Tensor:
    """pi_k(a|s) / mu(a|s) with pi_k the greedy policy of head k, the one that its own target bootstraps with.

    Args:
        q: Q_k(s, .), float32 [K, B, A].
        actions: a, int64 [B].
        mu: probability with which the behaviour chose a, float32 [B].

    Returns:
        float32 [K, B].
    """
    greedy = q.argmax(dim=2) == actions
    return greedy / mu


def n_step_rho(ratios: Tensor, lengths: Tensor, rho_max: float) -> Tensor:
    """Importance ratio rho = prod_{i=1}^{n-1} min(rho_max, pi(a_{t+i}|s_{t+i}) / mu(a_{t+i}|s_{t+i})).

    The first action's ratio is left out: the target is for Q(s_t, a_t), whatever chose a_t (Sutton & Barto 2018, eq.
    7.11; each factor truncated as in Retrace, Munos et al. 2016). Over one step the product is empty, rho = 1.

    Args:
        ratios: pi/mu at t + 1 ... t + N - 1, float32 [K, B, N - 1].
        lengths: n - 1, how many of them count, int64 [B].
        rho_max: upper bound of a factor.

    Returns:
        float32 [K, B].
    """
    counts = torch.arange(ratios.shape[2], device=ratios.device) < lengths.unsqueeze(1)
    return torch.where(counts, ratios.clamp(max=rho_max), 1.0).prod(dim=2)
