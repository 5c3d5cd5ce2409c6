"""How long two environments stay together when nothing is copied: reported, not gated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.testing.references import Reference
from metarl_core.testing.stepwise import Policy, _copy_states, _fields, _step_all

__all__ = ["Divergence", "free_running_divergence"]


@dataclass(frozen=True)
class Divergence:
    """When the states of two environments first differed by more than each threshold.

    Attributes:
        thresholds: Of the relative difference of a field.
        first_steps: int64 ``(rows, len(thresholds))``: the step, counted from 1; -1 where it did not happen.
        steps: int64 ``(rows,)``: steps of the row's episode, which ends when either environment's does.
        disagreed: bool ``(rows,)``: the two did not end in the same step.
    """

    thresholds: tuple[float, ...]
    first_steps: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    disagreed: npt.NDArray[np.bool_]

    def __str__(self) -> str:
        parts = []
        for threshold, column in zip(self.thresholds, self.first_steps.T, strict=True):
            reached = column[column > 0]
            where = f", median step {int(np.median(reached))}" if len(reached) else ""
            parts.append(f"> {threshold:.0e} in {len(reached)}{where}")
        return (
            f"{len(self.steps)} episodes of {self.steps.mean():.0f} steps on average; states differ "
            f"{'; '.join(parts)}; other ends in {int(self.disagreed.sum())}"
        )


def free_running_divergence(
    envs: Any,
    references: Sequence[Reference],
    policy: Policy,
    *,
    max_steps: int,
    seed: int = 7,
    angles: Sequence[int] = (),
    thresholds: Sequence[float] = (1e-12, 1e-6, 1e-2),
) -> Divergence:
    """Run one episode of every row from equal states with equal actions, and see when they part.

    Chaotic dynamics (Acrobot) blow a difference in the last bit up within an episode, so this is a figure to report and
    not one to assert. The actions are chosen by the references' states.

    Args:
        envs: As for :func:`metarl_core.testing.compare_steps`; for environments whose steps draw no random numbers.
        references: One a row, reset once already; each is reset once more.
        policy: From our fields and a generator to the actions.
        max_steps: Steps after which an episode is left.
        seed: Of the generator.
        angles: Columns of the state that are angles in rad.
        thresholds: Differences to report.
    """
    rows, rng = len(references), np.random.default_rng(seed)
    envs.reset(seed=seed)
    for reference in references:
        reference.reset()
        reference.elapsed = 0
    _copy_states(envs, references, _fields(references))
    first = np.full((rows, len(thresholds)), -1, np.int64)
    steps = np.zeros(rows, np.int64)
    disagreed = np.zeros(rows, np.bool_)
    going = np.ones(rows, np.bool_)
    for step in range(1, max_steps + 1):
        actions = policy(_fields(references), rng)
        results = _step_all(references, actions)
        _, _, terminated, truncated, _ = envs.step(actions)
        theirs, ours = _fields(references), envs.get_state()["state"]
        difference = np.abs(ours - theirs)
        for column in angles:
            turned = np.mod(difference[:, column], 2 * np.pi)
            difference[:, column] = np.minimum(turned, 2 * np.pi - turned)
        worst = (difference / np.maximum(1, np.abs(theirs))).max(axis=1)
        for k, threshold in enumerate(thresholds):
            first[going & (worst > threshold) & (first[:, k] < 0), k] = step
        steps[going] = step
        ends, their_ends = terminated | truncated, np.array([r[2] or r[3] for r in results])
        disagreed |= going & (ends != their_ends)
        going &= ~(ends | their_ends)
        if not going.any():
            break
        if ends.any():  # a row that has ended must not stop the others
            envs.set_state({"done": np.zeros(rows, np.bool_)})
        for row in np.flatnonzero(their_ends).tolist():
            references[row].reset()
    return Divergence(tuple(thresholds), first, steps, disagreed)
