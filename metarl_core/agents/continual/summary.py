"""What the results of a sequence come to: normalised performance and the measures of continual learning."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_core import stats
from metarl_core.agents.continual.run import ContinualResult
from metarl_core.agents.continual.sequence import TaskSequence
from metarl_core.runs._files import atomic_writer
from metarl_core.runs._tables import csv_line

__all__ = [
    "COLUMNS",
    "Measures",
    "Scale",
    "cost_words",
    "learned_scores",
    "learning_areas",
    "measure",
    "missing_words",
    "scale_of",
    "table",
    "write_table",
]

Array = NDArray[np.float64]

COLUMNS = (
    "method",
    "seed",
    "identity",
    "P",
    "F",
    "BWT",
    "FT",
    "worst",
    "unnamed",
    "held_out",
    "held_out_return",
    "parameters",
    "stored_bytes",
    "updates",
    "environment_steps",
    "adaptation_steps",
    "seconds",
    "commit",
)
"""Columns of results.csv; docs/continual.md describes them."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """Returns that count as 0 and as 1.

    Attributes:
        low: Of uniform actions on each task, [K].
        high: Reference on each task, [K]; None: there is none, and returns stay as they are.
        held_out_low: Of uniform actions on each unseen task, [H].
        held_out_high: Reference on them; None: only of the tasks themselves is there one.
        origin: Where the reference is from, in words.
    """

    low: Array
    high: Array | None
    held_out_low: Array
    held_out_high: Array | None
    origin: str

    def scores(self, returns: Array) -> Array:
        """clip((J - J_low) / (J_high - J_low), 0, 1) along the last axis; the returns where there is no reference."""
        return returns if self.high is None else _share(returns, self.low, self.high)

    def held_out_scores(self, returns: Array) -> Array | None:
        """The same on unseen tasks; None without a reference."""
        return None if self.held_out_high is None else _share(returns, self.held_out_low, self.held_out_high)


def _share(returns: Array, low: Array, high: Array) -> Array:
    return np.clip((returns - low) / (high - low), 0.0, 1.0)


def scale_of(sequence: TaskSequence, results: Sequence[ContinualResult]) -> Scale:
    """The scale that all results are measured by: the sequence's reference return, or what ``scratch`` reached.

    J_low is the mean over all results. Of ``scratch`` it is the mean over its seeds of the return at the end of each
    task's last phase; on unseen tasks there is then no reference.

    Args:
        sequence: Of the results.
        results: At least one.
    """
    low = np.mean([r.random_returns for r in results], axis=0)
    unseen_low = np.mean([r.held_out_random for r in results], axis=0)
    if sequence.reference_return is not None:
        high = np.full_like(low, sequence.reference_return)
        unseen_high = np.full_like(unseen_low, sequence.reference_return)
        origin = f"a return of {sequence.reference_return:g}"
    else:
        ends = sequence.flat.task_ends()
        scratch = [r.performance[ends, np.arange(len(low))] for r in results if r.method == "scratch"]
        high, unseen_high = (np.mean(scratch, axis=0) if scratch else None), None
        origin = "what scratch reached at each task's end"
    # The same task drawn differently, or a reference that learned nothing, has no scale.
    if high is None or (high <= low).any():
        return Scale(low, None, unseen_low, None, "none: returns as they are")
    if unseen_high is not None and (unseen_high <= unseen_low).any():
        unseen_high = None
    return Scale(low, high, unseen_low, unseen_high, origin)


def learning_areas(sequence: TaskSequence, result: ContinualResult, scale: Scale) -> Array:
    """AUC_i: mean score on each task over its first phase, from the evaluation before it to that at its end, [K]."""
    ends = sequence.flat.phases
    first = {phase.task_index: phase for phase in reversed(ends)}
    scores = scale.scores(result.returns)
    areas = []
    for task in range(len(sequence.tasks)):
        stop = int(result.phase_ends[first[task].index])
        start = 0 if first[task].index == 0 else int(result.phase_ends[first[task].index - 1])
        part = slice(start, stop + 1)
        areas.append(stats.area_under_curve(scores[part, task], result.steps[part]))
    return np.array(areas, dtype=np.float64)


def learned_scores(sequence: TaskSequence, result: ContinualResult, scale: Scale) -> Array:
    """Score on each task when its last phase ends, before or after the method's own step then: the better one, [K].

    Forgetting is counted from here, so that what a method's own step at the end of a task destroys is in it.
    """
    ends = sequence.flat.task_ends()
    at = (ends, np.arange(len(ends)))
    return np.maximum(scale.scores(result.performance)[at], scale.scores(result.learned)[at])


@dataclasses.dataclass(frozen=True)
class Measures:
    """Of one method and seed; NaN where a measure is not defined.

    Attributes:
        performance: p_i(t), float64 [phases, K].
        average: P.
        forgetting: F, averaged over all tasks; from :func:`learned_scores`.
        backward: BWT, over the tasks that ended before the last phase; from the same.
        forward: FT, averaged over the tasks where it is defined; needs a scale and ``scratch``.
        worst: The lowest p_i(T).
        unnamed: P at the end when each task is met as a new one.
        held_out: Mean score on the unseen tasks.
        held_out_return: Mean return on them.
    """

    performance: Array
    average: float
    forgetting: float
    backward: float
    forward: float
    worst: float
    unnamed: float
    held_out: float
    held_out_return: float


def measure(sequence: TaskSequence, results: Sequence[ContinualResult], scale: Scale) -> list[Measures]:
    """Measure every result; the baseline of FT is the mean over the seeds of ``scratch``.

    ``scratch`` itself has no FT: it is what 0 means. ``joint`` and ``rl2`` have neither F nor BWT nor FT, as none of
    their tasks ends before another.
    """
    ends = sequence.flat.task_ends()
    alone = [learning_areas(sequence, r, scale) for r in results if r.method == "scratch"]
    found = []
    for result in results:
        scores = scale.scores(result.performance)
        sequential = not result.simultaneous
        lost = learned_scores(sequence, result, scale) - scores[-1]
        forward = np.nan
        if alone and scale.high is not None and sequential and result.method != "scratch":
            gains = stats.forward_transfer(learning_areas(sequence, result, scale), np.mean(alone, axis=0))
            forward = _mean(gains)
        unseen = scale.held_out_scores(result.held_out_returns)
        found.append(
            Measures(
                performance=scores,
                average=float(stats.average_performance(scores)),
                forgetting=float(lost.mean()) if sequential else np.nan,
                backward=0.0 - _mean(lost[ends < len(scores) - 1]) if sequential else np.nan,
                forward=forward,
                worst=float(scores[-1].min()),
                unnamed=_mean(scale.scores(result.unnamed_returns)),
                held_out=np.nan if unseen is None else _mean(unseen),
                held_out_return=_mean(result.held_out_returns),
            )
        )
    return found


def _mean(values: Array) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of no value at all: NaN
        return float(np.nanmean(values))


def write_table(
    path: Path, results: Sequence[ContinualResult], measures: Sequence[Measures], commits: Sequence[str]
) -> None:
    """Write results.csv, a row for each method and seed."""
    lines = [csv_line(COLUMNS)]
    for r, m, commit in zip(results, measures, commits, strict=True):
        numbers = (m.average, m.forgetting, m.backward, m.forward, m.worst, m.unnamed, m.held_out, m.held_out_return)
        shown = [None if np.isnan(number) else number for number in numbers]
        cost = (r.parameters, r.stored_bytes, r.updates, r.environment_steps, r.adaptation_steps, round(r.seconds, 1))
        lines.append(csv_line((r.method, r.seed, r.identity, *shown, *cost, commit)))
    with atomic_writer(path) as file:
        file.write("".join(lines).encode())


_COSTS = ("parameters", "stored bytes", "updates", "adaptation steps")
_HEAD = ("method", "identity", "P", "F", "BWT", "FT", "worst task", "not told", "unseen", *_COSTS)


def table(
    sequence: TaskSequence,
    results: Sequence[ContinualResult],
    measures: Sequence[Measures],
    scale: Scale,
    missing: Sequence[tuple[str, int]] = (),
) -> str:
    """A Markdown table, a row for each method: means over the seeds, from two on with 95 % bootstrap intervals.

    Args:
        sequence: Of the results.
        results: At least one.
        measures: Of each of them.
        scale: That they were measured by.
        missing: Methods and seeds that were asked for and have no result, as they diverged: means are without them,
            which the table says.
    """
    rows = []
    for method in dict.fromkeys(r.method for r in results):
        own = [i for i, r in enumerate(results) if r.method == method]
        last = results[own[-1]]
        columns = {
            name: [getattr(measures[i], name) for i in own]
            for name in ("average", "forgetting", "backward", "forward", "worst", "unnamed")
        }
        unseen = "held_out" if scale.held_out_high is not None else "held_out_return"
        columns["unseen"] = [getattr(measures[i], unseen) for i in own]
        cells = [_cell(values) for values in columns.values()]
        told = "given" if last.identity else "not given"
        costs = (last.parameters, last.stored_bytes, last.updates, last.adaptation_steps)
        asked = len(own) + sum(name == method for name, _ in missing)
        label = method if asked == len(own) else f"{method} (n = {len(own)} of {asked} seeds)"
        rows.append((label, told, *cells, *(f"{cost:,}" for cost in costs)))
    seeds = len({r.seed for r in results})
    about = (
        f"{sequence.name}: {len(sequence.tasks)} tasks, {sequence.flat.phases[0].steps:,} environment steps a phase, "
        f"{sequence.flat.cycles} cycle{'s' if sequence.flat.cycles > 1 else ''}, {seeds} "
        f"seed{'s' if seeds > 1 else ''}. 0 is uniform actions, 1 {scale.origin}."
    )
    if scale.high is None:
        about = about.replace("0 is uniform actions, 1 none: returns as they are", "Returns, not normalised")
    about += cost_words(results)
    if missing:
        about += f" {missing_words(missing)}"
    lines = [about, "", f"| {' | '.join(_HEAD)} |", "|" + " --- |" * len(_HEAD)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def cost_words(results: Sequence[ContinualResult]) -> str:
    """A sentence on what imt has beyond its control, independent networks; empty where one of them is missing."""
    last = {r.method: r for r in results}
    if not {"imt", "independent"} <= last.keys():
        return ""
    imt, control = last["imt"], last["independent"]
    size = f"{imt.parameters / max(control.parameters, 1):.3g} times the parameters"
    stored = f"{imt.stored_bytes / max(control.stored_bytes, 1):.3g} times the stored bytes"
    return f" imt has {size} and {stored} of independent."


def missing_words(missing: Sequence[tuple[str, int]]) -> str:
    """A sentence on methods and seeds without a result."""
    each = ", ".join(f"{method} seed {seed}" for method, seed in missing)
    return f"Diverged, in no mean: {each}."


def _cell(values: Sequence[float]) -> str:
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return "-"
    centre = f"{known.mean():.3g}"
    if len(known) < 2:
        return centre
    low, high = stats.bootstrap_interval(stats.mean, known, resamples=2000)
    return f"{centre} ({float(low):.3g} to {float(high):.3g})"
