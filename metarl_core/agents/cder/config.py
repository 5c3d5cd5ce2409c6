"""Hyper-parameters of CDER (curiosity-driven exploration with prioritized replay)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from metarl_core.agents.cder.presets import PRESETS
from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.options import ConfigError, apply_overrides, option, preset_values, validate

__all__ = ["CderConfig"]


@dataclasses.dataclass(frozen=True)
class CderConfig(LearnerConfig):
    """Every switch of CDER; each can be set alone. The defaults are the preset ``corrected``.

    ``preset`` is a record of where the values came from. It sets nothing when the class is called directly:
    :meth:`from_preset` does, and so do the command line, configuration files and ``resolve_config``.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: str = option(
        "corrected",
        "as_written: the article to the letter; intended: its formulas as they seem to be meant; corrected",
        choices=tuple(PRESETS),
    )
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
        "thompson",
        "thompson: one head per instance and episode; optimistic_thompson: that head + c std; ucb: mean + c std; "
        "distilled: a network that imitates softmax(mean / temperature); epsilon_greedy: argmax of the mean, uniform "
        "with probability epsilon",
        choices=("thompson", "optimistic_thompson", "ucb", "distilled", "epsilon_greedy"),
    )
    temperature: float = option(0.1, "T of softmax(Q / T), distilled policy", above=0.0)
    policy_lr: float = option(1e-3, "learning rate of the distilled policy", above=0.0)
    ucb_c: float = option(1.0, "c of mean + c std over the heads, or head + c std", minimum=0.0)
    epsilon_start: float = option(0.0, "share of uniform actions at the first step", minimum=0.0, maximum=1.0)
    epsilon_end: float = option(0.0, "share of uniform actions after epsilon_steps", minimum=0.0, maximum=1.0)
    epsilon_steps: int = option(10_000, "environment steps over which epsilon falls", minimum=1)
    evaluation: str = option(
        "mean",
        "who acts in evaluation: the heads' mean, their vote, the head with the best training returns",
        choices=("mean", "vote", "best"),
    )

    reward_form: str = option(
        "corrected",
        "corrected: r + (1-d) gamma Phi(s') - Phi(s) + kappa beta(s'); intended: Phi(s') + kappa beta(s') - Phi(s); "
        "as_written: kappa beta(s')",
        choices=("corrected", "intended", "as_written"),
    )
    kappa: float = option(0.3, "weight of the curiosity bonus beta(s')", minimum=0.0)
    bonus: str = option(
        "epistemic",
        "beta: std of the signal members' means, sigma of the return (aleatoric), std of max_a Q' over heads, none",
        choices=("epistemic", "aleatoric", "q_epistemic", "none"),
    )
    normalize_bonus: bool = option(
        False, "divide beta by the running std of its discounted sum along the behaviour (RND, Burda et al. 2019)"
    )
    bonus_visits: str = option(
        "all",
        "states that beta is paid for: all; first: those visited for the first time in their episode (NovelD, Zhang et "
        "al. 2021)",
        choices=("all", "first"),
    )
    visit_resolution: float = option(
        10.0,
        "bonus_visits=first: cells per unit of an encoded observation that count as one state (0: exact values; "
        "one-hot states and images are always exact)",
        minimum=0.0,
    )
    novelty_alpha: float = option(
        0.0,
        "alpha of max(beta(s') - alpha beta(s), 0), which is paid in beta(s')'s place: for crossing to what is less "
        "known (NovelD's difference)",
        minimum=0.0,
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
        "whose slow copy closes the return G_t: each member's own, the ensemble's mean for all, or nobody's (G_t is "
        "the sum of N rewards)",
        choices=("own", "shared", "none"),
    )
    atoms: int = option(51, "M, atoms of the return distribution", minimum=2)
    z_min: float = option(-1.0, "smallest atom; returns below are clipped and counted")
    z_max: float = option(1.0, "largest atom; returns above are clipped and counted")
    return_check: str = option(
        "error",
        "what happens when an episode's discounted return lies outside [z_min, z_max]: the run stops, or nothing",
        choices=("error", "none"),
    )
    n_step: int = option(1, "N, rewards in the signal's return before it bootstraps", minimum=1)

    critic_n_step: bool = option(
        False,
        "the critic's target, too, bootstraps after n_step rewards; its bonus stays that of the first next state "
        "alone, kappa beta(s_{t+1}), not a sum over the n steps",
    )
    importance_ratios: str = option(
        "none",
        "rho of the critic's n-step target: 1, or the product of truncated pi / mu over the steps after the first",
        choices=("none", "truncated"),
    )
    rho_max: float = option(1.0, "upper bound of each factor pi / mu of rho", above=0.0)
    alpha_reading: str = option(
        "per",
        "what step 4's alpha = 1/(N+1), B = 0 is: per: neither is used, but alpha and tau_start as given; exponent: "
        "PER's alpha and first tau; time: a step of normalised time, and P(j) = p_j / sum",
        choices=("per", "exponent", "time"),
    )
    double_normalization: bool = option(
        False, "divide the critic's loss by the batch size although the weights sum to 1"
    )
    target_bonus: bool = option(False, "add kappa beta(s') to the target y_t once more (step 6)")
    imagined: bool = option(
        False,
        "store ((s, a, y), (s', a', r + r')) with a' ~ pi_c(s') that is never executed, and learn from it (step 6)",
    )
    imagined_fraction: float = option(
        0.25, "share of the imagined rows in the replay and in each gradient step", above=0.0, maximum=0.5
    )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names the field.
        """
        validate(self)
        if self.z_max <= self.z_min:
            raise ConfigError(f"z_max={self.z_max}: must be > z_min={self.z_min}")
        if self.evaluation == "best" and not self.behaviour.endswith("thompson"):
            raise ConfigError(
                "evaluation='best': needs behaviour='thompson' or 'optimistic_thompson' (else no head has returns "
                "of its own)"
            )
        if self.behaviour == "epsilon_greedy" and self.epsilon_start == 0.0 == self.epsilon_end:
            raise ConfigError("behaviour='epsilon_greedy': needs epsilon_start > 0 (both ends of epsilon are 0)")
        if self.imagined and self.weight_normalization != "sum":
            raise ConfigError("imagined=True: needs weight_normalization='sum' (real and imagined rows share weight 1)")
        if self.alpha_reading != "per" and self.weight_normalization != "sum":
            raise ConfigError(
                f"alpha_reading={self.alpha_reading!r}: needs weight_normalization='sum', as step 4 has it"
            )
        self._check_n_step()

    def _check_n_step(self) -> None:
        if self.critic_n_step and self.bonus == "q_epistemic":
            raise ConfigError("bonus='q_epistemic': needs critic_n_step=False (it values s', not the state n steps on)")
        if self.critic_n_step and self.reward_form != "corrected":
            raise ConfigError(f"critic_n_step=True: needs reward_form='corrected', {self.reward_form!r} has one step")
        if self.importance_ratios != "none" and not (self.critic_n_step and self.n_step > 1):
            raise ConfigError(
                f"importance_ratios={self.importance_ratios!r}: needs critic_n_step=True and n_step > 1; over one step "
                "rho is 1"
            )

    @classmethod
    def from_preset(cls, preset: str, **switches: Any) -> CderConfig:
        """Make the configuration of a preset with some switches set by hand.

        Args:
            preset: name in ``PRESETS``.
            **switches: fields of this class, which win over the preset's.

        Raises:
            ConfigError: no such preset or field, or a bad value.
        """
        return apply_overrides(cls(), {**preset_values(cls, {"preset": preset}), **switches})

    @property
    def priority_exponent(self) -> float:
        """Exponent of the priorities, by the reading of step 4's alpha."""
        return {"per": self.alpha, "exponent": 1.0 / (self.n_step + 1), "time": 1.0}[self.alpha_reading]

    @property
    def importance_exponents(self) -> tuple[float, float]:
        """Tau at the first and at the last step; with alpha as an exponent, B = 0 is where tau starts."""
        return (0.0 if self.alpha_reading == "exponent" else self.tau_start), self.tau_end
