"""The batches that a buffer gives to an algorithm which does not know that they are weighted."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from metarl_core.integrations.arrays import array_of
from metarl_core.integrations.weighted_loss import Draw
from metarl_core.replay import Batch

__all__ = ["Draws"]


class Draws:
    """Hands every batch's TD errors back to the buffer, and warns if they never come: then all priorities stay.

    Args:
        name: of the class that the user made, for the warning.
        instead: what to do about batches whose losses are not seen, for the warning.
    """

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead
        self.clear()

    def clear(self) -> None:
        """Forget the last batch, and whether there was a warning."""
        self._last: Draw | None = None
        self._told = False

    def start(self, core: Any, batch: Batch, weights: Tensor) -> Draw:
        """Make the draw of a batch of ``core``, a ``PrioritizedReplayBuffer``; ``weights`` are those of the batch."""
        if self._last is not None and self._last.losses == 0 and not self._told:
            self._told = True
            warnings.warn(
                f"{self._name}: a batch was sampled whose rewards reached none of mse_loss, smooth_l1_loss, huber_loss "
                f"and l1_loss: it had no importance weights, and its priorities stay as they were. {self._instead}",
                UserWarning,
                stacklevel=3,
            )
        self._last = Draw(weights, lambda errors: core.update_priorities(batch, array_of(errors)))
        return self._last

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the last batch's tensors."""
        return {**self.__dict__, "_last": None}
