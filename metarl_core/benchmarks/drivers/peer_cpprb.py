"""cpprb: a C++ segment tree behind Cython."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, Operation
from .data import ALPHA, BETA, EPS, IMAGE_SHAPE, OBSERVATION_SIZE
from .replay_base import NEXT, BufferContestant, TreeContestant, cycle


class CpprbTree(TreeContestant):
    """cpprb's tree cannot be reached from Python: a buffer whose only column is one byte stands in, for updates."""

    notes = "through update_priorities of a buffer with one one-byte column"

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        cpprb = importlib.import_module("cpprb")
        self.buffer = cpprb.PrioritizedReplayBuffer(self.capacity, {"done": {"dtype": np.bool_}}, alpha=1.0, eps=0.0)
        self.buffer.add(done=np.zeros(self.capacity, np.bool_))

    def sampler(self, batch: int) -> Operation:
        """Draw through the buffer (the column is one byte)."""
        sample = self.buffer.sample
        return lambda: sample(batch)["indexes"]

    def set(self, indices: Any, values: Any) -> None:
        """``update_priorities`` with alpha = 1."""
        self.buffer.update_priorities(indices, values)


class CpprbBuffer(BufferContestant):
    """``PrioritizedReplayBuffer``; the returned weights and indexes are views that the next sample overwrites."""

    def create(self) -> None:
        """Make the buffer with the fields of the workload."""
        cpprb = importlib.import_module("cpprb")
        observation: dict[str, Any] = (
            {"shape": OBSERVATION_SIZE, "dtype": np.float32}
            if self.workload != "images"
            else {"shape": IMAGE_SHAPE, "dtype": np.uint8}
        )
        env_dict = {
            "obs": observation,
            "action": {"dtype": np.int64},
            "reward": {"dtype": np.float32},
            "next_obs": observation,
            "done": {"dtype": np.bool_},
        }
        options = {}
        if self.workload == "shared":
            del env_dict["next_obs"]
            options["next_of"] = "obs"
        self.buffer = cpprb.PrioritizedReplayBuffer(self.capacity, env_dict, alpha=ALPHA, eps=EPS, **options)

    def fill(self, data: dict[str, Array]) -> None:
        """``add`` with a leading batch axis."""
        self.buffer.add(**data)

    def sampler(self, batch: int) -> Operation:
        """``sample``."""
        sample = self.buffer.sample
        return lambda: sample(batch, beta=BETA)

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """A dict of arrays."""
        indices = np.array(result["indexes"], np.int64).reshape(-1)
        return (
            indices,
            np.array(result["weights"]),
            {k: v for k, v in result.items() if k not in ("indexes", "weights")},
        )

    def update(self, indices: Any, errors: Any) -> None:
        """``update_priorities``."""
        self.buffer.update_priorities(indices, errors)

    def looper(self, batch: int, errors: NEXT) -> Operation:
        """``sample`` and ``update_priorities``."""
        sample, update = self.buffer.sample, self.buffer.update_priorities

        def loop() -> Any:
            drawn = sample(batch, beta=BETA)
            update(drawn["indexes"], errors())
            return drawn

        return loop

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """``add`` with keywords, as one writes it."""
        del batch
        following, add = cycle([tuple(entry.values()) for entry in pool]), self.buffer.add

        def operation() -> Any:
            obs, action, reward, next_obs, done = following()
            return add(obs=obs, action=action, reward=reward, next_obs=next_obs, done=done)

        return operation


class Cpprb(Driver):
    """cpprb."""

    name = "cpprb"
    packages = ("cpprb", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Trees and buffers."""
        if workload == "tree":
            return {"cpprb": lambda: CpprbTree(params)}
        if workload in ("small", "shared", "images"):
            return {"cpprb": lambda: CpprbBuffer(workload, params)}
        return {}


DRIVER = Cpprb()
