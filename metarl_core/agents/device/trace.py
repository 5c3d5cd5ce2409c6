"""What the host has to know of steps made on the device, kept there until it looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["StepTrace"]


class StepTrace:
    """Named rows of the steps since the host's last look, one row a step.

    Args:
        length: steps that it holds.
        rows: name to an example of a step's row on the device, [num_envs].
    """

    def __init__(self, length: int, rows: dict[str, Tensor]) -> None:
        self.length = length
        self._rows = {
            name: torch.zeros((length, *row.shape), dtype=row.dtype, device=row.device) for name, row in rows.items()
        }

    def note(self, at: int, **rows: Tensor) -> None:
        """Keep the rows of step number ``at`` since the last look."""
        for name, row in rows.items():
            self._rows[name][at].copy_(row)

    def read(self, steps: int) -> dict[str, NDArray[Any]]:
        """Copy the rows of the first ``steps`` steps to the host, [steps, num_envs]; waits for the device."""
        return {name: np.array(rows[:steps].cpu().numpy()) for name, rows in self._rows.items()}
