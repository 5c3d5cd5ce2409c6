"""Every mode of a buffer through any sequence of calls, against plain Python lists and NumPy in float64."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from replay_model import ListModel, Step

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, StaleIndexError

ALPHA, BETA, EPS, CAP = 0.7, 0.5, 2.0**-10, 64.0
TASKS = 3
FRAME = (2,)

MODES = st.fixed_dictionaries(
    {
        "capacity": st.integers(14, 60),
        "num_envs": st.integers(1, 3),
        "stack": st.sampled_from([1, 1, 3]),
        "share": st.booleans(),
        "n_step": st.sampled_from([1, 3]),
        "sequence": st.sampled_from([None, None, (5, 1, 2), (3, 0, 3)]),
        "skip_reset": st.booleans(),
        "tasks": st.booleans(),
        "weights": st.sampled_from(["max", "batch_max", "sum", "none"]),
    }
)


class AllModes(RuleBasedStateMachine):
    @initialize(mode=MODES, seed=st.integers(0, 2**32))
    def begin(self, mode: dict[str, Any], seed: int) -> None:
        self.mode = mode
        self.stack = mode["stack"]
        self.sequence = mode["sequence"]
        share = mode["share"] or self.stack > 1
        n_step = 1 if self.sequence else mode["n_step"]
        arguments: dict[str, Any] = {
            "num_envs": mode["num_envs"],
            "n_step": n_step,
            "gamma": 0.9,
            "frame_stack": self.stack,
            "next_obs": "next" if share else "stored",
            "autoreset_mode": "next_step" if mode["skip_reset"] else None,
            "task_field": "task_id" if mode["tasks"] else None,
        }
        if self.sequence:
            arguments.update(zip(("sequence_length", "burn_in", "stride"), self.sequence, strict=True))
        obs = ((self.stack, *FRAME) if self.stack > 1 else FRAME, np.int16)
        fields: dict[str, Any] = {
            "obs": obs,
            "action": ((), np.int64),
            "reward": ((), np.float32),
            "next_obs": obs,
            "terminated": ((), bool),
            "truncated": ((), bool),
        }
        if mode["tasks"]:
            fields["task_id"] = ((), np.int32)
        self.buffer = PrioritizedReplayBuffer(
            mode["capacity"], fields, alpha=ALPHA, beta=BETA, eps=EPS, max_priority=CAP,
            weight_normalization=mode["weights"], seed=seed, **arguments,
        )  # fmt: skip
        self.new_model = lambda: ListModel(
            mode["capacity"], mode["num_envs"], n_step, 0.9, self.stack, share, mode["skip_reset"], self.sequence
        )
        self.model = self.new_model()
        self.rng = np.random.default_rng(seed)
        self.obs = [self.reset() for _ in range(mode["num_envs"])]
        self.priorities: dict[int, tuple[int, np.float32]] = {}  # slot -> (write number, raw priority)
        self.running_max = np.float32(1)
        self.count = 0
        self.batch: Any = None
        self.cleared: set[int] = set()  # write numbers that clear_task took out

    def reset(self) -> np.ndarray:
        frame = self.rng.integers(0, 4, FRAME, np.int16)
        if self.stack == 1:
            return frame
        padding = np.zeros_like(frame) if self.rng.random() < 0.3 else frame
        return np.stack([padding] * (self.stack - 1) + [frame])

    def items(self) -> dict[int, Any]:
        found = self.model.items()
        return {s: item for s, item in found.items() if item[0].steps[item[1]].number not in self.cleared}

    def step(self, env: int) -> Step:
        obs = self.obs[env]
        frame = self.rng.integers(0, 4, FRAME, np.int16)
        next_obs = frame if self.stack == 1 else np.concatenate([obs[1:], frame[None]])
        terminated, truncated = (bool(x) for x in self.rng.random(2) < 0.1)
        restart = terminated or truncated or self.rng.random() < 0.05
        self.obs[env] = self.reset() if restart else next_obs
        self.count += 1
        return Step(obs, self.count, float(np.float32(self.rng.normal())), next_obs, terminated, truncated)

    @rule(count=st.integers(1, 20))
    def add(self, count: int) -> None:
        ids = self.rng.integers(0, self.mode["num_envs"], count)
        # An unlinked buffer keeps whole batches only; the model writes row by row.
        steps = [self.step(int(e)) for e in ids[: self.mode["capacity"]]]
        ids = ids[: len(steps)]
        names = [name for name in vars(steps[0]) if name != "number"]
        columns = {name: np.stack([np.asarray(getattr(s, name)) for s in steps]) for name in names}
        columns["reward"] = columns["reward"].astype(np.float32)
        if self.mode["tasks"]:
            columns["task_id"] = columns["action"] % TASKS
        slots = self.buffer.add(**columns, env_ids=ids)
        assert slots.tolist() == [self.model.add(int(e), s) for e, s in zip(ids, steps, strict=True)]
        kept = {}
        for slot, (chain, position) in self.items().items():
            number = chain.steps[position].number
            old = self.priorities.get(slot)
            kept[slot] = old if old is not None and old[0] == number else (number, self.running_max)
        self.priorities = kept

    @precondition(lambda self: self.priorities)
    @rule(size=st.integers(1, 40), mode=st.sampled_from(["stratified", "iid", "uniform", "without_replacement"]))
    def sample(self, size: int, mode: str) -> None:
        items = self.items()
        if mode == "without_replacement":
            size = min(size, len(items))
        batch = self.buffer.sample(size, mode=mode)
        self.check_contents(batch, items)
        raw = np.array([self.priorities[slot][1] for slot in batch.indices.tolist()], np.float64)
        everything = np.array([p for _, p in self.priorities.values()], np.float64)
        p = everything**ALPHA / np.sum(everything**ALPHA)
        expected = raw**ALPHA / np.sum(everything**ALPHA)
        if mode == "uniform":
            p = np.full(len(items), 1 / len(items))
            expected = np.full(size, 1 / len(items))
        if mode == "without_replacement":
            assert len(set(batch.indices.tolist())) == size
        np.testing.assert_allclose(batch.probabilities, expected, rtol=1e-6)
        weights = (len(items) * expected) ** -BETA
        largest = ((len(items) * p) ** -BETA).max()
        divisor = {"max": largest, "batch_max": weights.max(), "sum": weights.sum(), "none": 1.0}
        np.testing.assert_allclose(batch.weights, weights / divisor[self.mode["weights"]], rtol=1e-5)
        self.batch = batch

    def check_contents(self, batch: Any, items: dict[int, Any]) -> None:
        for i, slot in enumerate(batch.indices.tolist()):
            assert slot in items
            for name, value in self.model.expected(*items[slot]).items():
                np.testing.assert_array_equal(batch[name][i], value, err_msg=f"{name} of slot {slot}")

    @precondition(lambda self: self.batch is not None)
    @rule(strict=st.booleans())
    def update(self, strict: bool) -> None:
        batch, self.batch = self.batch, None
        errors = (self.rng.normal(size=len(batch.indices)) * 20).astype(np.float32)
        current = self.items()
        before = self.buffer.stale_updates
        actions = batch["action"][:, 0] if self.sequence else batch["action"]
        alive = [self.holds(slot, action) for slot, action in zip(batch.indices.tolist(), actions, strict=True)]
        if strict and not all(alive):
            with pytest.raises(StaleIndexError):
                self.buffer.update_priorities(batch, errors, strict=True)
            assert self.buffer.stale_updates == before
            return
        self.buffer.update_priorities(batch, errors)
        assert self.buffer.stale_updates == before + alive.count(False)
        for slot, error, kept in zip(batch.indices.tolist(), errors, alive, strict=True):
            if kept:
                raw = np.float32(min(max(abs(error), np.float32(EPS)), np.float32(CAP)))
                self.priorities[slot] = (self.priorities[slot][0], raw)
                self.running_max = max(self.running_max, raw)
        assert set(current) == set(self.priorities)

    def holds(self, slot: int, action: int) -> bool:
        """Whether the slot still holds the item whose first action this is (actions are unique)."""
        item = self.items().get(slot)
        return item is not None and item[0].steps[item[1]].action == action

    @precondition(lambda self: self.mode["tasks"] and self.priorities)
    @rule(size=st.integers(1, 30), task=st.integers(0, TASKS - 1))
    def sample_task(self, size: int, task: int) -> None:
        items = self.items()
        mine = {s for s, (chain, position) in items.items() if chain.steps[position].action % TASKS == task}
        if not mine:
            with pytest.raises(BufferEmptyError):
                self.buffer.sample(size, task=task)
            return
        batch = self.buffer.sample(size, task=task)
        assert set(batch.indices.tolist()) <= mine
        self.check_contents(batch, items)
        raw = {s: float(self.priorities[s][1]) ** ALPHA for s in mine}
        total = sum(raw.values())
        np.testing.assert_allclose(batch.probabilities, [raw[s] / total for s in batch.indices.tolist()], rtol=1e-6)
        self.batch = batch

    @precondition(lambda self: self.mode["tasks"])
    @rule(task=st.integers(0, TASKS - 1))
    def clear_task(self, task: int) -> None:
        mine = [
            chain.steps[position].number
            for chain, position in self.items().values()
            if chain.steps[position].action % TASKS == task
        ]
        assert self.buffer.clear_task(task) == len(mine)
        self.cleared |= set(mine)
        self.priorities = {s: p for s, p in self.priorities.items() if p[0] not in self.cleared}

    @rule()
    def clear(self) -> None:
        self.buffer.clear()
        self.model = self.new_model()
        self.priorities, self.batch, self.cleared = {}, None, set()
        self.running_max = np.float32(1)

    @rule(how=st.sampled_from(["pickle", "deepcopy", "state_dict", "bytes"]))
    def replace_by_a_copy(self, how: str) -> None:
        old = self.buffer
        if how == "pickle":
            self.buffer = pickle.loads(pickle.dumps(old))
        elif how == "deepcopy":
            self.buffer = copy.deepcopy(old)
        elif how == "bytes":
            self.buffer = PrioritizedReplayBuffer.from_bytes(old.to_bytes())
        else:
            old.load_state_dict(old.state_dict())
        self.batch = None
        if self.priorities:
            ours, theirs = self.buffer.sample(8), old.sample(8)
            if how != "state_dict":
                np.testing.assert_array_equal(ours.indices, theirs.indices)

    @invariant()
    def holds_the_same_items(self) -> None:
        if not hasattr(self, "buffer"):
            return
        assert len(self.buffer) == len(self.priorities)
        slots = sorted(self.priorities)
        raw = np.array([self.priorities[s][1] for s in slots], np.float64)
        np.testing.assert_array_equal(self.buffer.priorities(np.array(slots, np.int64)), raw)
        if self.mode["tasks"]:
            items = self.items()
            counts = np.bincount([c.steps[p].action % TASKS for c, p in items.values()], minlength=TASKS)
            assert self.buffer.task_counts() == {t: int(n) for t, n in enumerate(counts) if n}
        if not slots:
            with pytest.raises(BufferEmptyError):
                self.buffer.sample(1)


TestAllModes = AllModes.TestCase
TestAllModes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
