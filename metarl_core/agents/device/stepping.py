"""Environments on the device, stepped without waiting: what the loops of all agents share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metarl_core.agents.device.trace import StepTrace

__all__ = ["DeviceSteps", "Stepped"]

_LONGEST = 1024  # steps between two looks: Ctrl-C and the progress display wait for the next
_MOST_ROWS = 1 << 20  # steps times instances between two looks, which bounds the memory for them


class Stepped(NamedTuple):
    """One step of every instance, in memory that the next one may overwrite.

    Attributes:
        reward: float64 [num_envs].
        terminated: bool [num_envs].
        ended: terminated or truncated, bool [num_envs].
        obs: encoded observations that the next actions are for.
        following: encoded observations that the transitions led to.
    """

    reward: Tensor
    terminated: Tensor
    ended: Tensor
    obs: Tensor
    following: Tensor


class DeviceSteps:
    """Steps of vector environments in same-step mode whose memory is the device's.

    Args:
        envs: the environments.
        obs: their present observations, which each step overwrites.
        encode: observations and, of final ones, which rows mean something -> encoded, new memory.

    Attributes:
        longest: steps that may be made between two looks.
    """

    def __init__(self, envs: Any, obs: Tensor, encode: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        self._envs, self._encode = envs, encode
        rows, device = len(obs), obs.device
        self._out = {
            "obs": obs,
            "reward": torch.zeros(rows, dtype=torch.float64, device=device),
            "terminated": torch.zeros(rows, dtype=torch.bool, device=device),
            "truncated": torch.zeros(rows, dtype=torch.bool, device=device),
            "final_obs": torch.zeros_like(obs),
        }
        self.longest = min(_LONGEST, max(1, _MOST_ROWS // rows))

    def trace(self, **more: Tensor) -> StepTrace:
        """Make room for ``reward`` and ``ended`` of the steps between two looks, and for more of such rows."""
        return StepTrace(self.longest, {"reward": self._out["reward"], "ended": self._out["terminated"], **more})

    def step(self, actions: Tensor) -> Stepped:
        """Step every instance once."""
        self._envs.step(actions, out=self._out)
        terminated = self._out["terminated"]
        ended = terminated | self._out["truncated"]
        encoded = self._encode(self._out["obs"], None)
        # In same-step mode the observation of a finished episode is already the next one's first.
        rows = ended.view(-1, *(1,) * (encoded.dim() - 1))
        following = torch.where(rows, self._encode(self._out["final_obs"], ended), encoded)
        return Stepped(self._out["reward"], terminated, ended, encoded, following)
