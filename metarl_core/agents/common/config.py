"""Options that every value-based learner here shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from metarl_core.agents.common.options import option, validate

__all__ = ["AgentConfig", "LearnerConfig", "NStepConfig"]


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """Options that every algorithm has, also those of other libraries."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of options that ``preset=NAME`` puts below everything that is given by hand."""

    normalize_obs: bool = option(True, "map bounded observations to [-1, 1] by the space's own bounds")
    context: str = option(
        "none",
        "what the agent sees of the task (env_tasks): nothing, its number as one-hot, its parameters scaled to [-1, 1]",
        choices=("none", "task_id", "parameters"),
    )
    torch_threads: int = option(1, "threads of torch; small networks are fastest with one", minimum=1)

    def __post_init__(self) -> None:
        """Check every field."""
        validate(self)


@dataclasses.dataclass(frozen=True)
class LearnerConfig(AgentConfig):
    """Replay, schedule and optimiser options common to CDER and the Double-DQN baselines."""

    gamma: float = option(0.99, "discount per environment step", minimum=0.0, maximum=1.0)
    hidden: tuple[int, ...] = option((64, 64), "widths of the critic's hidden layers", minimum=1)
    batch_size: int = option(128, "transitions in one gradient step", minimum=1)
    replay_capacity: int = option(100_000, "transitions kept", minimum=1)
    learning_starts: int = option(256, "environment steps before the first gradient step", minimum=1)
    train_every: int = option(4, "environment steps (over all instances) between two learning phases", minimum=1)
    epochs: int = option(4, "K, batches drawn in one learning phase, priorities refreshed after each", minimum=1)
    double_q: bool = option(True, "online network chooses, target network values (Double DQN)")
    target_update: str = option("hard", "how the target critic follows", choices=("hard", "polyak"))
    target_period: int = option(100, "gradient steps between two hard copies", minimum=1)
    target_polyak: float = option(0.005, "share of the online weights mixed in per step", above=0.0, maximum=1.0)
    optimizer: str = option("sgd", "sgd (momentum) or adam", choices=("sgd", "adam"))
    lr: float = option(0.01, "learning rate of the critic", above=0.0)
    momentum: float = option(0.9, "momentum of sgd", minimum=0.0, maximum=0.9999)
    adam_eps: float = option(1e-8, "epsilon of adam", above=0.0)
    max_grad_norm: float | None = option(None, "clip the gradient's norm (None: never)", above=0.0)
    alpha: float = option(0.6, "exponent of the priorities in P(j) = p_j^alpha / sum", minimum=0.0, maximum=1.0)
    tau_start: float = option(0.4, "importance exponent at the first step", minimum=0.0, maximum=1.0)
    tau_end: float = option(1.0, "importance exponent at the last step", minimum=0.0, maximum=1.0)
    weight_normalization: str = option(
        "sum", "how importance weights are scaled", choices=("sum", "max", "batch_max", "none")
    )
    priority_eps: float = option(1e-3, "smallest priority", above=0.0)
    priority_max: float = option(1e3, "largest priority", above=0.0)
    one_hot_obs: bool = option(
        False, "observations are one-hot (or all zero): keep the index and gather the first layer's row, same function"
    )
    image_encoding: str = option(
        "auto",
        "images (H, W, C of bool or uint8) go through convolutions as: symbols: one-hot planes (MiniGrid); "
        "bytes: divided by 255; auto: symbols for MiniGrid, else bytes; flat: as a vector, without convolutions",
        choices=("auto", "symbols", "bytes", "flat"),
    )
    conv_filters: tuple[int, ...] = option((16,), "filters of the convolutions (MinAtar's: one layer of 16)", minimum=1)
    conv_kernel: int = option(3, "width and height of the convolutions", minimum=1)
    trunk: str = option(
        "shared", "convolutions: one stack for all members, or each member's own", choices=("shared", "own")
    )

    @property
    def priority_exponent(self) -> float:
        """Exponent of the priorities that the replay is made with."""
        return self.alpha

    @property
    def importance_exponents(self) -> tuple[float, float]:
        """Exponent of the importance weights at the first and at the last step."""
        return self.tau_start, self.tau_end


@dataclasses.dataclass(frozen=True)
class NStepConfig(LearnerConfig):
    """What the baselines have besides: a critic that may bootstrap after several rewards."""

    n_step: int = option(
        1, "N, rewards before the critic's target bootstraps, without off-policy correction (Rainbow's)", minimum=1
    )
