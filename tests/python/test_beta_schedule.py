"""Schedules of beta: evaluated at the number of sampled batches, which is part of the state."""

import copy
import pickle

import numpy as np
import pytest

from metarl_core import LinearSchedule, PrioritizedReplayBuffer

FIELDS = {"x": ((), np.float32)}


def filled(beta, n=50, seed=0):
    buffer = PrioritizedReplayBuffer(n, FIELDS, alpha=1.0, beta=beta, seed=seed)
    buffer.add(x=np.zeros(n))
    buffer.update_priorities(np.arange(n), np.random.default_rng(0).random(n) + 0.1)
    return buffer


def test_linear_schedule_values():
    schedule = LinearSchedule(0.4, 1.0, 7)
    assert [schedule(0), schedule(7), schedule(8), schedule(10**12)] == [0.4, 1.0, 1.0, 1.0]
    np.testing.assert_allclose([schedule(k) for k in range(8)], np.linspace(0.4, 1.0, 8), rtol=1e-15)
    assert LinearSchedule(2, 2, 3)(1) == 2.0
    assert pickle.loads(pickle.dumps(schedule)) == schedule


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.nan, 1.0, 5), ValueError, "initial is nan; must be finite"),
        ((0.0, np.inf, 5), ValueError, "final is inf; must be finite"),
        ((0.0, 1.0, 0), ValueError, "steps is 0; must be >= 1"),
        ((0.0, 1.0, 2.5), TypeError, "integer"),
        (("a", 1.0, 2), TypeError, "real number"),
    ],
)
def test_bad_schedules(arguments, error, message):
    with pytest.raises(error, match=message):
        LinearSchedule(*arguments)


@pytest.mark.parametrize("schedule", [LinearSchedule(0.0, 1.0, 5), lambda step: min(1.0, 0.1 * step)])
def test_every_batch_uses_the_value_of_its_number(schedule):
    buffer, plain = filled(schedule), filled(0.5)
    for k in range(8):
        assert buffer.beta == schedule(k)
        mode = ["stratified", "iid", "uniform", "without_replacement"][k % 4]
        np.testing.assert_array_equal(
            buffer.sample(16, mode=mode).weights, plain.sample(16, beta=schedule(k), mode=mode).weights
        )
    np.testing.assert_array_equal(buffer.sample(16, beta=0.25).weights, plain.sample(16, beta=0.25).weights)
    assert buffer.beta == schedule(9)  # a batch with a beta of its own counts too


def test_the_schedule_goes_on_after_a_checkpoint_and_in_copies():
    schedule = LinearSchedule(0.2, 1.0, 10)
    buffer = filled(schedule)
    for _ in range(4):
        buffer.sample(8)
    loaded = filled(schedule)
    loaded.load_state_dict(buffer.state_dict())
    copies = [loaded, copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))]
    copies.append(PrioritizedReplayBuffer.from_bytes(buffer.to_bytes()))
    for _ in range(8):
        expected = buffer.sample(8)
        for other in copies:
            batch = other.sample(8)
            np.testing.assert_array_equal(batch.indices, expected.indices)
            np.testing.assert_array_equal(batch.weights, expected.weights)
            assert other.beta == buffer.beta
    assert buffer.beta == 1.0


def steep(step):
    return 0.1 * step


def test_other_functions_are_pickled_but_not_saved():
    buffer = filled(steep)
    for _ in range(3):
        buffer.sample(8)
    for other in (copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))):
        other.sample(8)
        assert other.beta == steep(4)
    saved = PrioritizedReplayBuffer.from_bytes(buffer.to_bytes())  # a file holds no code: the value remains
    saved.sample(8)
    assert saved.beta == steep(3)


def test_beta_can_be_replaced():
    buffer = filled(LinearSchedule(0.0, 1.0, 4))
    buffer.beta = 0.3
    buffer.sample(4)
    assert buffer.beta == 0.3
    buffer.beta = LinearSchedule(1.0, 0.0, 2)
    assert buffer.beta == 0.5


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_a_schedule_that_returns_nonsense_draws_nothing(value):
    buffer, twin = filled(lambda step: value), filled(0.4)
    with pytest.raises(ValueError, match=r"beta is .*; must be finite and >= 0"):
        buffer.sample(4)
    with pytest.raises(ValueError, match="beta is"):
        _ = buffer.beta
    np.testing.assert_array_equal(buffer.sample(4, beta=0.4).indices, twin.sample(4).indices)


def test_errors_of_a_schedule_reach_the_caller():
    def broken(step):
        raise RuntimeError(f"no value at {step}")

    buffer = filled(broken)
    with pytest.raises(RuntimeError, match="no value at 0"):
        buffer.sample(4)
    with pytest.raises(TypeError, match="beta must be a real number"):
        filled(lambda step: "1").sample(4)
    with pytest.raises(TypeError, match="beta must be a real number or a function"):
        filled("0.4")
