"""torchrl: C++ segment trees over torch tensors, a prioritized sampler and storages on top."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .autograd_stand_in import load_stand_in
from .base import Array, Driver, Factory, Operation, UnsupportedError
from .data import ALPHA, BETA, EPS
from .replay_base import NEXT, BufferContestant, TreeContestant, cycle


def _import(name: str) -> Any:
    """Import a module of torchrl after the stand-ins for autograd symbols that its wheel misses, if they were built."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    load_stand_in()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnsupportedError(f"torchrl does not load: {error}") from error


class TorchrlTree(TreeContestant):
    """``SumSegmentTreeFp32``: uniform draws by torch, then ``scan_lower_bound``."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        extension = _import("torchrl._torchrl")
        self.torch = importlib.import_module("torch")
        self.tree = extension.SumSegmentTreeFp32(self.capacity)

    def sampler(self, batch: int) -> Operation:
        """Draw masses and find their leaves."""
        tree, rand, capacity = self.tree, self.torch.rand, self.capacity
        return lambda: tree.scan_lower_bound(rand(batch) * tree.query(0, capacity))

    def inputs(self, indices: Array, values: Array) -> tuple[Any, Any]:
        """Tensors."""
        return self.torch.from_numpy(indices), self.torch.from_numpy(values)

    def set(self, indices: Any, values: Any) -> None:
        """``__setitem__``."""
        self.tree[indices] = values


class TorchrlBuffer(BufferContestant):
    """``TensorDictReplayBuffer`` with ``PrioritizedSampler`` over ``LazyTensorStorage``."""

    def create(self) -> None:
        """Make the buffer; the storage takes its columns from the first data."""
        data = _import("torchrl.data")
        self.torch = importlib.import_module("torch")
        self.tensordict = importlib.import_module("tensordict").TensorDict
        sampler = data.PrioritizedSampler(self.capacity, alpha=ALPHA, beta=BETA, eps=EPS)
        storage = data.LazyTensorStorage(self.capacity)
        self.buffer = data.TensorDictReplayBuffer(storage=storage, sampler=sampler, batch_size=256)

    def _tensors(self, data: dict[str, Array]) -> Any:
        tensors = {key: self.torch.as_tensor(value) for key, value in data.items()}
        return self.tensordict(tensors, batch_size=np.shape(data["reward"]))

    def fill(self, data: dict[str, Array]) -> None:
        """``extend``."""
        self.buffer.extend(self._tensors(data))

    def sampler(self, batch: int) -> Operation:
        """``sample``."""
        sample = self.buffer.sample
        return lambda: sample(batch)

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """A TensorDict."""
        drawn = {key: result[key].numpy() for key in ("obs", "action", "reward", "next_obs", "done")}
        weights = result.get("priority_weight", result.get("_weight"))
        return result["index"].numpy().reshape(-1), None if weights is None else weights.numpy(), drawn

    def inputs(self, indices: Array, errors: Array) -> tuple[Any, Any]:
        """Tensors."""
        return self.torch.from_numpy(indices), self.torch.from_numpy(errors)

    def update(self, indices: Any, errors: Any) -> None:
        """``update_priority``."""
        self.buffer.update_priority(indices, errors)

    def looper(self, batch: int, errors: NEXT) -> Operation:
        """``sample`` and ``update_priority``."""
        sample, update = self.buffer.sample, self.buffer.update_priority

        def loop() -> Any:
            drawn = sample(batch)
            update(drawn["index"], errors())
            return drawn

        return loop

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """``add`` of one transition, ``extend`` of a batch."""
        following = cycle([self._tensors(entry) for entry in pool])
        add = self.buffer.add if batch == 1 else self.buffer.extend
        return lambda: add(following())


class Torchrl(Driver):
    """torchrl."""

    name = "torchrl"
    packages = ("torchrl", "torch", "tensordict", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Trees and buffers."""
        if workload == "tree":
            return {"torchrl": lambda: TorchrlTree(params)}
        if workload in ("small", "images"):
            return {"torchrl": lambda: TorchrlBuffer(workload, params)}
        return {}


DRIVER = Torchrl()
