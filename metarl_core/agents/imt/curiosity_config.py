"""How IMT's submodels explore: uniform actions now and then, or CDER's curiosity."""

from __future__ import annotations

import dataclasses

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.common.config import AgentConfig
from metarl_core.agents.common.options import ConfigError, option

__all__ = ["CURIOSITY_OPTIONS", "CuriosityOptions"]


@dataclasses.dataclass(frozen=True)
class CuriosityOptions(AgentConfig):
    """What ``exploration=curiosity`` adds; names and meanings are CDER's (:class:`CderConfig`)."""

    exploration: str = option(
        "epsilon_greedy",
        "how submodels explore their tasks; curiosity: as CDER does, by an ensemble of last layers with fixed random "
        "priors (a head for an episode) and a bonus for states whose return is not known",
        choices=("epsilon_greedy", "curiosity"),
    )
    critic_heads: int = option(
        10, "curiosity: last layers of every submodel, each with an own fixed random prior", minimum=1, maximum=1000
    )
    prior_scale: float = option(3.0, "curiosity: factor on the last layers' random priors", minimum=0.0)
    prior_gain: float = option(1.0, "curiosity: range of the priors' weights relative to 1/sqrt(fan_in)", above=0.0)
    ucb_c: float = option(1.0, "curiosity: c of head + c std over the heads (0: the head alone)", minimum=0.0)
    kappa: float = option(0.3, "curiosity: weight of the bonus beta(s'), std of the signal members' means", minimum=0.0)
    shaping: bool = option(True, "curiosity: add gamma Phi(s') - Phi(s) to the reward")
    signal_members: int = option(
        5, "curiosity: E, signal networks of every task, each with an own fixed random prior", minimum=1, maximum=1000
    )
    signal_hidden: tuple[int, ...] = option((64,), "curiosity: widths of the signal networks' layers", minimum=1)
    signal_prior_scale: float = option(1.0, "curiosity: factor on the signal's random prior logits", minimum=0.0)
    signal_lr: float = option(1e-3, "curiosity: learning rate of the signal networks (Adam)", above=0.0)
    signal_polyak: float = option(
        0.01, "curiosity: share of the online signal mixed into its slow copy per step", above=0.0, maximum=1.0
    )
    atoms: int = option(51, "curiosity: M, atoms of the return distribution", minimum=2)
    z_min: float = option(-1.0, "curiosity: smallest atom, in units of the rewards that are learned from")
    z_max: float = option(1.0, "curiosity: largest atom; a run stops at an episode's return outside the atoms")
    one_hot_obs: bool = option(
        False,
        "curiosity: observations of a Box are one-hot (or all zero), which priors have to know; those of a Discrete "
        "space always are",
    )

    def check_exploration(self) -> None:
        """Check what only holds between fields.

        Raises:
            ConfigError: names the field.
        """
        if self.exploration != "curiosity":
            for field in dataclasses.fields(CuriosityOptions):
                value = getattr(self, field.name)
                if field.name in CURIOSITY_OPTIONS and value != field.default:
                    raise ConfigError(f"{field.name}={value!r}: needs exploration='curiosity'")
        elif self.z_max <= self.z_min:
            raise ConfigError(f"z_max={self.z_max}: must be > z_min={self.z_min}")

    def cder(self, gamma: float, hidden: tuple[int, ...]) -> CderConfig:
        """The same as options of CDER, of which a submodel takes its networks, formulas and behaviour policy."""
        return CderConfig(
            gamma=gamma,
            hidden=hidden,
            members=self.critic_heads,
            mask_probability=1.0,
            behaviour="optimistic_thompson",
            optimizer="adam",
            **{n: getattr(self, n) for n in CURIOSITY_OPTIONS if n not in ("critic_heads", "one_hot_obs")},
        )


CURIOSITY_OPTIONS = tuple(
    field.name
    for field in dataclasses.fields(CuriosityOptions)
    if field.name != "exploration" and field.name not in {own.name for own in dataclasses.fields(AgentConfig)}
)
"""Options that mean something with ``exploration=curiosity`` alone."""
