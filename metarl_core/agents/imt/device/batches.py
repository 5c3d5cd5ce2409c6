"""Batches by task from replays on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl_core.agents.imt.batches import COLUMNS, TaskBatch
from metarl_core.replay import Batch
from metarl_core.replay.device_base import DeviceReplayBuffer

__all__ = ["DeviceBatches"]


class DeviceBatches:
    """Draws the same number of transitions of every task, from each replay into the same memory every time."""

    def __init__(self) -> None:
        self._drawn: dict[DeviceReplayBuffer, tuple[Batch, dict[str, Tensor]]] = {}

    def draw(self, replay: DeviceReplayBuffer, shape: tuple[int, int], reward_factor: float) -> TaskBatch:
        """Draw without waiting; the first batch of a replay allocates.

        Args:
            replay: on the device.
            shape: number of tasks T, transitions of each B; the same in every call with this replay.
            reward_factor: by which rewards are multiplied.

        Returns:
            [T, B], in memory that the next draw from the replay overwrites.
        """
        size = shape[0] * shape[1]
        if replay not in self._drawn:
            batch = replay.sample(size, task_weights="balanced")
            self._drawn[replay] = batch, batch.torch()
        else:
            replay.sample(size, task_weights="balanced", out=self._drawn[replay][0])
        tensors = self._drawn[replay][1]
        columns = {name: tensors[name].view(*shape, *tensors[name].shape[1:]) for name in COLUMNS}
        columns["reward"] = columns["reward"] * reward_factor
        columns["terminated"] = columns["terminated"].to(torch.float32)
        return TaskBatch(**columns)
