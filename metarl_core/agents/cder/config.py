"""Hyper-parameters of CDER (curiosity-driven exploration with prioritized replay)."""

from __future__ import annotations

import dataclasses

from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.options import ConfigError, option, validate

__all__ = ["CderConfig"]


@dataclasses.dataclass(frozen=True)
class CderConfig(LearnerConfig):
    """Every switch of CDER's ``corrected`` preset; each can be set alone."""

    members: int = option(10, "critic heads, each with an own fixed random prior", minimum=1, maximum=10_000)
    prior_scale: float = option(3.0, "factor on the critic's random priors", minimum=0.0)
    prior_gain: float = option(1.0, "range of the priors' weights relative to 1/sqrt(fan_in)", above=0.0)
    mask_probability: float = option(
        0.5,
        "chance that a head learns from a transition (bootstrap mask, drawn once when stored)",
        above=0.0,
        maximum=1.0,
    )
    behaviour: str = option(
        "thompson", "thompson: one head per instance and episode; ucb: mean + c std", choices=("thompson", "ucb")
    )
    ucb_c: float = option(1.0, "c of mean + c std over the heads", minimum=0.0)
    epsilon_start: float = option(0.0, "share of uniform actions at the first step", minimum=0.0, maximum=1.0)
    epsilon_end: float = option(0.0, "share of uniform actions after epsilon_steps", minimum=0.0, maximum=1.0)
    epsilon_steps: int = option(10_000, "environment steps over which epsilon falls", minimum=1)
    evaluation: str = option(
        "mean",
        "who acts in evaluation: the heads' mean, their vote, the head with the best training returns",
        choices=("mean", "vote", "best"),
    )

    kappa: float = option(0.3, "weight of the curiosity bonus beta(s')", minimum=0.0)
    bonus: str = option(
        "epistemic",
        "beta: std of the signal members' means, sigma of the return (aleatoric), std of max_a Q' over heads, none",
        choices=("epistemic", "aleatoric", "q_epistemic", "none"),
    )
    shaping: bool = option(True, "add gamma Phi(s') - Phi(s) to the reward")
    signal_members: int = option(
        5, "E, signal networks, each with an own fixed random prior", minimum=1, maximum=10_000
    )
    signal_hidden: tuple[int, ...] = option((64,), "widths of the signal networks' hidden layers", minimum=1)
    signal_prior_scale: float = option(1.0, "factor on the random prior logits", minimum=0.0)
    signal_lr: float = option(0.01, "learning rate of the signal networks", above=0.0)
    signal_polyak: float = option(
        0.01, "share of the online signal mixed into its slow copy per step", above=0.0, maximum=1.0
    )
    signal_bootstrap: str = option(
        "own",
        "whose slow copy closes the return G_t: each member's own, or the ensemble's mean for all",
        choices=("own", "shared"),
    )
    atoms: int = option(51, "M, atoms of the return distribution", minimum=2)
    z_min: float = option(-1.0, "smallest atom; returns below are clipped and counted")
    z_max: float = option(1.0, "largest atom; returns above are clipped and counted")
    n_step: int = option(1, "N, rewards in the signal's return before it bootstraps", minimum=1)

    critic_n_step: bool = option(
        False,
        "the critic's target, too, bootstraps after n_step rewards (rho = 1, uncorrected); its bonus stays that of the "
        "first next state alone, kappa beta(s_{t+1}), not a sum over the n steps",
    )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names the field.
        """
        validate(self)
        if self.z_max <= self.z_min:
            raise ConfigError(f"z_max={self.z_max}: must be > z_min={self.z_min}")
        if self.evaluation == "best" and self.behaviour != "thompson":
            raise ConfigError("evaluation='best': needs behaviour='thompson' (else no head has returns of its own)")
        if self.critic_n_step and self.bonus == "q_epistemic":
            raise ConfigError("bonus='q_epistemic': needs critic_n_step=False (it values s', not the state n steps on)")
