"""Buffers of every kind for the tests of checkpoints."""

import numpy as np

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer

FIELDS = {"obs": ((3,), np.float32), "action": ((), np.int32), "frame": ((20, 20), np.uint8), "done": ((), bool)}
STREAM_FIELDS = {
    "obs": ((4,), np.float32),
    "reward": ((), np.float32),
    "next_obs": ((4,), np.float32),
    "terminated": ((), bool),
    "truncated": ((), bool),
}
STACK_FIELDS = {**STREAM_FIELDS, "obs": ((3, 6, 6), np.uint8), "next_obs": ((3, 6, 6), np.uint8)}
STREAMS = {
    "n_step": {"n_step": 3, "gamma": 0.9, "num_envs": 2},
    "shared": {"next_obs": "next", "num_envs": 2, "n_step": 2},
    "stacked": {"frame_stack": 3, "num_envs": 2},
    "sequence": {"sequence_length": 5, "burn_in": 2, "num_envs": 2},
}
TASKS = {"tasks": {"task_field": "action"}, "reservoir": {"eviction": "reservoir", "task_field": "action"}}
KINDS = [
    "uniform",
    "prioritized",
    *[f"{cls}-{name}" for cls in ("uniform", "prioritized") for name in (*STREAMS, *TASKS)],
]


def make(kind):
    cls = ReplayBuffer if kind.startswith("uniform") else PrioritizedReplayBuffer
    if "-" not in kind:
        return cls(60, FIELDS, seed=5)
    name = kind.split("-")[1]
    if name in TASKS:
        return cls(60, FIELDS, seed=5, **TASKS[name])
    return cls(60, STACK_FIELDS if name == "stacked" else STREAM_FIELDS, seed=5, **STREAMS[name])


def rows(kind, first, n):
    """The rows [first, first + n) of an endless supply; of streams, one row for each of two environments a step."""
    if kind.split("-")[-1] not in (*STREAMS, "stream"):
        number = np.arange(first, first + n)
        return {
            "obs": np.arange(3 * first, 3 * (first + n), dtype=np.float32).reshape(n, 3),
            "action": (number * number % 7).astype(np.int32),
            "frame": np.arange(400 * n).reshape(n, 20, 20).astype(np.uint8),
            "done": number % 5 == 0,
        }
    step = np.repeat(np.arange(first, first + n), 2)
    env = np.tile([0, 1], n)
    length = 9 + 4 * env
    at, episode = step % length, step // length
    terminated = (at == length - 1) & (episode % 2 == 0)
    truncated = (at == length - 1) & (episode % 2 == 1)

    def observation(at):
        number = 1000 * env + 17 * episode + at
        if kind.endswith("stacked"):
            frames = np.maximum(at[:, None] + np.arange(-2, 1), 0) + (1000 * env + 17 * episode)[:, None]
            return np.broadcast_to(frames[:, :, None, None] % 251, (2 * n, 3, 6, 6)).astype(np.uint8)
        return np.repeat(number[:, None], 4, axis=1).astype(np.float32)

    return {
        "obs": observation(at),
        "next_obs": observation(at + 1),
        "reward": step.astype(np.float32),
        "terminated": terminated,
        "truncated": truncated,
        "env_ids": env,
    }


def fill(buffer, n):
    """Add n rows and give some of them priorities."""
    kind = getattr(buffer, "_kind", "uniform")
    if "x" in buffer.fields:
        buffer.add(x=np.arange(2 * n).reshape(n, 2))
    else:
        streams = "reward" in buffer.fields
        stacked = streams and buffer.fields["obs"][0] == (3, 6, 6)
        for first in range(0, n, 10):
            name = kind + ("-stacked" if stacked else "-stream" if streams else "")
            buffer.add(**rows(name, first, min(10, n - first)))
    if len(buffer) > 0:
        for step in range(3):
            batch = buffer.sample(8)
            buffer.update_priorities(batch.indices, np.arange(8) + 0.1 * step)
    return buffer


def same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].tobytes() == b[name].tobytes(), name


def crc32c(data):
    """CRC-32C, bit by bit: an oracle."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF
