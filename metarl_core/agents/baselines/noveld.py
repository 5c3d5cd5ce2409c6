"""NovelD: pays for crossing from a known state to a novel one, once for each state and episode."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.baselines.rnd import RndConfig, RndDQN
from metarl_core.agents.common.images import stored_observation
from metarl_core.agents.common.options import option
from metarl_core.agents.common.visits import EpisodicVisits

__all__ = ["NovelDConfig", "NovelDDQN"]


@dataclasses.dataclass(frozen=True)
class NovelDConfig(RndConfig):
    """Options of NovelD (Zhang et al. 2021, NeurIPS)."""

    normalize_bonus: bool = option(False, "divide the intrinsic reward by the running std of the intrinsic returns")
    novelty_alpha: float = option(0.5, "alpha of max(nov(s') - alpha nov(s), 0)", minimum=0.0)
    first_visit: bool = option(True, "pay only when s' is visited for the first time in its episode")
    visit_resolution: float = option(
        10.0,
        "cells per unit of an encoded observation that count as one state (0: exact values; one-hot states and images "
        "are always exact)",
        minimum=0.0,
    )


class NovelDDQN(RndDQN):
    """i = max(nov(s') - alpha nov(s), 0) 1[N_e(s') = 1] with RND's nov(s) = ||f^(s) - f(s)||.

    N_e counts the visits of a state in its episode, the first state's included. Whether s' was new in its episode is
    decided when the transition is made and kept with it; the novelties are those of the present networks.
    """

    config: NovelDConfig

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        shape, _ = stored_observation(self.in_features, self.one_hot)
        self.visits = EpisodicVisits(self.num_envs, math.prod(shape), self.config.visit_resolution)

    def extra_fields(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Whether s' was visited for the first time in its episode."""
        return {"first_visit": ((), np.bool_)} if self.config.first_visit else {}

    def track(self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Count the visits of each episode."""
        super().track(columns, ended)
        if not self.config.first_visit:
            return {}
        return {"first_visit": self.visits.step(columns["obs"], columns["next_obs"], ended)}

    def intrinsic(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The clipped difference of novelties; the predictor learns from s' alone."""
        error = self.curiosity(self.standardize(batch["next_obs"]))
        with torch.no_grad():
            before = self.curiosity(self.standardize(batch["obs"])).sqrt()
            bonus = (error.detach().sqrt() - self.config.novelty_alpha * before).clamp_(min=0.0)
            if "first_visit" in batch:
                bonus *= batch["first_visit"]
        return bonus, error / self.config.features

    def drop_running(self) -> None:
        """Begin anew to count visits."""
        super().drop_running()
        self.visits.begin_anew()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training."""
        return {**super().state_dict(), "visits": self.visits.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.visits.load_state_dict(state["visits"])
