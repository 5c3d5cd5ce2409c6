"""How a training loop and whoever started it talk to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["NullProgress", "Progress"]


class Progress(Protocol):
    """What a training loop calls while it runs."""

    def update(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        """Report progress; cheap enough for every iteration.

        Args:
            step: environment steps done, over all instances.
            total_steps: environment steps of the whole run.
            row: the latest row of metrics (columns as in ``METRIC_COLUMNS``; ``solved`` too where there is a rule).
                The same row may come many times.
        """

    def should_stop(self) -> bool:
        """Whether the user asked to stop (Ctrl-C): the loop then checkpoints at the next step boundary and finishes.

        An exception instead could hit in the middle of an update, where no consistent checkpoint exists.
        """
        ...


class NullProgress:
    """Progress that nobody watches."""

    def update(self, step: int, total_steps: int, row: Mapping[str, Any]) -> None:
        """Do nothing."""

    def should_stop(self) -> bool:
        """Return False."""
        return False
