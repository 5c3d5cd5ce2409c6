"""Examples of n-step returns, shared next observations, frame stacks and sequences, worked out by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from stream_helpers import atari

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, build_info, fields_from_spaces


def line(n: int, ends: dict[int, str] | None = None, first: int = 0, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """A buffer that holds the states first ... first + n of a straight line, with ends after the given ones."""
    ends = ends or {}
    at = np.arange(first, first + n)
    columns = {
        "obs": at.astype(np.float64),
        "action": at,
        "reward": (at + 1).astype(np.float64),
        "next_obs": (at + 1).astype(np.float64),
        "terminated": np.array([ends.get(t) == "terminated" for t in at]),
        "truncated": np.array([ends.get(t) == "truncated" for t in at]),
    }
    f = {name: ((), column.dtype) for name, column in columns.items()}
    buffer = PrioritizedReplayBuffer(arguments.pop("capacity", 64), f, **arguments)
    buffer.add(**columns)
    return buffer, columns


def by_action(batch: Any) -> dict[int, dict[str, Any]]:
    return {int(a): {name: column[i] for name, column in batch.items()} for i, a in enumerate(batch["action"])}


@pytest.mark.parametrize("next_obs", ["stored", "next"])
def test_n_step_stops_at_ends_and_at_the_newest_transition(next_obs: str) -> None:
    buffer, _ = line(12, {3: "terminated", 7: "truncated"}, n_step=3, gamma=0.5, next_obs=next_obs)
    seen = by_action(buffer.sample(500))
    assert set(seen) == set(range(12))
    expected = {  # action: reward, discount, next_obs, terminated, truncated
        0: (1 + 2 / 2 + 3 / 4, 1 / 8, 3, False, False),
        1: (2 + 3 / 2 + 4 / 4, 0, 4, True, False),
        3: (4, 0, 4, True, False),
        5: (6 + 7 / 2 + 8 / 4, 1 / 8, 8, False, True),
        7: (8, 1 / 2, 8, False, True),
        9: (10 + 11 / 2 + 12 / 4, 1 / 8, 12, False, False),
        10: (11 + 12 / 2, 1 / 4, 12, False, False),
        11: (12, 1 / 2, 12, False, False),
    }
    for action, (reward, discount, next_value, terminated, truncated) in expected.items():
        got = seen[action]
        assert got["reward"] == reward
        assert got["discount"] == np.float32(discount)
        assert got["next_obs"] == next_value
        assert (got["terminated"], got["truncated"]) == (terminated, truncated)


def test_a_jump_without_an_end_cuts_the_chain() -> None:
    buffer, columns = line(4, n_step=3, gamma=0.5, next_obs="next")
    later = {name: column + 100 if column.dtype != bool else column for name, column in columns.items()}
    buffer.add(**later)  # begins at 100, where 4 was announced
    seen = by_action(buffer.sample(500))
    assert seen[3]["reward"] == 4
    assert seen[3]["discount"] == np.float32(0.5)
    assert seen[3]["next_obs"] == 4
    assert seen[2]["next_obs"] == 4
    assert seen[100]["next_obs"] == 103


def test_wrapping_never_links_old_and_new() -> None:
    for next_obs in ("stored", "next"):
        buffer, _ = line(300, n_step=4, gamma=1.0, capacity=37, next_obs=next_obs)
        batch = buffer.sample(2000)
        steps = np.minimum(batch["action"] + 4, 300) - batch["action"]
        np.testing.assert_array_equal(batch["next_obs"], batch["action"] + steps)
        rewards = [sum(range(a + 1, a + 1 + k)) for a, k in zip(batch["action"], steps, strict=True)]
        np.testing.assert_array_equal(batch["reward"], rewards)
        assert batch["action"].min() == 300 - 37


@pytest.mark.parametrize("share", [False, True])
def test_sequences(share: bool) -> None:
    buffer, _ = line(
        23, {9: "terminated"}, sequence_length=6, burn_in=2, stride=4, recurrent_fields=["action"],
        next_obs="next" if share else "stored",
    )  # fmt: skip
    # Of the chain 0 ... 9: starts 0 and 4; 8 has no step behind burn_in. Of 10 ... 22: 10 and 14; 18 is incomplete.
    assert len(buffer) == 4
    batch = buffer.sample(64)
    seen = by_action(batch)
    assert set(seen) == {0, 4, 10, 14}
    np.testing.assert_array_equal(seen[4]["obs"], [4, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(seen[4]["next_obs"], [5, 6, 7, 8, 9, 10])
    np.testing.assert_array_equal(seen[4]["terminated"], [False] * 5 + [True])
    assert batch["mask"].all()
    buffer.add(obs=23.0, action=23, reward=24.0, next_obs=24.0, terminated=False, truncated=True)
    seen = by_action(buffer.sample(64))
    assert set(seen) == {0, 4, 10, 14, 18}
    buffer.clear()
    assert len(buffer) == 0
    for t in range(4):
        buffer.add(obs=float(t), action=t, reward=0.0, next_obs=t + 1.0, terminated=t == 3, truncated=False)
    got = buffer.sample(1)
    np.testing.assert_array_equal(got["mask"], [[True] * 4 + [False] * 2])
    np.testing.assert_array_equal(got["obs"], [[0, 1, 2, 3, 0, 0]])


def test_sequence_priorities_mix_the_largest_and_the_mean_error() -> None:
    buffer, _ = line(
        17, {16: "terminated"}, sequence_length=5, burn_in=1, stride=4, priority_mix=0.7, alpha=1.0, eps=0.0
    )
    batch = buffer.sample(40)
    errors = np.random.default_rng(0).normal(size=(40, 5))
    buffer.update_priorities(batch, errors)
    got = buffer.priorities(batch.indices)
    last = {slot: i for i, slot in enumerate(batch.indices)}
    for slot, i in last.items():
        kept = np.abs(errors[i].astype(np.float32).astype(np.float64))[1:][batch["mask"][i, 1:]]
        assert got[i] == np.float32(0.7 * kept.max() + (1 - 0.7) * kept.sum() / len(kept)), slot
    with pytest.raises(ValueError, match=r"td_errors has shape \(40, 4\); must be \(B,\) or \(B, "):
        buffer.update_priorities(batch, errors[:, :4])
    errors[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"td_errors\[3, 2\] is nan; must be finite"):
        buffer.update_priorities(batch, errors)
    np.testing.assert_array_equal(buffer.priorities(batch.indices), got)


def test_memory_of_a_transition() -> None:
    assert atari(frame_stack=4).bytes_per_transition <= 7100
    assert atari(frame_stack=4, n_step=3, num_envs=8).bytes_per_transition <= 7100
    small = {
        "obs": ((4,), np.float32),
        "action": ((), np.int64),
        "reward": ((), np.float32),
        "next_obs": ((4,), np.float32),
        "terminated": ((), bool),
    }
    assert PrioritizedReplayBuffer(64, small, next_obs="next").bytes_per_transition <= 46
    assert PrioritizedReplayBuffer(64, small).bytes_per_transition <= 64


def cartpole_follows(obs: np.ndarray, action: int, next_obs: np.ndarray) -> bool:
    """Whether Gymnasium's CartPole leads from one observation to the other, up to float32."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset()
    env.state = obs.astype(np.float64)
    return bool(np.allclose(env.step(int(action))[0], next_obs, rtol=1e-4, atol=1e-5))


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED"])
@pytest.mark.parametrize("share", [False, True])
def test_no_reset_row_is_stored_in_any_autoreset_mode(mode: str, share: bool) -> None:
    autoreset = getattr(gymnasium.vector.AutoresetMode, mode)
    envs = gymnasium.make_vec(
        "CartPole-v1", num_envs=3, vectorization_mode="sync", vector_kwargs={"autoreset_mode": autoreset}
    )
    envs.action_space.seed(1)
    f = fields_from_spaces(envs.single_observation_space, envs.single_action_space)
    buffer = ReplayBuffer(
        512, f, num_envs=3, n_step=2, gamma=1.0, next_obs="next" if share else "stored", autoreset_mode=autoreset
    )
    obs, _ = envs.reset(seed=1)
    stored = 0
    ended = np.zeros(3, bool)
    for _ in range(120):
        action = envs.action_space.sample()
        next_obs, reward, terminated, truncated, info = envs.step(action)
        final = next_obs.copy()
        if mode == "SAME_STEP" and "final_obs" in info:
            for e in np.flatnonzero(info["_final_obs"]):
                final[e] = info["final_obs"][e]
        slots = buffer.add(
            obs=obs,
            action=action,
            reward=reward.astype(np.float32),
            next_obs=final,
            terminated=terminated,
            truncated=truncated,
        )
        if mode == "NEXT_STEP":
            np.testing.assert_array_equal(slots < 0, ended)
        stored += int((slots >= 0).sum())
        ended = terminated | truncated
        obs = next_obs
        if mode == "DISABLED" and ended.any():
            obs, _ = envs.reset(options={"reset_mask": ended})
    assert len(buffer) == stored
    batch = buffer.sample(400)
    names = ("obs", "action", "next_obs", "reward", "terminated", "discount")
    for obs_0, action_0, next_1, total, done, factor in zip(*(batch[name] for name in names), strict=True):
        assert factor == (0.0 if done else 1.0)
        if total == 1.0:  # a single step: its end, or the newest one
            assert cartpole_follows(obs_0, action_0, next_1)
        else:
            env = gymnasium.make("CartPole-v1").unwrapped
            env.reset()
            env.state = obs_0.astype(np.float64)
            middle = env.step(int(action_0))[0]
            assert any(cartpole_follows(middle, a, next_1) for a in (0, 1))
    print(f"{mode}: {stored} of 360 rows stored; 400 sampled, each repeated in CartPole itself")


GOLDEN = """
import hashlib, numpy as np, metarl_core as m
f = {"obs": ((3, 2), np.uint8), "action": ((), np.int64), "reward": ((), np.float32), "next_obs": ((3, 2), np.uint8),
     "terminated": ((), bool), "truncated": ((), bool)}
digest = hashlib.sha256()
for arguments in ({"n_step": 3}, {"frame_stack": 3, "n_step": 2}, {"sequence_length": 5, "burn_in": 1}):
    b = m.PrioritizedReplayBuffer(200, f, num_envs=4, seed=9, **arguments)
    r = np.random.default_rng(1)
    obs = np.repeat(r.integers(0, 9, (4, 1, 2), np.uint8), 3, 1)
    for t in range(120):
        new = np.concatenate([obs[:, 1:], r.integers(0, 9, (4, 1, 2), np.uint8)], 1)
        ends = r.random((2, 4)) < 0.05
        b.add(obs=obs, next_obs=new, action=np.full(4, t), reward=r.normal(size=4).astype(np.float32),
              terminated=ends[0], truncated=ends[1])
        obs = np.where(ends.any(0)[:, None, None], np.repeat(r.integers(0, 9, (4, 1, 2), np.uint8), 3, 1), new)
        if t > 20:
            batch = b.sample(16)
            b.update_priorities(batch, r.normal(size=16))
            for name in sorted(batch):
                digest.update(batch[name].tobytes())
print(digest.hexdigest())
"""


def test_the_same_bits_at_every_instruction_set_level() -> None:
    digests = {}
    for level in build_info()["isa_levels"]:
        environment = {**os.environ, "METARL_ISA": level}
        done = subprocess.run(
            [sys.executable, "-c", GOLDEN], env=environment, capture_output=True, text=True, check=False
        )
        if "METARL_ISA" not in done.stderr:  # a level that this CPU lacks
            digests[level] = done.stdout
    assert len(set(digests.values())) == 1, digests
    assert len(next(iter(digests.values()))) == 65
