"""The inputs that every library is given: the same arrays, from the same seeds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np

from .base import Array

ALPHA = 0.6
BETA = 0.4
EPS = 1e-6
OBSERVATION_SIZE = 4
IMAGE_SHAPE = (4, 84, 84)
POOL_INDICES = 1 << 20
POOL_BATCHES = 4096


def td_errors(size: int, seed: int) -> Array:
    """Return positive TD errors, float32[size], log-normal between 0.05 and 20."""
    values = np.random.default_rng(seed).lognormal(0.0, 1.0, size)
    return np.asarray(np.clip(values, 0.05, 20.0), np.float32)


def masses(errors: Array) -> Array:
    """Return ``p ** alpha``, float64."""
    return np.asarray(errors, np.float64) ** ALPHA


def small_columns(number: Array) -> dict[str, Array]:
    """Return the transitions of the small workload with the given numbers, int64[n].

    Every value follows from the number of the transition, so that a sampled row tells whether it is the one that its
    index promises. All values are exact in float32 below 2^21.
    """
    obs = number[:, None].astype(np.float32) + np.arange(OBSERVATION_SIZE, dtype=np.float32) * np.float32(0.125)
    return _with_scalars(number, obs, -obs)


def image_columns(number: Array) -> dict[str, Array]:
    """Return transitions of the images workload: uint8 frames that carry their number in the first and last pixels."""
    count = len(number)
    obs = np.empty((count, *IMAGE_SHAPE), np.uint8)
    obs[:] = (number % 251).astype(np.uint8)[:, None, None, None]
    code = number.astype("<u4").view(np.uint8).reshape(count, 4)
    obs[:, 0, 0, :4] = code
    obs[:, -1, -1, -4:] = code
    return _with_scalars(number, obs, 255 - obs)


def _with_scalars(number: Array, obs: Array, next_obs: Array) -> dict[str, Array]:
    return {
        "obs": obs,
        "action": (number % 5).astype(np.int64),
        "reward": (number % 7).astype(np.float32),
        "next_obs": next_obs,
        "done": number % 11 == 0,
    }


def columns(workload: str, number: Array) -> dict[str, Array]:
    """Return transitions of the named workload: ``"small"``, ``"images"``, or ``"shared"``.

    The last are small ones of one endless episode: each ``next_obs`` is the ``obs`` of the next.
    """
    if workload == "images":
        return image_columns(number)
    data = small_columns(number)
    if workload == "shared":
        data |= {"next_obs": small_columns(number + 1)["obs"], "done": np.zeros(len(number), bool)}
    return data


def numbers_of(workload: str, obs: Array) -> Array:
    """Return the numbers that observations carry (the inverse of :func:`columns`)."""
    if workload != "images":
        return np.asarray(obs, np.float32).reshape(len(obs), -1)[:, 0].astype(np.int64)
    code = np.ascontiguousarray(np.asarray(obs, np.uint8).reshape(len(obs), *IMAGE_SHAPE)[:, 0, 0, :4])
    return code.view("<u4")[:, 0].astype(np.int64)


def update_batches(capacity: int, batch: int, seed: int = 1) -> tuple[list[Array], list[Array]]:
    """Return index batches (int64) and priority batches (float32) for update cases.

    The indices are pieces of a random permutation, so that updates touch as much of the tree as they do in training;
    at most 4096 of them, which come twice with different priorities: taken round and round, no update sets a priority
    to what it is already, which would be less work for some.
    """
    rng = np.random.default_rng(seed)
    count = max(1, min(POOL_BATCHES, min(POOL_INDICES, capacity) // batch))
    needed = count * batch
    order = np.concatenate([rng.permutation(capacity) for _ in range(-(-needed // capacity))])[:needed]
    errors = td_errors(2 * needed, seed + 1)
    return 2 * list(order.reshape(count, batch)), list(errors.reshape(2 * count, batch))


def endless(items: list[Array]) -> Iterator[Array]:
    """Return an iterator that goes round and round."""
    return iter(cycle(items))
