"""Trees of 2^16 ... 10^8 leaves, buffers of 2^16 ... 2^24 transitions, in groups: ``pytest bench`` (all checked)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import metarl_core

CAPACITIES = [1 << 16, 1 << 20, 1 << 24]
LEAVES = [*CAPACITIES, 100_000_000]
BATCHES = [32, 256, 1024]
CHUNK = 1 << 16
FRAMES, SIDE = 4, 84
SMALL = {
    "obs": ((4,), np.float32),
    "action": ((), np.int64),
    "reward": ((), np.float32),
    "next_obs": ((4,), np.float32),
    "terminated": ((), np.bool_),
}


def small(number: Any) -> dict[str, Any]:
    """Transitions that carry their numbers (exact in float32), one endless episode."""
    obs = number[:, None].astype(np.float32) + np.arange(4, dtype=np.float32) * np.float32(0.125)
    scalars = {"action": number % 5, "reward": (number % 7).astype(np.float32)}
    return {"obs": obs, "next_obs": obs + 1, "terminated": np.zeros(len(number), bool), **scalars}


@functools.lru_cache(maxsize=1)  # one at a time: the largest takes 1 GB
def filled(capacity: int, options: tuple[tuple[str, Any], ...] = ()) -> Any:
    buffer = metarl_core.PrioritizedReplayBuffer(capacity, SMALL, alpha=0.6, beta=0.4, seed=0, **dict(options))
    for start in range(0, capacity, CHUNK):
        buffer.add(**small(np.arange(start, min(start + CHUNK, capacity))))
    errors = np.random.default_rng(1).lognormal(0.0, 1.0, CHUNK).astype(np.float32)
    for start in range(0, 0 if options else capacity, CHUNK):
        buffer.update_priorities(np.arange(start, start + CHUNK), errors)
    return buffer


@functools.lru_cache(maxsize=1)
def filled_tree(capacity: int) -> Any:
    tree = metarl_core.SumTree(capacity, seed=0)
    for start in range(0, capacity, CHUNK):
        n = min(CHUNK, capacity - start)
        tree.set(np.arange(start, start + n), np.random.default_rng(start).lognormal(0.0, 1.0, n))
    return tree


def check_rows(batch: Any, shape: tuple[int, ...]) -> None:
    number = batch["obs"][..., 0].astype(np.int64)
    assert number.shape == shape
    wanted = small(number.reshape(-1))
    for name, values in wanted.items():
        np.testing.assert_array_equal(batch[name].reshape(values.shape), values)


def round_robin(items: list[Any]) -> Callable[[], Any]:
    position = -1

    def following() -> Any:
        nonlocal position
        position = (position + 1) % len(items)
        return items[position]

    return following


def updates(capacity: int, batch: int) -> Callable[[], tuple[Any, Any]]:
    """Random places, and one batch of priorities more than of places: no update repeats what is there."""
    rng = np.random.default_rng(2)
    places = [rng.integers(0, capacity, batch) for _ in range(256)]
    values = [rng.lognormal(0.0, 1.0, batch).astype(np.float32) for _ in range(257)]
    place, value = round_robin(places), round_robin(values)
    return lambda: (place(), value())


@pytest.mark.parametrize("capacity", LEAVES)  # outermost: the largest tree takes a while to fill
@pytest.mark.parametrize("batch", [*BATCHES, 8192])
def test_tree_sample(benchmark: Any, capacity: int, batch: int) -> None:
    benchmark.group = f"tree: sample {batch}"
    tree = filled_tree(capacity)
    indices, probabilities = benchmark(tree.sample, batch)
    np.testing.assert_allclose(probabilities, tree.get(indices) / tree.total, rtol=1e-12)
    assert (np.diff(indices) >= 0).all()


@pytest.mark.parametrize("capacity", LEAVES)
@pytest.mark.parametrize("batch", [*BATCHES, 8192])
def test_tree_update(benchmark: Any, capacity: int, batch: int) -> None:
    benchmark.group = f"tree: update {batch}"
    tree, following = filled_tree(capacity), updates(capacity, batch)
    done: list[Any] = []

    def update() -> None:
        done[:] = following()
        tree.set(*done)

    benchmark(update)
    last = dict(zip(done[0].tolist(), done[1].tolist(), strict=True))
    got, wanted = tree.get(np.array(list(last))), np.array(list(last.values()))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tree.max * 2.0**-27)  # fixed point


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_sample(benchmark: Any, capacity: int, batch: int) -> None:
    benchmark.group = f"sample {batch}"
    drawn = benchmark(filled(capacity).sample, batch)
    check_rows(drawn, (batch,))
    np.testing.assert_array_equal(drawn["obs"][:, 0].astype(np.int64), drawn.indices)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_update(benchmark: Any, capacity: int, batch: int) -> None:
    benchmark.group = f"update {batch}"
    buffer, following = filled(capacity), updates(capacity, batch)
    done: list[Any] = []

    def update() -> None:
        done[:] = following()
        buffer.update_priorities(*done)

    benchmark(update)
    last = dict(zip(done[0].tolist(), done[1].tolist(), strict=True))
    np.testing.assert_allclose(buffer.priorities(np.array(list(last))), list(last.values()), rtol=1e-6)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_loop(benchmark: Any, capacity: int, batch: int) -> None:
    benchmark.group = f"loop {batch}"
    buffer = filled(capacity)
    errors = round_robin([np.random.default_rng(k).lognormal(0.0, 1.0, batch).astype(np.float32) for k in range(64)])

    def loop() -> Any:
        drawn = buffer.sample(batch)
        buffer.update_priorities(drawn, errors())
        return drawn

    check_rows(benchmark(loop), (batch,))


@pytest.mark.parametrize("batch", [1, 64, 1024])
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_add(benchmark: Any, capacity: int, batch: int) -> None:
    benchmark.group = f"add {batch}"
    buffer = metarl_core.PrioritizedReplayBuffer(capacity, SMALL, seed=0)
    chunks = [small(np.arange(batch) + k * batch) for k in range(64)]
    if batch == 1:
        chunks = [{name: values[0] for name, values in chunk.items()} for chunk in chunks]
    following = round_robin(chunks)
    benchmark(lambda: buffer.add(**following()))
    check_rows(buffer.sample(256), (256,))


def pixel_buffer(capacity: int, **options: Any) -> Any:
    observation = ((FRAMES, SIDE, SIDE), np.uint8)
    fields = {**SMALL, "obs": observation, "next_obs": observation}
    buffer = metarl_core.PrioritizedReplayBuffer(capacity, fields, seed=0, **options)
    for start in range(0, capacity - 16, 256):
        number = np.arange(start, min(start + 256, capacity - 16))
        frames = np.broadcast_to(
            (np.arange(start, start + len(number) + FRAMES) % 251).astype(np.uint8)[:, None, None],
            (len(number) + FRAMES, SIDE, SIDE),
        )
        stacks = np.stack([frames[k : k + len(number) + 1] for k in range(FRAMES)], axis=1)
        row = small(number)
        buffer.add(**{**row, "obs": stacks[:-1], "next_obs": stacks[1:]})
    return buffer


@pytest.mark.parametrize("threads", [1, None], ids=["one_thread", "default_threads"])
@pytest.mark.parametrize("options", [{}, {"frame_stack": FRAMES}], ids=["stored", "frames_once"])
@pytest.mark.parametrize("batch", [32, 256])
def test_pixels(benchmark: Any, batch: int, options: dict[str, Any], threads: int | None) -> None:
    benchmark.group = f"pixels {batch}"
    buffer = pixel_buffer(1 << 12, num_threads=threads, **options)
    benchmark.extra_info["bytes_per_transition"] = buffer.bytes_per_transition
    drawn = benchmark(buffer.sample, batch)
    first = drawn["obs"][:, 0, 0, 0].astype(np.int64)
    for name, ahead in (("obs", 0), ("next_obs", 1)):
        for k in range(FRAMES):
            wanted = (first + k + ahead) % 251
            np.testing.assert_array_equal(drawn[name][:, k].min(axis=(1, 2)), wanted)
            np.testing.assert_array_equal(drawn[name][:, k].max(axis=(1, 2)), wanted)


@pytest.mark.parametrize("length", [16, 80])
@pytest.mark.parametrize("batch", [32, 256])
@pytest.mark.parametrize("capacity", CAPACITIES[:2])
def test_sequences(benchmark: Any, capacity: int, batch: int, length: int) -> None:
    benchmark.group = f"sequences {batch}"
    buffer = filled(capacity, (("sequence_length", length),))
    drawn = benchmark(buffer.sample, batch)
    assert drawn["mask"].all()
    check_rows(drawn, (batch, length))
    assert (np.diff(drawn["obs"][..., 0], axis=1) == 1).all()
