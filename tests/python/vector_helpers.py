"""Shared by the tests of vector environments."""

from __future__ import annotations

import numpy as np

from metarl_core import list_envs

# Of MiniGrid's, one size each: the others differ in numbers only.
_MINIGRID = (
    "Empty-Random-6x6",
    "DoorKey-8x8",
    "MultiRoom-N2-S4",
    "KeyCorridorS4R3",
    "FourRooms",
    "Unlock",
    "LavaCrossingS9N2",
    "SimpleCrossingS9N2",
)
IDS = [name for name in list_envs() if not name.startswith("MiniGrid-") or name[9:-3] in _MINIGRID]


def random_actions(envs, rng):
    if hasattr(envs.single_action_space, "n"):
        return rng.integers(0, envs.single_action_space.n, envs.num_envs)
    return rng.uniform(-2, 2, (envs.num_envs, *envs.single_action_space.shape)).astype(np.float32)


def obs_bytes(obs):
    """Return the bytes of an observation, also of a tuple of arrays."""
    return b"".join(a.tobytes() for a in obs) if isinstance(obs, tuple) else obs.tobytes()


def rollout(envs, steps=40, seed=0):
    """Return the bytes of everything that comes out."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(steps):
        result = envs.step(random_actions(envs, rng))
        out += [obs_bytes(result[0]), *(a.tobytes() for a in result[1:4])]
    return b"".join(out)
