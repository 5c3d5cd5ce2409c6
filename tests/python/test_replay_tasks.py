"""Tasks: counts, masses, batches from one task or a mixture, and what follows them around."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_oracles import MODES, NORMALIZATIONS, chi_square_z, oracle_weights

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer, StaleIndexError

FIELDS = {"x": ((), np.int64), "task_id": ((), np.int32)}


def make(capacity=1000, kind=PrioritizedReplayBuffer, **options):
    if kind is PrioritizedReplayBuffer:
        options = {"alpha": 1.0, "eps": 0.0, **options}
    return kind(capacity, FIELDS, task_field="task_id", **options)


def filled(n=1500, capacity=1000, num_tasks=5, seed=0, **options):
    """A buffer that has wrapped around, whose tasks are of different sizes."""
    buffer = make(capacity, seed=seed, **options)
    rng = np.random.default_rng(n + num_tasks)
    tasks = np.minimum(rng.integers(0, num_tasks + 3, n), num_tasks - 1)
    for part in np.array_split(np.arange(n), 7):
        buffer.add(x=part, task_id=tasks[part])
    if isinstance(buffer, PrioritizedReplayBuffer):
        size = min(n, capacity)
        buffer.update_priorities(np.arange(size), rng.random(size) * (rng.random(size) > 0.1))
    return buffer


def content(buffer):
    """Task and mass of every slot, in slot order."""
    state = buffer.state_dict()
    tasks = state["columns"]["task_id"]
    return tasks, state["masses"].astype(np.float64) if "masses" in state else np.ones(len(tasks))


def exact_sum(buffer):
    """Sum of the tasks' masses in units of the tree."""
    exponent = buffer.state_dict()["scale_exponent"]
    return sum(mass * 2.0**exponent for mass in buffer.task_masses().values())


def check_partition(buffer, tasks, masses):
    counts = buffer.task_counts()
    present, numbers = np.unique(tasks, return_counts=True)
    assert counts == dict(zip(present.tolist(), numbers.tolist(), strict=True))
    assert list(counts) == sorted(counts)
    assert sum(counts.values()) == len(buffer)
    assert exact_sum(buffer) == masses.sum()
    exponent = buffer.state_dict()["scale_exponent"]
    for task, mass in buffer.task_masses().items():
        assert mass * 2.0**exponent == masses[tasks == task].sum()


def test_counts_and_masses_partition_the_buffer():
    buffer = filled()
    check_partition(buffer, *content(buffer))
    buffer.add(x=np.arange(300), task_id=np.full(300, 4000))
    check_partition(buffer, *content(buffer))
    buffer.update_priorities(np.arange(50), np.full(50, 1e6))  # another scale
    check_partition(buffer, *content(buffer))
    buffer.add(x=np.arange(2500), task_id=np.arange(2500) % 3)  # more than fit
    check_partition(buffer, *content(buffer))
    buffer.clear()
    assert buffer.task_counts() == {}
    assert buffer.task_masses() == {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("weights", [{0: 1.0}, {0: 0.5, 3: 2.0, 4: 0.0}, [3, 1, 0, 0, 1.5], "balanced"])
def test_probabilities_and_weights_of_mixtures(mode, normalization, weights):
    buffer = filled(weight_normalization=normalization)
    tasks, masses = content(buffer)
    if isinstance(weights, str):
        share = dict.fromkeys(range(5), 0.2)
    else:
        share = {t: w for t, w in (weights.items() if isinstance(weights, dict) else enumerate(weights)) if w > 0}
        share = {t: w / sum(share.values()) for t, w in share.items()}
    expected = np.zeros(len(buffer))
    for task, part in share.items():
        inside = tasks == task
        own = inside / inside.sum() if mode == "uniform" else np.where(inside, masses, 0) / masses[inside].sum()
        expected += part * own
    drawable = int(np.isin(tasks, list(share)).sum())
    for beta in (0.0, 0.4, 1.0):
        batch = buffer.sample(64, beta, mode=mode, task_weights=weights)
        np.testing.assert_array_equal(batch["task_id"], tasks[batch.indices])
        assert (np.diff(batch["task_id"]) >= 0).all()
        p = expected[batch.indices]
        np.testing.assert_allclose(batch.probabilities, p, rtol=2e-9)  # weights are rounded to 30 binary digits
        smallest = expected[expected > 0].min()
        np.testing.assert_allclose(batch.weights, oracle_weights(p, smallest, drawable, beta, normalization), rtol=3e-6)
        if normalization == "max":
            assert batch.weights.max() <= 1.0
        if mode == "without_replacement":
            assert len(set(batch.indices)) == 64


def test_one_task_is_like_a_buffer_that_holds_only_this_task():
    buffer = filled(seed=3)
    tasks, masses = content(buffer)
    for task in range(5):
        batch = buffer.sample(128, task=task, beta=0.7)
        inside = masses * (tasks == task)
        np.testing.assert_allclose(batch.probabilities, inside[batch.indices] / inside.sum(), rtol=1e-15)
        counts = np.bincount(batch.indices, minlength=len(buffer))
        assert (np.abs(counts - 128 * inside / inside.sum()) < 2).all()  # stratified within the task


@pytest.mark.parametrize("mode", ["iid", "uniform"])
def test_frequencies_after_wrap_overwrite_clear_task_and_load(mode):
    buffer = filled()
    buffer.add(x=np.arange(77), task_id=np.arange(77) % 2)
    buffer.update_priorities(buffer.sample(128, task_weights="balanced"), np.random.default_rng(1).random(128) * 4)
    buffer.clear_task(2)
    slots = buffer.add(x=np.arange(30), task_id=np.full(30, 2))
    for candidate in (buffer, copy_by_state(buffer)):
        tasks, masses = content(candidate)
        weights = {0: 1.0, 1: 2.0, 2: 1.0}
        hidden = (tasks == 2) & ~np.isin(np.arange(1000), slots)
        p = np.zeros(len(tasks))
        for task, weight in weights.items():
            inside = (tasks == task) * (masses if mode == "iid" else 1.0)
            if mode == "uniform" and task == 2:
                inside = inside * ~hidden
            p += weight / 4 * inside / inside.sum()
        indices = np.concatenate(
            [candidate.sample(100_000, mode=mode, task_weights=weights).indices for _ in range(10)]
        )
        counts = np.bincount(indices, minlength=len(tasks))
        assert (counts[p == 0] == 0).all()
        assert abs(chi_square_z(counts[p > 0], 1e6 * p[p > 0])) < 6


def copy_by_state(buffer):
    other = filled(n=3)
    other.load_state_dict(buffer.state_dict())
    return other


@pytest.mark.parametrize("weights", ["balanced", {0: 0.001, 2: 1.0, 3: 7.7}, [0.1, 0.2, 0.3, 0.4]])
@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_counts_are_rounded_down_or_up_and_exact_on_average(weights, batch_size):
    buffer = filled()
    if isinstance(weights, str):
        w = np.ones(5)
    else:
        w = np.zeros(5)
        for task, weight in weights.items() if isinstance(weights, dict) else enumerate(weights):
            w[task] = weight
    exact = batch_size * w / w.sum()
    total = np.zeros(5)
    repeats = 4000
    for _ in range(repeats):
        counts = np.bincount(buffer.sample(batch_size, task_weights=weights)["task_id"], minlength=5)
        assert counts.sum() == batch_size
        assert ((counts == np.floor(exact)) | (counts == np.ceil(exact))).all()
        total += counts
    deviation = np.abs(total / repeats - exact)
    print(f"largest deviation {deviation.max():.4f} draws")
    # Each count is floor or ceil: a standard deviation of at most 1 / 2.
    assert (deviation < 6 * 0.5 / np.sqrt(repeats)).all()


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_every_integer_dtype(kind, dtype):
    buffer = kind(64, {"t": ((), dtype)}, task_field="t")
    tasks = np.arange(100) % 7 + min(np.iinfo(dtype).max - 6, 65529)
    buffer.add(t=tasks.astype(dtype))
    buffer.add(t=int(tasks[0]))
    assert sum(buffer.task_counts().values()) == 64
    assert list(buffer.task_counts()) == sorted(set(tasks.tolist()))
    largest = max(buffer.task_counts())
    assert (buffer.sample(20, task=largest)["t"] == largest).all()


def test_uniform_buffers_have_tasks_too():
    buffer = filled(kind=ReplayBuffer)
    tasks, _ = content(buffer)
    batch = buffer.sample(100, task_weights={1: 1, 4: 3})
    np.testing.assert_array_equal(batch["task_id"], [1] * 25 + [4] * 75)
    expected = np.array([0, 0.25, 0, 0, 0.75])[batch["task_id"]] / np.bincount(tasks)[batch["task_id"]]
    np.testing.assert_allclose(batch.probabilities, expected, rtol=1e-12)
    np.testing.assert_array_equal(batch.weights, 1.0)
    assert buffer.task_masses() == {t: float(n) for t, n in buffer.task_counts().items()}
    before = len(buffer)
    gone = buffer.clear_task(4)
    assert len(buffer) == before - gone
    assert 4 not in buffer.sample(5000)["task_id"]
    for mode in MODES:
        assert 4 not in buffer.sample(50, mode=mode)["task_id"]


def test_clear_task():
    buffer = filled()
    counts = buffer.task_counts()
    batch = buffer.sample(64, task_weights="balanced")
    assert buffer.clear_task(3) == counts[3]
    assert buffer.clear_task(3) == 0
    del counts[3]
    assert buffer.task_counts() == counts
    assert len(buffer) == sum(counts.values())
    assert 3 not in buffer.sample(20_000, mode="iid")["task_id"]
    # Updates of what is gone are ignored and counted.
    with pytest.raises(StaleIndexError):
        buffer.update_priorities(batch, np.ones(64), strict=True)
    before = buffer.stale_updates
    buffer.update_priorities(batch, np.ones(64))
    assert buffer.stale_updates - before == (batch["task_id"] == 3).sum() > 0
    assert 3 not in buffer.sample(20_000, mode="iid")["task_id"]
    assert buffer.task_counts() == counts
    # The slots are used again when their turn comes.
    buffer.add(x=np.arange(1000), task_id=np.full(1000, 3))
    assert buffer.task_counts() == {3: 1000}
    assert buffer.clear_task(3) == 1000
    assert len(buffer) == 0
    with pytest.raises(BufferEmptyError):
        buffer.sample(1)


def test_all_priorities_of_a_task_zero():
    buffer = make(100)
    buffer.add(x=np.arange(100), task_id=np.repeat([1, 2], 50))
    buffer.update_priorities(np.arange(100), np.repeat([0.0, 2.0], 50))
    batch = buffer.sample(40, task_weights="balanced", beta=1.0)
    np.testing.assert_array_equal(batch["task_id"], np.repeat([1, 2], 20))
    np.testing.assert_array_equal(batch.probabilities, 0.01)
    np.testing.assert_array_equal(batch.weights, 1.0)
    with pytest.raises(ValueError, match="asks for 51 items of task 1; without replacement at most 50"):
        buffer.sample(51, task=1, mode="without_replacement")


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_bits(mode):
    one, two, other = filled(), filled(), filled(seed=9)
    for _ in range(5):
        batches = [b.sample(32, mode=mode, task_weights="balanced") for b in (one, two, other)]
        for name in batches[0]:
            np.testing.assert_array_equal(batches[0][name], batches[1][name])
        assert (batches[0].indices != batches[2].indices).any()
        one.update_priorities(batches[0], np.arange(32.0))
        two.update_priorities(batches[1], np.arange(32.0))


def test_streams_and_sequences_have_tasks():
    fields = {**FIELDS, "obs": ((2,), np.float32), "next_obs": ((2,), np.float32), "reward": ((), np.float32)}
    fields["terminated"] = fields["truncated"] = ((), np.bool_)
    rng = np.random.default_rng(0)
    for options in ({"n_step": 3}, {"next_obs": "next"}, {"sequence_length": 4, "burn_in": 1}):
        buffer = PrioritizedReplayBuffer(200, fields, task_field="task_id", num_envs=3, **options)
        obs = np.zeros((3, 2), np.float32)
        tasks = np.zeros(3, np.int32)
        for step in range(400):
            next_obs = rng.random((3, 2), np.float32)
            terminated = rng.random(3) < 0.1
            buffer.add(
                x=np.full(3, step),
                task_id=tasks,
                obs=obs,
                next_obs=next_obs,
                reward=np.ones(3),
                terminated=terminated,
                truncated=np.zeros(3, bool),
            )
            obs = np.where(terminated[:, None], rng.random((3, 2), np.float32), next_obs).astype(np.float32)
            tasks = np.where(terminated, rng.integers(0, 4, 3), tasks).astype(np.int32)
            assert sum(buffer.task_counts().values()) == len(buffer)
            if len(buffer) > 20 and step % 7 == 0:
                batch = buffer.sample(12, task_weights="balanced")
                buffer.update_priorities(batch, rng.random(12))
            for task in buffer.task_counts() if step % 50 == 0 else ():
                batch = buffer.sample(16, task=task)
                starts = batch["task_id"][:, 0] if "sequence_length" in options else batch["task_id"]
                assert (starts == task).all()
            if step == 200:
                buffer.clear_task(2)
                assert 2 not in buffer.task_counts()


BAD_SAMPLES = [
    ({"task": 7}, BufferEmptyError, "cannot sample task 7: it has no transitions; tasks present: 0, 1, 2, 3, 4"),
    ({"task_weights": {1: 1.0, 9: 0.1}}, BufferEmptyError, "cannot sample task 9"),
    ({"task_weights": [0, 0, 0, 0, 0, 1]}, BufferEmptyError, "cannot sample task 5"),
    ({"task": 1, "task_weights": "balanced"}, ValueError, "task and task_weights are both given"),
    ({"task": -1}, ValueError, r"task is -1; must be in \[0, 65535\]"),
    ({"task": 65536}, ValueError, r"task is 65536; must be in \[0, 65535\]"),
    ({"task": 1.0}, TypeError, "task must be an integer"),
    ({"task": True}, TypeError, "task must be an integer"),
    ({"task_weights": {1: -0.5}}, ValueError, r"task_weights\[1\] is -0.5; must be finite and >= 0"),
    ({"task_weights": [1.0, np.nan]}, ValueError, r"task_weights\[1\] is nan; must be finite and >= 0"),
    ({"task_weights": {3: np.inf}}, ValueError, r"task_weights\[3\] is inf; must be finite and >= 0"),
    ({"task_weights": {1: 0.0, 2: 0}}, ValueError, "task_weights has no weight above 0"),
    ({"task_weights": {}}, ValueError, "task_weights has no weight above 0"),
    ({"task_weights": []}, ValueError, "task_weights has no weight above 0"),
    ({"task_weights": "even"}, ValueError, "task_weights is 'even'; must be 'balanced', a mapping"),
    ({"task_weights": {"a": 1}}, TypeError, "task_weights key must be an integer"),
    ({"task_weights": {-2: 1}}, ValueError, "task_weights key is -2"),
    ({"task_weights": {1: "a"}}, TypeError, r"task_weights\[1\] must be a real number"),
    ({"task_weights": 1.0}, ValueError, r"task_weights has shape \(\)"),
    ({"task_weights": ["a"]}, TypeError, "task_weights must be real numbers"),
    ({"task": 0, "mode": "without_replacement", "batch_size": 10**6}, ValueError, "without replacement at most"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_SAMPLES)
def test_bad_requests_draw_nothing(arguments, error, message):
    buffer, twin = filled(), filled()
    with pytest.raises(error, match=message):
        buffer.sample(**{"batch_size": 8, **arguments})
    np.testing.assert_array_equal(buffer.sample(50).indices, twin.sample(50).indices)
    np.testing.assert_array_equal(
        buffer.sample(50, task_weights="balanced").indices, twin.sample(50, task_weights="balanced").indices
    )


def test_bad_task_ids_are_refused_before_anything_is_stored():
    buffer = filled()
    before = buffer.state_dict(), buffer.task_counts()
    for bad, shown in ((-1, "-1"), (65536, "65536"), (-(2**31), "-2147483648")):
        with pytest.raises(ValueError, match=rf"task_id\[2\] is {shown}; must be in \[0, 65535\]"):
            buffer.add(x=np.arange(4), task_id=[0, 1, bad, 2])
        with pytest.raises(ValueError, match=rf"task_id is {shown}; must be in"):
            buffer.add(x=1, task_id=bad)
    after = buffer.state_dict()
    assert after["written"] == before[0]["written"]
    np.testing.assert_array_equal(after["columns"]["x"], before[0]["columns"]["x"])
    np.testing.assert_array_equal(after["masses"], before[0]["masses"])
    assert buffer.task_counts() == before[1]
    big = ReplayBuffer(8, {"t": ((), np.uint64)}, task_field="t")
    with pytest.raises(ValueError, match="t is 18446744073709551615; must be in"):
        big.add(t=2**64 - 1)


def test_bad_construction():
    for options, error, message in [
        ({"task_field": "y"}, ValueError, "task_field is 'y'; must be the name of a field"),
        ({"task_field": 3}, TypeError, "task_field must be a str or None"),
        ({"task_field": "f"}, TypeError, "field 'f' is float32; task_field must name a field of an integer dtype"),
        ({"task_field": "v"}, ValueError, r"field 'v' has shape \(2,\); task_field must name a field of shape \(\)"),
    ]:
        with pytest.raises(error, match=message):
            ReplayBuffer(4, {"f": ((), np.float32), "v": ((2,), np.int32)}, **options)
    plain = ReplayBuffer(4, FIELDS)
    plain.add(x=1, task_id=-5)  # a field like any other
    for call in (plain.task_counts, plain.task_masses, lambda: plain.clear_task(1)):
        with pytest.raises(ValueError, match="made without task_field"):
            call()
    for arguments in ({"task": 1}, {"task_weights": "balanced"}):
        with pytest.raises(ValueError, match="needs a buffer that was made with task_field"):
            plain.sample(1, **arguments)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_against_a_list(data):
    capacity = data.draw(st.integers(1, 40))
    buffer = make(capacity, eviction=data.draw(st.sampled_from(["fifo", "reservoir"])))
    model = {}  # slot -> (x, task)
    number = 0
    for _ in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["add", "add", "update", "clear_task", "sample", "clear"]))
        if action == "add":
            tasks = data.draw(st.lists(st.sampled_from([0, 1, 2, 65535]), min_size=1, max_size=60))
            slots = buffer.add(x=np.arange(number, number + len(tasks)), task_id=np.array(tasks))
            for slot, task in zip(slots, tasks, strict=True):
                if slot >= 0:
                    model[int(slot)] = (number, task)
                number += 1
        elif action == "update" and model:
            slots = data.draw(st.lists(st.sampled_from(sorted(model)), min_size=1, max_size=30))
            values = data.draw(
                st.lists(st.sampled_from([0.0, 0.5, 1.0, 3e7]), min_size=len(slots), max_size=len(slots))
            )
            buffer.update_priorities(np.array(slots), np.array(values))
        elif action == "clear_task":
            task = data.draw(st.sampled_from([0, 1, 2, 65535]))
            gone = [slot for slot, (_, t) in model.items() if t == task]
            assert buffer.clear_task(task) == len(gone)
            for slot in gone:
                del model[slot]
        elif action == "clear":
            buffer.clear()
            model.clear()
        elif model:
            batch = buffer.sample(20, task_weights="balanced", mode=data.draw(st.sampled_from(MODES[:3])))
            for slot, x, task in zip(batch.indices, batch["x"], batch["task_id"], strict=True):
                assert model[int(slot)] == (x, task)
        counts = {}
        for _, task in model.values():
            counts[task] = counts.get(task, 0) + 1
        assert buffer.task_counts() == dict(sorted(counts.items()))
        assert len(buffer) == len(model)
        assert exact_sum(buffer) == buffer.state_dict()["masses"].astype(float).sum()


def test_out_is_reused_with_tasks():
    buffer, twin = filled(), filled()
    out = buffer.sample(16, task=1)
    twin.sample(16, task=1)
    for arguments in ({"task": 2}, {"task_weights": "balanced"}, {"task": None, "task_weights": None}, {}):
        assert buffer.sample(16, out=out, **arguments) is out
        expected = twin.sample(16, out=None, **arguments)
        for name in expected:
            np.testing.assert_array_equal(out[name], expected[name])


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
@pytest.mark.parametrize("eviction", ["fifo", "reservoir"])
def test_the_same_bits_across_every_kind_of_copy(kind, eviction, tmp_path):
    """Positions within tasks depend on history: this one has removals, moves, another scale and hidden slots."""
    buffer = filled(kind=kind, eviction=eviction)
    buffer.add(x=np.arange(200), task_id=np.arange(200) % 9)
    buffer.update_priorities(np.arange(60), np.geomspace(1e-3, 1e7, 60))
    buffer.clear_task(3)
    buffer.add(x=np.arange(40), task_id=np.full(40, 8))
    buffer.save(tmp_path / "b")
    copies = [kind.load(tmp_path / "b"), copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))]
    copies.append(make(kind=kind, eviction=eviction))
    copies[-1].load_state_dict(buffer.state_dict())
    for step in range(12):
        mode = MODES[step % 4]
        expected = buffer.sample(40, mode=mode, task_weights="balanced")
        slots = buffer.add(x=np.arange(30), task_id=np.arange(30) % 5)
        buffer.update_priorities(expected, np.arange(40.0))
        for other in copies:
            batch = other.sample(40, mode=mode, task_weights="balanced")
            for name in expected:
                np.testing.assert_array_equal(batch[name], expected[name])
            np.testing.assert_array_equal(other.add(x=np.arange(30), task_id=np.arange(30) % 5), slots)
            other.update_priorities(batch, np.arange(40.0))
            assert other.task_counts() == buffer.task_counts()
            assert other.task_masses() == buffer.task_masses()


def test_states_with_impossible_tasks_or_positions_are_refused():
    buffer = filled()
    state = buffer.state_dict()
    for key, value, message in [
        ("task_positions", np.zeros(1000, np.uint32), "has position 0, which is another slot's"),
        ("task_positions", np.arange(1000, dtype=np.uint32), "which is another slot's or not below"),
        ("columns", {**state["columns"], "task_id": np.full(1000, 65536, np.int32)}, "slot 0 holds the task 65536"),
        ("columns", {**state["columns"], "task_id": np.full(1000, -1, np.int32)}, "slot 0 holds the task -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            buffer.load_state_dict({**state, key: value})
        check_partition(buffer, *content(buffer))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("num_tasks", "capacity"), [(65_536, 65_536), (65_536, 300_000), (3_000, 10**6), (1, 10**6)])
def test_memory_is_bounded_however_many_tasks_there_are(num_tasks, capacity):
    code = """
import subprocess
import sys

import numpy as np
import sys
import metarl_core as mc

def resident():  # without the pages of files: code that runs for the first time adds to those
    pages = open("/proc/self/statm").read().split()
    return (int(pages[1]) - int(pages[2])) * 4096

num_tasks, capacity = map(int, sys.argv[1:])
tasks = (np.arange(capacity) % num_tasks).astype(np.uint16)
buffer = mc.PrioritizedReplayBuffer(capacity, {"task": ((), np.uint16)}, task_field="task")
before = resident()
for begin in range(0, capacity, 1000):
    buffer.add(task=tasks[begin : begin + 1000])
full = resident()
for begin in range(0, capacity * 2 // 5, 1000):  # most tasks shrink, one grows
    buffer.add(task=np.zeros(1000, np.uint16))
print(full - before, resident() - before, buffer.bytes_per_transition)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(num_tasks), str(capacity)], capture_output=True, text=True, check=True
    )
    full, later, declared = map(int, done.stdout.split())
    # Beyond the buffer: what the interpreter allocates meanwhile, and arrays rounded up to huge pages.
    bound = capacity * declared + 64 * num_tasks + 2**22
    print(f"{num_tasks} tasks: {full / capacity:.1f}, then {later / capacity:.1f}; bound {bound / capacity:.1f}")
    assert declared == 2 + 9 + 26
    assert full < bound
    assert later < bound + capacity * 4  # what malloc keeps


def test_a_field_that_is_not_stored_cannot_say_the_task():
    fields = {"obs": ((), np.int32), "next_obs": ((), np.int32), "terminated": ((), bool)}
    with pytest.raises(ValueError, match="task_field is 'next_obs', which next_obs='next' does not store"):
        ReplayBuffer(10, fields, next_obs="next", task_field="next_obs")
    rows = {"obs": np.arange(5), "next_obs": np.arange(1, 6), "terminated": np.zeros(5, bool)}
    for field in ("obs", "next_obs"):
        buffer = ReplayBuffer(10, fields, next_obs="next" if field == "obs" else None, task_field=field)
        buffer.add(**rows)
        assert list(buffer.task_counts().values()) == [1] * 5
