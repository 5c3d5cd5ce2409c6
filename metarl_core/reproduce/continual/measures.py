"""What stored continual runs come to: the measures of ``metarl continual``, by sequence, method and seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metarl_core.reproduce.continual.spec import ContinualCell, ContinualExperiment, SequenceSpec
from metarl_core.reproduce.continual.store import stored_result
from metarl_core.reproduce.store import Row

if TYPE_CHECKING:
    from metarl_core.agents.continual import ContinualResult
    from metarl_core.agents.continual.summary import Measures

__all__ = ["Measured", "MeasuredSequence", "measure_rows"]


@dataclasses.dataclass(frozen=True)
class Measured:
    """A run and what it comes to."""

    result: ContinualResult
    measures: Measures

    @property
    def unseen(self) -> float:
        """Mean score on the unseen tasks, or mean return where they have no scale; NaN where there are none."""
        m = self.measures
        return m.held_out_return if np.isnan(m.held_out) else m.held_out

    @property
    def total_bytes(self) -> int:
        """Weights, four bytes each, and what else is stored."""
        return 4 * self.result.parameters + self.result.stored_bytes


@dataclasses.dataclass(frozen=True)
class MeasuredSequence:
    """All runs of a sequence.

    Attributes:
        spec: The sequence.
        runs: By method and seed; in the order of the experiment.
        origin: What counts as 1, in words.
        unseen_scaled: Whether ``unseen`` are scores, not returns.
        left_out: Seeds whose runs have no scale, as the run of ``scratch`` that gives it is not there yet.
    """

    spec: SequenceSpec
    runs: Mapping[str, Mapping[int, Measured]]
    origin: str
    unseen_scaled: bool
    left_out: tuple[int, ...]

    def values(self, method: str, name: str) -> dict[int, float]:
        """A measure by seed: a field of ``Measures``, or ``unseen``."""
        own = self.runs.get(method, {})
        return {s: run.unseen if name == "unseen" else float(getattr(run.measures, name)) for s, run in own.items()}

    def pairs(self, one: str, other: str, name: str) -> tuple[list[float], list[float]]:
        """A measure of two methods on the seeds that both have."""
        a, b = self.values(one, name), self.values(other, name)
        seeds = sorted(set(a) & set(b))
        return [a[s] for s in seeds], [b[s] for s in seeds]


def measure_rows(experiment: ContinualExperiment, rows: Sequence[Row], path: Path) -> list[MeasuredSequence]:
    """Measure the rows that belong to the experiment's cells, made with its settings or not; others are left out.

    Runs on the same tasks share a scale: where every seed draws its own, each seed's runs.

    Args:
        experiment: Whose cells count.
        rows: Of the CSV.
        path: Of the CSV, for messages.

    Raises:
        RunError: a row is damaged.
    """
    by_key = {(row["method"], row["sequence"], int(row["seed"])): row for row in rows}
    found = []
    for spec in experiment.sequences:
        cells = [cell for cell in experiment.cells if cell.sequence == spec and cell.key in by_key]
        if cells:
            found.append(_measure_sequence(spec, cells, [stored_result(c, by_key[c.key], path) for c in cells]))
    return found


def _measure_sequence(
    spec: SequenceSpec, cells: Sequence[ContinualCell], results: Sequence[ContinualResult]
) -> MeasuredSequence:
    from metarl_core.agents.continual.summary import measure, scale_of

    groups: dict[int | None, list[int]] = {}
    for i, cell in enumerate(cells):
        groups.setdefault(cell.seed if spec.tasks_seed is None else None, []).append(i)
    runs: dict[str, dict[int, Measured]] = {cell.method.name: {} for cell in cells}
    origin, unseen_scaled, left_out = "", True, set()
    for members in groups.values():
        sequence, own = spec.make(cells[members[0]].seed), [results[i] for i in members]
        scale = scale_of(sequence, own)
        if scale.high is None:
            left_out |= {cells[i].seed for i in members}
            continue
        origin, unseen_scaled = scale.origin, scale.held_out_high is not None
        for i, measures in zip(members, measure(sequence, own, scale), strict=True):
            runs[cells[i].method.name][cells[i].seed] = Measured(results[i], measures)
    return MeasuredSequence(
        spec, {name: seeds for name, seeds in runs.items() if seeds}, origin, unseen_scaled, tuple(sorted(left_out))
    )
