"""The tables of TabularMDP-v0's processes, which the environment itself never makes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["mdp_tables"]

_WORD = np.uint64(2**32 - 1)
_GENERATE = 21  # the core's tag of numbers that tasks are generated from
_Words = npt.NDArray[np.uint64]


def _philox(key_low: _Words, key_high: _Words, pair: _Words, block: int) -> list[_Words]:
    """Philox 4x32-10 (Salmon et al., 2011) of the counter (pair, block, 0, tag): four arrays of 32-bit words."""
    shift = np.uint64(32)
    c0, c1 = pair, np.full_like(pair, block)
    c2, c3 = np.zeros_like(pair), np.full_like(pair, _GENERATE)
    k0, k1 = key_low, key_high
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ k0, p1 & _WORD, (p0 >> shift) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & _WORD, (k1 + np.uint64(0xBB67AE85)) & _WORD
    return [c0, c1, c2, c3]


def mdp_tables(
    names: npt.ArrayLike, num_states: int = 10, num_actions: int = 5, mean_loc: float = 1.0, mean_scale: float = 1.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return transition probabilities and mean rewards of TabularMDP-v0's processes, for planning and regret.

    Args:
        names: ``(n, 2)``, what names each process: the columns ``mdp_name_low`` and ``mdp_name_high`` of the
            environment's ``get_state()["state"]``.
        num_states: As of the environment, >= 1.
        num_actions: As of the environment, >= 1.
        mean_loc: As of the environment.
        mean_scale: As of the environment.

    Returns:
        float64 ``(n, num_states, num_actions, num_states)``, the probability of the next state of each state and
        action, a multiple of 2^-32; and float64 ``(n, num_states, num_actions)``, mean rewards.

    Raises:
        ValueError: ``names`` has another shape or holds other numbers than integers in [0, 2^32), or a number of states
            or actions is out of range.
    """
    words = np.asarray(names)
    if words.ndim != 2 or words.shape[1] != 2:
        raise ValueError(f"names has shape {words.shape}; must be (n, 2)")
    if words.dtype.kind not in "fiu" or not ((words >= 0) & (words < 2**32) & (words == np.floor(words))).all():
        raise ValueError("names must be integers in [0, 2**32)")
    for name, number in (("num_states", num_states), ("num_actions", num_actions)):
        if number < 1:
            raise ValueError(f"{name} is {number!r}; must be >= 1")
    shape = (len(words), num_states, num_actions)
    low, high = (np.broadcast_to(words[:, k, None, None].astype(np.uint64), shape) for k in (0, 1))
    pair = np.broadcast_to(np.arange(num_states * num_actions, dtype=np.uint64).reshape(shape[1:]), shape)
    first, second = _philox(low, high, pair, 0)[:2]
    # Box and Muller's normal numbers, and the points that cut [0, 1] into a flat Dirichlet distribution.
    normal = np.sqrt(-2 * np.log((first + 0.5) / 2**32)) * np.cos(2 * np.pi * (second / 2**32))
    blocks = range(1, (num_states + 2) // 4 + 1)
    points = [word / 2**32 for block in blocks for word in _philox(low, high, pair, block)][: num_states - 1]
    cuts = np.sort(np.stack([np.zeros(shape), *points, np.ones(shape)], axis=-1), axis=-1)
    return np.diff(cuts, axis=-1), mean_loc + mean_scale * normal
