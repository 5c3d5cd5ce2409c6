"""The call signatures of OpenAI Baselines' replay buffers, against its published semantics in NumPy."""

import random

import numpy as np
import pytest

import metarl_core as mc
from metarl_core.compat.baselines import PrioritizedReplayBuffer, ReplayBuffer


class Oracle:
    """What ``baselines.deepq.replay_buffer.PrioritizedReplayBuffer`` says of priorities and weights, in float64."""

    def __init__(self, size, alpha):
        self.size, self.alpha, self.rows = size, alpha, []
        self.priorities, self.largest, self.next = np.zeros(size), 1.0, 0

    def add(self, *row):
        if self.next < len(self.rows):
            self.rows[self.next] = row
        else:
            self.rows.append(row)
        self.priorities[self.next] = self.largest
        self.next = (self.next + 1) % self.size

    def update_priorities(self, idxes, priorities):
        self.priorities[idxes] = priorities
        self.largest = max(self.largest, *priorities)

    def probabilities(self):
        masses = self.priorities[: len(self.rows)] ** self.alpha
        return masses / masses.sum()

    def weights(self, idxes, beta):
        p = self.probabilities()
        return (len(p) * p[idxes]) ** -beta / (len(p) * p.min()) ** -beta


def transitions(count, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        yield (
            rng.normal(size=3).astype(np.float32),
            i % 4,
            float(rng.normal()),
            np.float32([i, i, i]),
            float(i % 5 == 4),
        )


def filled(count=20, size=12, alpha=0.7, **options):
    ours, oracle = PrioritizedReplayBuffer(size, alpha, **options), Oracle(size, alpha)
    for row in transitions(count):
        ours.add(*row)
        oracle.add(*row)
    return ours, oracle


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("count", [5, 12, 20])
def test_samples_priorities_and_weights_are_the_published_ones(count, beta):
    ours, oracle = filled(count)
    rng = np.random.default_rng(1)
    for _ in range(5):
        idxes, priorities = rng.integers(len(ours), size=4), rng.uniform(0.01, 3, 4)
        ours.update_priorities(list(idxes), list(priorities))
        oracle.update_priorities(idxes, priorities)
        row = next(transitions(1, seed=int(rng.integers(99))))
        ours.add(*row)
        oracle.add(*row)
    assert len(ours) == len(oracle.rows)
    *columns, weights, idxes = ours.sample(64, beta)
    np.testing.assert_allclose(weights, oracle.weights(idxes, beta), rtol=1e-5)
    for column, place in zip(columns, range(5), strict=True):
        wanted = np.array([oracle.rows[i][place] for i in idxes])
        assert np.array_equal(column, wanted)
        assert column.dtype == wanted.dtype


def test_frequencies_are_the_published_ones_and_the_newest_is_among_them():
    ours, oracle = filled(12)
    priorities = np.random.default_rng(2).uniform(0.1, 4, 12)
    ours.update_priorities(np.arange(12), priorities)
    oracle.update_priorities(np.arange(12), priorities)
    idxes = ours.sample(100_000, 0.4)[-1]
    found = np.bincount(idxes, minlength=12) / len(idxes)
    np.testing.assert_allclose(found, oracle.probabilities(), atol=1e-4)  # stratified: within 2 draws


def test_the_seed_is_pythons():
    drawn = []
    for _ in range(2):
        random.seed(7)
        ours, _ = filled()
        drawn.append(ours.sample(32, 0.4)[-1])
    random.seed(8)
    other, _ = filled()
    assert np.array_equal(*drawn)
    assert not np.array_equal(drawn[0], other.sample(32, 0.4)[-1])


def test_mapped_files_and_checkpoints_are_there_again_without_a_seed(tmp_path):
    ours = PrioritizedReplayBuffer(12, 0.6, storage=f"mmap:{tmp_path}/columns")
    rows = list(transitions(20))
    for row in rows[:18]:
        ours.add(*row)
    ours.sample(8, 0.4)
    ours.core.save(tmp_path / "checkpoint")
    ours.core.close()
    again = PrioritizedReplayBuffer(12, 0.6, storage=f"mmap:{tmp_path}/columns")
    restored = PrioritizedReplayBuffer(12, 0.6)
    restored.add(*rows[0])
    restored.core.restore(tmp_path / "checkpoint")
    for buffer in (again, restored):
        buffer.add(*rows[18])  # the first transition opens the folder
    assert len(again) == 12
    assert restored.core.to_bytes() == again.core.to_bytes()
    for mine, others in zip(again.sample(32, 0.4), restored.sample(32, 0.4), strict=True):
        assert np.array_equal(mine, others)


def test_uniform():
    ours = ReplayBuffer(12)
    assert len(ours) == 0
    rows = list(transitions(20))
    for row in rows:
        ours.add(*row)
    obs, action, reward, later, done = ours.sample(5000)
    kept = {float(row[3][0]): row for row in rows[-12:]}
    assert set(later[:, 0].tolist()) == set(kept)
    for i in range(50):
        row = kept[float(later[i, 0])]
        assert np.array_equal(obs[i], row[0])
        assert (action[i], reward[i], done[i]) == (row[1], row[2], row[4])
    assert len(ours) == 12


def test_our_options_come_through():
    ours = PrioritizedReplayBuffer(100, 0.6, n_step=3, gamma=0.5, seed=1)
    for t in range(6):
        ours.add(np.float32([t]), 0, 1.0, np.float32([t + 1]), t == 5)
    obs, _, reward, later, done, *_ = ours.sample(300, 0.4)
    wanted = {t: (1.75 if t < 4 else 1.5 if t == 4 else 1.0, min(t + 3, 6), t >= 3) for t in range(6)}
    assert done.dtype == np.bool_
    for o, r, n, d in zip(obs[:, 0], reward, later[:, 0], done, strict=True):
        assert (r, n, d) == wanted[int(o)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b: b.update_priorities([0, 1], [1.0, 0.0]), ValueError, r"priorities\[1\] is 0.0; must be > 0"),
        (lambda b: b.update_priorities([0], [np.nan]), ValueError, r"priorities\[0\] is nan"),
        (lambda b: b.update_priorities([0], [np.inf]), ValueError, r"inf"),
        (lambda b: b.update_priorities([0, 1], [1.0]), ValueError, r"\(1,\)"),
        (lambda b: b.update_priorities([12], [1.0]), IndexError, "12"),
        (lambda b: b.sample(4, -0.1), ValueError, "beta"),
        (lambda b: b.add(np.zeros(4, np.float32), 0, 0.0, np.zeros(3, np.float32), 0.0), ValueError, "obs"),
        (lambda b: PrioritizedReplayBuffer(0, 0.5), ValueError, "size is 0"),
        (lambda b: PrioritizedReplayBuffer(8, -0.5), ValueError, "alpha is -0.5"),
    ],
)
def test_bad_input_changes_nothing(call, error, message):
    ours, _ = filled()
    before = ours.core.to_bytes()
    with pytest.raises(error, match=message):
        call(ours)
    assert ours.core.to_bytes() == before


def test_an_empty_buffer():
    for call in (lambda: ReplayBuffer(4).sample(1), lambda: PrioritizedReplayBuffer(4, 0.5).sample(1, 0.4)):
        with pytest.raises(mc.BufferEmptyError):
            call()
    with pytest.raises(mc.BufferEmptyError):
        PrioritizedReplayBuffer(4, 0.5).update_priorities([0], [1.0])
