"""What no peer has in the same form: frames stored once, sequences, tasks. Ours alone."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import metarl_core

from .base import Array, Factory, Operation, checksum, require
from .check_replay import check_rows
from .data import ALPHA, BETA, EPS, IMAGE_SHAPE, OBSERVATION_SIZE, numbers_of, small_columns, td_errors
from .replay_base import CHUNK, BufferContestant, resident_bytes

FRAMES = IMAGE_SHAPE[0]
SEQUENCE_LENGTH = 32
TASKS = 16


def stacked_columns(number: Array) -> dict[str, Array]:
    """Return pixel transitions of one endless episode: observation k is the frames k ... k + 3, the newest last."""
    frames = np.empty((len(number) + FRAMES, *IMAGE_SHAPE[1:]), np.uint8)
    ids = np.arange(number[0], number[0] + len(frames))
    frames[:] = (ids % 251).astype(np.uint8)[:, None, None]
    frames[:, 0, :4] = ids.astype("<u4").view(np.uint8).reshape(-1, 4)
    stacks = np.lib.stride_tricks.sliding_window_view(frames, FRAMES, axis=0).transpose(0, 3, 1, 2)
    return {
        "obs": stacks[:-1],
        "action": (number % 5).astype(np.int64),
        "reward": (number % 7).astype(np.float32),
        "next_obs": stacks[1:],
        "terminated": np.zeros(len(number), bool),
    }


class _OurStreams(BufferContestant):
    """A buffer whose slots are not numbered like its transitions."""

    options: ClassVar[dict[str, Any]] = {}
    observation: tuple[tuple[int, ...], str] = ((OBSERVATION_SIZE,), "float32")

    def create(self) -> None:
        """Make the buffer."""
        fields: dict[str, Any] = {
            "obs": self.observation,
            "action": ((), "int64"),
            "reward": ((), "float32"),
            "next_obs": self.observation,
            "terminated": ((), "bool"),
        }
        if "task_field" in self.options:
            fields["task"] = ((), "int32")
        self.buffer = metarl_core.PrioritizedReplayBuffer(
            self.capacity, fields, alpha=ALPHA, beta=BETA, eps=EPS, seed=0, **self.options
        )

    def columns(self, number: Array) -> dict[str, Array]:
        """Return the transitions with consecutive numbers."""
        data = small_columns(number)
        data["next_obs"] = small_columns(number + 1)["obs"]
        data.pop("done")
        return {**data, "terminated": np.zeros(len(number), bool)}

    def fill(self, data: dict[str, Array]) -> None:
        """``add`` with a leading batch axis."""
        self.buffer.add(**data)

    def check_batch(self, batch: Any, size: int) -> Array:
        """Assert that every row of a batch is a transition that was added; return the numbers."""
        numbers = self.numbers(batch["obs"])
        require(numbers.shape == (size,), f"a batch of {numbers.shape} instead of {size}")
        require(bool((numbers >= 0).all() and (numbers < self.capacity).all()), "a row was never added")
        for number, row in zip(numbers, range(size), strict=True):
            wanted = self.columns(np.arange(number, number + 1))
            for name, value in wanted.items():
                require(bool(np.array_equal(batch[name][row], value[0])), f"{name!r} does not belong to its row")
        return numbers

    def numbers(self, obs: Array) -> Array:
        """Return the numbers that observations carry."""
        return numbers_of("small", obs)

    def check(self) -> str:
        """Fill the buffer and compare batches, before and after priorities were set, with what was added."""
        chunk = min(CHUNK if self.observation[1] == "float32" else 256, self.capacity)
        self.create()
        self.fill(self.columns(np.arange(chunk)))
        before = resident_bytes()
        self.create()
        for start in range(0, self.capacity, chunk):
            self.fill(self.columns(np.arange(start, min(start + chunk, self.capacity))))
        self.bytes_per_transition = (resident_bytes() - before) / self.capacity
        draw = self.sampler(64)
        seen = []
        for step in range(16):
            batch = draw()
            seen.append(self.check_batch(batch, 64))
            weight = batch["weights"] * batch["probabilities"] ** BETA
            require(bool(np.ptp(weight) <= 1e-5 * weight.max()), "weights are not proportional to probability ** -beta")
            self.buffer.update_priorities(batch, td_errors(64, step))
        require(len(np.unique(np.concatenate(seen))) > 256, "the same rows come again and again")
        return checksum(*seen)

    def sampler(self, batch: int) -> Operation:
        """``sample``."""
        sample = self.buffer.sample
        return lambda: sample(batch)

    def _verify(self, result: Any, batch: int) -> None:
        self.check_batch(result, batch)

    def looper(self, batch: int, errors: Any) -> Operation:
        """``sample``, then ``update_priorities`` with the batch."""
        draw, update = self.sampler(batch), self.buffer.update_priorities

        def loop() -> Any:
            drawn = draw()
            update(drawn, errors())
            return drawn

        return loop


class OurPixels(_OurStreams):
    """Four frames an observation, each frame stored once (``frame_stack=4``)."""

    options: ClassVar[dict[str, Any]] = {"frame_stack": FRAMES}
    observation: tuple[tuple[int, ...], str] = (IMAGE_SHAPE, "uint8")

    def columns(self, number: Array) -> dict[str, Array]:
        """Overlapping stacks."""
        return stacked_columns(number)

    def numbers(self, obs: Array) -> Array:
        """Of the oldest frame."""
        return numbers_of("images", obs)


class OurSequences(_OurStreams):
    """Sequences of 32 steps that begin at every 16th."""

    options: ClassVar[dict[str, Any]] = {"sequence_length": SEQUENCE_LENGTH, "stride": SEQUENCE_LENGTH // 2}

    def check_batch(self, batch: Any, size: int) -> Array:
        """Assert that the steps of every sequence follow one another and are what was added."""
        obs = np.asarray(batch["obs"])
        require(obs.shape == (size, SEQUENCE_LENGTH, OBSERVATION_SIZE), f"obs has shape {obs.shape}")
        require(bool(batch["mask"].all()), "a sequence is too short")
        numbers = numbers_of("small", obs.reshape(-1, OBSERVATION_SIZE)).reshape(size, SEQUENCE_LENGTH)
        require(bool((np.diff(numbers, axis=1) == 1).all()), "the steps of a sequence do not follow one another")
        flat = {name: np.asarray(batch[name]).reshape(size * SEQUENCE_LENGTH, -1) for name in ("action", "reward")}
        check_rows("small", flat, numbers.reshape(-1), "a sequence")
        return np.asarray(numbers[:, 0])


class OurTasks(_OurStreams):
    """Transitions of 16 tasks; batches take equal parts from all of them."""

    options: ClassVar[dict[str, Any]] = {"task_field": "task"}

    def columns(self, number: Array) -> dict[str, Array]:
        """With the number of the task."""
        return {**super().columns(number), "task": (number // 7 % TASKS).astype(np.int32)}

    def sampler(self, batch: int) -> Operation:
        """``sample(task_weights="balanced")``."""
        sample = self.buffer.sample
        return lambda: sample(batch, task_weights="balanced")

    def check_batch(self, batch: Any, size: int) -> Array:
        """Assert that every task has its part, too."""
        counts = np.bincount(batch["task"], minlength=TASKS)
        require(bool((counts == size // TASKS).all()), f"the tasks have {counts.tolist()} rows of {size}")
        return super().check_batch(batch, size)


CLASSES = {"pixels": OurPixels, "sequences": OurSequences, "tasks": OurTasks}


def contestants(workload: str, params: dict[str, Any]) -> dict[str, Factory]:
    """Return ours for one of these workloads."""
    return {"metarl_core": lambda: CLASSES[workload](workload, params)}
