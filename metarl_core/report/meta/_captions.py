"""What is seen in each figure, in words: captions for all, and texts for those who cannot see the figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metarl_core import stats
from metarl_core.report.meta._estimates import estimate, measured
from metarl_core.report.meta._figures_tasks import effective_number
from metarl_core.report.meta._measures import continual_measures, performance, unseen_scores
from metarl_core.report.meta._words import interval, number, quantity, seeds_text
from metarl_core.report.meta.sections import (
    Adaptation,
    AveragingWeights,
    ContinualResults,
    EvaluationCurves,
    RoutingWeights,
    TaskEmbeddings,
    TaskSimilarity,
    TransferCurves,
    UnseenTasks,
)

__all__ = [
    "adaptation",
    "averaging",
    "embeddings",
    "forgetting",
    "heatmaps",
    "routing",
    "similarity",
    "task_curves",
    "transfer",
    "unseen_by_task",
    "unseen_forest",
]

_DETAILS = "The table gives the numbers."


def heatmaps(section: ContinualResults) -> tuple[str, str]:
    """Caption and alternative text of the performance matrices."""
    seeds = {method: len(performance(section, method)) for method in section.performance}
    caption = (
        "Performance on each task (rows) at each checkpoint (columns), mean over the seeds that were measured; orange "
        f"frames: the task's own training had just ended. Grey: not measured. {_counts(seeds)}"
    )
    ends = ", ".join(
        f"{method}: {number(found.value)}"
        for method in section.performance
        if (found := continual_measures(section, method).average) is not None
    )
    return caption, f"{caption} Average performance in the last column: {ends}."


def forgetting(section: ContinualResults) -> tuple[str, str]:
    """Caption and alternative text of the bars."""
    measures = {method: continual_measures(section, method) for method in section.performance}
    seeds = {method: found.average.seeds for method, found in measures.items() if found.average is not None}
    since = "" if section.learned is None else " (before what a method does of its own then, or after it: the better)"
    caption = (
        "Left: mean performance on all tasks at the end. Right: what each task lost between the end of its own "
        f"training{since} and the end, mean over the tasks. Dots: single seeds. Networks that are kept apart and "
        "frozen lose nothing by construction, so that no forgetting is a result only together with what else is shown: "
        f"performance, unseen tasks and stored bytes. {seeds_text(seeds)}"
    )
    each = "; ".join(
        f"{method}: P {interval(found.average)}, F "
        + ("not defined" if method in section.joint else interval(found.forgetting))
        for method, found in measures.items()
    )
    return caption, f"{caption} {each}."


def task_curves(section: EvaluationCurves) -> tuple[str, str]:
    """Caption and alternative text of the curves."""
    seeds = {
        method: int((~np.isnan(np.asarray(curves)).all(axis=(1, 2))).sum()) for method, curves in section.curves.items()
    }
    switches = ""
    if section.phase_starts is not None:
        switches = "Dashed lines: training switched to another task; shaded: the task itself was trained. "
    caption = (
        f"{section.score_name[:1].upper()}{section.score_name[1:]} on each task in evaluations by environment steps of "
        f"the whole sequence, interquartile mean over the seeds. {switches}Points that a seed lacks are left out. "
        f"{seeds_text(seeds)}"
    )
    return caption, f"{caption} Tasks: {', '.join(section.tasks)}. Methods: {', '.join(section.curves)}."


def unseen_forest(section: UnseenTasks) -> tuple[str, str]:
    """Caption and alternative text of the points with intervals."""
    found = {method: estimate(unseen_scores(section, method), stats.iqm) for method in section.scores}
    scale = "as given; scales of the tasks must be equal for that"
    if section.normalised:
        scale = f"on each of them 0 at chance and 1 at {section.reference_name}"
    caption = (
        f"Scores on {quantity(len(section.tasks), 'task')} that were not trained on, {scale}: interquartile mean over "
        "seeds and tasks. Ticks: means of single seeds. Tasks are fixed: intervals hold the spread of seeds, not that "
        f"of tasks. {seeds_text({method: e.seeds for method, e in found.items() if e is not None})}"
    )
    return caption, f"{caption} {'; '.join(f'{method}: {interval(e)}' for method, e in found.items())}."


def unseen_by_task(section: UnseenTasks) -> tuple[str, str]:
    """Caption and alternative text of the scores by task."""
    lines = [
        name
        for name, level in (
            ("dotted: chance", section.chance),
            (f"dashed: {section.reference_name}", section.reference),
        )
        if level is not None
    ]
    shown = f" Lines, {'; '.join(lines)}." if lines else ""
    seeds = {m: len(measured(np.asarray(values))) for m, values in section.scores.items()}
    caption = f"The same by task, on the task's own scale: mean over the seeds.{shown} {seeds_text(seeds)}"
    means = "; ".join(
        f"{task}: "
        + ", ".join(
            f"{method} {interval(estimate(np.asarray(values)[:, k : k + 1], stats.mean))}"
            for method, values in section.scores.items()
        )
        for k, task in enumerate(section.tasks)
    )
    return caption, f"{caption} {means}."


def adaptation(section: Adaptation) -> tuple[str, str]:
    """Caption and alternative text of the adaptation curves."""
    what = "after each number of episodes of adaptation to the new task; 0 is zero-shot"
    return _curves(what, section.curves, "mean" if section.statistic == "mean" else "interquartile mean", section.unit)


def transfer(section: TransferCurves) -> tuple[str, str]:
    """Caption and alternative text of the transfer curves."""
    name = "" if section.scratch == "scratch" else f" ({section.scratch})"
    return _curves(f"on the target task after transfer, and from scratch{name}", section.curves)


def _curves(
    what: str, curves: Mapping[str, object], average: str = "interquartile mean", unit: str = "seed"
) -> tuple[str, str]:
    values = {method: np.asarray(curve, np.float64) for method, curve in curves.items()}
    seeds = {method: int((~np.isnan(curve).all(axis=(1, 2))).sum()) for method, curve in values.items()}
    caption = f"Performance {what}: {average} over {unit}s and tasks. {seeds_text(seeds, unit)}"
    return caption, f"{caption} Methods: {', '.join(curves)}. {_DETAILS}"


def similarity(section: TaskSimilarity) -> tuple[str, str]:
    """Caption and alternative text of the similarity matrix."""
    cosines = np.asarray(section.similarity)
    caption = (
        "Cosine of every two tasks' embeddings: 1 for tasks alike, 0 for unrelated ones, negative for tasks that "
        "differ from the mean in opposite ways."
    )
    if len(cosines) < 2:
        return caption, caption
    between = np.where(np.eye(len(cosines), dtype=np.bool_), -np.inf, cosines)
    row, column = divmod(int(between.argmax()), len(cosines))
    nearest = f"Nearest: {section.tasks[row]} and {section.tasks[column]}, {number(float(between.max()))}."
    return f"{caption} {nearest}", f"{caption} {nearest}"


def averaging(section: AveragingWeights) -> tuple[str, str]:
    """Caption and alternative text of the weights by round."""
    weights = np.asarray(section.weights)
    effective = effective_number(weights, axis=-1).mean(axis=0)
    caption = (
        "Left: weight of each submodel when the common trunk was averaged. Right: effective number of submodels, "
        "1 / sum of squared weights: equal weights give all of them, one submodel alone 1. "
        f"{_counts({'all': len(weights)}, 'mean over ')}"
    )
    ends = f"from {number(float(effective[0]))} in the first round to {number(float(effective[-1]))} in the last"
    return caption, f"{caption} Effective number {ends}."


def routing(section: RoutingWeights) -> tuple[str, str]:
    """Caption and alternative text of the weights on new tasks."""
    where = f"on {section.tasks[0]}" if len(section.tasks) == 1 else "(rows) on each new task (columns)"
    weights = np.asarray(section.weights)
    mean = weights.mean(axis=0)
    caption = f"Weight of each submodel {where}, which adds up to 1. {_counts({'all': len(weights)}, 'mean over ')}"
    most = "; ".join(
        f"{task}: most from {section.submodels[int(mean[:, k].argmax())]}, {number(float(mean[:, k].max()))}"
        for k, task in enumerate(section.tasks)
    )
    return caption, f"{caption} {most}."


def embeddings(section: TaskEmbeddings) -> tuple[str, str]:
    """Caption and alternative text of the map."""
    colors = f" Colours: {', '.join(section.parameters)}." if section.parameters else ""
    marks = "" if section.parts is None else " Circles: training, diamonds: validation, stars: test tasks."
    caption = (
        "Task embeddings in their first two principal components; the axes say how much of the variance each explains. "
        f"Tasks near each other are alike to the router.{colors}{marks} One seed."
    )
    return caption, f"{caption} Tasks: {', '.join(section.tasks)}."


def _counts(seeds: Mapping[str, int], prefix: str = "") -> str:
    """Say the numbers of seeds of a figure without intervals."""
    counts = sorted(set(seeds.values()))
    if counts == [1]:
        return "One seed."
    text = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{prefix}{text} seeds.".capitalize()
