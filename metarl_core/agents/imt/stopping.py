"""Step 4 of IMT: when to stop."""

from __future__ import annotations

import dataclasses

__all__ = ["StoppingRule"]


@dataclasses.dataclass
class StoppingRule:
    """Stops when the common trunk has settled, or the validation tasks have not improved for some rounds.

    Args:
        tolerance: of ``|phi_new - phi_old| / |phi_old|``; 0: never for this reason.
        patience: rounds without a better validation return; None: never for this reason.
        min_rounds: rounds that are always made.
    """

    tolerance: float = 1e-3
    patience: int | None = 5
    min_rounds: int = 2

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self.rounds = 0
        self.best: float | None = None
        self.best_round = 0

    def update(self, relative_change: float, validation: float | None = None) -> str | None:
        """Hear of one round.

        Args:
            relative_change: of the common trunk.
            validation: mean return on the validation tasks; None: there are none.

        Returns:
            Why to stop, in words; None: go on.
        """
        self.rounds += 1
        if validation is not None and (self.best is None or validation > self.best):
            self.best, self.best_round = validation, self.rounds
        if self.rounds < self.min_rounds:
            return None
        if relative_change < self.tolerance:
            return f"the common trunk changed by {relative_change:.2g} of its norm, less than {self.tolerance:g}"
        stalled = self.rounds - self.best_round
        if self.patience is not None and self.best is not None and stalled >= self.patience:
            return f"no better validation return than {self.best:.4g} (round {self.best_round}) for {stalled} rounds"
        return None
