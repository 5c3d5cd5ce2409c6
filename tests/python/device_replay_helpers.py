"""What the tests of replay buffers on a GPU and on the emulator have in common."""

from __future__ import annotations

from typing import ClassVar

import numpy as np


def rows(rng, fields, n):
    """Return random values of every field, n rows each."""
    made = {}
    for name, (shape, dtype) in fields.items():
        kind = np.dtype(dtype).kind
        values = rng.integers(0, 2 if kind == "b" else 100, (n, *shape)) if kind in "biu" else rng.random((n, *shape))
        made[name] = values.astype(dtype)
    return made


def linked_fields(stack):
    """Return fields of which transitions can be linked; ``stack`` frames of ``obs``."""
    shape = (stack, 3) if stack > 1 else (3,)
    return {
        "obs": (shape, np.float32),
        "small": ((), np.int8),
        "reward": ((2,), np.float32),
        "next_obs": (shape, np.float32),
        "next_small": ((), np.int8),
        "terminated": ((), bool),
        "truncated": ((), bool),
        "image": ((300,), np.uint8),  # an array of its own
    }


class LinkedRows:
    """Rows of several environments whose episodes end, are truncated, or are broken off without a word.

    Args:
        fields: Of ``linked_fields``.
        num_envs: Rows are one of each, or of one environment one after the other.
        stack: Frames of ``obs``.
        seed: Of everything.
    """

    def __init__(self, fields, num_envs, stack, seed):
        self.fields, self.num_envs, self.stack = fields, num_envs, stack
        self.rng = np.random.default_rng(seed)
        self.obs = [self._begin() for _ in range(num_envs)]
        self.small = [0] * num_envs

    def _begin(self):
        shape = self.fields["obs"][0]
        if self.stack == 1:
            return self.rng.random(shape).astype(np.float32)
        kind = self.rng.integers(3)
        if kind == 0:  # as a stack of zeros
            frames = np.zeros(shape, np.float32)
            frames[-1] = self.rng.random(shape[1:])
        elif kind == 1:  # as the first frame again and again
            frames = np.repeat(self.rng.random((1, *shape[1:])), self.stack, axis=0).astype(np.float32)
        else:  # as if there had been something before
            frames = self.rng.random(shape).astype(np.float32)
        return frames

    def _row(self, env):
        obs, small = self.obs[env], self.small[env]
        following = self.rng.random(obs.shape).astype(np.float32)
        if self.stack > 1:
            following[:-1] = obs[1:]
        next_small = int(self.rng.integers(100))
        end = self.rng.random()
        row = {
            "obs": obs,
            "small": np.int8(small),
            "reward": self.rng.standard_normal(2).astype(np.float32),
            "next_obs": following,
            "next_small": np.int8(next_small),
            "terminated": end < 0.12,
            "truncated": 0.1 < end < 0.2,
            "image": self.rng.integers(0, 255, 300).astype(np.uint8),
        }
        self.obs[env] = self._begin() if end < 0.25 else following
        self.small[env] = next_small if end >= 0.2 else 0
        return row

    def next(self, n):
        """Return n rows of each environment; of several environments n is 1."""
        rows = [self._row(env) for env in range(self.num_envs) for _ in range(n)]
        return {name: np.stack([row[name] for row in rows]).astype(dtype) for name, (_, dtype) in self.fields.items()}


def host(value):
    """Return a value of a batch as NumPy's array."""
    return value if isinstance(value, np.ndarray) else value.numpy()


def assert_same_batch(ours, theirs):
    """Compare two batches bit for bit."""
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        found = host(ours[name])
        assert found.dtype == expected.dtype, name
        np.testing.assert_array_equal(found, expected, err_msg=name)


def assert_same_state(ours, theirs):
    """Compare two states, dicts of arrays, values and dicts, bit for bit."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        if isinstance(expected, dict):
            assert_same_state(ours[name], expected)
        elif isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(ours[name], expected, err_msg=name)
        else:
            assert ours[name] == expected, name


def assert_same_linked(device, cpu):
    """Compare the states of two buffers bit for bit, what links transitions included."""
    ours, theirs = device._buffer.snapshot(), cpu._snapshot()
    for state in (ours, theirs):  # on the CPU it may say that all slots are valid
        used = min(state["written"], device.capacity)
        if "valid" in state and sum(int(word).bit_count() for word in state["valid"]) == used:
            state.pop("valid")
    assert_same_state(ours, theirs)
    assert len(device) == len(cpu)


class TaskRows:
    """Rows of tasks of different sizes that come and go.

    Args:
        seed: Of everything.
    """

    FIELDS: ClassVar = {"x": ((3,), np.float32), "task_id": ((), np.int32)}

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.calls = 0

    def next(self, n):
        """Return n rows, of the tasks 0 to 8."""
        self.calls += 1
        if self.calls % 4 == 0:
            tasks = np.full(n, self.calls // 4 % 9)
        else:
            tasks = np.minimum(self.rng.integers(0, 12, n), self.calls % 9)
        return {"x": self.rng.random((n, 3)).astype(np.float32), "task_id": tasks.astype(np.int32)}


def assert_same_tasks(device, cpu):
    """Compare the states of two buffers with tasks bit for bit, and what they say of their tasks."""
    assert_same_linked(device, cpu)
    assert device.task_counts() == cpu.task_counts()
    assert list(device.task_counts()) == list(cpu.task_counts())
    assert device.task_masses() == cpu.task_masses()
