"""A mean of what parameters were in the last gradient steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from metarl_core.agents.common.networks import copy_parameters, mix_parameters

__all__ = ["RunningMean"]


class RunningMean:
    """Mean of the parameters over the steps so far, and once these are many a running one.

    The greedy policy of a single iterate of TD learning is far more erratic than that of such a mean (Polyak and
    Juditsky 1992; for value networks see Anschel et al. 2017).

    Args:
        parameters: what is averaged.
        share: least weight of a new step, in (0, 1]: the mean is over about 1 / share steps.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], share: float) -> None:
        self.parameters = list(parameters)
        self.share = share
        self.steps = 0
        self.mean = [p.detach().clone() for p in self.parameters]

    def add(self) -> None:
        """Take in what the parameters are now."""
        self.steps += 1
        mix_parameters(self.mean, [p.detach() for p in self.parameters], max(self.share, 1 / self.steps))

    @torch.no_grad()
    def take(self) -> None:
        """Set the parameters to their mean; without a step they stay as they are."""
        copy_parameters(self.parameters, self.mean)
