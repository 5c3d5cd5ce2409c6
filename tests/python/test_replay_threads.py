"""Copies shared among threads: the same batches, also in a forked child."""

import multiprocessing

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer

FIELDS = {
    "obs": ((4, 20, 20), np.uint8),
    "action": ((), np.int64),
    "reward": ((), np.float32),
    "next_obs": ((4, 20, 20), np.uint8),
    "terminated": ((), np.bool_),
}
STEPS = 3000


def filled(num_threads, **options):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (STEPS + 5, 20, 20), np.uint8)
    buffer = PrioritizedReplayBuffer(STEPS, FIELDS, seed=3, num_threads=num_threads, **options)
    stacks = np.stack([frames[k : k + STEPS + 1] for k in range(4)], axis=1)
    buffer.add(
        obs=stacks[:-1],
        action=np.arange(STEPS),
        reward=rng.random(STEPS, np.float32),
        next_obs=stacks[1:],
        terminated=np.zeros(STEPS, bool),
    )
    return buffer


@pytest.mark.parametrize(
    "options", [{}, {"next_obs": "next"}, {"frame_stack": 4}, {"frame_stack": 4, "n_step": 3}, {"sequence_length": 8}]
)
def test_batches_do_not_depend_on_the_number_of_threads(options):
    one, three = filled(1, **options), filled(3, **options)
    for batch_size in (8, 1000):  # below and above 1 MiB
        a, b = one.sample(batch_size), three.sample(batch_size)
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_a_state_goes_to_a_buffer_with_other_threads():
    one, three = filled(1), filled(3)
    one.sample(10)
    three.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one.sample(900)["obs"], three.sample(900)["obs"])


def sample_in_child(buffer, queue):
    queue.put(int(buffer.sample(1000)["obs"].astype(np.int64).sum()))


def test_a_forked_child_starts_threads_of_its_own():
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    buffer = filled(2)
    buffer.sample(1000)  # the threads run
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=sample_in_child, args=(buffer, queue))
    child.start()
    assert queue.get(timeout=30) > 0
    child.join(30)
    assert child.exitcode == 0
    assert buffer.sample(1000)["obs"].shape == (1000, 4, 20, 20)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)])
@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_bad_numbers_of_threads(cls, value, error):
    with pytest.raises(error, match="num_threads"):
        cls(10, FIELDS, num_threads=value)
