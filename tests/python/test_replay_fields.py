"""Columns of any fixed-size dtype, nested fields, out=, and handing batches to other libraries without a copy."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, fields_from_spaces

RECORD = np.dtype([("position", np.float32, (2,)), ("name", "S4"), ("flags", [("a", bool), ("b", np.int16)])])

DTYPES = [
    "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", "c8", "c16", "G",
    "S7", "U5", "M8[ns]", "M8[D]", "m8[s]", "V3", RECORD,
]  # fmt: skip


def values(dtype: np.dtype[Any], n: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    if dtype.kind in "fc":
        return rng.normal(size=n).astype(dtype)
    if dtype.kind in "SU":
        return np.array([f"{i:x}" for i in range(n)]).astype(dtype)
    if dtype.kind == "b":
        return rng.random(n) < 0.5
    return np.frombuffer(rng.integers(0, 2, n * dtype.itemsize, np.uint8).tobytes(), dtype)


@pytest.mark.parametrize("dtype", [np.dtype(d) for d in DTYPES], ids=str)
def test_any_dtype_of_fixed_size_comes_back_bit_for_bit(dtype: np.dtype[Any]) -> None:
    buffer = ReplayBuffer(16, {"x": ((), dtype), "pair": ((2,), dtype)})
    x = values(dtype, 10)
    pair = np.stack([x, x[::-1]], axis=1)
    buffer.add(x=x[:9], pair=pair[:9])
    buffer.add(x=x[9], pair=pair[9])
    batch = buffer.sample(64)
    assert batch["x"].dtype == dtype
    if dtype.char in "gG":  # 10 of 16 bytes count
        np.testing.assert_array_equal(batch["x"], x[batch.indices])
        np.testing.assert_array_equal(batch["pair"], pair[batch.indices])
    else:
        assert batch["x"].tobytes() == x[batch.indices].tobytes()
        assert batch["pair"].tobytes() == pair[batch.indices].tobytes()


def test_short_strings_fit_longer_columns_and_no_others() -> None:
    buffer = ReplayBuffer(4, {"x": ((), "U4"), "t": ((), "M8[s]")})
    buffer.add(x="ab", t=np.datetime64("2020-01-01T00:00:01", "s"))
    assert buffer.sample(1)["x"].tolist() == ["ab"]
    with pytest.raises(TypeError, match="'x' expected <U4, got <U5"):
        buffer.add(x="abcde", t=np.datetime64(0, "s"))
    with pytest.raises(TypeError, match=r"'t' expected datetime64\[s\], got datetime64\[ns\]"):
        buffer.add(x="ab", t=np.datetime64(0, "ns"))
    with pytest.raises(TypeError, match="'x' expected <U4, got int64"):
        buffer.add(x=3, t=np.datetime64(0, "s"))
    assert len(buffer) == 1


@pytest.mark.parametrize("dtype", [object, np.dtype([("a", object)]), "S", "V0", np.dtypes.StringDType()], ids=str)
def test_dtypes_without_a_fixed_size_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"dtype of field 'x' is .*; must have a fixed size and hold no Python objects"):
        ReplayBuffer(4, {"x": ((), dtype)})


def test_a_dtype_with_a_shape_adds_its_axes() -> None:
    buffer = ReplayBuffer(4, {"x": ((2,), np.dtype((np.int32, (3,))))})
    buffer.add(x=np.arange(6, dtype=np.int32).reshape(2, 3))
    assert buffer.sample(1)["x"].shape == (1, 2, 3)


SPACE = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (2, 3), np.uint8),
        "limbs": spaces.Tuple((spaces.Discrete(4), spaces.Dict({"angle": spaces.Box(-1, 1, (2,), np.float64)}))),
    }
)


def nested_row(space: gymnasium.Space[Any], n: int) -> Any:
    """A batch of n samples of a space, stacked leaf by leaf."""
    if isinstance(space, spaces.Dict):
        return {name: nested_row(part, n) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(nested_row(part, n) for part in space.spaces)
    return np.stack([space.sample() for _ in range(n)])


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_nested_spaces(kind: Any) -> None:
    SPACE.seed(1)
    buffer = kind(32, fields_from_spaces(SPACE, spaces.Discrete(3)), n_step=2, next_obs="next")
    assert list(buffer.columns)[:3] == ["obs.image", "obs.limbs.0", "obs.limbs.1.angle"]
    obs = nested_row(SPACE, 21)
    leaf = lambda tree: tree["limbs"][1]["angle"]  # noqa: E731
    part = lambda tree, rows: {  # noqa: E731
        "image": tree["image"][rows],
        "limbs": (tree["limbs"][0][rows], {"angle": leaf(tree)[rows]}),
    }
    flags = np.zeros(20, bool)
    buffer.add(
        obs=part(obs, slice(20)),
        next_obs=part(obs, slice(1, 21)),
        action=np.arange(20) % 3,
        reward=np.ones(20, np.float32),
        terminated=flags,
        truncated=flags,
    )
    batch = buffer.sample(40)
    np.testing.assert_array_equal(leaf(batch["obs"]), leaf(obs)[batch.indices])
    np.testing.assert_array_equal(batch["obs"]["image"], obs["image"][batch.indices])
    np.testing.assert_array_equal(batch["next_obs"]["limbs"][0], obs["limbs"][0][np.minimum(batch.indices + 2, 20)])
    tensors = batch.torch()
    assert tensors["obs"]["limbs"][1]["angle"].data_ptr() == leaf(batch["obs"]).ctypes.data
    assert set(batch) == {*buffer.fields, "indices", "weights", "probabilities", "discount"}
    copied = copy.deepcopy(buffer.fields)
    buffer.fields["obs"]["image"] = None
    assert buffer.fields == copied


def test_wrong_nested_values() -> None:
    buffer = ReplayBuffer(8, {"obs": {"a": ((), np.int64), "b": (((), bool), ((3,), bool))}, "c": ((), bool)})
    good = {"a": 1, "b": (True, [True] * 3)}
    buffer.add(obs=good, c=True)
    for bad, error, message in [
        ({"a": 1}, KeyError, r"missing field 'obs\.b'"),
        ({**good, "z": 1}, KeyError, "unknown field 'z' in 'obs'"),
        (3, TypeError, "'obs' must be a mapping with the keys"),
        ({"a": 1, "b": (True,)}, ValueError, r"'obs\.b' must be a tuple of 2, got 1"),
        ({"a": 1, "b": 7}, TypeError, r"'obs\.b' must be a tuple of 2, got int"),
        ({"a": 1, "b": (True, [True] * 2)}, ValueError, r"'obs\.b\.1' expected \(3,\), got \(2,\)"),
    ]:
        with pytest.raises(error, match=message):
            buffer.add(obs=bad, c=True)
    assert len(buffer) == 1
    with pytest.raises(ValueError, match=r"two columns named 'a\.b'"):
        ReplayBuffer(8, {"a": {"b": ((), bool)}, "a.b": ((), bool)})
    with pytest.raises(ValueError, match="field 'a' is empty"):
        ReplayBuffer(8, {"a": {}})


def plain(n_step: int = 1, **arguments: Any) -> PrioritizedReplayBuffer:
    fields = {"obs": ((3,), np.float32), "reward": ((), np.float32), "terminated": ((), bool)}
    buffer = PrioritizedReplayBuffer(64, fields, n_step=n_step, **arguments)
    rows = np.arange(40)
    buffer.add(
        obs=np.repeat(rows[:, None], 3, 1).astype(np.float32), reward=rows.astype(np.float32), terminated=rows % 7 == 0
    )
    return buffer


@pytest.mark.parametrize("arguments", [{}, {"n_step": 3}, {"sequence_length": 4}])
def test_out_is_overwritten_and_returned(arguments: dict[str, Any]) -> None:
    buffer, fresh = plain(**arguments), plain(**arguments)
    out = buffer.sample(16)
    fresh.sample(16)
    addresses = {name: array.ctypes.data for name, array in out.items()}
    mark = out._mark
    buffer.add(obs=np.zeros(3), reward=0.0, terminated=False)
    fresh.add(obs=np.zeros(3), reward=0.0, terminated=False)
    again = buffer.sample(16, out=out)
    assert again is out
    assert out._mark != mark
    assert {name: array.ctypes.data for name, array in out.items()} == addresses
    for name, array in fresh.sample(16).items():
        np.testing.assert_array_equal(out[name], array)


def test_out_that_does_not_fit_is_refused_and_nothing_is_drawn() -> None:
    buffer, fresh = plain(), plain()
    good = buffer.sample(8)
    fresh.sample(8)
    read_only = good["obs"].copy()
    read_only.flags.writeable = False
    for change, error, message in [
        ({"obs": np.zeros((7, 3), np.float32)}, ValueError, r"out\['obs'\] expected \(8, 3\), got \(7, 3\)"),
        ({"obs": np.zeros((8, 3))}, TypeError, r"out\['obs'\] expected float32, got float64"),
        (
            {"obs": np.zeros((3, 8), np.float32).T},
            ValueError,
            r"out\['obs'\] must be C-contiguous, aligned and writeable",
        ),
        ({"obs": read_only}, ValueError, "must be C-contiguous, aligned and writeable"),
        ({"weights": [1.0] * 8}, TypeError, r"out\['weights'\] must be an array, got list"),
    ]:
        bad = copy.copy(good)
        bad.update(change)
        with pytest.raises(error, match=message):
            buffer.sample(8, out=bad)
    del bad["probabilities"], bad["weights"]
    bad["obs"] = good["obs"]
    with pytest.raises(KeyError, match=r"out\['weights'\] is missing"):
        buffer.sample(8, out=bad)
    with pytest.raises(TypeError, match="out must be a Batch, got dict"):
        buffer.sample(8, out=dict(good))
    np.testing.assert_array_equal(buffer.sample(8).indices, fresh.sample(8).indices)


def test_torch_and_dlpack_share_memory() -> None:
    batch = plain().sample(8)
    tensors = batch.torch()
    for name, array in batch.items():
        assert tensors[name].data_ptr() == array.ctypes.data
        if array.dtype != bool:
            assert torch.from_dlpack(array).data_ptr() == array.ctypes.data
    tensors["obs"][0] = 77.0
    assert (batch["obs"][0] == 77.0).all()
