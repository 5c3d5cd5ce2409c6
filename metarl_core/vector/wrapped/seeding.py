"""Random numbers of wrapped environments: a seed for each row, and which task an episode gets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["draw_task", "episode_seed", "philox4x32", "row_seeds"]

_TAG_ENV_TASK = 18  # kTagEnvTask of csrc/include/metarl/detail/philox.h
_WORD = 0xFFFFFFFF


def row_seeds(seed: int, num_envs: int) -> npt.NDArray[np.uint64]:
    """Return a seed for every row, all different, in [0, 2^32), which is what every package takes.

    Row i's depends on ``seed`` and i only. Gymnasium's ``seed + i`` would give neighbouring seeds the same episodes.
    """
    words = num_envs
    while True:
        drawn = np.random.SeedSequence(seed).generate_state(words)
        first = np.sort(np.unique(drawn, return_index=True)[1])[:num_envs]
        if len(first) == num_envs:
            return drawn[first].astype(np.uint64)
        words += num_envs - len(first) + 8


def episode_seed(seed: int, stream: int, episode: int) -> int:
    """Return the seed of an environment that is made anew for an episode, in [0, 2^32)."""
    return int(np.random.SeedSequence(seed, spawn_key=(stream, episode)).generate_state(1)[0])


def philox4x32(key: int, c0: int, c1: int, c2: int, c3: int) -> tuple[int, int, int, int]:
    """Philox 4x32-10, as the core has it (csrc/include/metarl/detail/philox.h)."""
    k0, k1 = key & _WORD, key >> 32 & _WORD
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _WORD, (p0 >> 32) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return c0, c1, c2, c3


def draw_task(seed: int, stream: int, episode: int, size: int) -> int:
    """Return which of ``size`` tasks an episode gets: the one that a native environment's gets (csrc/envs/driver.h)."""
    v0, v1, _, _ = philox4x32(seed, stream, episode & _WORD, episode >> 32, _TAG_ENV_TASK)
    return (v0 * size + (v1 * size >> 32)) >> 32
