"""eviction="reservoir": algorithm R."""

import numpy as np
import pytest
from sampling_oracles import chi_square_z

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, StaleIndexError

FIELDS = {"x": ((), np.int64)}


@pytest.mark.parametrize("batches", [[60], [1] * 60, [5, 30, 10, 15]])
def test_every_item_is_equally_likely_to_be_kept(batches):
    counts = np.zeros(60)
    for seed in range(6000):
        buffer = ReplayBuffer(12, FIELDS, seed=seed, eviction="reservoir")
        number = 0
        for n in batches:
            buffer.add(x=np.arange(number, number + n))
            number += n
        counts += np.bincount(buffer.state_dict()["columns"]["x"], minlength=60)
    assert counts.sum() == 6000 * 12
    # Draws within one buffer are without replacement, which makes counts less spread than the chi-square's.
    assert chi_square_z(counts, np.full(60, 1200.0)) < 6


def test_one_long_stream_is_kept_evenly():
    buffer = ReplayBuffer(5000, FIELDS, eviction="reservoir")
    for part in np.array_split(np.arange(200_000), 1000):
        buffer.add(x=part)
    kept = buffer.state_dict()["columns"]["x"]
    assert len(set(kept.tolist())) == 5000
    assert abs(chi_square_z(np.histogram(kept, bins=50, range=(0, 200_000))[0], np.full(50, 100.0))) < 6


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_add_returns_the_slots(kind):
    buffer = kind(10, FIELDS, eviction="reservoir", seed=1)
    np.testing.assert_array_equal(buffer.add(x=np.arange(10)), np.arange(10))
    model = np.arange(10)
    for k in range(50):
        slots = np.atleast_1d(buffer.add(x=np.arange(100 * k, 100 * k + 3) if k % 2 else 100 * k))
        for i, slot in enumerate(slots):
            if slot >= 0:
                model[slot] = 100 * k + i
        np.testing.assert_array_equal(buffer.state_dict()["columns"]["x"], model)
        assert len(buffer) == 10
        batch = buffer.sample(20)
        np.testing.assert_array_equal(batch["x"], model[batch.indices])
    assert buffer.eviction == "reservoir"


def test_updates_of_overwritten_slots_are_ignored():
    buffer = PrioritizedReplayBuffer(50, FIELDS, eviction="reservoir", alpha=1.0, seed=2)
    buffer.add(x=np.arange(50))
    batch = buffer.sample(50, mode="without_replacement")
    replaced = {int(slot) for slot in buffer.add(x=np.arange(40)) if slot >= 0}
    assert 0 < len(replaced) < 50
    with pytest.raises(StaleIndexError, match="is not in the buffer any more"):
        buffer.update_priorities(batch, np.full(50, 0.25), strict=True)
    buffer.update_priorities(batch, np.full(50, 0.25))
    assert buffer.stale_updates == len(replaced)
    expected = np.where(np.isin(np.arange(50), list(replaced)), 1.0, 0.25)
    np.testing.assert_array_equal(buffer.priorities(), expected)
    current = buffer.sample(8)
    while (buffer.add(x=1)) >= 0:
        pass
    if not set(current.indices.tolist()) & replaced:
        buffer.update_priorities(current, np.full(8, 2.0), strict=True)  # what was dropped made nothing stale


def test_new_items_have_the_running_maximum_and_sums_stay_exact():
    buffer = PrioritizedReplayBuffer(100, FIELDS, eviction="reservoir", alpha=0.5, seed=3)
    rng = np.random.default_rng(0)
    buffer.add(x=np.arange(100))
    buffer.update_priorities(np.arange(100), rng.random(100) * 9)
    largest = buffer.running_max_priority
    slots = buffer.add(x=np.arange(1000))
    assert (buffer.priorities(np.unique(slots[slots >= 0])) == largest).all()
    state = buffer.state_dict()
    batch = buffer.sample(64)
    np.testing.assert_array_equal(batch.probabilities, state["masses"][batch.indices] / state["masses"].sum())


def test_the_same_seed_keeps_the_same_items():
    one, two, other = (ReplayBuffer(20, FIELDS, seed=s, eviction="reservoir") for s in (5, 5, 6))
    for buffer, parts in ((one, 1), (two, 9), (other, 1)):
        for part in np.array_split(np.arange(300), parts):
            buffer.add(x=part)
    a, b, c = (buffer.state_dict()["columns"]["x"] for buffer in (one, two, other))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    one.clear()
    one.add(x=np.arange(300))
    assert (one.state_dict()["columns"]["x"] != a).any()  # the random stream goes on


def test_bad_construction():
    with pytest.raises(ValueError, match="eviction is 'lifo'; must be 'fifo' or 'reservoir'"):
        ReplayBuffer(4, FIELDS, eviction="lifo")
    with pytest.raises(TypeError, match="eviction must be a str"):
        ReplayBuffer(4, FIELDS, eviction=None)
    fields = dict.fromkeys(("obs", "next_obs"), ((2, 3), np.float32))
    fields.update(reward=((), np.float32), terminated=((), np.bool_), truncated=((), np.bool_))
    for options in (
        {"n_step": 3},
        {"next_obs": "next"},
        {"frame_stack": 2},
        {"sequence_length": 4},
        {"autoreset_mode": "next_step"},
    ):
        with pytest.raises(ValueError, match="eviction='reservoir' keeps single transitions"):
            ReplayBuffer(100, fields, eviction="reservoir", **options)
