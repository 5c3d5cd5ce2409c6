"""rlox: a sum tree and a prioritized buffer in Rust; float32 columns only, one transition added at a time."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .base import Array, Driver, Factory, Operation, UnsupportedError
from .data import ALPHA, BETA, OBSERVATION_SIZE
from .replay_base import NEXT, BufferContestant, cycle


class RloxBuffer(BufferContestant):
    """``PrioritizedReplayBuffer``; the action is stored as float32."""

    notes = "all columns float32"

    def create(self) -> None:
        """Make the buffer."""
        if self.workload != "small":
            raise UnsupportedError("observations are float32 vectors only")
        rlox = importlib.import_module("rlox")
        self.buffer = rlox.PrioritizedReplayBuffer(self.capacity, OBSERVATION_SIZE, 1, alpha=ALPHA, beta=BETA)
        self.draws = 0

    def fill(self, data: dict[str, Array]) -> None:
        """``push`` in a loop: there is no batched one."""
        actions = data["action"].astype(np.float32)[:, None]
        for i in range(len(actions)):
            self._push(data["obs"][i], actions[i], data["reward"][i], data["done"][i], data["next_obs"][i])

    def _push(self, obs: Any, action: Any, reward: Any, done: Any, next_obs: Any) -> None:
        self.buffer.push(obs, action, float(reward), bool(done), False, next_obs=next_obs, priority=1.0)

    def sampler(self, batch: int) -> Operation:
        """``sample`` with a counter as the seed, as its documentation asks for."""
        sample = self.buffer.sample

        def draw() -> Any:
            self.draws += 1
            return sample(batch, self.draws)

        return draw

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """A dict of arrays."""
        drawn = {
            "obs": result["obs"],
            "action": result["actions"],
            "reward": result["rewards"],
            "next_obs": result["next_obs"],
            "done": result["terminated"],
        }
        return np.asarray(result["indices"]).astype(np.int64), result["weights"], drawn

    def inputs(self, indices: Array, errors: Array) -> tuple[Any, Any]:
        """The types that it insists on."""
        return indices.astype(np.uint64), errors.astype(np.float64)

    def update(self, indices: Any, errors: Any) -> None:
        """``update_priorities``."""
        self.buffer.update_priorities(indices, errors)

    def looper(self, batch: int, errors: NEXT) -> Operation:
        """``sample`` and ``update_priorities``."""
        draw, update = self.sampler(batch), self.buffer.update_priorities

        def loop() -> Any:
            drawn = draw()
            update(drawn["indices"], errors())
            return drawn

        return loop

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """``push``."""
        if batch > 1:
            raise UnsupportedError("no batched add")
        entries = [
            (
                entry["obs"],
                np.asarray([entry["action"]], np.float32),
                float(entry["reward"]),
                bool(entry["done"]),
                False,
                entry["next_obs"],
            )
            for entry in pool
        ]
        following, push = cycle(entries), self.buffer.push
        return lambda: push(*following())


class Rlox(Driver):
    """rlox."""

    name = "rlox"
    packages = ("rlox", "numpy")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Buffers of small transitions."""
        return {"rlox": lambda: RloxBuffer(workload, params)} if workload == "small" else {}


DRIVER = Rlox()
