"""Hyper-parameters of CDER with continuous actions."""

from __future__ import annotations

import dataclasses

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.common.options import ConfigError, option

__all__ = ["ContinuousCderConfig"]


@dataclasses.dataclass(frozen=True)
class ContinuousCderConfig(CderConfig):
    """CDER's switches, and those of the candidate actions; used where the environment's actions are continuous."""

    behaviour: str = option(
        "thompson",
        "thompson: one head per instance and episode; ucb: mean + c std; proposal: a draw of the learned proposal pi_c "
        "itself; epsilon_greedy: argmax of the mean, uniform with probability epsilon (all but proposal: over the "
        "candidates)",
        choices=("thompson", "ucb", "proposal", "epsilon_greedy"),
    )
    temperature: float = option(0.1, "T of softmax(Q / T); nothing uses it with continuous actions", above=0.0)
    policy_lr: float = option(1e-3, "learning rate of the proposal", above=0.0)
    candidates: int = option(
        16, "candidate actions of a state in a target, over which the maximum is taken", minimum=1, maximum=100_000
    )
    acting_candidates: int = option(
        64, "candidate actions of a state in acting and evaluation", minimum=1, maximum=100_000
    )
    uniform_share: float = option(
        0.5,
        "share of the candidates that is uniform in the action space; the others are draws of the proposal",
        minimum=0.0,
        maximum=1.0,
    )
    proposal_components: int = option(
        4, "components of the proposal, a mixture of squashed Gaussians", minimum=1, maximum=1_000
    )
    proposal_hidden: tuple[int, ...] = option((64,), "widths of the proposal's hidden layers", minimum=1)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names the field.
        """
        super().__post_init__()
        if self.imagined:
            raise ConfigError("imagined=True: needs discrete actions; set imagined=false")
        if self.importance_ratios != "none":
            raise ConfigError(
                f"importance_ratios={self.importance_ratios!r}: needs discrete actions (a greedy policy of continuous "
                "ones has no density, so pi / mu does not exist); set importance_ratios=none"
            )

    def split(self, candidates: int) -> tuple[int, int]:
        """How many of so many candidates are draws of the proposal, and how many uniform."""
        uniform = round(candidates * self.uniform_share)
        return candidates - uniform, uniform
