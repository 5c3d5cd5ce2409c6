"""Tables of an experiment of continual runs, from its CSV alone, and what they say of its goals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metarl_core import stats
from metarl_core.reproduce.continual.measures import MeasuredSequence, measure_rows
from metarl_core.reproduce.continual.spec import ContinualExperiment
from metarl_core.reproduce.continual.store import read_continual_rows
from metarl_core.reproduce.store import Row
from metarl_core.reproduce.summary import LEAST_SEEDS, figure_text, markdown
from metarl_core.runs._files import atomic_writer

__all__ = ["Goal", "goals", "interval_of", "write_continual_summary"]

_RESAMPLES = 10_000
_COLUMNS = (
    ("P", "average"),
    ("F", "forgetting"),
    ("worst task", "worst"),
    ("not told", "unnamed"),
    ("unseen", "unseen"),
    ("FT", "forward"),
)


def write_continual_summary(experiment: ContinualExperiment, csv_path: Path) -> list[Path]:
    """Write ``tables.md`` (``tuning.md`` of ``tuning.csv``) and the plots beside the CSV; same CSV, same bytes.

    Returns:
        The files written; none if the CSV has no row of the experiment.

    Raises:
        RunError: the CSV is not one of such an experiment, or a row of it is damaged.
    """
    rows = read_continual_rows(csv_path)
    measured = [found for found in measure_rows(experiment, rows, csv_path) if found.runs]
    if not measured:
        return []
    tuning = csv_path.stem == "tuning"
    written = [csv_path.with_name("tuning.md" if tuning else "tables.md")]
    with atomic_writer(written[0]) as file:
        file.write(_tables(experiment, measured, rows).encode())
    if not tuning:
        from metarl_core.reproduce.continual.plots import write_continual_plots

        written += write_continual_plots(experiment, measured, csv_path.parent)
    return written


def _tables(experiment: ContinualExperiment, measured: Sequence[MeasuredSequence], rows: Sequence[Row]) -> str:
    parts = [f"# {experiment.title}"]
    verdicts = [(found, goals(experiment, found)) for found in measured]
    if any(reached for _, reached in verdicts):
        parts += ["## Goals", _verdict_table(verdicts)]
    for found, reached in verdicts:
        parts += [f"## {found.spec.label}", _about(found), _method_table(experiment, found)]
        if reached:
            parts.append("\n".join(f"- {goal.sentence}" for goal in reached))
    if any(len(runs) < LEAST_SEEDS for found in measured for runs in found.runs.values()):
        parts.append(f"Of fewer than {LEAST_SEEDS} seeds no interval is given, and no answer to the goals.")
    commits = [row["commit"] or "an installed package" for row in rows]
    made = {name: commits.count(name) for name in dict.fromkeys(commits)}
    if len(made) > 1:
        told = ", ".join(f"{name} ({count})" for name, count in made.items())
        parts.append(f"Rows were made by different versions of the sources: {told}.")
    return "\n\n".join(parts) + "\n"


def _about(found: MeasuredSequence) -> str:
    spec = found.spec
    drawn = "each seed draws its own tasks" if spec.tasks_seed is None else "the same tasks for all seeds"
    text = (
        f"{spec.tasks} tasks, {spec.steps:,} environment steps a phase"
        + (f", {spec.cycles} cycles" if spec.cycles > 1 else "")
        + (f", {spec.held_out} unseen tasks" if spec.held_out else "")
        + f"; {drawn}. 0 is uniform actions, 1 {found.origin}."
    )
    text += " *Told*: which of the trained tasks it is; of unseen ones nobody is told."
    if spec.held_out and not found.unseen_scaled:
        text += " On unseen tasks mean returns."
    if found.left_out:
        seeds = ", ".join(map(str, found.left_out))
        text += f" Left out, as their scale (of scratch) is not there: seeds {seeds}."
    return text


def _method_table(experiment: ContinualExperiment, found: MeasuredSequence) -> str:
    columns = [
        (head, name)
        for head, name in _COLUMNS
        if any(not np.isnan(list(found.values(m, name).values())).all() for m in found.runs)
    ]
    header = ["method", "told", *(head for head, _ in columns)]
    header += ["parameters", "stored bytes", "all bytes", "updates", "median seconds", "seeds"]
    rows = []
    for method in (name for name in experiment.methods if name in found.runs):
        runs = list(found.runs[method].values())
        label = experiment.methods[method].label
        cells = [f"**{label}**" if method == experiment.baseline else label]
        cells.append("yes" if runs[0].result.identity else "no")
        for _, name in columns:
            values = list(found.values(method, name).values())
            cells.append("-" if np.isnan(values).all() else figure_text(values))
        for costs in (
            [run.result.parameters for run in runs],
            [run.result.stored_bytes for run in runs],
            [run.total_bytes for run in runs],
            [run.result.updates for run in runs],
        ):
            cells.append(f"{int(np.median(costs)):,}")
        cells.append(f"{np.median([run.result.seconds for run in runs]):.0f}")
        cells.append(str(len(runs)))
        rows.append(cells)
    return markdown(header, rows)


@dataclasses.dataclass(frozen=True)
class Goal:
    """What the experiment asks, and the answer on one sequence.

    Attributes:
        name: Short, for the table over all sequences.
        verdict: ``"reached"``, ``"not shown"``, ``"missed"``; of what is only stated, the figure.
        sentence: With the figures.
    """

    name: str
    verdict: str
    sentence: str


def interval_of(values: Sequence[float]) -> tuple[float, float, float]:
    """IQM over the seeds and its 95 % bootstrap interval."""
    low, high = stats.bootstrap_interval(stats.iqm, [values], resamples=_RESAMPLES)
    return float(stats.iqm([values])), float(low), float(high)


def goals(experiment: ContinualExperiment, found: MeasuredSequence) -> list[Goal]:
    """The goals on a sequence, for the seeds that both methods of each have; those without runs are left out.

    From ``LEAST_SEEDS`` on: of fewer no interval says anything.
    """
    own = experiment.baseline
    if own not in experiment.methods:  # a tuning of nothing but other settings
        return []
    label = experiment.methods[own].label
    by_algorithm = {m.algorithm: m.name for m in reversed(list(experiment.methods.values()))}
    reached = []

    def both(other: str | None, name: str) -> tuple[list[float], list[float]] | None:
        if other is None or other not in found.runs or other == own:
            return None
        one, two = found.pairs(own, other, name)
        if len(one) < LEAST_SEEDS or np.isnan(one).any() or np.isnan(two).any():
            return None
        return one, two

    pair = both(by_algorithm.get("finetune"), "forgetting")
    if pair:
        mine, theirs = pair
        difference = [a - b / 2 for a, b in zip(mine, theirs, strict=True)]
        center, low, high = interval_of(difference)
        verdict = "reached" if high <= 0 else "missed" if low > 0 else "not shown"
        reached.append(
            Goal(
                "F at most half of fine-tuning's",
                verdict,
                f"F at most half of fine-tuning's: {verdict}. {label} {figure_text(mine)}, fine-tuning "
                f"{figure_text(theirs)}; F - F(fine-tuning) / 2, same seeds: {_interval(center, low, high)}.",
            )
        )
    pair = both(by_algorithm.get("ewc"), "average")
    if pair:
        mine, theirs = pair
        (_, low, high), (_, their_low, their_high) = interval_of(mine), interval_of(theirs)
        verdict = "reached" if low > their_high else "missed" if high < their_low else "not shown"
        ahead = interval_of([a - b for a, b in zip(mine, theirs, strict=True)])
        reached.append(
            Goal(
                "P above EWC's, separate intervals",
                verdict,
                f"P above EWC's, separate intervals: {verdict}. {label} {figure_text(mine)}, EWC "
                f"{figure_text(theirs)}; ahead by {_interval(*ahead)} on the same seeds.",
            )
        )
    for method in experiment.methods.values():
        if method.algorithm != "independent":
            continue
        pair = both(method.name, "unseen")
        if pair is None:
            continue
        mine, theirs = pair
        center, low, high = interval_of([a - b for a, b in zip(mine, theirs, strict=True)])
        verdict = "reached" if low > 0 else "missed" if high < 0 else "not shown"
        size = (
            next(iter(found.runs[own].values())).total_bytes / next(iter(found.runs[method.name].values())).total_bytes
        )
        reached.append(
            Goal(
                f"unseen tasks: ahead of {method.label}",
                verdict,
                f"Unseen tasks, ahead of {method.label} ({size:.2f} times its bytes): {verdict}. {label} "
                f"{figure_text(mine)}, {method.label} {figure_text(theirs)}; ahead by {_interval(center, low, high)}.",
            )
        )
    for algorithm in ("packnet", "clear", "joint"):
        name = by_algorithm.get(algorithm)
        pair = both(name, "average")
        if pair is None or name is None:
            continue
        gap = interval_of([a - b for a, b in zip(*pair, strict=True)])
        other = experiment.methods[name].label
        reached.append(Goal(f"P minus {other}'s", _interval(*gap), f"P minus {other}'s: {_interval(*gap)}."))
    return reached


def _interval(center: float, low: float, high: float) -> str:
    return f"{center:.3g} [{low:.3g}, {high:.3g}]"


def _verdict_table(verdicts: Sequence[tuple[MeasuredSequence, Sequence[Goal]]]) -> str:
    names = list(dict.fromkeys(goal.name for _, reached in verdicts for goal in reached))
    rows = []
    for name in names:
        cells = [next((goal.verdict for goal in reached if goal.name == name), "-") for _, reached in verdicts]
        rows.append([name, *cells])
    return markdown(["goal", *(found.spec.label for found, _ in verdicts)], rows)
