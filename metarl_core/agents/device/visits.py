"""Which states an episode has visited, on tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metarl_core.agents.common.visits import EpisodicVisits

__all__ = ["DeviceVisits"]


class DeviceVisits:
    """What :class:`EpisodicVisits` finds, bit for bit, computed where the observations lie.

    Args:
        visits: the agent's own on the host, which :meth:`load` reads and :meth:`store` writes.
        device: of the observations.
    """

    def __init__(self, visits: EpisodicVisits, device: torch.device) -> None:
        self._host = visits
        self._device = device
        # int64 has the bits of uint64 here: sums and products modulo 2^64 are the same.
        self._factors = torch.from_numpy(visits.factors.view(np.int64)).to(device)
        self.load()

    def load(self) -> None:
        """Take over the host's state."""
        self.hashes = torch.from_numpy(self._host.hashes.view(np.int64).copy()).to(self._device)
        self.counts = torch.from_numpy(self._host.counts.copy()).to(self._device)

    def store(self) -> None:
        """Give the host this state; waits for the device."""
        self._host.hashes = np.array(self.hashes.cpu().numpy()).view(np.uint64)
        self._host.counts = np.array(self.counts.cpu().numpy())

    def reserve(self, steps: int) -> None:
        """Make room for so many steps; waits for the device."""
        missing = int(self.counts.max()) + steps + 1 - self.hashes.shape[1]
        if missing > 0:
            self.hashes = torch.nn.functional.pad(self.hashes, (0, missing))

    def step(self, obs: Tensor, next_obs: Tensor, ended: Tensor) -> Tensor:
        """Account for one step of every instance; arguments and result as of :meth:`EpisodicVisits.step`."""
        begins = self.counts == 0
        self.hashes[:, 0].copy_(torch.where(begins, self._hash(obs), self.hashes[:, 0]))
        self.counts.clamp_(min=1)
        found = self._hash(next_obs).unsqueeze(1)
        places = self.counts.unsqueeze(1)
        known = torch.arange(self.hashes.shape[1], device=self.counts.device) < places
        first = ~((self.hashes == found) & known).any(dim=1)
        self.hashes.scatter_(1, places, torch.where(first.unsqueeze(1), found, self.hashes.gather(1, places)))
        self.counts.add_(first).masked_fill_(ended, 0)
        return first

    def _hash(self, obs: Tensor) -> Tensor:
        if obs.dim() == 1:
            return obs.to(torch.int64)
        flat = obs.flatten(1)
        if obs.dtype in (torch.bool, torch.uint8):
            cells = flat.to(torch.int64)
        elif self._host.resolution:
            cells = (flat.to(torch.float64) * self._host.resolution).floor_().to(torch.int64)
        else:
            cells = (flat + 0.0).view(torch.int32).to(torch.int64) & 0xFFFFFFFF
        return (cells * self._factors).sum(dim=1)
