"""metarl_core's own tree, buffer and importance weights."""

from __future__ import annotations

from typing import Any

import metarl_core

from .base import Array, Factory, Operation
from .data import ALPHA, BETA, EPS, IMAGE_SHAPE, OBSERVATION_SIZE
from .replay_base import NEXT, BufferContestant, TreeContestant, WeightsContestant, cycle


class OurTree(TreeContestant):
    """``SumTree``; returns probabilities as well."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.tree = metarl_core.SumTree(self.capacity, seed=0)

    def sampler(self, batch: int) -> Operation:
        """Draw stratified indices and their probabilities."""
        sample = self.tree.sample
        return lambda: sample(batch)

    def indices(self, result: Any) -> Array:
        """The first of (indices, probabilities)."""
        return super().indices(result[0])

    def set(self, indices: Any, values: Any) -> None:
        """``SumTree.set``."""
        self.tree.set(indices, values)


class OurBuffer(BufferContestant):
    """``PrioritizedReplayBuffer``."""

    @property
    def end(self) -> str:
        """The column that ends episodes: where observations are shared, its name says so."""
        return "terminated" if self.workload == "shared" else "done"

    def create(self) -> None:
        """Make the buffer with the fields of the workload."""
        observation: tuple[tuple[int, ...], str] = (
            ((OBSERVATION_SIZE,), "float32") if self.workload != "images" else (IMAGE_SHAPE, "uint8")
        )
        fields = {
            "obs": observation,
            "action": ((), "int64"),
            "reward": ((), "float32"),
            "next_obs": observation,
            self.end: ((), "bool"),
        }
        self.buffer = metarl_core.PrioritizedReplayBuffer(
            self.capacity,
            fields,
            alpha=ALPHA,
            beta=BETA,
            eps=EPS,
            seed=0,
            next_obs="next" if self.workload == "shared" else "stored",
        )

    def fill(self, data: dict[str, Array]) -> None:
        """``add`` with a leading batch axis."""
        self.buffer.add(**{self.end if name == "done" else name: column for name, column in data.items()})

    def sampler(self, batch: int) -> Operation:
        """``sample``."""
        sample = self.buffer.sample
        return lambda: sample(batch)

    def unpack(self, result: Any) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """A ``Batch``."""
        return (
            result.indices,
            result.weights,
            {
                "done" if name == self.end else name: result[name]
                for name in ("obs", "action", "reward", "next_obs", self.end)
            },
        )

    def update(self, indices: Any, errors: Any) -> None:
        """``update_priorities`` with indices."""
        self.buffer.update_priorities(indices, errors)

    def looper(self, batch: int, errors: NEXT) -> Operation:
        """``sample``, then ``update_priorities`` with the batch (which also skips overwritten slots)."""
        sample, update = self.buffer.sample, self.buffer.update_priorities

        def loop() -> Any:
            drawn = sample(batch)
            update(drawn, errors())
            return drawn

        return loop

    def adder(self, batch: int, pool: list[dict[str, Array]]) -> Operation:
        """``add`` with keywords, as one writes it: to unpack a dict would take as long again as the call."""
        del batch
        following, add = cycle([tuple(entry.values()) for entry in pool]), self.buffer.add

        def operation() -> Any:
            obs, action, reward, next_obs, done = following()
            return add(obs=obs, action=action, reward=reward, next_obs=next_obs, done=done)

        return operation


class OurWeights(WeightsContestant):
    """``importance_weights``."""

    def compute(self, probabilities: Any) -> Any:
        """Normalised by the largest weight of the batch."""
        return metarl_core.importance_weights(probabilities, self.size, BETA, "batch_max", None, self.dtype)


def contestants(workload: str, params: dict[str, Any]) -> dict[str, Factory]:
    """Return ours for a replay workload."""
    if workload == "tree":
        return {"metarl_core": lambda: OurTree(params)}
    if workload in ("small", "shared", "images"):
        return {"metarl_core": lambda: OurBuffer(workload, params)}
    if workload == "weights":
        return {"metarl_core": lambda: OurWeights(params)}
    return {}
