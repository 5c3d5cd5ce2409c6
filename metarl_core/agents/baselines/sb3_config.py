"""Options of the baselines for continuous actions, which stable-baselines3 computes (not imported here)."""

from __future__ import annotations

import dataclasses
import math

from metarl_core.agents.common.config import AgentConfig
from metarl_core.agents.common.options import ConfigError, option

__all__ = ["SacConfig", "Sb3Config", "Td3Config"]


@dataclasses.dataclass(frozen=True)
class Sb3Config(AgentConfig):
    """What SAC and TD3 have in common; the defaults are stable-baselines3's, but for the sizes."""

    gamma: float = option(0.99, "discount per environment step", minimum=0.0, maximum=1.0)
    hidden: tuple[int, ...] = option((256, 256), "widths of the hidden layers of actor and critics", minimum=1)
    batch_size: int = option(256, "transitions in one gradient step", minimum=1)
    replay_capacity: int = option(1_000_000, "transitions kept (at most the run's steps are)", minimum=1)
    learning_starts: int = option(100, "environment steps with uniform actions before learning begins", minimum=0)
    train_every: int = option(
        1, "environment steps (over all instances, a multiple of num_envs) between two learning phases", minimum=1
    )
    gradient_steps: int = option(1, "gradient steps in one learning phase", minimum=1)
    lr: float = option(3e-4, "learning rate of everything (Adam)", above=0.0)
    polyak: float = option(0.005, "share of the online weights mixed into the target per step", above=0.0, maximum=1.0)
    noise: str = option(
        "none",
        "noise added to the actions in [-1, 1]: none, normal, ou (Ornstein-Uhlenbeck, correlated over steps)",
        choices=("none", "normal", "ou"),
    )
    noise_std: float = option(0.1, "standard deviation of the noise; of ou, sigma", above=0.0)


@dataclasses.dataclass(frozen=True)
class SacConfig(Sb3Config):
    """Options of SAC (Haarnoja et al. 2018)."""

    entropy: str | float = option("auto", "weight of the entropy, or auto: learned towards minus the actions' size")
    gsde: bool = option(False, "state-dependent exploration (Raffin, Kober & Stulp 2022)")

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names the field.
        """
        entropy = self.entropy
        object.__setattr__(self, "entropy", "auto")
        super().__post_init__()
        object.__setattr__(self, "entropy", entropy)
        number = isinstance(entropy, (int, float)) and not isinstance(entropy, bool)
        if entropy != "auto" and not (number and math.isfinite(float(entropy)) and float(entropy) >= 0):
            raise ConfigError(f"entropy={entropy!r}: expected auto, or a number >= 0")


@dataclasses.dataclass(frozen=True)
class Td3Config(Sb3Config):
    """Options of TD3 (Fujimoto et al. 2018)."""

    noise: str = option(
        "normal",
        "noise added to the actions in [-1, 1]: none, normal, ou (Ornstein-Uhlenbeck, correlated over steps)",
        choices=("none", "normal", "ou"),
    )
    lr: float = option(1e-3, "learning rate of everything (Adam)", above=0.0)
    policy_delay: int = option(2, "gradient steps of the critics for one of the actor", minimum=1)
    target_noise: float = option(0.2, "standard deviation of the noise on the target's actions", minimum=0.0)
    target_noise_clip: float = option(0.5, "largest absolute noise on the target's actions", minimum=0.0)
