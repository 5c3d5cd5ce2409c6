"""Arguments of another type or range than they should have: the error names them."""

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, SharedWriters, SumTree


@pytest.fixture
def buffer():
    buffer = PrioritizedReplayBuffer(10, {"x": ((), float)}, seed=0)
    buffer.add(x=np.arange(8.0))
    return buffer


STACKED = {"obs": ((4, 2), np.uint8), "next_obs": ((4, 2), np.uint8), "terminated": ((), bool)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight_normalization": 3}, TypeError, "weight_normalization must be a str, got int"),
        ({"weight_normalization": "\udc80"}, ValueError, "weight_normalization is '.udc80'"),
        ({"stratified": "no"}, TypeError, "stratified must be a bool, got str"),
        ({"stratified": None}, TypeError, "stratified must be a bool, got NoneType"),
        (
            {"recurrent_fields": [3], "sequence_length": 2},
            TypeError,
            "recurrent_fields must hold field names, got 3",
        ),
        ({"recurrent_fields": ["\udc80"], "sequence_length": 2}, ValueError, "recurrent_fields is '.udc80'"),
        ({"frame_stack": {3: 4}}, TypeError, "frame_stack must map field names to numbers, got the name 3"),
        ({"frame_stack": {"\udc80": 4}}, ValueError, "frame_stack is '.udc80'"),
        ({"frame_stack": 2**40}, ValueError, "frame_stack is 1099511627776; must be >= 1 and at most 65536"),
        ({"frame_stack": {"obs": 2**70}}, ValueError, "is 1180591620717411303424; must be"),
        ({"n_step": 2**31}, ValueError, "n_step is 2147483648; must be at most"),
        ({"task_field": "\udc80"}, ValueError, "task_field is '.udc80'"),
    ],
)
def test_an_option_of_another_type_is_named(options, error, message):
    with pytest.raises(error, match=message):
        PrioritizedReplayBuffer(8, STACKED, **options)


def test_numpys_bool_is_a_bool():
    assert PrioritizedReplayBuffer(8, STACKED, stratified=np.False_).stratified is False


def test_a_field_name_that_utf8_cannot_hold():
    with pytest.raises(ValueError, match=r"a field's name is '.udc80'"):
        ReplayBuffer(8, {"\udc80": ((), np.float32)})


def test_an_index_that_int64_cannot_hold(buffer):
    tree = SumTree(4)
    large = np.array([0, 2**63 + 1], np.uint64)
    for call in (
        lambda: buffer.update_priorities(large, [1.0, 1.0]),
        lambda: buffer.priorities(large),
        lambda: tree.set(large, 1.0),
        lambda: tree.get(large),
    ):
        with pytest.raises(IndexError, match="index 9223372036854775809 at position 1"):
            call()
    several = ReplayBuffer(8, {"x": ((), float)}, num_envs=2)
    with pytest.raises(ValueError, match="9223372036854775809 at position 1 of env_ids"):
        several.add(x=[1.0, 2.0], env_ids=large)
    np.testing.assert_array_equal(buffer.priorities(np.array([1, 2], np.uint64)), buffer.priorities([1, 2]))


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_from_bytes_takes_any_buffer(buffer, kind):
    assert PrioritizedReplayBuffer.from_bytes(kind(buffer.to_bytes())).to_bytes() == buffer.to_bytes()


def test_from_bytes_names_what_it_wants():
    with pytest.raises(TypeError, match="data must be bytes or another buffer of bytes, got str"):
        PrioritizedReplayBuffer.from_bytes("abc")


def test_a_path_with_a_nul_character(buffer, tmp_path):
    for call in (buffer.save, buffer.restore, PrioritizedReplayBuffer.load):
        with pytest.raises(ValueError, match="must not contain a NUL character"):
            call(f"{tmp_path}/a\0b")
    assert list(tmp_path.iterdir()) == []


def test_a_writers_number_may_be_numpys(buffer):
    with SharedWriters(buffer, 2) as writers:
        assert writers.writer(np.int64(1)).lane == 1
        assert type(writers.writer(np.int64(1)).lane) is int
        for index in (True, 1.0, "1"):
            with pytest.raises(TypeError, match="index must be an integer"):
                writers.writer(index)
