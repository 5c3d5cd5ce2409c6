"""Steps that go in stretches, so that the host need not look at a device after each."""

from __future__ import annotations

import abc

__all__ = ["Stretches"]


class Stretches(abc.ABC):
    """Steps of a kind: what one stretch of them needs is prepared before it, and the host looks after it.

    Attributes:
        longest: steps of a stretch at most; 1: the host looks after every step.
    """

    longest = 1

    @abc.abstractmethod
    def begin(self, length: int) -> None:
        """Prepare the next ``length`` steps, random numbers above all."""

    @abc.abstractmethod
    def step(self, at: int) -> None:
        """Take step number ``at`` of the stretch."""

    @abc.abstractmethod
    def look(self, length: int) -> None:
        """Let the host catch up with the ``length`` steps of the stretch."""

    def run(self, steps: int) -> None:
        """Take so many steps."""
        while steps > 0:
            length = min(steps, self.longest)
            self.begin(length)
            for at in range(length):
                self.step(at)
            self.look(length)
            steps -= length
