"""The batch that a replay buffer returns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch"]


class Batch(dict[str, NDArray[Any]]):
    """Columns of a batch of transitions: a mapping from name to an array of shape (B, ...).

    Besides the buffer's fields it holds ``indices``, ``weights`` and ``probabilities``, which are attributes too. The
    arrays belong to the caller: nothing changes them later. The batch remembers when it was sampled, so that
    ``update_priorities`` knows which of its slots were overwritten since.
    """

    __slots__ = ("_mark",)
    _mark: Any  # two integers, in the memory of the device that drew the batch

    @property
    def indices(self) -> NDArray[np.int64]:
        """Slots of the transitions, int64 of shape (B,)."""
        return self["indices"]

    @property
    def weights(self) -> NDArray[np.float32]:
        """Importance weights, float32 of shape (B,)."""
        return self["weights"]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probability with which each transition was drawn, float64 of shape (B,)."""
        return self["probabilities"]

    def torch(self, device: Any = None) -> dict[str, Any]:
        """Return the columns as torch tensors.

        Args:
            device: A torch device; by default the arrays' own, where the tensors share their memory.

        Returns:
            A dict from column name to tensor of the same shape and dtype; nested fields stay nested.
        """
        import torch
        import torch.utils.dlpack

        def convert(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: convert(part) for name, part in value.items()}
            if isinstance(value, tuple):
                return tuple(convert(part) for part in value)
            tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else torch.utils.dlpack.from_dlpack(value)
            return tensor if device is None else tensor.to(device, non_blocking=True)

        return {name: convert(value) for name, value in self.items()}
