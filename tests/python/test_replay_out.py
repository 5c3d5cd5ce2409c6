"""Batches that sample(out=...) overwrites: whose memory they are, and what is left of them after an error."""

import copy

import numpy as np
import pytest

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer

FIELDS = {"obs": ((3,), np.float32), "next_obs": ((3,), np.float32), "task": ((), np.int64)}


def filled(cls=PrioritizedReplayBuffer, n=8, **options):
    buffer = cls(10, FIELDS, seed=1, **options)
    obs = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    buffer.add(obs=obs, next_obs=obs + 3, task=np.arange(n) % 2)
    return buffer


def assert_unchanged(batch, before):
    for name in before:
        np.testing.assert_array_equal(batch[name], before[name])


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_out_gives_the_bits_of_a_fresh_batch(cls):
    one, two = filled(cls), filled(cls)
    out = two.sample(6, mode="uniform")
    one.sample(6, mode="uniform")
    for mode in ("stratified", "iid", "without_replacement"):
        assert two.sample(6, mode=mode, out=out) is out
        assert_unchanged(out, one.sample(6, mode=mode))


def test_a_refused_batch_size_leaves_out_alone():
    buffer = PrioritizedReplayBuffer(10, FIELDS, seed=1, eps=0.0)
    buffer.add(obs=np.ones((8, 3)), next_obs=np.ones((8, 3)), task=np.arange(8))
    out = buffer.sample(6)
    buffer.update_priorities(np.arange(8), [0, 1, 1, 1, 0, 0, 0, 0])
    before, state = copy.deepcopy(dict(out)), buffer.to_bytes()
    with pytest.raises(ValueError, match="at most 3 items"):
        buffer.sample(6, mode="without_replacement", out=out)
    assert_unchanged(out, before)
    assert buffer.to_bytes() == state


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_refused_tasks_leave_out_alone(cls):
    buffer = filled(cls, task_field="task")
    out = buffer.sample(6)
    before, state = copy.deepcopy(dict(out)), buffer.to_bytes()
    with pytest.raises(BufferEmptyError, match="task 7"):
        buffer.sample(6, task=7, out=out)
    with pytest.raises(ValueError, match="without replacement"):
        buffer.sample(6, task_weights=[1.0, 1.0e-9], mode="without_replacement", out=out)
    assert_unchanged(out, before)
    assert buffer.to_bytes() == state


@pytest.mark.parametrize("options", [{}, {"task_weights": [1.0, 1.0]}])
@pytest.mark.parametrize("with_out", [False, True])
def test_weights_that_overflow_are_refused(options, with_out):
    buffer = filled(weight_normalization="none", task_field="task")
    buffer.update_priorities(np.arange(8), [0.2, 1, 1, 1, 0.2, 1, 1, 1])
    out = buffer.sample(64)
    assert np.isfinite(out.weights).all()
    before, state = copy.deepcopy(dict(out)), buffer.to_bytes()
    with pytest.raises(ValueError, match=r"beta is 200.* overflows float32"):
        buffer.sample(64, beta=200, out=out if with_out else None, **options)
    assert_unchanged(out, before)
    assert buffer.to_bytes() == state


def test_arrays_of_out_may_not_share_memory():
    buffer = filled()
    out = buffer.sample(4)
    out["next_obs"] = out["obs"]
    with pytest.raises(ValueError, match=r"out\['(next_)?obs'\] and out\['(next_)?obs'\] share memory"):
        buffer.sample(4, out=out)
    memory = np.zeros(4 * 3 * 2 - 1, np.float32)
    out["obs"] = memory[:12].reshape(4, 3)
    out["next_obs"] = memory[11:].reshape(4, 3)
    with pytest.raises(ValueError, match="share memory"):
        buffer.sample(4, out=out)
    memory = np.zeros(4 * 3 * 2, np.float32)  # one behind the other
    out["obs"] = memory[:12].reshape(4, 3)
    out["next_obs"] = memory[12:].reshape(4, 3)
    buffer.sample(4, out=out)
    np.testing.assert_array_equal(out["next_obs"], out["obs"] + 3)


def test_arrays_of_out_must_be_aligned():
    buffer = filled()
    out = buffer.sample(4)
    memory = np.zeros(4 * 8 + 1, np.uint8)
    out["task"] = memory[1:].view(np.int64)
    with pytest.raises(ValueError, match=r"out\['task'\] must be C-contiguous, aligned and writeable"):
        buffer.sample(4, out=out)


@pytest.mark.parametrize("n", [1, 127, 128, 129, 300, 9000])  # scratch of few items is on the stack
def test_out_of_any_size_gives_the_bits_of_a_fresh_batch(n):
    one, two = filled(), filled()
    out = two.sample(n)
    one.sample(n)
    for _ in range(3):
        two.sample(n, out=out)
        expected = one.sample(n)
        assert_unchanged(out, expected)
        for name in ("indices", "weights", "probabilities"):
            np.testing.assert_array_equal(getattr(out, name), getattr(expected, name))
