"""Parts of a learner that follow from its options and the environment's spaces alone."""

from __future__ import annotations

from typing import Any

import torch

from metarl_core.agents.common.images import Features
from metarl_core.agents.imt.config import ImtConfig
from metarl_core.agents.imt.networks import Submodels

__all__ = ["embedding_size", "make_submodels"]


def embedding_size(config: ImtConfig, num_actions: int) -> int:
    """Width of a task embedding, E."""
    if config.embedding == "random_features":
        return 2 * config.embedding_features  # means and standard deviations
    return 2 * config.hidden[-1] + num_actions + 1


def make_submodels(
    config: ImtConfig, tasks: int, features: Features, num_actions: int, one_hot: bool, generator: torch.Generator
) -> Submodels:
    """Make the submodels of a learner, in host memory.

    Args:
        config: every switch.
        tasks: K.
        features: width of an encoded observation, D, or what its images are.
        num_actions: A.
        one_hot: observations are one-hot or all zero; only ``exploration=curiosity`` has to know.
        generator: source of all initial weights.
    """
    ensemble: dict[str, Any] = {
        "critic_heads": config.critic_heads,
        "prior_scale": config.prior_scale,
        "prior_gain": config.prior_gain,
        "one_hot": one_hot,
    }
    return Submodels(
        tasks,
        features,
        config.hidden,
        num_actions,
        embedding_size(config, num_actions),
        config.predictor_hidden,
        generator,
        **(ensemble if config.exploration == "curiosity" else {}),
    )
