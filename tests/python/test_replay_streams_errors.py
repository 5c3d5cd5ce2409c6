"""Arguments and rows that buffers with streams refuse."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from stream_helpers import atari

from metarl_core import LinearSchedule, PrioritizedReplayBuffer

PLAIN = {"obs": ((), float), "reward": ((), float), "next_obs": ((), float), "terminated": ((), bool)}


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        ({}, {"n_step": 0}, ValueError, "n_step is 0; must be >= 1"),
        ({}, {"n_step": 2.0}, TypeError, "n_step must be an integer, got float"),
        ({}, {"gamma": 1.5}, ValueError, r"gamma is 1\.5; must be in \[0, 1\]"),
        ({}, {"gamma": float("nan")}, ValueError, r"gamma is nan; must be in \[0, 1\]"),
        ({}, {"num_envs": 0}, ValueError, "num_envs is 0; must be >= 1"),
        ({}, {"next_obs": "shared"}, ValueError, "next_obs is 'shared'; must be 'stored' or 'next'"),
        ({}, {"autoreset_mode": "later"}, ValueError, "autoreset_mode is 'later'; must be None or one of 'next_step'"),
        ({}, {"sequence_length": 0}, ValueError, "sequence_length is 0; must be >= 1 or None"),
        ({}, {"sequence_length": 4, "burn_in": 4}, ValueError, "burn_in is 4; must be below sequence_length = 4"),
        ({}, {"burn_in": 1}, ValueError, "burn_in needs sequence_length"),
        ({}, {"stride": 2}, ValueError, "stride needs sequence_length"),
        ({}, {"sequence_length": 4, "stride": 0}, ValueError, "stride is 0; must be >= 1"),
        ({}, {"sequence_length": 4, "n_step": 2}, ValueError, "n_step and sequence_length exclude one another"),
        (
            {},
            {"recurrent_fields": ["h"], "sequence_length": 2},
            ValueError,
            "recurrent_fields names 'h', which is no field",
        ),
        ({}, {"recurrent_fields": "obs"}, TypeError, "recurrent_fields must be a sequence of field names"),
        ({}, {"priority_mix": 2.0}, ValueError, "priority_mix is 2"),
        ({}, {"frame_stack": 2}, ValueError, r"frame_stack is 2; the first axis of 'obs', whose shape is \(\)"),
        ({}, {"frame_stack": {"x": 2}}, ValueError, "frame_stack names 'x', which is no field"),
        ({}, {"frame_stack": 0}, ValueError, "frame_stack is 0; must be >= 1"),
        ({"obs": ((3, 2), float)}, {"frame_stack": 3}, ValueError, "frame_stack needs a field 'next_obs' of the same"),
        (
            {"obs": ((3, 2), float), "next_obs": ((3, 2), float)},
            {"frame_stack": 3, "next_obs": "stored"},
            ValueError,
            "next_obs is 'stored'; with frame_stack it must be 'next'",
        ),
        ({"next_obs": ((2,), float)}, {"next_obs": "next"}, ValueError, "next_obs is 'next'; needs a field 'next_X'"),
        ({"terminated": None}, {"n_step": 2}, ValueError, "fields has no 'terminated'"),
        ({"terminated": ((), np.int8)}, {"n_step": 2}, TypeError, "field 'terminated' must be bool"),
        ({"reward": None}, {"n_step": 2}, ValueError, "n_step needs a field 'reward'"),
        ({"reward": ((), np.int64)}, {"n_step": 2}, TypeError, "field 'reward' must be float32 or float64"),
        ({"discount": ((), float)}, {"n_step": 2}, ValueError, "field name 'discount' is reserved"),
        ({"mask": ((), float)}, {"sequence_length": 2}, ValueError, "field name 'mask' is reserved"),
        ({"env_ids": ((), float)}, {}, ValueError, "field name 'env_ids' is reserved"),
        ({}, {"n_step": 2, "capacity": 5}, ValueError, r"capacity is 5; with these options it must be in \[6, "),
        ({}, {"n_step": 33}, ValueError, "n_step is 33; must be at most the capacity, 32"),
        ({}, {"sequence_length": 1000}, ValueError, "sequence_length is 1000; must be at most the capacity, 32"),
        (
            {},
            {"recurrent_fields": [3], "sequence_length": 2},
            TypeError,
            "recurrent_fields must hold field names, got 3",
        ),
        ({}, {"frame_stack": {3: 4}}, TypeError, "frame_stack must map field names to numbers, got the name 3"),
        ({}, {"frame_stack": 2**40}, ValueError, "frame_stack is 1099511627776; must be >= 1 and at most 65536"),
        ({}, {"num_envs": 33, "n_step": 2}, ValueError, r"num_envs is 33; must be in \[1, 32\], .* of each \(1 slot\)"),
        ({}, {"num_envs": 17, "next_obs": "next"}, ValueError, r"num_envs is 17; must be in \[1, 16\], .* \(2 slots\)"),
        (
            {"obs": ((3, 2), float), "next_obs": ((3, 2), float)},
            {"num_envs": 2**40, "frame_stack": 3},
            ValueError,
            r"num_envs is 1099511627776; must be in \[1, 8\], so that the capacity, 32, has room",
        ),
        ({}, {"next_obs": np.array([1, 2])}, TypeError, "next_obs must be a str or None, got ndarray"),
    ],
)
def test_bad_arguments(change: dict[str, Any], arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    f = {name: spec for name, spec in {**PLAIN, **change}.items() if spec is not None}
    with pytest.raises(error, match=message):
        PrioritizedReplayBuffer(**{"capacity": 32, "fields": f, **arguments})


def test_bad_rows_change_nothing() -> None:
    buffer = PrioritizedReplayBuffer(32, PLAIN, num_envs=2, n_step=2)
    row = {"obs": np.zeros(2), "reward": np.zeros(2), "next_obs": np.ones(2), "terminated": np.zeros(2, bool)}
    buffer.add(**row)
    before = buffer.sample(8)
    for change, error, message in [
        ({"env_ids": [0, 2]}, ValueError, r"env_ids\[1\] is 2; must be in \[0, num_envs = 2\)"),
        ({"env_ids": [0, -1]}, ValueError, r"env_ids\[1\] is -1"),
        ({"env_ids": [0]}, ValueError, r"env_ids has shape \(1,\); must be \(2,\) like the rows"),
        ({"env_ids": [0.0, 1.0]}, TypeError, "env_ids must be integers"),
    ]:
        with pytest.raises(error, match=message):
            buffer.add(**row, **change)
    with pytest.raises(ValueError, match="add got 3 rows; with num_envs = 2 it needs one for each environment"):
        buffer.add(**{name: np.resize(column, 3) for name, column in row.items()})
    with pytest.raises(ValueError, match="add got 1 rows"):
        buffer.add(obs=0.0, reward=0.0, next_obs=0.0, terminated=False)
    assert len(buffer) == 2
    stacked = atari(frame_stack=4)
    frames = np.random.default_rng(0).integers(0, 255, (2, 4, 84, 84), np.uint8)
    with pytest.raises(ValueError, match="'next_obs' of row 0 is not 'obs' moved on by one frame"):
        stacked.add(obs=frames[0], next_obs=frames[1], action=0, reward=0.0, terminated=False, truncated=False)
    assert len(stacked) == 0
    assert before["obs"].shape == (8,)


def test_arguments_have_one_form_for_each_meaning() -> None:
    stacked = {"obs": ((3, 2), np.uint8), "next_obs": ((3, 2), np.uint8), "terminated": ((), bool)}
    for fields, one, other in [
        (PLAIN, {}, {"next_obs": "stored", "autoreset_mode": "same_step", "frame_stack": {}}),
        (PLAIN, {"n_step": 2, "gamma": 0.5}, {"n_step": np.int64(2), "gamma": np.float32(0.5)}),
        (PLAIN, {"sequence_length": 4, "burn_in": 1}, {"sequence_length": 4, "burn_in": 1, "stride": 3}),
        (stacked, {"frame_stack": 3}, {"frame_stack": {"obs": np.int8(3)}, "next_obs": "next"}),
    ]:
        a = PrioritizedReplayBuffer(32, fields, **one)
        b = PrioritizedReplayBuffer(32, fields, **other)
        b.load_state_dict(a.state_dict())
        assert a.to_bytes() == b.to_bytes()


def test_numpy_numbers_can_be_saved() -> None:
    beta = LinearSchedule(np.float32(0.5), np.float64(1.0), np.int64(10))
    buffer = PrioritizedReplayBuffer(
        32, PLAIN, beta=beta, gamma=np.float32(0.75), priority_mix=np.float16(0.5), n_step=2
    )
    assert PrioritizedReplayBuffer.from_bytes(buffer.to_bytes()).to_bytes() == buffer.to_bytes()


def test_a_batch_of_another_process_is_stale() -> None:
    script = """
import sys, pickle, numpy as np, metarl_core as m
b = m.PrioritizedReplayBuffer(32, {"x": ((), float)})
b.add(x=np.zeros(8))
sys.stdout.buffer.write(pickle.dumps((b.sample(4), b.sample(4)._mark)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    theirs, mark = pickle.loads(done.stdout)
    buffer = PrioritizedReplayBuffer(32, {"x": ((), float)})
    buffer.add(x=np.zeros(8))
    assert buffer.sample(4)._mark != mark
    theirs._mark = mark
    buffer.update_priorities(theirs, np.ones(4) * 5)
    assert buffer.stale_updates == 4


@pytest.mark.parametrize("mask", [[[True] * 3] * 2, None, 1])
def test_a_mask_that_is_no_array(mask):
    fields = {"obs": ((), np.float32), "terminated": ((), np.bool_)}
    buffer = PrioritizedReplayBuffer(10, fields, sequence_length=3)
    buffer.add(obs=np.arange(8), terminated=np.zeros(8, bool))
    batch = buffer.sample(2)
    batch["mask"] = mask
    before = buffer.priorities()
    with pytest.raises(TypeError, match=r"batch\['mask'\] must be a bool array, got " + type(mask).__name__):
        buffer.update_priorities(batch, np.ones((2, 3)))
    np.testing.assert_array_equal(before, buffer.priorities())
