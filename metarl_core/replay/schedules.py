"""Schedules of the importance-sampling exponent beta."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["LinearSchedule", "Schedule"]

# Number of batches sampled so far -> value.
Schedule: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class LinearSchedule:
    """A value that goes from ``initial`` to ``final`` in ``steps`` steps, in a straight line, and stays there.

    As ``beta`` of a buffer, this is the annealing of Schaul et al., "Prioritized experience replay" (ICLR 2016),
    section 3.4, which ends at 1. A step is a sampled batch.

    Args:
        initial: Value at step 0, finite.
        final: Value from step ``steps`` on, finite.
        steps: Number of steps in between, >= 1.

    Raises:
        ValueError: A value is out of range.
        TypeError: ``steps`` is not an integer, or a value not a real number.
    """

    initial: float
    final: float
    steps: int

    def __post_init__(self) -> None:
        for name in ("initial", "final"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; must be finite")
        if operator.index(self.steps) < 1:
            raise ValueError(f"steps is {self.steps}; must be >= 1")

    def __call__(self, step: int) -> float:
        """Return the value at a step >= 0."""
        part = min(step / self.steps, 1.0)
        # Exact at both ends.
        return self.initial * (1.0 - part) + self.final * part
