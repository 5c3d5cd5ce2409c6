"""tianshou: a segment tree compiled by numba, a buffer in NumPy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, Operation
from .data import ALPHA, BETA
from .replay_base import NEXT, BufferContestant, TreeContestant, WeightsContestant, cycle


class TianshouTree(TreeContestant):
    """``SegmentTree``: uniform draws by NumPy, then ``get_prefix_sum_idx``, as its buffer does."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.tree = importlib.import_module("tianshou.data").SegmentTree(self.capacity)

    def sampler(self, batch: int) -> Operation:
        """Draw masses and find their leaves."""
        tree, rand = self.tree, np.random.rand
        return lambda: tree.get_prefix_sum_idx(rand(batch) * tree.reduce())

    def set(self, indices: Any, values: Any) -> None:
        """``__setitem__``."""
        self.tree[indices] = values


class TianshouBuffer(BufferContestant):
    """``PrioritizedReplayBuffer``; adds one transition at a time."""

    def create(self) -> None:
        """Make the buffer; it learns its columns from the first data."""
        self.data = importlib.import_module("tianshou.data")
        self.buffer = self.data.PrioritizedReplayBuffer(self.capacity, alpha=ALPHA, beta=BETA)

    def _batch(self, data: dict[str, Array]) -> Any:
        done = data["done"]
        truncated = np.zeros_like(done)
        return self.data.Batch(
            obs=data["obs"],
            act=data["action"],
            rew=data["reward"],
            terminated=done,
            truncated=truncated,
            done=done,
            obs_next=data["next_obs"],
        )

    def fill(self, data: dict[str, Array]) -> None:
        """``update`` from another buffer, which adds many at once."""
        count = len(data["reward"])
        other = self.data.ReplayBuffer(count)
        other.set_batch(self._batch(data))
        other._size = count
        self.buffer.update(other)

    def sampler(self, batch: int) -> Operation:
        """``sample``."""
        sample = self.buffer.sample
        return lambda: sample(batch)

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """(Batch, indices)."""
        batch, indices = result
        drawn = {
            "obs": batch.obs,
            "action": batch.act,
            "reward": batch.rew,
            "next_obs": batch.obs_next,
            "done": batch.done,
        }
        return np.asarray(indices), np.asarray(batch.weight), drawn

    def update(self, indices: Any, errors: Any) -> None:
        """``update_weight``."""
        self.buffer.update_weight(indices, errors)

    def looper(self, batch: int, errors: NEXT) -> Operation:
        """``sample`` and ``update_weight``."""
        sample, update = self.buffer.sample, self.buffer.update_weight

        def loop() -> Any:
            drawn = sample(batch)
            update(drawn[1], errors())
            return drawn

        return loop

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """``add`` of one transition, or ``update`` from a buffer that holds the batch."""
        if batch == 1:
            following, add = cycle([self._batch(entry) for entry in pool]), self.buffer.add
            return lambda: add(following())
        buffers = []
        for entry in pool:
            buffers.append(self.data.ReplayBuffer(batch))
            buffers[-1].set_batch(self._batch(entry))
            buffers[-1]._size = batch
        other, update = cycle(buffers), self.buffer.update
        return lambda: update(other())


class TorchWeights(WeightsContestant):
    """The formula in torch, on one thread."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.torch = importlib.import_module("torch")
        self.torch.set_num_threads(1)

    def inputs(self, probabilities: Array) -> Any:
        """A tensor."""
        return self.torch.as_tensor(probabilities, dtype=getattr(self.torch, self.dtype.name))

    def compute(self, probabilities: Any) -> Any:
        """``pow``, then divide by the largest."""
        weights = self.torch.pow(probabilities * self.size, -BETA)
        return weights / weights.max()


class Tianshou(Driver):
    """tianshou, and torch's importance weights, whose environment it shares."""

    name = "tianshou"
    packages = ("tianshou", "torch", "numba", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Trees, buffers and weights."""
        if workload == "tree":
            return {"tianshou": lambda: TianshouTree(params)}
        if workload in ("small", "images"):
            return {"tianshou": lambda: TianshouBuffer(workload, params)}
        if workload == "weights":
            return {"torch": lambda: TorchWeights(params)}
        return {}


DRIVER = Tianshou()
