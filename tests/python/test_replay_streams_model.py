"""n-step returns, shared next observations, frame stacks and sequences against a model of plain lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_model import ListModel, Step

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer

FRAME = (2, 3)


def fields(stack: int) -> dict[str, Any]:
    obs = ((stack, *FRAME) if stack > 1 else FRAME, np.uint8)
    return {
        "obs": obs,
        "action": ((), np.int64),
        "reward": ((), np.float32),
        "next_obs": obs,
        "terminated": ((), bool),
        "truncated": ((), bool),
    }


class Walker:
    """A made-up environment: frames with few values (so that equal ones occur), random ends, both kinds of padding."""

    def __init__(self, rng: np.random.Generator, stack: int) -> None:
        self.rng, self.stack, self.count = rng, stack, 0
        self.obs = self.reset()

    def frame(self) -> np.ndarray:
        return self.rng.integers(0, 3, FRAME, np.uint8)

    def reset(self) -> np.ndarray:
        frame = self.frame()
        if self.stack == 1:
            return frame
        if self.rng.random() < 0.3:
            return np.stack([np.zeros_like(frame)] * (self.stack - 1) + [frame])
        return np.stack([frame] * self.stack)

    def step(self, end_probability: float, jump_probability: float) -> Step:
        obs = self.obs
        frame = self.frame()
        next_obs = frame if self.stack == 1 else np.concatenate([obs[1:], frame[None]])
        terminated, truncated = (bool(x) for x in self.rng.random(2) < end_probability)
        jumps = self.rng.random() < jump_probability  # reset without an end, as after an interrupted rollout
        self.obs = self.reset() if terminated or truncated or jumps else next_obs
        self.count += 1
        return Step(obs, self.count, float(np.float32(self.rng.normal())), next_obs, terminated, truncated)


def rows(steps: list[Step]) -> dict[str, np.ndarray]:
    columns = {name: np.stack([np.asarray(getattr(s, name)) for s in steps]) for name in fields(1)}
    columns["reward"] = columns["reward"].astype(np.float32)
    return columns


def check_contents(buffer: Any, model: ListModel) -> None:
    items = model.items()
    assert len(buffer) == len(items)
    if not items:
        return
    batch = buffer.sample(8 * len(items) + 8, mode="iid" if isinstance(buffer, PrioritizedReplayBuffer) else None)
    assert set(batch.indices.tolist()) <= set(items)
    expected = {slot: model.expected(*item) for slot, item in items.items()}
    for i, slot in enumerate(batch.indices.tolist()):
        for name, value in expected[slot].items():
            np.testing.assert_array_equal(batch[name][i], value, err_msg=f"{name} of slot {slot}")


SETTINGS = st.fixed_dictionaries(
    {
        "capacity": st.integers(12, 70),
        "num_envs": st.integers(1, 4),
        "stack": st.sampled_from([1, 1, 2, 4]),
        "share": st.booleans(),
        "n_step": st.sampled_from([1, 2, 5]),
        "sequence": st.sampled_from([None, None, (1, 0, 1), (6, 2, 4), (5, 0, 2), (4, 3, 1)]),
        "skip_reset": st.booleans(),
        "ends": st.sampled_from([0.0, 0.05, 0.3]),
        "jumps": st.sampled_from([0.0, 0.1]),
        "prioritized": st.booleans(),
        "seed": st.integers(0, 2**32),
    }
)


def compare_with_lists(chosen: dict[str, Any]) -> int:
    """Return how many rows were added."""
    added = 0
    stack, sequence = chosen["stack"], chosen["sequence"]
    share = chosen["share"] or stack > 1
    n_step = 1 if sequence else chosen["n_step"]
    chosen["num_envs"] = min(chosen["num_envs"], chosen["capacity"] // (stack + share))
    rng = np.random.default_rng(chosen["seed"])
    model = ListModel(chosen["capacity"], chosen["num_envs"], n_step, 0.9, stack, share, chosen["skip_reset"], sequence)
    arguments: dict[str, Any] = {
        "num_envs": chosen["num_envs"],
        "n_step": n_step,
        "gamma": 0.9,
        "frame_stack": stack,
        "next_obs": "next" if share else "stored",
        "autoreset_mode": "next_step" if chosen["skip_reset"] else None,
    }
    if sequence:
        arguments.update(sequence_length=sequence[0], burn_in=sequence[1], stride=sequence[2])
    kind = PrioritizedReplayBuffer if chosen["prioritized"] else ReplayBuffer
    buffer = kind(chosen["capacity"], fields(stack), seed=3, **arguments)
    linked = share or n_step > 1 or sequence or chosen["skip_reset"]
    walkers = [Walker(rng, stack) for _ in range(chosen["num_envs"])]
    for _ in range(rng.integers(1, 25)):
        count = int(rng.integers(1, 12))
        if chosen["num_envs"] > 1 and rng.random() < 0.4:
            ids = np.arange(chosen["num_envs"])
            given_ids: dict[str, Any] = {}
        else:
            ids = rng.integers(0, chosen["num_envs"], count)
            given_ids = {"env_ids": ids}
        steps = [walkers[e].step(chosen["ends"], chosen["jumps"]) for e in ids]
        slots = buffer.add(**rows(steps), **given_ids)
        added += len(steps)
        assert linked or len(steps) <= chosen["capacity"]
        expected = [model.add(int(e), step) for e, step in zip(ids, steps, strict=True)]
        assert slots.tolist() == expected
        if rng.random() < 0.3:
            check_contents(buffer, model)
        if chosen["prioritized"] and len(buffer) and rng.random() < 0.5:
            batch = buffer.sample(4)
            shape = (4, sequence[0]) if sequence and rng.random() < 0.5 else (4,)
            buffer.update_priorities(batch, rng.normal(size=shape))
    check_contents(buffer, model)
    return added


@pytest.mark.parametrize("examples", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_every_item_is_what_the_list_model_says(examples: int) -> None:
    compared = []

    def compare(chosen: dict[str, Any]) -> None:
        compared.append(compare_with_lists(chosen))

    settings(max_examples=examples, deadline=None)(given(SETTINGS)(compare))()
    print(f"{len(compared)} random runs, {sum(compared):,} rows added: contents as the lists say")
