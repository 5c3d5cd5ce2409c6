"""Bad input to the replay buffers: the error names the argument, and the buffer does not change."""

import itertools

import numpy as np
import pytest

from metarl_core import BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer, StaleIndexError
from metarl_core.errors import CheckpointMismatchError, CheckpointVersionError

FIELDS = {"obs": ((4, 3), np.float32), "action": ((), np.int32), "frame": ((20, 20), np.uint8), "done": ((), bool)}


def rows(n):
    return {
        "obs": np.arange(12 * n, dtype=np.float32).reshape(n, 4, 3),
        "action": np.arange(n, dtype=np.int32),
        "frame": np.arange(400 * n).astype(np.uint8).reshape(n, 20, 20),
        "done": np.arange(n) % 2 == 0,
    }


@pytest.fixture
def buffer():
    buffer = PrioritizedReplayBuffer(10, FIELDS, seed=0)
    buffer.add(**rows(8))
    buffer.update_priorities(np.arange(8), np.arange(8) + 0.5)
    return buffer


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


class Unchanged:
    def __init__(self, buffer):
        self.buffer = buffer

    def __enter__(self):
        self.before = self.buffer.state_dict()

    def __exit__(self, *exception):
        assert same(self.before, self.buffer.state_dict())


def single(**changes):
    values = {name: column[0] for name, column in rows(1).items()}
    values.update(changes)
    return values


BAD_ADDS = [
    (single(extra=1), KeyError, "unknown field 'extra'"),
    ({k: v for k, v in single().items() if k != "done"}, KeyError, "missing field 'done'"),
    ({}, KeyError, "missing field"),
    (single(obs=np.zeros((4, 4), np.float32)), ValueError, r"'obs' expected \(4, 3\), got \(4, 4\)"),
    (single(obs=np.zeros(12, np.float32)), ValueError, r"'obs' expected \(4, 3\), got \(12,\)"),
    (single(obs=np.zeros((2, 4, 3), np.float32)), ValueError, r"'action' expected \(2,\) like 'obs', got \(\)"),
    ({**rows(3), "action": np.zeros(2, np.int32)}, ValueError, r"'action' expected \(3,\) like 'obs', got \(2,\)"),
    (single(obs=np.full((4, 3), "x")), TypeError, "'obs' expected float32"),
    (single(obs=np.full((4, 3), None)), TypeError, "'obs' expected float32, got object"),
    (single(obs=np.zeros((4, 3), complex)), TypeError, "'obs' expected float32, got complex128"),
    (single(obs=np.full((4, 3), 1e300)), ValueError, "overflows float32"),
    (single(action=1.5), TypeError, "'action' expected int32, got float64"),
    (single(action=2**40), TypeError, "'action' expected int32, got int64"),
    (single(action=2**70), TypeError, "'action' expected int32"),
    (single(frame=np.full((20, 20), 256)), TypeError, "'frame' expected uint8"),
    (single(frame=np.full((20, 20), -1)), TypeError, "'frame' expected uint8"),
    (single(done=1), TypeError, "'done' expected bool, got int64"),
    (single(done="yes"), TypeError, "'done' expected bool"),
    (single(done=None), TypeError, "'done' expected bool, got object"),
]


@pytest.mark.parametrize(("columns", "error", "message"), BAD_ADDS)
def test_add(buffer, columns, error, message):
    with Unchanged(buffer), pytest.raises(error, match=message):
        buffer.add(**columns)


@pytest.mark.parametrize("interned", [True, False])
def test_add_takes_keywords_in_any_order(interned):
    names = ["first", "second", "third"]
    for k, order in enumerate(itertools.permutations(range(3))):
        buffer = ReplayBuffer(4, dict.fromkeys(names, ((), np.int64)))
        # A string that was put together at run time is another object than the literal.
        keywords = names if interned else ["".join(list(name)) for name in names]
        buffer.add(**{keywords[i]: 10 * k + i for i in order})
        batch = buffer.sample(1)
        assert [batch[name][0] for name in names] == [10 * k, 10 * k + 1, 10 * k + 2]


@pytest.mark.parametrize("position", range(4))
def test_add_refuses_an_unknown_name_in_every_position(position):
    buffer = ReplayBuffer(4, dict.fromkeys("abc", ((), np.int64)))
    names = list("abc")
    names.insert(position, "zzz")
    with Unchanged(buffer), pytest.raises(KeyError, match="unknown field 'zzz'"):
        buffer.add(**dict.fromkeys(names, 1))
    names = list("abc")
    names[position % 3] = "zzz"
    with Unchanged(buffer), pytest.raises(KeyError, match="unknown field 'zzz'"):
        buffer.add(**dict.fromkeys(names, 1))
    buffer = ReplayBuffer(4, {"x": ((), np.int64)})
    with Unchanged(buffer), pytest.raises(KeyError, match="unknown field 'y'"):
        buffer.add(y=1)


def test_add_positional(buffer):
    with Unchanged(buffer), pytest.raises(TypeError, match="keyword arguments only"):
        buffer.add(1, 2)


def test_an_empty_batch_is_no_error(buffer):
    with Unchanged(buffer):
        assert buffer.add(**rows(0)).shape == (0,)
        buffer.update_priorities([], [])


BAD_UPDATES = [
    ([0, 1], [1.0, np.nan], ValueError, r"td_errors\[1\] is nan; must be finite"),
    ([0, 1], [np.inf, 1.0], ValueError, r"td_errors\[0\] is inf; must be finite"),
    ([0, 1], np.array([1, -np.inf], np.float32), ValueError, r"td_errors\[1\] is -inf; must be finite"),
    ([0, 1], [1.0, 1e300], ValueError, r"td_errors\[1\] is 1e\+300; overflows float32"),
    ([8], [1.0], IndexError, "index 8 at position 0 out of range for size 8"),
    ([40], [1.0], IndexError, "index 40 at position 0 out of range for size 8"),
    ([0, -1], [1.0, 1.0], IndexError, "index -1 at position 1 out of range for size 8"),
    ([0, 2**63 - 1], [1.0, 1.0], IndexError, "out of range"),
    ([0, 1], [1.0], ValueError, r"indices has shape \(2,\), td_errors has shape \(1,\)"),
    ([0.5], [1.0], TypeError, "indices must be integers"),
    ([0], ["a"], TypeError, "td_errors must be real numbers"),
    ([0], [1j], TypeError, "td_errors must be real numbers"),
]


@pytest.fixture
def uniform():
    buffer = ReplayBuffer(10, FIELDS, seed=0)
    buffer.add(**rows(8))
    return buffer


@pytest.mark.parametrize(("indices", "errors", "error", "message"), BAD_UPDATES)
def test_update_priorities(buffer, uniform, indices, errors, error, message):
    for each in (buffer, uniform):
        with Unchanged(each), pytest.raises(error, match=message):
            each.update_priorities(indices, errors)


def test_a_uniform_buffer_checks_updates_and_ignores_them(uniform):
    batch = uniform.sample(16)
    with Unchanged(uniform):
        uniform.update_priorities([3, 4], [1.0, -2.0])
        uniform.update_priorities(batch, np.ones(16), strict=True)
    uniform.add(**rows(10))
    with Unchanged(uniform), pytest.raises(StaleIndexError, match="at position 0 is not in the buffer any more"):
        uniform.update_priorities(batch, np.ones(16), strict=True)
    with Unchanged(uniform):
        uniform.update_priorities(batch, np.ones(16))


def test_strict_has_a_truth_value(buffer):
    with Unchanged(buffer), pytest.raises(ValueError, match="truth value"):
        buffer.update_priorities([0], [1.0], strict=np.array([1, 2]))


def test_update_priorities_arguments(buffer):
    with pytest.raises(TypeError, match="misses argument 'td_errors'"):
        buffer.update_priorities([0])
    with pytest.raises(TypeError, match="unexpected keyword"):
        buffer.update_priorities([0], [1.0], strictly=True)
    buffer.update_priorities(indices=[0], td_errors=[3.0], strict=True)
    assert buffer.priorities([0]) == 3.0


def test_stale_slots_are_ignored_and_counted(buffer):
    batch = buffer.sample(64)
    assert set(batch.indices) <= set(range(8))
    buffer.add(**rows(5))  # slots 8, 9, 0, 1, 2
    before = buffer.priorities()
    stale = batch.indices < 3
    assert stale.any()
    with Unchanged(buffer), pytest.raises(StaleIndexError, match="is not in the buffer any more"):
        buffer.update_priorities(batch, np.full(64, 9.0), strict=True)
    buffer.update_priorities(batch, np.full(64, 9.0))
    assert buffer.stale_updates == stale.sum()
    expected = before.copy()
    expected[batch.indices[~stale]] = 9.0
    np.testing.assert_array_equal(buffer.priorities(), expected)
    buffer.update_priorities(batch.indices, np.full(64, 8.0))  # plain indices are not checked
    np.testing.assert_array_equal(buffer.priorities(batch.indices), 8.0)


def test_a_batch_whose_indices_were_changed_cannot_reach_empty_slots(buffer):
    batch = buffer.sample(4)
    batch["indices"][0] = 9
    with Unchanged(buffer), pytest.raises(IndexError, match="index 9 at position 0 out of range for size 8"):
        buffer.update_priorities(batch, np.ones(4))


def test_whole_laps_and_clear_make_everything_stale(buffer):
    batch = buffer.sample(16)
    for _ in range(3):
        buffer.add(**rows(10))
    buffer.update_priorities(batch, np.ones(16))
    assert buffer.stale_updates == 16
    batch = buffer.sample(16)
    buffer.clear()
    buffer.add(**rows(2))
    with Unchanged(buffer), pytest.raises(StaleIndexError):
        buffer.update_priorities(batch, np.ones(16), strict=True)
    buffer.update_priorities(batch, np.ones(16))
    assert buffer.stale_updates == 32


def test_load_makes_earlier_batches_stale(buffer):
    saved = buffer.state_dict()
    batch = buffer.sample(16)
    buffer.load_state_dict(saved)
    with Unchanged(buffer), pytest.raises(StaleIndexError):
        buffer.update_priorities(batch, np.ones(16), strict=True)
    buffer.update_priorities(batch, np.full(16, 7.0))
    assert buffer.stale_updates == 16
    assert 7.0 not in buffer.priorities()

    batch = buffer.sample(16)
    buffer.update_priorities(batch, np.full(16, 7.0), strict=True)
    cleared = buffer.sample(16)
    buffer.clear()
    buffer.load_state_dict(saved)
    for old in (batch, cleared):
        with Unchanged(buffer), pytest.raises(StaleIndexError):
            buffer.update_priorities(old, np.ones(16), strict=True)
    other = PrioritizedReplayBuffer(10, FIELDS, seed=0)
    other.add(**rows(8))
    with Unchanged(buffer), pytest.raises(StaleIndexError):
        buffer.update_priorities(other.sample(16), np.ones(16), strict=True)


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_sample(cls):
    buffer = cls(4, FIELDS)
    with pytest.raises(BufferEmptyError):
        buffer.sample(1)
    with pytest.raises(RuntimeError, match="empty"):
        buffer.sample(3)
    buffer.add(**rows(2))
    with Unchanged(buffer):
        for batch_size in (0, -1):
            with pytest.raises(ValueError, match=f"batch_size is {batch_size}; must be >= 1"):
                buffer.sample(batch_size)
        with pytest.raises(TypeError, match="batch_size must be an integer"):
            buffer.sample(1.5)
        with pytest.raises(MemoryError, match="bytes"):
            buffer.sample(10**12)
        for beta in (-0.5, np.nan, np.inf):
            with pytest.raises(ValueError, match="beta is"):
                buffer.sample(1, beta=beta)
        with pytest.raises(TypeError, match="beta"):
            buffer.sample(1, "x")
    buffer.clear()
    with pytest.raises(BufferEmptyError):
        buffer.sample(1)


def test_priorities_index(buffer):
    with pytest.raises(IndexError, match="index 8 at position 1 out of range for size 8"):
        buffer.priorities([0, 8])


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_construction(cls):
    for capacity in (0, -5):
        with pytest.raises(ValueError, match=f"capacity is {capacity}; must be >= 1"):
            cls(capacity, FIELDS)
    for capacity in (2**40, 10**15):
        with pytest.raises(MemoryError, match="bytes"):
            cls(capacity, FIELDS)
    with pytest.raises(TypeError, match="capacity"):
        cls(1.5, FIELDS)
    with pytest.raises(ValueError, match="seed"):
        cls(4, FIELDS, seed=-1)
    with pytest.raises(ValueError, match="fields is empty"):
        cls(4, {})
    with pytest.raises(TypeError, match="mapping"):
        cls(4, [("a", (), float)])
    for dtype in (object, "U", np.dtype([("a", object)])):
        with pytest.raises(TypeError, match="dtype of field 'a'"):
            cls(4, {"a": ((), dtype)})
    for shape in ((0,), (3, -1)):
        with pytest.raises(ValueError, match="shape of field 'a'"):
            cls(4, {"a": (shape, float)})
    with pytest.raises(TypeError, match="shape of field 'a'"):
        cls(4, {"a": ((2.5,), float)})
    with pytest.raises(ValueError, match="'weights' is reserved"):
        cls(4, {"weights": ((), float)})


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": -0.1}, {"alpha": np.nan}, {"beta": -1}, {"beta": np.inf}, {"eps": -1e-3}, {"eps": np.nan},
        {"max_priority": 0}, {"max_priority": -1}, {"max_priority": np.nan}, {"max_priority": 1e-3, "eps": 1e-2},
        {"weight_normalization": "mean"},
    ],
)  # fmt: skip
def test_options(options):
    with pytest.raises(ValueError, match=next(iter(options)).replace("_", "[_ ]")):
        PrioritizedReplayBuffer(4, FIELDS, **options)


def broken(state, path, value):
    *parents, last = path
    state = dict(state)
    inner = state
    for parent in parents:
        inner[parent] = dict(inner[parent])
        inner = inner[parent]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return state


BAD_STATES = [
    (("format",), 2, "format"),
    (("format",), None, "format"),
    (("kind",), "uniform", "kind"),
    (("capacity",), 11, "capacity"),
    (("seed",), 1, "seed"),
    (("alpha",), 0.7, "alpha"),
    (("fields",), [], "fields"),
    (("written",), -1, "written"),
    (("written",), "x", "written"),
    (("written",), 9, "columns"),
    (("written",), None, "written"),
    (("draws",), None, "draws"),
    (("scale_exponent",), 10**6, "scale_exponent"),
    (("scale_exponent",), None, "scale_exponent"),
    (("running_max_priority",), np.nan, "running_max_priority"),
    (("columns",), None, "columns"),
    (("columns", "obs"), None, "columns"),
    (("columns", "obs"), np.zeros((8, 4, 2), np.float32), "obs"),
    (("columns", "obs"), np.zeros((8, 4, 3), np.float64), "obs"),
    (("columns", "obs"), [1], "obs"),
    (("priorities",), None, "priorities"),
    (("priorities",), np.zeros(7, np.float32), "priorities"),
    (("priorities",), np.full(8, np.nan, np.float32), "priorities"),
    (("priorities",), np.full(8, -1, np.float32), "priorities"),
    (("masses",), np.zeros(8, np.uint32), "masses"),
    (("masses",), np.ones(8, np.int64), "masses"),
    (("masses",), np.arange(2**27 + 1, 2**27 + 9, dtype=np.uint32), "masses"),
    (("priorities",), np.arange(8, 0, -1, dtype=np.float32), "masses"),
    (("scale_exponent",), 20, "masses"),
    (("scale_exponent",), 2**32 + 5, "scale_exponent"),
    (("written",), 2**64 - 1, "written"),
    (("written",), 8.5, "written"),
    (("draws",), 3.0, "draws"),
    (("draws",), True, "draws"),
    (("changes_since_rescale",), 2**64, "changes_since_rescale"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD_STATES)
def test_load_state_dict(buffer, path, value, message):
    state = broken(buffer.state_dict(), path, value)
    buffer.update_priorities([0], [4.0])
    with Unchanged(buffer), pytest.raises(ValueError, match=message):
        buffer.load_state_dict(state)


def test_load_state_dict_of_another_configuration(buffer):
    other = PrioritizedReplayBuffer(11, {**FIELDS, "more": ((), bool)}, seed=3, alpha=0.7)
    with Unchanged(buffer), pytest.raises(CheckpointMismatchError) as caught:
        buffer.load_state_dict(other.state_dict())
    text = str(caught.value)
    for part in ("capacity is 11 in the state and 10 in this", "seed is 3", "alpha is 0.7", "fields is"):
        assert part in text
    assert "eps" not in text
    with Unchanged(buffer), pytest.raises(CheckpointMismatchError, match="kind is 'uniform'"):
        buffer.load_state_dict(ReplayBuffer(10, FIELDS).state_dict())
    with pytest.raises(CheckpointMismatchError, match="kind is 'prioritized'"):
        ReplayBuffer(10, FIELDS).load_state_dict(buffer.state_dict())
    with Unchanged(buffer), pytest.raises(CheckpointVersionError, match="is 2; this version reads 1"):
        buffer.load_state_dict({"format": 2})


def test_every_state_that_a_buffer_gives_can_be_loaded():
    rng = np.random.default_rng(0)
    for alpha in (0.0, 0.3, 1.0, 2.5):
        buffer = PrioritizedReplayBuffer(40, {"x": ((), np.int64)}, alpha=alpha, eps=0.0)
        again = PrioritizedReplayBuffer(40, {"x": ((), np.int64)}, alpha=alpha, eps=0.0)
        exponents = set()
        for _ in range(300):
            buffer.add(x=np.arange(rng.integers(0, 5)) + 1)
            n = rng.integers(0, len(buffer) + 1)
            magnitude = 10.0 ** rng.uniform(-12, 12)
            errors = magnitude * rng.standard_normal(n) * (rng.random(n) < 0.9)
            buffer.update_priorities(rng.permutation(len(buffer))[:n], errors)
            state = buffer.state_dict()
            exponents.add(state["scale_exponent"])
            again.load_state_dict(state)
            assert same(state, again.state_dict())
        assert alpha == 0.0 or len(exponents) > 10


def test_load_state_dict_of_no_mapping(buffer):
    with Unchanged(buffer), pytest.raises(ValueError, match="mapping"):
        buffer.load_state_dict([1])


def test_a_subclass_that_forgets_to_initialise():
    class Forgetful(PrioritizedReplayBuffer):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match="__init__"):
        Forgetful().sample(1)
