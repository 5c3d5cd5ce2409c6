"""Objects whose __init__ has not run, did not end, or is called again: an exception, never a crash."""

import inspect
import tempfile

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, SumTree, _core
from metarl_core.replay.writers import SharedWriter

FIELDS = {"obs": ((3,), np.float32)}
CLASSES = [ReplayBuffer, PrioritizedReplayBuffer, SumTree, SharedWriter, _core.SharedLanes, _core.ReplayCheckpoint]
CLASSES += [_core.StorageFolder, _core.LineToucher]
# What the core's classes define. Arguments only so that the call gets as far as looking at its object.
ARGUMENTS = {
    "sample": (1,),
    "update_priorities": ([0], [1.0]),
    "set": ([0], [1.0]),
    "get": ([0],),
    "find": (0.0,),
    "clear_task": (0,),
    "_restore": ({},),
    "_open": (_core.StorageFolder(tempfile.mkdtemp().encode()), None, {}),
    "_save": (b"/nowhere/at/all", {}),
    "_to_bytes": ({},),
    "drain": (None,),
    "stats": (0,),
    "section_shape": ("streams",),
    "touch": (np.zeros(1, np.int64), False),
}


def members(cls):
    for base in cls.__mro__:
        if base.__module__ != "metarl_core._core":
            continue
        for name, member in vars(base).items():
            if name in ("__init__", "__new__", "_pybind11_conduit_v1_", "_load_checkpoint"):
                continue
            if isinstance(member, property) or (callable(member) and not isinstance(member, staticmethod)):
                yield base, name, member


CASES = [(cls, *case) for cls in CLASSES for case in members(cls)]


def use(instance, name, member):
    if isinstance(member, property):
        return member.fget(instance)
    return member(instance, *ARGUMENTS.get(name, ()))


@pytest.mark.parametrize(("cls", "base", "name", "member"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_nothing_works_before_init(cls, base, name, member):
    # SumTree's asks where the tree is to lie, which decides the class of the object.
    instance = cls.__new__(cls, 4) if cls is SumTree else cls.__new__(cls)
    with pytest.raises(TypeError, match="__init__ was not called"):
        use(instance, name, member)
    if isinstance(member, property) and member.fset is not None:
        with pytest.raises(TypeError, match="__init__ was not called"):
            member.fset(instance, 1.0)


def test_a_load_into_an_object_before_init(tmp_path):
    buffer = PrioritizedReplayBuffer(4, FIELDS)
    checkpoint = _core.ReplayCheckpoint.from_bytes(buffer.to_bytes())
    with pytest.raises(TypeError, match="__init__ was not called"):
        PrioritizedReplayBuffer.__new__(PrioritizedReplayBuffer)._load_checkpoint(checkpoint)
    with pytest.raises(TypeError, match="__init__ was not called"):
        buffer._load_checkpoint(_core.ReplayCheckpoint.__new__(_core.ReplayCheckpoint))
    with pytest.raises(TypeError, match="__init__ was not called"):
        _core.SharedLanes(ReplayBuffer.__new__(ReplayBuffer), str(tmp_path / "lanes"), 1, 1)


def test_properties_of_the_other_kind_are_refused():
    alpha = inspect.getattr_static(PrioritizedReplayBuffer, "alpha")
    with pytest.raises(TypeError):
        alpha.fget(ReplayBuffer(4, FIELDS))


def test_a_subclass_that_comes_too_early():
    class Early(PrioritizedReplayBuffer):
        def __init__(self):
            with pytest.raises(TypeError, match=r"Early\.__init__ was not called"):
                len(self)
            super().__init__(4, FIELDS)

    assert len(Early()) == 0


def test_a_failed_init_and_one_that_follows_it():
    buffer = PrioritizedReplayBuffer.__new__(PrioritizedReplayBuffer)
    with pytest.raises(ValueError, match="alpha"):
        buffer.__init__(4, FIELDS, alpha=-1.0)
    with pytest.raises(TypeError, match="__init__ was not called"):
        len(buffer)
    buffer.__init__(4, FIELDS, alpha=1.0)
    assert len(buffer) == 0
    assert buffer.alpha == 1.0


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_a_second_init_is_refused(cls):
    buffer = cls(4, FIELDS, seed=3)
    buffer.add(obs=np.ones((2, 3), np.float32))
    with pytest.raises(RuntimeError, match="__init__ was called before"):
        buffer.__init__(8, {"other": ((), np.int64)})
    assert (buffer.capacity, len(buffer), list(buffer.fields)) == (4, 2, ["obs"])
    assert list(buffer.sample(2)) == ["obs", "indices", "weights", "probabilities"]
