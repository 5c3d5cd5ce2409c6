"""Whether losses are finite, noted on the device until the host looks."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["LossWatch"]


class LossWatch:
    """Keeps of the losses of gradient steps how many were finite in a row, and the first that was not.

    All of it stays where it is, so that a CUDA graph can record :meth:`note`.

    Args:
        device: of the losses.
    """

    def __init__(self, device: torch.device) -> None:
        self._finite = torch.ones((), dtype=torch.bool, device=device)
        self._count = torch.zeros((), dtype=torch.int64, device=device)
        self._loss = torch.zeros((), device=device)

    def note(self, loss: Tensor) -> None:
        """Take in the loss of a gradient step, float32 []."""
        value = loss.detach()
        self._loss.copy_(torch.where(self._finite, value, self._loss))
        self._finite.logical_and_(torch.isfinite(value))
        self._count.add_(self._finite)

    def look(self) -> tuple[int, float] | None:
        """Wait for the device, and begin anew.

        Returns:
            None if all losses since the last look were finite; else how many before the first that was not, and that.
        """
        count, finite = int(self._count), bool(self._finite)
        loss = float(self._loss)
        self._count.zero_()
        self._finite.fill_(True)
        return None if finite else (count, loss)
