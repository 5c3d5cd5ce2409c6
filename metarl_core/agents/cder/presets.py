"""CDER's three presets: what the article says, what it seems to mean, and what is computed by default.

``docs/cder.md`` has the table of what each of them deviates in, step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["PRESETS"]

# What both readings of the article share: one network for each role without prior, slow copy of the signal or bootstrap
# mask; the return without a tail; an epsilon-greedy behaviour policy; rows of candidates that were never executed.
_ARTICLE: dict[str, Any] = {
    "members": 1,
    "prior_scale": 0.0,
    "mask_probability": 1.0,
    "signal_members": 1,
    "signal_prior_scale": 0.0,
    "signal_polyak": 1.0,
    "signal_bootstrap": "none",
    "n_step": 10,
    "bonus": "aleatoric",
    "kappa": 1.0,
    "behaviour": "epsilon_greedy",
    "epsilon_start": 1.0,
    "epsilon_end": 0.05,
    "imagined": True,
    "optimizer": "sgd",
    "lr": 0.01,
    "signal_lr": 0.01,
}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "as_written": {
            **_ARTICLE,
            "reward_form": "as_written",
            "alpha_reading": "time",
            "tau_start": 0.4,
            "tau_end": 0.4,
            "double_normalization": True,
            "target_bonus": True,
            # The loss is divided by the batch size a second time; the article names no learning rate.
            "lr": 0.5,
        },
        "intended": {
            **_ARTICLE,
            "reward_form": "intended",
            "alpha_reading": "exponent",
        },
        # The defaults of CderConfig and the shipped configurations of the environments.
        "corrected": {},
    }
)
