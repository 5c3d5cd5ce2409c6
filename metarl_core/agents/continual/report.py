"""The HTML page of a sequence's results. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metarl_core.agents.continual.registry import METHODS
from metarl_core.agents.continual.run import ContinualResult
from metarl_core.agents.continual.sequence import TaskSequence
from metarl_core.agents.continual.summary import (
    Measures,
    Scale,
    cost_words,
    learned_scores,
    learning_areas,
    missing_words,
)
from metarl_core.report.meta import (
    ContinualResults,
    EvaluationCurves,
    MetaReportData,
    MethodCost,
    UnseenTasks,
    parameter_labels,
    write_meta_report,
)
from metarl_core.tasks import Task

__all__ = ["report_data", "write_continual_report"]


def write_continual_report(
    path: Path,
    sequence: TaskSequence,
    results: Sequence[ContinualResult],
    measures: Sequence[Measures],
    scale: Scale,
    commands: Sequence[str] = (),
    missing: Sequence[tuple[str, int]] = (),
) -> Path:
    """Write the page: matrices, curves with switch lines, forgetting, unseen tasks, costs.

    Args:
        path: The HTML file.
        sequence: Of the results.
        results: At least one.
        measures: Of each of them.
        scale: That they were measured by.
        commands: That made them.
        missing: Methods and seeds that were asked for and diverged.
    """
    return write_meta_report(path, report_data(sequence, results, measures, scale, commands, missing))


def report_data(
    sequence: TaskSequence,
    results: Sequence[ContinualResult],
    measures: Sequence[Measures],
    scale: Scale,
    commands: Sequence[str] = (),
    missing: Sequence[tuple[str, int]] = (),
) -> MetaReportData:
    """What the page shows, as plain arrays."""
    methods = list(dict.fromkeys(r.method for r in results))
    rows = {method: [i for i, r in enumerate(results) if r.method == method] for method in methods}
    subject = "imt" if "imt" in methods else methods[0]
    labels = _labels(sequence.tasks)
    first = results[0]
    joint = [method for method in methods if results[rows[method][0]].simultaneous]
    areas = None
    if "scratch" in methods and scale.high is not None:
        areas = {
            method: np.stack([learning_areas(sequence, results[i], scale) for i in rows[method]])
            for method in methods
            if method not in joint
        }
    phases = sequence.flat.phases
    score = "return" if scale.high is None else "share of the way from uniform actions to the reference"
    return MetaReportData(
        title=f"{sequence.name}, one after another",
        about=(
            f"{len(sequence.tasks)} tasks, {phases[0].steps:,} environment steps each, {sequence.flat.cycles} "
            f"cycle(s). Reference: {scale.origin}. "
            + " ".join(f"{method}: {METHODS[method].description}." for method in methods)
            + cost_words(results)
            + (f" {missing_words(missing)}" if missing else "")
        ),
        commands=commands,
        continual=ContinualResults(
            tasks=labels,
            performance={m: np.stack([measures[i].performance for i in rows[m]]) for m in methods},
            task_ends=sequence.flat.task_ends(),
            learned={m: np.stack([learned_scores(sequence, results[i], scale) for i in rows[m]]) for m in methods},
            steps=[phase.stop for phase in phases],
            joint=joint,
            auc=areas,
            scratch_auc=None if areas is None else areas["scratch"],
            subject=subject,
        ),
        curves=EvaluationCurves(
            tasks=labels,
            steps=first.steps,
            curves={m: np.stack([scale.scores(results[i].returns) for i in rows[m]]) for m in methods},
            phase_starts=[phase.start for phase in phases],
            phase_tasks=[phase.task_index for phase in phases],
            score_name=score,
        ),
        unseen=_unseen(sequence, results, rows, scale, subject) if sequence.held_out else None,
        costs=[
            MethodCost(m, r.environment_steps, r.parameters, r.stored_bytes, r.identity)
            for m in methods
            for r in [results[rows[m][-1]]]
        ],
    )


def _unseen(
    sequence: TaskSequence,
    results: Sequence[ContinualResult],
    rows: dict[str, list[int]],
    scale: Scale,
    subject: str,
) -> UnseenTasks:
    known = scale.held_out_high is not None
    return UnseenTasks(
        tasks=_labels(sequence.held_out),
        scores={method: np.stack([results[i].held_out_returns for i in own]) for method, own in rows.items()},
        chance=scale.held_out_low if known else None,
        reference=scale.held_out_high,
        reference_name=scale.origin,
        subject=subject,
    )


def _labels(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Their parameters, where all have the same; else their names."""
    names = list(tasks[0].params)
    if not names or any(list(task.params) != names or None in task.params.values() for task in tasks):
        return tuple(task.name for task in tasks)
    found = parameter_labels({name: [task.params[name] for task in tasks] for name in names})  # type: ignore[misc]
    return found if len(set(found)) == len(found) else tuple(task.name for task in tasks)
