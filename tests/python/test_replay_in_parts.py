"""Large calls do their work in parts, between which Ctrl-C may end them: the parts make the whole."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, SumTree, importance_weights

LARGE = 300_007  # above what is done at once in the core


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_importance_weights(dtype, beta):
    p = np.random.default_rng(0).uniform(1e-9, 1e-3, 4_200_000)
    parts = [importance_weights(part, 1000, beta, "max", p.min(), dtype) for part in np.array_split(p, 40)]
    np.testing.assert_array_equal(importance_weights(p, 1000, beta, "max", p.min(), dtype), np.concatenate(parts))
    np.testing.assert_array_equal(importance_weights(p, 1000, beta, "batch_max", None, dtype), np.concatenate(parts))
    exact = p**-beta / (p**-beta).sum()
    summed = importance_weights(p, 1000, beta, "sum", None, dtype)
    np.testing.assert_allclose(summed, exact, rtol=1e-12 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("position", [0, 200_000, 4_199_999])
def test_a_bad_probability_in_any_part(position):
    p = np.full(4_200_000, 0.5)
    p[position] = 1.5
    for dtype in ("float64", "float32"):
        with pytest.raises(ValueError, match=rf"probabilities\[{position}\] is 1\.5; must be in \(0, 1\]"):
            importance_weights(p, 10, 0.4, dtype=dtype)


def test_large_batches_agree_with_themselves():
    buffer = PrioritizedReplayBuffer(1000, {"x": ((), np.int64)}, weight_normalization="max", seed=0)
    buffer.add(x=np.arange(1000))
    buffer.update_priorities(np.arange(1000), np.random.default_rng(0).lognormal(size=1000))
    powers = buffer.priorities() ** 0.6
    batch = buffer.sample(LARGE, beta=0.4)
    np.testing.assert_array_equal(batch["x"], batch.indices)
    assert (np.diff(batch.indices) >= 0).all()
    assert (np.abs(np.bincount(batch.indices, minlength=1000) - LARGE * powers / powers.sum()) < 2).all()
    np.testing.assert_allclose(batch.probabilities, powers[batch.indices] / powers.sum(), rtol=1e-5)
    np.testing.assert_allclose(batch.weights, (powers.min() / powers[batch.indices]) ** 0.4, rtol=1e-5)


def test_arguments_of_other_dtypes():
    """More than are converted at once."""
    n = 1_300_000
    one, two = (PrioritizedReplayBuffer(5000, {"x": ((), np.uint8)}) for _ in range(2))
    for buffer in (one, two):
        buffer.add(x=np.zeros(5000, np.uint8))
    indices = np.random.default_rng(0).integers(0, 5000, n)
    errors = np.random.default_rng(1).normal(size=n)
    one.update_priorities(indices, errors.astype(np.float32))
    two.update_priorities(indices.astype(np.int16), errors)
    np.testing.assert_array_equal(one.priorities(), two.priorities())
    np.testing.assert_array_equal(one.priorities(indices.astype(np.uint32)), two.priorities()[indices])
    errors[-1] = 1e300
    with pytest.raises(ValueError, match=rf"td_errors\[{n - 1}\] is 1e\+300; overflows float32"):
        two.update_priorities(indices, errors)
    np.testing.assert_array_equal(one.priorities(), two.priorities())

    tree = SumTree(5000)
    tree.set(indices.astype(np.int32), np.ones(n, np.int8))
    assert tree.total == len(np.unique(indices))


def test_rows_of_other_dtypes():
    x = np.random.default_rng(0).normal(size=(600_000, 8))
    one, two = (ReplayBuffer(600_000, {"x": ((8,), np.float32)}) for _ in range(2))
    one.add(x=x.astype(np.float32))
    two.add(x=np.asfortranarray(x))
    assert one.to_bytes() == two.to_bytes()
    x[-1, -1] = 1e300
    with pytest.raises(ValueError, match="'x' holds a value that overflows float32"):
        two.add(x=x)
    with pytest.raises(TypeError, match="'x' expected float32, got complex128"):
        two.add(x=x.astype(complex))
    assert one.to_bytes() == two.to_bytes()
    counts = np.arange(5_000_000)
    short = ReplayBuffer(5_000_000, {"n": ((), np.int32)})
    counts[-1] = 2**31
    with pytest.raises(TypeError, match="'n' expected int32, got int64"):
        short.add(n=counts)
    assert len(short) == 0
    counts[-1] = 2**31 - 1
    short.add(n=counts)
    np.testing.assert_array_equal(short.state_dict()["columns"]["n"], counts)


def test_errors_of_sequences():
    fields = {"x": ((), np.uint8), "terminated": ((), bool), "truncated": ((), bool)}
    buffer = PrioritizedReplayBuffer(1000, fields, sequence_length=16, stride=1)
    flags = np.zeros(1000, bool)
    buffer.add(x=np.zeros(1000, np.uint8), terminated=flags, truncated=flags)
    n = 70_000
    indices = np.arange(n) % 900
    errors = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
    buffer.update_priorities(indices, errors)
    mixed = 0.9 * np.abs(errors).max(1) + 0.1 * np.abs(errors).mean(1, dtype=np.float64)
    last = n - 900 + np.arange(900)  # of equal indices the last one wins
    np.testing.assert_allclose(buffer.priorities(indices[last]), mixed[last], rtol=1e-6)
    errors[n - 2, 3] = np.nan
    with pytest.raises(ValueError, match=rf"td_errors\[{n - 2}, 3\] is nan; must be finite"):
        buffer.update_priorities(indices, errors)


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_states(cls):
    """Large enough that copying them goes in parts, with rows of which columns are taken out."""
    fields = {"x": ((24,), np.float32), "n": ((), np.int64), "image": ((20, 20), np.uint8)}
    n = 150_000
    buffer = cls(n, fields, seed=1)
    image = np.broadcast_to((np.arange(n) % 256).astype(np.uint8)[:, None, None], (n, 20, 20))
    x = np.random.default_rng(0).normal(size=(n, 24)).astype(np.float32)
    buffer.add(x=x, n=np.arange(n), image=image)
    state = buffer.state_dict()
    for name, column in (("x", x), ("n", np.arange(n)), ("image", image)):
        np.testing.assert_array_equal(state["columns"][name], column)
    again = cls(n, fields, seed=1)
    again.load_state_dict(state)
    assert again.to_bytes() == buffer.to_bytes()


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_clear_task(cls):
    """Of a buffer so large that it goes in parts: what is left is what another order of calls leaves."""
    n = 300_000
    task = np.random.default_rng(0).integers(0, 2, n)
    buffer = cls(n, {"t": ((), np.uint8), "n": ((), np.int64)}, task_field="t", seed=0)
    buffer.add(t=task.astype(np.uint8), n=np.arange(n))
    assert buffer.clear_task(1) == task.sum()
    assert buffer.task_counts() == {0: n - task.sum()}
    assert len(buffer) == n - task.sum()
    for mode in ("stratified", "iid", "uniform", "without_replacement"):
        assert (task[buffer.sample(1000, mode=mode)["n"]] == 0).all()
        assert (task[buffer.sample(1000, mode=mode, task=0)["n"]] == 0).all()
    assert buffer.clear_task(1) == 0
    again = cls.from_bytes(buffer.to_bytes())
    again.add(t=np.ones(1000, np.uint8), n=np.arange(1000))
    buffer.add(t=np.ones(1000, np.uint8), n=np.arange(1000))
    for task_id in (0, 1):
        np.testing.assert_array_equal(buffer.sample(50, task=task_id).indices, again.sample(50, task=task_id).indices)


def clear_then_wait(buffer):
    buffer.clear_task(1)
    time.sleep(10)


def test_ctrl_c_in_clear_task():
    """What is forgotten and what is left add up, and both are whole."""
    n = 12_000_000
    for delay in (0.15, 0.25, 0.4, 0.6, 0.9):  # until the signal comes in the midst of it
        buffer = PrioritizedReplayBuffer(n, {"t": ((), np.uint8)}, task_field="t")
        buffer.add(t=np.arange(n) % 4 > 0)
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            clear_then_wait(buffer)
        timer.join()
        left = buffer.task_counts().get(1, 0)
        print(f"{left:,} transitions of {n // 4 * 3:,} are left")
        assert len(buffer) == n // 4 + left
        masses = buffer.task_masses()  # every priority is 1
        assert masses == ({0: n // 4, 1: left} if left else {0: n // 4})
        if 0 < left < n // 4 * 3:
            break
    else:
        pytest.fail("no signal came in the midst of the call")
    assert (buffer.sample(1000, task=1)["t"] == 1).all()
    assert buffer.clear_task(1) == left
    assert buffer.task_counts() == {0: n // 4}
