"""stable-baselines3: a uniform buffer in NumPy that returns torch tensors (it has no prioritized replay)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, Operation
from .data import IMAGE_SHAPE, OBSERVATION_SIZE
from .replay_base import BufferContestant, cycle

WORKLOADS = ("small", "shared", "images")


class Sb3Buffer(BufferContestant):
    """``ReplayBuffer``, uniform: no tree, no weights. Batched adds go through ``n_envs``."""

    prioritized = False
    notes = "uniform sampling without weights"

    def create(self) -> None:
        """Make a buffer with one environment."""
        importlib.import_module("torch").set_num_threads(1)
        self.buffer = self._make(1)
        self.filled = 0

    def _make(self, num_envs: int) -> Any:
        spaces = importlib.import_module("gymnasium").spaces
        if self.workload != "images":
            observation = spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZE,), np.float32)
        else:
            observation = spaces.Box(0, 255, IMAGE_SHAPE, np.uint8)
        buffers = importlib.import_module("stable_baselines3.common.buffers")
        shared = self.workload == "shared"
        return buffers.ReplayBuffer(
            self.capacity,
            observation,
            spaces.Discrete(5),
            device="cpu",
            n_envs=num_envs,
            optimize_memory_usage=shared,
            handle_timeout_termination=not shared,
        )

    def fill(self, data: dict[str, Array]) -> None:
        """Write the arrays directly (``add`` takes one transition of every environment)."""
        buffer, count = self.buffer, len(data["reward"])
        part = slice(self.filled, self.filled + count)
        buffer.observations[part, 0] = data["obs"]
        if self.workload == "shared":  # as its ``add`` does: in the place of the next transition
            buffer.observations[part.stop % self.capacity, 0] = data["next_obs"][-1]
        else:
            buffer.next_observations[part, 0] = data["next_obs"]
        buffer.actions[part, 0, 0] = data["action"]
        buffer.rewards[part, 0] = data["reward"]
        buffer.dones[part, 0] = data["done"]
        buffer.timeouts[part, 0] = 0
        self.filled += count
        buffer.full, buffer.pos = self.filled >= self.capacity, self.filled % self.capacity

    def sampler(self, batch: int) -> Operation:
        """``sample``."""
        sample = self.buffer.sample
        return lambda: sample(batch)

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """A named tuple of tensors, without indices."""
        return (
            None,
            None,
            {
                "obs": result.observations.numpy(),
                "action": result.actions.numpy(),
                "reward": result.rewards.numpy(),
                "next_obs": result.next_observations.numpy(),
                "done": result.dones.numpy(),
            },
        )

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """``add`` with ``n_envs = batch``."""
        buffer = self.buffer if batch == 1 else self._make(batch)
        infos: list[dict[str, Any]] = [{} for _ in range(batch)]
        entries = [
            {k: np.asarray(v)[None] if batch == 1 else v for k, v in entry.items()} | {"infos": infos} for entry in pool
        ]
        following, add = cycle([tuple(entry.values()) for entry in entries]), buffer.add

        def operation() -> None:
            obs, action, reward, next_obs, done, information = following()
            add(obs=obs, next_obs=next_obs, action=action, reward=reward, done=done, infos=information)

        return operation


class StableBaselines3(Driver):
    """stable-baselines3."""

    name = "stable_baselines3"
    packages = ("stable-baselines3", "torch", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Uniform buffers."""
        return {"SB3 uniform": lambda: Sb3Buffer(workload, params)} if workload in WORKLOADS else {}


DRIVER = StableBaselines3()
