"""Step 6 as the article types it: transitions with a candidate action that was never executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import metarl_core
from metarl_core.agents.cder.config import CderConfig

__all__ = ["ImaginedRows", "imagined_errors"]


def imagined_errors(q: Tensor, next_q: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
    """TD errors of the nested record ((s, a, y), (s', a', r + r')), both parts against their stored targets.

    Nothing follows (s', a'), which nobody executed, so its target is r + r' alone.

    Args:
        q: Q_k(s, .), float32 [K, B, A].
        next_q: Q_k(s', .), float32 [K, B, A].
        rows: ``action``, ``candidate`` int64 [B]; ``target`` y_k, float32 [B, K]; ``candidate_return``, float32 [B].

    Returns:
        float32 [2, K, B].
    """
    members = q.shape[0]
    taken = q.gather(2, rows["action"].view(1, -1, 1).expand(members, -1, 1)).squeeze(2)
    imagined = next_q.gather(2, rows["candidate"].view(1, -1, 1).expand(members, -1, 1)).squeeze(2)
    return torch.stack((taken - rows["target"].t(), imagined - rows["candidate_return"]))


class ImaginedRows:
    """The flagged rows: a prioritized replay of their own beside that of the real transitions.

    Being apart is their flag. They hold at most ``imagined_fraction`` of what both together hold, their ring overwrites
    the oldest imagined row and never a real one (evicted first), and a gradient step draws the same fraction of its
    rows, and of its total weight 1, from here.

    Args:
        config: CDER's options.
        obs_shape: of one stored observation.
        obs_dtype: of the stored observations.
        seed: of the draws.
    """

    def __init__(self, config: CderConfig, obs_shape: tuple[int, ...], obs_dtype: Any, seed: int) -> None:
        share = config.imagined_fraction / (1.0 - config.imagined_fraction)
        self.rows_per_step = max(1, round(config.batch_size * share))
        self.obs_dtype = np.dtype(obs_dtype)
        self.replay = metarl_core.PrioritizedReplayBuffer(
            max(self.rows_per_step, round(config.replay_capacity * share)),
            {
                "obs": (obs_shape, obs_dtype),
                "action": ((), np.int64),
                "target": ((config.members,), np.float32),
                "next_obs": (obs_shape, obs_dtype),
                "candidate": ((), np.int64),
                "candidate_return": ((), np.float32),
            },
            alpha=config.priority_exponent,
            beta=config.importance_exponents[0],
            eps=config.priority_eps,
            max_priority=config.priority_max,
            weight_normalization="sum",
            seed=seed,
        )

    def __len__(self) -> int:
        return len(self.replay)

    def add(self, columns: Mapping[str, Tensor], real_rows: int, fraction: float) -> None:
        """Store rows, as far as the imagined ones stay at most ``fraction`` of all ``real_rows`` + imagined ones.

        Args:
            columns: of the rows, leading axis B, on any device.
            real_rows: how many real transitions there are.
            fraction: of the cap.
        """
        limit = int(real_rows * fraction / (1.0 - fraction))
        free = self.replay.capacity if limit >= self.replay.capacity else limit - len(self.replay)
        count = min(free, len(columns["action"]))
        if count <= 0:
            return
        stored = {name: column[:count].cpu().numpy() for name, column in columns.items()}
        for name in ("obs", "next_obs"):
            stored[name] = stored[name].astype(self.obs_dtype, copy=False)
        self.replay.add(**stored)

    def sample(self, beta: float, device: torch.device) -> tuple[Any, dict[str, Tensor]]:
        """Draw :attr:`rows_per_step` rows: the batch for :meth:`update`, and its columns and ``weights`` (sum 1)."""
        batch = self.replay.sample(self.rows_per_step, beta=beta)
        names = ("obs", "action", "target", "next_obs", "candidate", "candidate_return")
        columns = {name: torch.from_numpy(batch[name]).to(device) for name in names}
        columns["weights"] = torch.from_numpy(batch.weights.astype(np.float32)).to(device)
        return batch, columns

    def update(self, batch: Any, errors: NDArray[np.float32]) -> None:
        """Set the priorities of a drawn batch from its mean absolute TD errors, float32 [B]."""
        self.replay.update_priorities(batch, errors)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes."""
        return self.replay.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.replay.load_state_dict(state)
