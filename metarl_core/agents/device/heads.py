"""Heads that act for an instance during an episode each, drawn before anybody knows how many episodes begin."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["DeviceHeads"]


class DeviceHeads:
    """Heads in use on the device.

    Those to come are a block of draws of a stretch's beginning, of which each episode that begins takes the next one,
    so that nobody has to wait to learn how many there are. The host draws them again when it accounts for the steps,
    which brings its generator to where the episodes left it.

    Args:
        members: number of heads.
        num_envs: instances that they act for.
        device: where the instances are.

    Attributes:
        now: heads in use, int64 [num_envs].
    """

    def __init__(self, members: int, num_envs: int, device: torch.device) -> None:
        self.members = members
        self.now = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._next = self.now
        self._begun = torch.zeros((), dtype=torch.int64, device=device)

    def begin(self, heads: NDArray[np.int64], rng: np.random.Generator, length: int) -> None:
        """Draw for ``length`` steps; an instance begins at most one episode a step.

        Args:
            heads: in use as the host has them, [num_envs].
            rng: the generator that the host draws heads from. It is left as it is.
            length: of the stretch.
        """
        self.now.copy_(torch.from_numpy(heads))
        drawn = copy.deepcopy(rng).integers(self.members, size=length * len(heads))
        self._next = torch.from_numpy(drawn).to(self.now.device)
        self._begun.zero_()

    def begin_episodes(self, ended: Tensor) -> None:
        """Give the instances that begin an episode, bool [num_envs], the next heads, in their order."""
        places = ended.cumsum(dim=0)
        # Where nothing ended the place is not used, but must exist.
        drawn = self._next[(places - 1 + self._begun).clamp_(0, len(self._next) - 1)]
        self.now.copy_(torch.where(ended, drawn, self.now))
        self._begun.add_(places[-1])
