"""Tables and plots of an experiment, from its CSV alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from metarl_core import stats
from metarl_core.reproduce.spec import Experiment
from metarl_core.reproduce.store import Row, read_rows
from metarl_core.reproduce.unseen import Unseen, unseen_path
from metarl_core.runs._files import atomic_writer

__all__ = ["LEAST_SEEDS", "Group", "Results", "collect", "figure_text", "markdown", "task_text", "write_summary"]

_RESAMPLES = 10_000

LEAST_SEEDS = 5
"""Of fewer, an interval by bootstrap is too narrow to be read, and none is given."""


@dataclasses.dataclass(frozen=True)
class Group:
    """The rows of one method on one task, in the order of their seeds."""

    method: str
    task: tuple[str, str]
    rows: tuple[Row, ...]

    def column(self, name: str) -> list[float]:
        """Values of a column, nan where it is empty."""
        return [float(row[name] or "nan") for row in self.rows]

    @property
    def has_rule(self) -> bool:
        """Whether the task can be solved."""
        return all(row["solved"] for row in self.rows)

    @property
    def solved(self) -> int:
        """Runs that solved it."""
        return sum(row["solved"] == "1" for row in self.rows)


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that tables and plots are made of."""

    experiment: Experiment
    groups: tuple[Group, ...]

    @property
    def tasks(self) -> list[tuple[str, str]]:
        """Tasks (environment, parameters) with rows, in the order of the experiment."""
        return list(dict.fromkeys(group.task for group in self.groups))

    @property
    def methods(self) -> list[str]:
        """Methods with rows, in the order of the experiment."""
        present = {group.method for group in self.groups}
        return [name for name in self.experiment.methods if name in present]

    def group(self, method: str, task: tuple[str, str]) -> Group | None:
        """Rows of a method on a task, if there are any."""
        return next((g for g in self.groups if (g.method, g.task) == (method, task)), None)

    def label(self, method: str) -> str:
        """What a method is called in tables and plots."""
        return self.experiment.methods[method].label

    def values(self, group: Group) -> list[float]:
        """The measure of each run; one that did not solve its task counts as its whole budget of episodes or steps."""
        measure = self.experiment.measure
        if measure == "episodes_to_solve":
            return [float(row["episodes_to_solve"] or _budget(row, measure)) for row in group.rows]
        if measure == "steps_to_solve":
            return [
                float(row["environment_steps"]) if row["solved"] == "1" else _budget(row, measure) for row in group.rows
            ]
        return group.column(measure)

    def scores(self, group: Group) -> list[float] | None:
        """Each run's score where tasks are put together: the share of the budget left, or the return between bounds."""
        experiment = self.experiment
        if _is_to_solve(experiment.measure):
            budget = [_budget(row, experiment.measure) for row in group.rows]
            return [1 - min(v, b) / b for v, b in zip(self.values(group), budget, strict=True)]
        if experiment.score is None:
            return None
        low, high = experiment.score.low, experiment.score.high
        return [(value - low) / (high - low) for value in self.values(group)]

    def common_scores(self, methods: Sequence[str]) -> list[list[list[float]]]:
        """For each method its scores of the tasks and seeds for which all of them have rows: [method][task][run]."""
        found: list[list[list[float]]] = [[] for _ in methods]
        for task in self.tasks:
            groups = [self.group(method, task) for method in methods]
            present = [group for group in groups if group is not None]
            seeds = set.intersection(*({row["seed"] for row in group.rows} for group in present))
            if len(present) < len(groups) or not seeds:
                continue
            for mine, group in zip(found, present, strict=True):
                kept = dataclasses.replace(group, rows=tuple(row for row in group.rows if row["seed"] in seeds))
                scores = self.scores(kept)
                if scores is not None:
                    mine.append(scores)
        return found

    @property
    def commits(self) -> dict[str, int]:
        """Commits of the sources that made the rows, and how many each; a plus sign tells of files that differed."""
        commits = [row["commit"] or "an installed package" for group in self.groups for row in group.rows]
        return {name: commits.count(name) for name in dict.fromkeys(commits)}


def collect(experiment: Experiment, rows: Sequence[Row]) -> Results:
    """Group the rows that belong to the experiment's cells; others are left out."""
    by_key = {(row["method"], row["environment"], row["params"], int(row["seed"])): row for row in rows}
    groups: dict[tuple[tuple[str, str], str], list[Row]] = {}
    for cell in experiment.cells:
        if cell.key in by_key:
            groups.setdefault((cell.key[1:3], cell.method.name), []).append(by_key[cell.key])
    return Results(experiment, tuple(Group(method, task, tuple(found)) for (task, method), found in groups.items()))


def write_summary(experiment: Experiment, csv_path: Path) -> list[Path]:
    """Write ``tables.md`` (``tuning.md`` of ``tuning.csv``) and the plots beside the CSV; same CSV, same bytes.

    Returns:
        The files written; none if the CSV has no row of the experiment.

    Raises:
        RunError: the CSV is not one of an experiment.
    """
    results = collect(experiment, read_rows(csv_path))
    if not results.groups:
        return []
    configs = {(r["method"], r["environment"], r["params"], int(r["seed"])): r["config"] for r in read_rows(csv_path)}
    unseen = Unseen(experiment, unseen_path(csv_path), configs)
    written = [csv_path.with_name("tuning.md" if csv_path.stem == "tuning" else "tables.md")]
    with atomic_writer(written[0]) as file:
        file.write(tables(results, unseen).encode())
    if experiment.plots:
        from metarl_core.reproduce import plots

        written += plots.write_plots(results, csv_path.parent, unseen)
    return written


def tables(results: Results, unseen: Unseen) -> str:
    """The experiment's tables in Markdown."""
    parts = [f"# {results.experiment.title}"]
    for task in results.tasks:
        if unseen.measured(task):
            from metarl_core.reproduce.costs import cost_table
            from metarl_core.reproduce.regret import regret_table
            from metarl_core.reproduce.unseen_summary import solved_table, unseen_table

            found = (
                solved_table(results, unseen, task),
                unseen_table(results, unseen, task),
                cost_table(results, task),
                regret_table(results, unseen, task),
            )
            table = "\n\n".join(filter(None, found))
        else:
            table = _task_table(results, task)
        parts += [f"## {task_text(task)}", table]
    over_tasks = _over_tasks(results)
    if over_tasks:
        parts += ["## All tasks together", over_tasks]
    if any(unseen.measured(task) for task in results.tasks):
        from metarl_core.reproduce.costs import cost_caption

        parts += filter(None, [cost_caption(results)])
    if any(len(group.rows) < LEAST_SEEDS for group in results.groups):
        parts.append(f"Of fewer than {LEAST_SEEDS} seeds no interval is given: it would be too narrow.")
    if len(results.commits) > 1:
        made = ", ".join(f"{name} ({count})" for name, count in results.commits.items())
        parts.append(f"Rows were made by different versions of the sources: {made}.")
    return "\n\n".join(parts) + "\n"


def task_text(task: tuple[str, str]) -> str:
    """A task in words."""
    environment, params = task
    return f"{environment}, {params.replace(';', ', ').replace('=', ' ')}" if params else environment


def _task_table(results: Results, task: tuple[str, str]) -> str:
    groups = [group for name in results.methods if (group := results.group(name, task)) is not None]
    # Beside another measure the environment's rule of a solved task would be a second, perhaps contrary, one.
    has_rule = _is_to_solve(results.experiment.measure) and any(group.has_rule for group in groups)
    measure = results.experiment.measure.replace("_", " ")
    header = ["method", *(["solved"] if has_rule else []), f"IQM {measure} [95 %]", "by seed", "median seconds"]
    rows = []
    for group in groups:
        solved = [f"{group.solved} / {len(group.rows)}" if group.has_rule else "-"] if has_rule else []
        seconds = f"{np.median(group.column('wall_time_seconds')):.0f}"
        nothing = has_rule and not group.solved
        figure = "-" if nothing else figure_text(results.values(group))
        rows.append([results.label(group.method), *solved, figure, _by_seed(results, group), seconds])
    return markdown(header, rows)


def _is_to_solve(measure: str) -> bool:
    return measure.endswith("_to_solve")


def _budget(row: Row, measure: str) -> float:
    """Episodes or steps after which a run that has not solved its task ends."""
    return float(row["total_steps"] if measure == "steps_to_solve" else row["max_episodes"] or row["episodes"])


def _by_seed(results: Results, group: Group) -> str:
    measure = results.experiment.measure
    if not _is_to_solve(measure):
        return ", ".join(f"{value:.4g}" for value in results.values(group))
    used = "environment_steps" if measure == "steps_to_solve" else "episodes"
    if not group.solved:
        return f"none in {group.rows[0][used]}"
    texts = [f"{value:.0f}" for value in results.values(group)]
    return ", ".join(
        text if row["solved"] == "1" else f"not in {row[used]}" for text, row in zip(texts, group.rows, strict=True)
    )


def figure_text(values: Sequence[float]) -> str:
    """IQM with its interval, of few values alone; a run whose measure is not a number makes it n/a."""
    if np.isnan(values).any():
        return "n/a"
    if len(values) < LEAST_SEEDS:
        return f"{stats.iqm([values]):.4g}"
    low, high = stats.bootstrap_interval(stats.iqm, [values], resamples=_RESAMPLES)
    return f"{stats.iqm([values]):.4g} [{low:.4g}, {high:.4g}]"


def _over_tasks(results: Results) -> str:
    """Aggregates over the tasks on which every method has rows, and P(baseline is better)."""
    experiment, methods = results.experiment, results.methods
    scores = results.common_scores(methods)
    if not scores or len(scores[0]) < 2 or any(np.isnan(v).any() for tasks in scores for v in tasks):
        return ""
    header = ["method", "IQM score [95 %]", "median [95 %]", "mean [95 %]", "optimality gap [95 %]"]
    reference = experiment.baseline if experiment.baseline in methods else None
    if reference is not None:
        header.append(f"P({results.label(reference)} better) [95 %]")
    rows = []
    for method, mine in zip(methods, scores, strict=True):
        cells = [_interval(function, mine) for function in (stats.iqm, stats.median, stats.mean, stats.optimality_gap)]
        if reference is not None:
            best = scores[methods.index(reference)]
            cells.append("-" if method == reference else _interval(stats.probability_of_improvement, best, mine))
        rows.append([results.label(method), *cells])
    budget = {"episodes_to_solve": "episodes", "steps_to_solve": "environment steps"}.get(experiment.measure)
    kind = f"share of the budget of {budget} left when solved" if budget else "normalised return"
    return f"Score: {kind}; {len(scores[0])} tasks and the seeds for which all methods have runs.\n\n" + markdown(
        header, rows
    )


def _interval(statistic: Callable[..., stats.Array], *sets: list[list[float]]) -> str:
    low, high = stats.bootstrap_interval(statistic, *sets, resamples=_RESAMPLES)
    return f"{float(statistic(*sets)):.3f} [{low:.3f}, {high:.3f}]"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))
