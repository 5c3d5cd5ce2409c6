"""Runs on the device beside the host's, and a watch over what would make the host wait for a device."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from run_helpers import contents
from torch.utils._python_dispatch import TorchDispatchMode

from metarl_core.agents.common.run_end import train_to_end
from metarl_core.runs import RunReader, RunWriter

# Operations whose result, or whose result's shape, the host must know.
WAITING = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "equal",
    "nonzero",
    "nonzero_numpy",
    "masked_select",
    "unique_consecutive",
    "_unique",
    "_unique2",
    "unique_dim",
    "repeat_interleave",
    "bincount",
}


class WaitedError(AssertionError):
    """Something in a watched block needs the host to wait for a device, or copies between the two."""


class NoWaiting(TorchDispatchMode):
    """Refuse operations that wait for a device, and indexing by masks, which counts them."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITING:
            raise WaitedError(f"{func} waits for the device")
        if name.startswith(("index", "_index_put", "_unsafe_index")) and len(args) > 1:
            indices = args[1] if isinstance(args[1], (list, tuple)) else []
            if any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices):
                raise WaitedError(f"{func} by a mask waits for the device")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def no_host_contact(monkeypatch):
    """Fail at what waits, and at every way between NumPy or Python numbers and tensors that the code could take.

    On the emulator the device's memory is host memory, so copies cannot be told by the tensors' devices.
    """

    def refuse(name):
        def refused(*args, **kwargs):
            raise WaitedError(f"{name} copies between host and device")

        return refused

    to = torch.Tensor.to

    def only_dtypes(self, *args, **kwargs):
        named = [*args, kwargs.get("device")]
        if any(isinstance(value, (str, torch.device, torch.Tensor)) for value in named):
            raise WaitedError("to copies between host and device")
        return to(self, *args, **kwargs)

    with monkeypatch.context() as patch, NoWaiting():
        for name in ("cpu", "cuda", "numpy", "tolist", "__array__"):
            patch.setattr(torch.Tensor, name, refuse(name))
        patch.setattr(torch.Tensor, "to", only_dtypes)
        for name in ("tensor", "as_tensor", "asarray", "from_numpy"):
            patch.setattr(torch, name, refuse(name))
        yield


def run_loop(loop, config, folder, progress=None, resume=False):
    """Train with a class of loops to the end of a run; return the loop."""
    with RunWriter(folder, config.to_dict(), resume=resume) as run:
        trainer = loop(config, run, progress)
        train_to_end(trainer, run, trainer.envs.close)
    return trainer


def checkpoint(folder):
    """The run's last checkpoint as leaves by their paths, without the time."""
    leaves = {}

    def walk(value, path):
        if isinstance(value, dict):
            for name, part in value.items():
                walk(part, f"{path}.{name}")
        elif isinstance(value, (list, tuple)):
            for i, part in enumerate(value):
                walk(part, f"{path}[{i}]")
        else:
            is_array = isinstance(value, (np.ndarray, torch.Tensor))
            leaves[path] = (str(value.dtype), np.asarray(value).tobytes()) if is_array else repr(value)

    state = RunReader(folder).load_checkpoint()
    state.pop("wall_time")
    walk(state, "")
    return leaves


def assert_same_run(first, second):
    """Everything that two runs wrote is equal, but for times."""
    assert repr(contents(first)) == repr(contents(second))  # nan is equal to nan
    ours, theirs = checkpoint(first), checkpoint(second)
    for found in (ours, theirs):
        found.pop(".replay.valid", None)  # not written by a buffer that was on a device
    assert ours.keys() == theirs.keys()
    assert [path for path in ours if ours[path] != theirs[path]] == []
