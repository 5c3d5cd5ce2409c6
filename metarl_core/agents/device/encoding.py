"""The observation encoder on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.common.options import ConfigError

__all__ = ["DeviceEncoder"]


class DeviceEncoder:
    """What an :class:`ObservationEncoder` gives, bit for bit, computed where the observations lie.

    Mistakes of the content are noted there and raised by :meth:`check`.

    Args:
        encoder: the encoder on the host, without a context.
        device: of the observations.
    """

    def __init__(self, encoder: ObservationEncoder, device: torch.device) -> None:
        self.encoder = encoder
        self._affine: tuple[Tensor, ...] | None = None
        if encoder.affine is not None:
            self._affine = tuple(torch.from_numpy(part).to(device) for part in encoder.affine)
        limits = encoder.symbol_limits
        self._limits = None if limits is None else torch.from_numpy(limits).to(device)
        self._bad = torch.zeros((), dtype=torch.bool, device=device)

    def __call__(self, obs: Tensor, valid: Tensor | None = None) -> Tensor:
        """Encode a batch.

        Args:
            obs: [num_envs, ...] as the vector environment gives it.
            valid: rows that mean something, bool [num_envs]; None: all.

        Returns:
            A new tensor [num_envs, *shape].
        """
        encoder = self.encoder
        if encoder.image is not None:
            if self._limits is not None:
                self._note((obs >= self._limits).flatten(1).any(dim=1), valid)
            return obs.clone()
        if encoder.discrete:
            return (obs - encoder.start).to(torch.int32)
        flat = obs.reshape(len(obs), -1)
        if encoder.one_hot:
            return self._indices(flat, valid)
        encoded = flat.to(torch.float32, copy=True)
        return encoded if self._affine is None else encoded.mul_(self._affine[0]).add_(self._affine[1])

    def _indices(self, flat: Tensor, valid: Tensor | None) -> Tensor:
        set_ = flat != 0
        count = set_.sum(dim=1)
        self._note((count > 1) | (set_ & (flat != 1)).any(dim=1), valid)
        # All zero has the index after the last.
        return set_.to(torch.uint8).argmax(dim=1).masked_fill_(count == 0, self.encoder.size).to(torch.int32)

    def _note(self, bad: Tensor, valid: Tensor | None) -> None:
        self._bad.logical_or_((bad if valid is None else bad & valid).any())

    def check(self) -> None:
        """Wait, and raise what was wrong with the observations so far.

        Raises:
            ConfigError: as of :class:`ObservationEncoder`.
        """
        if bool(self._bad):
            raise ConfigError(self.encoder.complaint())
