"""The acting part of a stable-baselines3 agent, for evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.baselines.sb3_config import Sb3Config, Td3Config
from metarl_core.agents.common.actions import BoxActions
from metarl_core.agents.common.images import Features
from metarl_core.agents.common.options import ConfigError

__all__ = ["Sb3Agent", "policy_arguments", "require_sb3"]


def require_sb3() -> None:
    """Import the library.

    Raises:
        ConfigError: it is not installed; the message has the command.
    """
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"sac and td3 need stable-baselines3, which cannot be imported ({error}): "
            "pip install 'metarl-core[baselines]'"
        ) from error


def policy_arguments(config: Sb3Config) -> dict[str, Any]:
    """What a policy of the library is made with, besides spaces and learning rate."""
    return {"net_arch": list(config.hidden)}


class Sb3Agent:
    """A policy of stable-baselines3 that acts without noise.

    Args:
        config: the options.
        in_features: width of a vector observation.
        actions: the action space.
        num_envs: unused.
        seed: unused: the weights are loaded.
        device: where the networks live.
        one_hot: must be False.

    Raises:
        ConfigError: stable-baselines3 is not installed, or observations are indices.
    """

    def __init__(
        self,
        config: Sb3Config,
        in_features: Features,
        actions: BoxActions,
        num_envs: int,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        device: str = "cpu",
        one_hot: bool = False,
    ) -> None:
        if one_hot:
            raise ConfigError("sac and td3 need vector observations; these are indices of a Discrete space")
        require_sb3()
        from stable_baselines3.sac.policies import SACPolicy
        from stable_baselines3.td3.policies import TD3Policy

        self.device, self.actions = torch.device(device), actions
        spaces = (
            gymnasium.spaces.Box(-np.inf, np.inf, (int(in_features),), np.float32),  # type: ignore[arg-type]
            gymnasium.spaces.Box(actions.low, actions.high, dtype=np.float32),
        )
        arguments = policy_arguments(config)
        if isinstance(config, Td3Config):
            self.policy: Any = TD3Policy(*spaces, lambda _: config.lr, **arguments)
        else:
            self.policy = SACPolicy(*spaces, lambda _: config.lr, use_sde=getattr(config, "gsde", False), **arguments)
        self.policy.to(self.device)

    def greedy(self, obs: Tensor) -> NDArray[np.float32]:
        """The actor's action, of SAC the squashed mean."""
        actions: NDArray[np.float32] = self.policy.predict(obs.cpu().numpy(), deterministic=True)[0]
        return actions

    def load_modules(self, state: Mapping[str, Any]) -> None:
        """Load the networks of a checkpoint."""
        self.policy.load_state_dict(state["policy"])
