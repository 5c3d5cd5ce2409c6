"""Batches of a replay buffer through PyTorch's ``DataLoader``; see docs/torch-data.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from metarl_core.integrations.arrays import array_of
from metarl_core.replay.batch import Batch

__all__ = ["ReplayDataset", "TensorBatch", "replay_loader"]

_MARK = "sampled_at"


class TensorBatch(dict[str, Any]):
    """Columns of a batch as tensors of shape (B, ...): the fields, ``indices``, ``weights`` and ``probabilities``.

    ``sampled_at``, int64 of shape (B, 2), is for :meth:`ReplayDataset.update_priorities`: what the buffer needs to know
    which slots were overwritten since. It is a column because frameworks make a new mapping of the columns.

    Attributes:
        sampled: the batch of NumPy arrays behind them, for ``buffer.update_priorities``; a mapping that a framework has
            made of the columns lacks it.
    """

    sampled: Batch

    @classmethod
    def of(cls, sampled: Batch) -> TensorBatch:
        """Make it from what ``buffer.sample`` returned, whose memory it shares."""
        batch = cls(sampled.torch())
        batch.sampled = sampled
        if isinstance(sampled._mark, tuple):  # on a GPU the mark is the device's
            mark = np.array(sampled._mark, np.uint64).view(np.int64)
            batch[_MARK] = torch.from_numpy(np.tile(mark, (len(sampled["indices"]), 1)))
        return batch


def _as_sampled(batch: Mapping[str, Any]) -> Batch:
    """Put together again what ``update_priorities`` of a buffer looks at.

    Raises:
        ValueError: a column is missing, or there are rows of several batches, or none.
    """
    own = getattr(batch, "sampled", None)
    if isinstance(own, Batch) and _MARK not in batch:
        return own
    missing = [name for name in ("indices", _MARK) if name not in batch]
    if missing:
        raise ValueError(f"batch has no column {missing[0]!r}; pass on all columns of what the loader gave")
    marks = _array(batch[_MARK]).view(np.uint64)
    if len(marks) == 0 or (marks != marks[0]).any():
        raise ValueError("batch must have rows of one batch that the loader gave; call update_priorities for each")
    sampled = Batch({name: _array(batch[name]) for name in ("indices", "mask") if name in batch})
    sampled._mark = tuple(marks[0].tolist())
    return sampled


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().numpy()


class ReplayDataset(IterableDataset[TensorBatch]):
    """Batches drawn from a replay buffer, as long as one asks for them.

    ``DataLoader(dataset, batch_size=None)`` hands them out, and copies them to pinned memory with ``pin_memory=True``;
    other values of ``batch_size`` would stack batches. What is added to the buffer, and every new priority, counts from
    the next batch on. The batches are those of ``buffer.sample``: the buffer's seed decides, not the loader's.

    Args:
        buffer: a ReplayBuffer or PrioritizedReplayBuffer.
        batch_size: number of transitions of a batch, >= 1.
        num_batches: number of batches of a pass, which is then the ``len``; None: no end.
        **options: of ``buffer.sample``: ``beta``, ``mode``, ``task``, ``task_weights``.

    Raises:
        TypeError: ``buffer`` has no ``sample``, or there is an option that it does not know.
        ValueError: a number is below 1.
    """

    def __init__(self, buffer: Any, batch_size: int, num_batches: int | None = None, **options: Any) -> None:
        if not callable(getattr(buffer, "sample", None)) or not hasattr(buffer, "update_priorities"):
            raise TypeError(f"buffer must be a ReplayBuffer or PrioritizedReplayBuffer, got {type(buffer).__name__}")
        for name, number in (("batch_size", batch_size), ("num_batches", num_batches)):
            if number is not None and number < 1:
                raise ValueError(f"{name} is {number}; must be >= 1")
        if _MARK in getattr(buffer, "fields", {}):
            raise ValueError(f"buffer has a field {_MARK!r}, which is the name of a column of the batches")
        unknown = options.keys() - {"beta", "mode", "task", "task_weights"}
        if unknown:
            raise TypeError(f"unknown option {min(unknown)!r}; known are beta, mode, task and task_weights")
        self.buffer = buffer
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.options = options

    def __len__(self) -> int:
        """Return the number of batches of a pass.

        Raises:
            TypeError: there is no end.
        """
        if self.num_batches is None:
            raise TypeError("the dataset has no length: num_batches is None")
        return self.num_batches

    def __iter__(self) -> Iterator[TensorBatch]:
        """Draw batches.

        Raises:
            RuntimeError: in a worker process, which would draw from a copy of the buffer.
            BufferEmptyError: nothing is stored.
        """
        worker = get_worker_info()
        if worker is not None:
            raise RuntimeError(
                f"num_workers={worker.num_workers}: a worker process draws from a copy of the buffer, which sees no "
                "new transitions and priorities; use num_workers=0, or metarl_core.PrefetchSampler, which has a thread"
            )
        return self._batches()

    def _batches(self) -> Iterator[TensorBatch]:
        drawn = 0
        while self.num_batches is None or drawn < self.num_batches:
            sampled = self.buffer.sample(self.batch_size, **self.options)
            yield TensorBatch.of(sampled)
            drawn += 1

    def update_priorities(self, batch: Mapping[str, Any], td_errors: Tensor, strict: bool = False) -> None:
        """Give the transitions of a batch new priorities; slots that were overwritten since are left out.

        Args:
            batch: what the loader gave, or a mapping with its columns, of any device. Some rows of it will do.
            td_errors: of any device, shape (B,).
            strict: raise StaleIndexError where a slot was overwritten.

        Raises:
            ValueError: an error is not finite, or the shape is another one; or the batch lacks a column.
        """
        self.buffer.update_priorities(_as_sampled(batch), array_of(td_errors), strict=strict)


def replay_loader(
    buffer: Any, batch_size: int, num_batches: int | None = None, *, pin_memory: bool = False, **options: Any
) -> DataLoader[TensorBatch]:
    """Make a ``DataLoader`` over a buffer; ``loader.dataset.update_priorities`` hands priorities back.

    Args:
        buffer: a ReplayBuffer or PrioritizedReplayBuffer.
        batch_size: number of transitions of a batch, >= 1.
        num_batches: number of batches of a pass; None: no end.
        pin_memory: copy batches to pinned memory, in a thread; it runs ahead by a few batches.
        **options: of ``buffer.sample``.
    """
    dataset = ReplayDataset(buffer, batch_size, num_batches, **options)
    return DataLoader(dataset, batch_size=None, num_workers=0, pin_memory=pin_memory)
