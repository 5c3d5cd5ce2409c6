"""The batch that the buffers for CleanRL return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.integrations.weighted_loss import Draw
from metarl_core.replay import Batch

__all__ = ["ReplayBufferSamples", "device_of", "moved_on", "tensors"]


@dataclass(frozen=True)
class ReplayBufferSamples:
    """A batch of B transitions, or n-step transitions.

    Attributes:
        observations: [B, ...], the dtype of the space.
        actions: [B, number of action components], int64 for discrete actions.
        next_observations: as ``observations``; those after n steps.
        dones: float32 [B, 1]; 1 where the episode has terminated, 0 where a time limit has ended it.
        rewards: float32 [B, 1]; n-step returns. They may carry the weights into a loss of torch.
        discounts: float32 [B, 1]; gamma^k for k steps, 0 after a termination: rewards + discounts * Q' is the target.
        weights: importance weights, float32 [B, 1].
        indices: slots of the transitions, int64 [B].
    """

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    dones: Tensor
    rewards: Tensor
    discounts: Tensor
    weights: Tensor
    indices: NDArray[np.int64]
    _draw: Draw | None = field(default=None, repr=False)

    def weighted_mean(self, losses: Tensor) -> Tensor:
        """Compute sum_j w_j l_j / B, the loss of a prioritized batch, and take abs(l_j) as the new priorities.

        For losses that are computed by hand, such as C51's cross-entropy (as Hessel et al., "Rainbow", AAAI 2018 do).

        Args:
            losses: one for each transition, float [B].

        Returns:
            A scalar. Without priorities it is the plain mean.

        Raises:
            ValueError: there is not one loss for each transition.
        """
        draw = self._draw or Draw(self.weights[:, 0], lambda _: None)
        return draw.weighted_mean(losses)


def device_of(device: torch.device | str) -> torch.device:
    """Return the device that a name means; "auto" is the GPU where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def moved_on(obs: NDArray[Any], next_obs: NDArray[Any], terminated: NDArray[np.bool_]) -> NDArray[Any]:
    """Make the next stack of frames follow from the present one where an episode has terminated.

    There the scripts hand over the first stack of the next episode, which no target uses; stored once, frames have to
    follow one another. The last frame is repeated.

    Args:
        obs: [n, frames, ...].
        next_obs: likewise.
        terminated: bool [n].
    """
    if terminated.any():
        next_obs = next_obs.copy()
        next_obs[terminated] = np.concatenate([obs[terminated, 1:], obs[terminated, -1:]], axis=1)
    return next_obs


def tensors(batch: Batch, gamma: float, device: torch.device) -> dict[str, Any]:
    """Turn a core's batch into the fields of :class:`ReplayBufferSamples`; on the CPU without a copy."""
    columns = {name: torch.from_numpy(batch[name]).to(device) for name in ("obs", "action", "next_obs")}
    terminated = batch["terminated"].astype(np.float32)
    discounts = batch["discount"] if "discount" in batch else np.float32(gamma) * (1 - terminated)

    def column(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32).reshape(-1, 1)).to(device)

    return {
        "observations": columns["obs"],
        "actions": columns["action"],
        "next_observations": columns["next_obs"],
        "dones": column(terminated),
        "rewards": column(batch["reward"]),
        "discounts": column(discounts),
        "weights": column(batch.weights),
        "indices": batch.indices,
    }
