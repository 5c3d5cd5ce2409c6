"""Distributions of tasks with disjoint parts for training, validation and test."""

from __future__ import annotations

import itertools
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SPLITS", "GridTasks", "SeedTasks", "TaskDistribution", "UniformTasks"]

SPLITS = ("train", "val", "test")
_KINDS = ("random", "interpolation", "extrapolation")
_Tasks = dict[str, npt.NDArray[np.float64]]


def _integer(name: str, value: Any, low: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    number = operator.index(value)
    if number < low:
        raise ValueError(f"{name} is {number}; must be >= {low}")
    return number


def _choice(name: str, value: Any, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; must be one of {', '.join(map(repr, choices))}")
    return str(value)


def _checked_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    numbers = tuple(float(fraction) for fraction in fractions)
    if len(numbers) != 3 or any(not 0 <= f <= 1 for f in numbers) or abs(sum(numbers) - 1) > 1e-9 or numbers[0] == 0:
        raise ValueError(f"fractions is {fractions!r}; must be three numbers >= 0 with sum 1, the first > 0")
    return (numbers[0], numbers[1], numbers[2])


class TaskDistribution(ABC):
    """Tasks to sample, in three disjoint parts: ``"train"``, ``"val"`` and ``"test"``."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that a task has."""

    def sample_tasks(self, k: int, split: str = "train", seed: int = 0) -> _Tasks:
        """Draw tasks.

        Args:
            k: Number of tasks, >= 1.
            split: ``"train"``, ``"val"`` or ``"test"``; no task is in two of them.
            seed: >= 0. Equal arguments give equal tasks.

        Returns:
            Parameter name -> float64 ``(k,)``, as ``set_tasks`` of a vector environment takes them.

        Raises:
            TypeError: ``k`` or ``seed`` is no integer.
            ValueError: ``k`` or ``seed`` is out of range, ``split`` is unknown, or has too few tasks.
        """
        k = _integer("k", k, 1)
        split = _choice("split", split, SPLITS)
        rng = np.random.default_rng([_integer("seed", seed, 0), SPLITS.index(split)])
        return self._draw(k, split, rng)

    @abstractmethod
    def _draw(self, k: int, split: str, rng: np.random.Generator) -> _Tasks: ...


class UniformTasks(TaskDistribution):
    """Parameters independent and uniform in ranges.

    A task's place in its ranges is a point x of the cube [-1, 1]^d, and r = max(abs(x)) its distance from the middle.
    The
    parts of an interpolation or extrapolation split are shells between two distances, with the asked shares of the
    volume in any number of dimensions, and uniform within.

    Args:
        ranges: Parameter name -> (low, high), low < high.
        split: ``"extrapolation"``: train in the middle, test outermost, val between. ``"interpolation"``: test in the
            middle, train outermost. ``"random"``: all three in the whole ranges, by different random numbers.
        fractions: Shares of train, val and test.
        log: Parameters that are uniform in their logarithm; their range must be positive.

    Raises:
        ValueError: A range is empty or not finite, or another value is out of range.
    """

    def __init__(
        self,
        ranges: Mapping[str, tuple[float, float]],
        *,
        split: str = "extrapolation",
        fractions: Sequence[float] = (0.6, 0.2, 0.2),
        log: Collection[str] = (),
    ) -> None:
        if not ranges:
            raise ValueError("ranges is empty; must have at least one parameter")
        self.ranges: dict[str, tuple[float, float]] = {}
        self.log = frozenset(log)
        for name, pair in ranges.items():
            low, high = (float(number) for number in pair)
            if not (low < high and math.isfinite(low) and math.isfinite(high)):
                raise ValueError(f"ranges[{name!r}] is {pair!r}; must be finite, low < high")
            if name in self.log and low <= 0:
                raise ValueError(f"ranges[{name!r}] is {pair!r}; must be positive, as it is in log")
            self.ranges[name] = (low, high)
        unknown = self.log - set(ranges)
        if unknown:
            raise ValueError(f"log names {min(unknown)!r}, which is not in ranges")
        self.split = _choice("split", split, _KINDS)
        self.fractions = _checked_fractions(fractions)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.ranges)

    def _volume(self, split: str) -> tuple[float, float]:
        """The part of the cube's volume, from the middle outwards."""
        if self.split == "random":
            return 0.0, 1.0
        train, val, test = self.fractions
        edges = {"train": (0.0, train), "val": (train, train + val), "test": (train + val, 1.0)}
        if self.split == "interpolation":
            edges = {"test": (0.0, test), "val": (test, test + val), "train": (test + val, 1.0)}
        low, high = edges[split]
        if not low < high:
            raise ValueError(f"split is {split!r}; its share of the tasks is 0")
        return low, high

    def distances(self, split: str) -> tuple[float, float]:
        """Return the distances from the middle, in [0, 1], that the tasks of a part have.

        Raises:
            ValueError: ``split`` is unknown, or its share of the tasks is 0.
        """
        low, high = self._volume(_choice("split", split, SPLITS))
        d = len(self.ranges)
        return low ** (1 / d), high ** (1 / d)

    def _draw(self, k: int, split: str, rng: np.random.Generator) -> _Tasks:
        low, high = self._volume(split)
        d = len(self.ranges)
        # Uniform in a shell of cubes: the distance by its volume, then a face at that distance, then a place on it.
        distance = rng.uniform(low, high, k) ** (1 / d)
        place = rng.uniform(-1, 1, (k, d)) * distance[:, None]
        face = rng.integers(d, size=k)
        place[np.arange(k), face] = np.where(rng.random(k) < 0.5, -distance, distance)
        tasks = {}
        for i, (name, (start, end)) in enumerate(self.ranges.items()):
            if name in self.log:
                start, end = math.log(start), math.log(end)
            values = start + (end - start) * (place[:, i] + 1) / 2
            tasks[name] = np.clip(np.exp(values) if name in self.log else values, *self.ranges[name])
        return tasks

    def __repr__(self) -> str:
        return f"UniformTasks({self.ranges!r}, split={self.split!r}, fractions={self.fractions!r})"


class GridTasks(TaskDistribution):
    """Every combination of the given values, dealt out to the three parts once and for all.

    Args:
        values: Parameter name -> its values, distinct and finite.
        split: ``"random"``: the parts are random; ``"extrapolation"`` and ``"interpolation"``: by the distance from the
            middle of the grid, as in :class:`UniformTasks`, with ties in random order.
        fractions: Shares of train, val and test, rounded.
        split_seed: Of the random order.

    Raises:
        ValueError: A value is repeated or not finite, or another argument is out of range.
    """

    def __init__(
        self,
        values: Mapping[str, Sequence[float]],
        *,
        split: str = "random",
        fractions: Sequence[float] = (0.6, 0.2, 0.2),
        split_seed: int = 0,
    ) -> None:
        self.values = {name: [float(number) for number in numbers] for name, numbers in values.items()}
        if not self.values:
            raise ValueError("values is empty; must have at least one parameter")
        for name, numbers in self.values.items():
            if not numbers or len(set(numbers)) != len(numbers) or not all(map(math.isfinite, numbers)):
                raise ValueError(f"values[{name!r}] is {numbers!r}; must be distinct finite numbers, at least one")
        self.split = _choice("split", split, _KINDS)
        self.fractions = _checked_fractions(fractions)
        self._tasks = np.array(list(itertools.product(*self.values.values())))
        order = np.random.default_rng(_integer("split_seed", split_seed, 0)).permutation(len(self._tasks))
        if self.split != "random":
            places = itertools.product(
                *(np.linspace(-1, 1, len(v)) if len(v) > 1 else [0.0] for v in self.values.values())
            )
            distance = np.abs(np.array(list(places))).max(axis=1)
            order = order[np.argsort(distance[order], kind="stable")]
        first = self.fractions[2 if self.split == "interpolation" else 0]
        edges = np.rint(np.cumsum([first, self.fractions[1]]) * len(order)).astype(int)
        parts = dict(zip(SPLITS, np.split(order, edges), strict=True))
        if self.split == "interpolation":
            parts["train"], parts["test"] = parts["test"], parts["train"]
        self._parts = parts

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.values)

    def tasks(self, split: str = "train") -> _Tasks:
        """Return all tasks of a part: parameter name -> float64 ``(number of tasks,)``."""
        rows = self._tasks[self._parts[_choice("split", split, SPLITS)]]
        return {name: rows[:, i].copy() for i, name in enumerate(self.values)}

    def _draw(self, k: int, split: str, rng: np.random.Generator) -> _Tasks:
        part = self._parts[split]
        if k > len(part):
            raise ValueError(f"k is {k}; must be at most {len(part)}, the number of tasks in {split!r}")
        rows = self._tasks[rng.choice(part, k, replace=False)]
        return {name: rows[:, i] for i, name in enumerate(self.values)}

    def __len__(self) -> int:
        return len(self._tasks)


class SeedTasks(TaskDistribution):
    """Tasks that a program generates from a seed, such as maps: the three parts have seeds of their own.

    Args:
        parameter: Name of the parameter that takes the seed.
        train: Number of seeds for training: 0 ... train - 1.
        val: Number of the following ones for validation.
        test: Number of the following ones for the test.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(self, parameter: str, *, train: int = 10_000, val: int = 1_000, test: int = 1_000) -> None:
        self.parameter = parameter
        numbers = [_integer(name, n, 1) for name, n in zip(SPLITS, (train, val, test), strict=True)]
        ends = list(itertools.accumulate(numbers))
        self._ranges = dict(zip(SPLITS, zip([0, *ends], ends, strict=False), strict=True))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The one parameter."""
        return (self.parameter,)

    def seeds(self, split: str) -> range:
        """Return the seeds of a part.

        Raises:
            ValueError: ``split`` is unknown.
        """
        return range(*self._ranges[_choice("split", split, SPLITS)])

    def _draw(self, k: int, split: str, rng: np.random.Generator) -> _Tasks:
        low, high = self._ranges[split]
        if k > high - low:
            raise ValueError(f"k is {k}; must be at most {high - low}, the number of seeds in {split!r}")
        return {self.parameter: low + rng.choice(high - low, k, replace=False).astype(np.float64)}
