"""A prioritized buffer against plain Python lists, through any sequence of calls."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, StaleIndexError

FIELDS = {"x": ((2,), np.float32), "id": ((), np.int64)}
EPS, CAP = 2.0**-10, 64.0


class ReplayMachine(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 40), seed=st.integers(0, 2**64 - 1))
    def create(self, capacity, seed):
        self.buffer = PrioritizedReplayBuffer(capacity, FIELDS, alpha=1.0, eps=EPS, max_priority=CAP, seed=seed)
        self.seed = seed
        self.ids = [None] * capacity
        self.priorities = [0.0] * capacity
        self.written, self.running, self.stale, self.next_id = 0, 1.0, 0, 0
        self.batches = []  # (batch, ids of its rows)

    @rule(n=st.integers(0, 90), single=st.booleans())
    def add(self, n, single):
        n = 1 if single else n
        ids = np.arange(self.next_id, self.next_id + n)
        columns = {"x": np.stack([ids, -ids], axis=1).astype(np.float32), "id": ids}
        slots = self.buffer.add(**({k: v[0] for k, v in columns.items()} if single else columns))
        for k, slot in zip(ids, np.atleast_1d(slots), strict=True):
            assert slot == self.written % len(self.ids)
            self.ids[slot], self.priorities[slot] = int(k), self.running
            self.written += 1
        self.next_id += n

    @rule(n=st.integers(1, 70))
    def sample(self, n):
        if self.written == 0:
            with pytest.raises(BufferEmptyError):
                self.buffer.sample(n)
            return
        batch = self.buffer.sample(n)
        np.testing.assert_array_equal(batch["id"], [self.ids[i] for i in batch.indices])
        np.testing.assert_array_equal(batch["x"][:, 1], -batch["id"].astype(np.float32))
        total = sum(self.priorities[: len(self.buffer)])
        # 2^-10 ... 64 in steps that the fixed point holds exactly, so that probabilities are exact to rounding.
        expected = np.array([self.priorities[i] for i in batch.indices]) / total
        np.testing.assert_allclose(batch.probabilities, expected, rtol=1e-12)
        smallest = min(self.priorities[: len(self.buffer)]) / total
        np.testing.assert_allclose(batch.weights, (expected / smallest) ** -0.4, rtol=1e-6)
        self.batches.append((batch, batch["id"].copy()))

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), strict=st.booleans())
    def update(self, data, strict):
        batch, ids = self.batches.pop(data.draw(st.integers(0, len(self.batches) - 1)))
        errors = np.array(data.draw(st.lists(st.integers(-70 * 1024, 70 * 1024), min_size=len(ids), max_size=len(ids))))
        errors = errors / 1024
        fresh = [self.ids[i] == k for i, k in zip(batch.indices, ids, strict=True)]
        if strict and not all(fresh):
            with pytest.raises(StaleIndexError):
                self.buffer.update_priorities(batch, errors, strict=True)
            return
        self.buffer.update_priorities(batch, errors, strict=strict)
        for i, error, current in zip(batch.indices, errors, fresh, strict=True):
            if current:
                self.priorities[i] = float(np.clip(abs(error), EPS, CAP))
                self.running = max(self.running, self.priorities[i])
            else:
                self.stale += 1

    @rule()
    def clear(self):
        self.buffer.clear()
        self.ids = [None] * len(self.ids)
        self.written, self.running = 0, 1.0

    @rule()
    def save_and_load(self):
        other = PrioritizedReplayBuffer(
            len(self.ids), FIELDS, alpha=1.0, eps=EPS, max_priority=CAP, seed=self.seed
        )  # fmt: skip
        other.load_state_dict(self.buffer.state_dict())
        self.buffer = other
        self.batches = [(batch, np.full_like(ids, -1)) for batch, ids in self.batches]  # all stale

    @invariant()
    def agrees(self):
        if not hasattr(self, "buffer"):
            return
        n = min(self.written, len(self.ids))
        assert len(self.buffer) == n
        assert self.buffer.stale_updates == self.stale
        assert self.buffer.running_max_priority == self.running
        np.testing.assert_array_equal(self.buffer.priorities(), self.priorities[:n])


ReplayMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestReplay = ReplayMachine.TestCase
