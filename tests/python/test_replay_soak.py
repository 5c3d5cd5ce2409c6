"""Memory stays flat however long buffers are used."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer

FIELDS = {
    "obs": ((4, 42, 42), np.uint8),
    "reward": ((), np.float32),
    "next_obs": ((4, 42, 42), np.uint8),
    "terminated": ((), bool),
    "task_id": ((), np.int32),
}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def work(buffer: PrioritizedReplayBuffer, rng: np.random.Generator, obs: np.ndarray) -> np.ndarray:
    """Add 64 transitions, sample in every way, update, now and then clear and copy; return the next observations."""
    frames = rng.integers(0, 255, (64, 1, 42, 42), np.uint8)
    next_obs = np.concatenate([obs[:, 1:], frames], axis=1)
    flags = rng.random(64) < 0.02
    buffer.add(
        obs=obs, next_obs=next_obs, reward=np.ones(64, np.float32), terminated=flags, task_id=rng.integers(0, 9, 64)
    )
    for arguments in ({}, {"mode": "uniform"}, {"mode": "without_replacement"}, {"task_weights": "balanced"}):
        batch = buffer.sample(32, **arguments)
        buffer.update_priorities(batch, rng.normal(size=32))
    if rng.random() < 0.01:
        buffer.clear_task(int(rng.integers(9)))
    if rng.random() < 0.005:
        PrioritizedReplayBuffer.from_bytes(buffer.to_bytes()).sample(4)
    if rng.random() < 0.002:
        buffer.clear()
    return np.where(flags[:, None, None, None], np.repeat(frames, 4, axis=1), next_obs)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("seconds", [3, pytest.param(120, marks=pytest.mark.slow)])
def test_resident_memory_does_not_grow(seconds: float) -> None:
    buffer = PrioritizedReplayBuffer(4096, FIELDS, num_envs=64, n_step=3, frame_stack=4, task_field="task_id")
    rng = np.random.default_rng(0)
    obs = np.repeat(rng.integers(0, 255, (64, 1, 42, 42), np.uint8), 4, axis=1)
    for step in range(300):  # every page and pool is in use after that, and malloc's heap has room for copies
        obs = work(buffer, rng, obs)
        if step % 50 == 0:
            PrioritizedReplayBuffer.from_bytes(buffer.to_bytes()).sample(4)
    samples = []
    begin = time.perf_counter()
    rounds = 0
    while (elapsed := time.perf_counter() - begin) < seconds or rounds < 200:
        for _ in range(20):
            obs = work(buffer, rng, obs)
        rounds += 20
        gc.collect()
        samples.append((elapsed, resident_bytes()))
    early = np.median([size for _, size in samples[: len(samples) // 3]])
    late = np.median([size for _, size in samples[-len(samples) // 3 :]])
    print(f"{rounds:,} rounds of 64 additions and 4 batches: resident {early / 1e6:.1f} MB, later {late / 1e6:.1f} MB")
    assert late - early < 4e6
