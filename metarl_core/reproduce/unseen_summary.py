"""Table and plot of what runs came to on held-out tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from metarl_core import stats
from metarl_core.agents.imt.comparison import FEW_EPISODES
from metarl_core.report._figures import COLORS
from metarl_core.reproduce.summary import LEAST_SEEDS, Results, figure_text, markdown, task_text
from metarl_core.reproduce.unseen import Unseen

__all__ = [
    "LABELS",
    "Line",
    "lines",
    "reference_text",
    "shown_policies",
    "solved_table",
    "unseen_plot",
    "unseen_table",
    "verdict",
]

_RESAMPLES = 10_000

LABELS = {
    "imt": "as configured",
    "imt_mixture": "as configured, no negative weights",
    "imt_10": f"as configured, weights from {FEW_EPISODES} episodes",
    "chance": "uniform actions",
    "single_accuracy": "one submodel, the most accurate one",
    "single_train": "one submodel, the best on the training tasks",
    "single_hindsight": "one submodel, the best in hindsight",
    "best": "for each task the submodel with the largest weight",
    "uniform": "mean of values, equal weights",
    "uniform_soup": "mean of networks, equal weights",
    "vote": "weighted vote",
    "weighted": "weighted mean of values",
    "soup": "weighted mean of networks",
    "shuffled": "weights given to the wrong submodels",
    "own": "each on its own training task",
}
"""Ways to act in words; others are called by their name."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A way to act beside the experiment's baseline, by the seeds that both have.

    Attributes:
        label: what acts.
        values: mean return over the held-out tasks of each seed.
        ahead: by how much the baseline is ahead, of each seed that both have; empty for the baseline itself, for chance
            and for what is measured on other tasks.
    """

    label: str
    values: tuple[float, ...]
    ahead: tuple[float, ...]


def lines(results: Results, unseen: Unseen, task: tuple[str, str]) -> list[Line]:
    """What acts on the held-out tasks of an environment: all of the baseline's ways, and the other methods' own."""
    baseline = results.experiment.baseline or results.methods[0]
    if results.experiment.policies:
        return _policy_lines(results, unseen, task, baseline)
    own = unseen.values(baseline, task, "imt")
    found = []
    for method in results.methods:
        for policy in unseen.policies(method, task):
            shown = shown_policies(results, method)
            if shown is not None and policy not in shown:
                continue
            values = unseen.values(method, task, policy)
            itself = (method, policy) == (baseline, "imt")
            elsewhere = method == baseline and policy in ("chance", "own")
            both = [] if itself or elsewhere else sorted(set(own) & set(values))
            label = results.label(method)
            if method == baseline:
                label = f"**{label}**" if itself else LABELS.get(policy, policy)
            elif policy != "imt":
                label = f"{label}: {LABELS.get(policy, policy)}"
            found.append(Line(label, tuple(values[s] for s in sorted(values)), tuple(own[s] - values[s] for s in both)))
    return found


def _policy_lines(results: Results, unseen: Unseen, task: tuple[str, str], baseline: str) -> list[Line]:
    """Every method beside the baseline, in the experiment's ways to act, each beside the baseline's same one."""
    found = []
    for policy in results.experiment.policies:
        reference = unseen.values(baseline, task, policy)
        for method in sorted(results.methods, key=lambda name: name != baseline):
            values = unseen.values(method, task, policy)
            if not values:
                continue
            itself = method == baseline
            label = f"**{results.label(method)}**" if itself else results.label(method)
            if policy != "imt":
                label = f"{label}: {LABELS[policy]}"
            both = [] if itself else sorted(set(reference) & set(values))
            ahead = tuple(reference[s] - values[s] for s in both)
            found.append(Line(label, tuple(values[s] for s in sorted(values)), ahead))
    return found


def verdict(ahead: Sequence[float]) -> str:
    """What the paired differences to the baseline say, in words.

    Args:
        ahead: by how much the baseline is ahead, of each seed.

    Returns:
        Whether the baseline is better or worse: the 95 % interval of the interquartile mean leaves out 0.
    """
    if len(ahead) < LEAST_SEEDS:
        return f"fewer than {LEAST_SEEDS} seeds"
    low, high = stats.bootstrap_interval(stats.iqm, [ahead], resamples=_RESAMPLES)
    return "baseline better" if low > 0 else "baseline worse" if high < 0 else "no difference seen"


def shown_policies(results: Results, method: str) -> tuple[str, ...] | None:
    """Ways in which a method is shown; None: all, of the experiment's baseline.

    Of another method all that use its weights, so that none is judged by the one that suits it least; of one that
    learned on the held-out tasks, each network on its own.
    """
    if method == (results.experiment.baseline or results.methods[0]):
        return None
    own = results.experiment.methods[method].options.get("train_split") == "test"
    return ("own",) if own else ("imt", "imt_mixture", "imt_10", "best", "vote", "weighted", "uniform")


def reference_text(results: Results, task: tuple[str, str]) -> str:
    """How many transitions of a held-out task weights are made from where nothing else is said: "4,096 transitions"."""
    from metarl_core.agents.imt.run_config import ImtRunConfig

    cells = (c for c in results.experiment.cells if c.key[1:3] == task and c.method.name in results.methods)
    options = (cell.config.hyperparameters for cell in cells)
    steps = sorted({hyper.reference_steps for hyper in options if isinstance(hyper, ImtRunConfig)})
    return " or ".join(f"{count:,}" for count in steps) + " transitions"


def unseen_table(results: Results, unseen: Unseen, task: tuple[str, str]) -> str:
    """Markdown: IQM over the seeds of the mean return on held-out tasks, and by how much the baseline is ahead."""
    found = lines(results, unseen, task)
    if not found:
        return ""
    baseline = results.label(results.experiment.baseline or results.methods[0])
    header = ["on held-out tasks", "IQM return [95 %]", f"{baseline} ahead by, same seeds [95 %]", "seeds"]
    rows = [
        [line.label, figure_text(line.values), figure_text(line.ahead) if line.ahead else "-", str(len(line.values))]
        for line in found
    ]
    if results.experiment.policies:
        header.append("verdict")
        rows = [[*row, verdict(line.ahead) if line.ahead else "-"] for row, line in zip(rows, found, strict=True)]
    caption = (
        f"Weights of a held-out task are from {reference_text(results, task)} of it under uniform actions, or from "
        f"{FEW_EPISODES} episodes where a line says so; nothing is trained on it, unless a line says so."
    )
    return f"{caption}\n\n{markdown(header, rows)}"


def solved_table(results: Results, unseen: Unseen, task: tuple[str, str]) -> str:
    """Markdown: return and number of tasks solved, of every method, on the tasks it learned on and on held-out ones."""
    threshold, baseline = results.experiment.solved_return, results.experiment.baseline or results.methods[0]
    if threshold is None:
        return ""
    header = ["method", "tasks", "IQM return [95 %]", "IQM tasks solved [95 %]", "of", "all seeds", "seeds"]
    header.append(f"P({results.label(baseline)} solves more) [95 %]")
    rows = []
    for policy, which in (("own", "its own"), ("imt", "held out")):
        solved = {
            method: {seed: sum(r >= threshold for r in each) for seed, each in found.items()}
            for method in results.methods
            if (found := unseen.returns(method, task, policy))
        }
        for method, counts in solved.items():
            tasks = max(map(len, unseen.returns(method, task, policy).values()))
            returns = list(unseen.values(method, task, policy).values())
            total = f"{sum(counts.values())} / {sum(map(len, unseen.returns(method, task, policy).values()))}"
            row = [results.label(method), which, figure_text(returns), figure_text(list(map(float, counts.values())))]
            rows.append([*row, str(tasks), total, str(len(counts)), _better(solved.get(baseline, {}), counts)])
            if method == baseline:
                rows[-1][-1] = "-"
    caption = f"A task is solved where greedy episodes return {threshold:g} or more on average."
    return caption + "\n\n" + markdown(header, rows)


def _better(ours: Mapping[int, int], others: Mapping[int, int]) -> str:
    if not ours:
        return "-"
    pair = [[float(v) for v in counts.values()] for counts in (ours, others)]
    text = f"{float(stats.probability_of_improvement([pair[0]], [pair[1]])):.3f}"
    if min(map(len, pair)) < LEAST_SEEDS:
        return text
    low, high = stats.bootstrap_interval(stats.probability_of_improvement, [pair[0]], [pair[1]], resamples=_RESAMPLES)
    return f"{text} [{low:.3f}, {high:.3f}]"


def unseen_plot(results: Results, unseen: Unseen) -> Figure | None:
    """The same as intervals, a panel for each family of tasks; of few seeds a dot alone."""
    panels = [(task, found) for task in results.tasks if (found := lines(results, unseen, task))]
    if not panels:
        return None
    names = list(dict.fromkeys(line.label for _, found in panels for line in found))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    labels = 0.08 * max(map(len, names))  # inches, for the names on the left
    figure = Figure(figsize=(labels + 3.0 * columns + 1.0, rows * (0.8 + 0.24 * len(names))), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, sharey=True, squeeze=False)).ravel()
    for place, (task, found) in zip(axes, panels, strict=False):
        for line in found:
            _draw(place, names.index(line.label), line)
        place.set_title(task_text(task).replace("env_tasks_split ", ""), fontsize=10)
        place.set_yticks(range(len(names)), [name.strip("*") for name in names])
        place.set_ylim(len(names) - 0.5, -0.5)
        place.set_xlabel("mean return on held-out tasks (IQM over seeds, 95 %)", fontsize=9)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    return figure


def _draw(axes: object, row: int, line: Line) -> None:
    values: Sequence[float] = line.values
    color = COLORS[0] if line.label.startswith("**") else "#7b8794"
    center = float(stats.iqm([values]))
    if len(values) >= LEAST_SEEDS:
        low, high = stats.bootstrap_interval(stats.iqm, [values], resamples=_RESAMPLES)
        axes.plot([float(low), float(high)], [row, row], color=color, linewidth=3, alpha=0.5)  # type: ignore[attr-defined]
    axes.plot([center], [row], "o", color=color)  # type: ignore[attr-defined]
