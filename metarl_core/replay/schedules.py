"""Schedules of the importance-sampling exponent beta."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

__all__ = ["LinearSchedule", "Schedule", "beta_from_plain", "plain_beta"]

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
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}; must be finite")
            object.__setattr__(self, name, float(value))  # checkpoints hold Python's numbers
        if operator.index(self.steps) < 1:
            raise ValueError(f"steps is {self.steps}; must be >= 1")
        object.__setattr__(self, "steps", operator.index(self.steps))

    def __call__(self, step: int) -> float:
        """Return the value at a step >= 0."""
        part = min(step / self.steps, 1.0)
        # Exact at both ends.
        return self.initial * (1.0 - part) + self.final * part


def plain_beta(beta: float | Schedule, current: Callable[[], float]) -> Any:
    """Return a buffer's beta as a checkpoint holds it: a number or a dict of numbers and strings, never code.

    Args:
        beta: What the buffer was given.
        current: Its present value, which stands for a schedule other than LinearSchedule.
    """
    if isinstance(beta, LinearSchedule):
        return {"schedule": "linear", **asdict(beta)}
    return current() if callable(beta) else beta


def beta_from_plain(plain: Any) -> Any:
    """Reverse ``plain_beta``; what is no schedule is returned as it is.

    Raises:
        ValueError: The schedule is not known.
        TypeError: It has other parameters.
    """
    if not isinstance(plain, dict):
        return plain
    parameters = dict(plain)
    name = parameters.pop("schedule", None)
    if name != "linear":
        raise ValueError(f"the schedule of beta is {name!r}; this version knows 'linear'")
    return LinearSchedule(**parameters)
