"""Buffers that several tests of streams share."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl_core import PrioritizedReplayBuffer


def atari(**arguments: Any) -> PrioritizedReplayBuffer:
    f = {
        "obs": ((4, 84, 84), np.uint8),
        "action": ((), np.int64),
        "reward": ((), np.float32),
        "next_obs": ((4, 84, 84), np.uint8),
        "terminated": ((), bool),
        "truncated": ((), bool),
    }
    return PrioritizedReplayBuffer(64, f, **arguments)
