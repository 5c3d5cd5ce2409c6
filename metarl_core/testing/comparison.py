"""The largest differences of two environments, and what of them was seen."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["RECORDS_VARIABLE", "Comparison"]

# A file to which `check` appends what it was asked about, a line of JSON each: tools/conformance_table.py reads it.
RECORDS_VARIABLE = "METARL_CONFORMANCE_RECORDS"


def require(condition: bool, message: str) -> None:
    """Raise AssertionError, also where ``python -O`` drops assert statements."""
    if not condition:
        raise AssertionError(message)


def _relative(ours: npt.NDArray[Any], reference: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    difference: npt.NDArray[np.float64] = np.abs(ours - reference) / np.maximum(1, np.abs(reference))
    return difference


@dataclass
class Comparison:
    """Largest differences seen, and what was covered.

    Differences are relative to the reference's number where that is larger than 1, absolute where it is smaller.

    Attributes:
        states: Steps compared.
        worst_state: Largest difference of a field of the state after a step.
        worst_obs: Of an element of the observation.
        worst_reward: Of a reward.
        counts: Steps that ended in ``terminated``, ``truncated`` or ``both``.
    """

    states: int = 0
    worst_state: float = 0.0
    worst_obs: float = 0.0
    worst_reward: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: {"terminated": 0, "truncated": 0, "both": 0})

    def add(
        self,
        ours: Sequence[npt.NDArray[Any]],
        reference: Sequence[npt.NDArray[Any]],
        angles: Sequence[int] = (),
    ) -> None:
        """Compare one step of a batch.

        Args:
            ours: ``(state, obs, reward, terminated, truncated)``, rows first.
            reference: The same of the reference.
            angles: Columns of ``state`` that are angles in rad: they may differ by a full turn.

        Raises:
            AssertionError: ``terminated`` or ``truncated`` differs, or a number is not finite on one side only.
        """
        difference = np.abs(ours[0] - reference[0])
        for column in angles:  # either end of the circle is right
            difference[:, column] = np.minimum(difference[:, column], np.abs(difference[:, column] - 2 * np.pi))
        state = difference / np.maximum(1, np.abs(reference[0]))
        obs = _relative(*(np.asarray(x[1], np.float64) for x in (ours, reference)))
        reward = _relative(ours[2], reference[2])
        for name, seen in (("state", state), ("obs", obs), ("reward", reward)):
            # A NaN would pass for a small difference.
            require(bool(np.isfinite(seen).all()), f"{name}: a number is not finite")
        self.worst_state = max(self.worst_state, float(state.max(initial=0)))
        self.worst_obs = max(self.worst_obs, float(obs.max(initial=0)))
        self.worst_reward = max(self.worst_reward, float(reward.max(initial=0)))
        np.testing.assert_array_equal(ours[3], reference[3], err_msg="terminated")
        np.testing.assert_array_equal(ours[4], reference[4], err_msg="truncated")
        self.states += len(ours[2])
        self.counts["terminated"] += int(ours[3].sum())
        self.counts["truncated"] += int(ours[4].sum())
        self.counts["both"] += int((ours[3] & ours[4]).sum())

    def check(self, name: str, minimum: int, tolerance: float, endings: Sequence[str]) -> None:
        """Print the figures and assert them.

        Args:
            name: Of what was compared, for the output.
            minimum: States that must have been compared.
            tolerance: The largest difference allowed, of state and reward; observations are float32, and may differ by
                their last bit.
            endings: Which of ``terminated``, ``truncated`` and ``both`` must have been seen.

        Raises:
            AssertionError: One of them does not hold.
        """
        print(
            f"{name}: {self.states} states, worst relative difference: state {self.worst_state:.2e}, "
            f"obs {self.worst_obs:.2e}, reward {self.worst_reward:.2e}; endings {self.counts}"
        )
        self._record(name)
        require(self.states >= minimum, f"{name}: {self.states} states were compared; must be >= {minimum}")
        for what, worst in (("state", self.worst_state), ("reward", self.worst_reward)):
            require(worst <= tolerance, f"{name}: a {what} differs by {worst:.2e}; must be <= {tolerance:.0e}")
        # Observations are float32: the same number, rounded.
        limit = max(tolerance, 2.0**-23)
        require(
            self.worst_obs <= limit, f"{name}: an observation differs by {self.worst_obs:.2e}; must be <= {limit:.0e}"
        )
        for ending in endings:
            require(self.counts[ending] > 0, f"no {ending} episode was compared")

    def _record(self, name: str) -> None:
        path = os.environ.get(RECORDS_VARIABLE)
        if path is None:
            return
        record = {
            "name": name,
            "states": self.states,
            "state": self.worst_state,
            "obs": self.worst_obs,
            "reward": self.worst_reward,
            **self.counts,
        }
        # One write: lines of processes that append at the same time stay whole.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (json.dumps(record) + "\n").encode())
        finally:
            os.close(descriptor)
