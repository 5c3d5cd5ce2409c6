"""What a report says of IMT: held-out tasks by method, what each submodel does on each task, embeddings and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from metarl_core.report._data import Group
from metarl_core.report._stats import Array
from metarl_core.report.meta import (
    AveragingWeights,
    MetaReportData,
    RoutingWeights,
    TaskEmbeddings,
    TaskSimilarity,
    UnseenTasks,
    meta_figures,
)
from metarl_core.report.meta._style import heatmap

__all__ = ["Picture", "held_out_pictures", "held_out_table"]

_CHANCE = "chance"


class Picture(NamedTuple):
    """A figure with its name, title and caption."""

    name: str
    figure: Figure
    title: str
    caption: str


_TEXTS = {
    "forest": (
        "Held-out tasks",
        "Mean return of each method over the held-out tasks; a dot line: the seeds. Intervals over seeds need several.",
    ),
    "by-task": ("Held-out tasks, one by one", "Mean return of each method on each held-out task; dotted: chance."),
    "embeddings": (
        "Task embeddings",
        "First two principal components of the embeddings of training and held-out tasks, from transitions under "
        "uniform actions.",
    ),
    "similarity": ("Similarity of the tasks", "Cosine of the embeddings of every two tasks; held-out ones last."),
    "averaging": (
        "Weights of the submodels in training",
        "With which each submodel's trunk counted in the average that the next round began from.",
    ),
    "routing": (
        "Weights of the submodels on held-out tasks",
        "How much each submodel counts on each held-out task, from its embedding alone.",
    ),
}
_MATRIX = (
    "Each submodel by itself",
    "Mean return of greedy episodes of each submodel alone on training tasks (left; every submodel is named after the "
    "task that it was made for) and on held-out tasks (right). Mean over the seeds.",
)


def _results(group: Group) -> list[dict[str, Any]]:
    """Arrays of the seeds that have compared methods on the same tasks as the first of them."""
    found = [arrays for run in group.runs if (arrays := run.reader.arrays("imt_tasks")) is not None]
    return [arrays for arrays in found if np.array_equal(arrays["test_tasks"], found[0]["test_tasks"])]


def held_out_table(group: Group) -> str:
    """Methods in the order of their mean return on the held-out tasks, as HTML; empty without a finished run."""
    results = _results(group)
    if not results:
        return ""
    methods, descriptions = (results[0][name].tolist() for name in ("methods", "descriptions"))
    returns = np.stack([arrays["returns"] for arrays in results])  # [S, M, T]
    imt = methods.index("imt")
    rows = []
    for m in np.argsort(-returns.mean(axis=(0, 2)), kind="stable"):
        ahead = (returns[:, imt] > returns[:, m]).mean(axis=0).sum()
        cells = [
            f"{returns[:, m].mean():.4g}",
            f"{returns[:, m].mean(axis=0).min():.4g}",
            "-" if m == imt else f"{ahead:.3g} of {returns.shape[2]}",
            descriptions[m],
        ]
        rows.append(f'<tr><th scope="row">{escape(methods[m])}</th>' + "".join(f"<td>{escape(c)}</td>" for c in cells))
    head = "".join(f"<th>{name}</th>" for name in ("method", "mean return", "worst task", "IMT ahead on", "what acts"))
    seeds = f"{len(results)} of {group.seeds}" if len(results) != len(group.runs) else group.seeds
    transductive = any(run.result.get("transductive") for run in group.runs)
    note = (
        '<p class="note">Transductive: last layers (<code>tune_on=test</code>, as the article has it) or whole '
        "networks (<code>train_split=test</code>) were trained on these very tasks. Nothing here tells how IMT does on "
        "tasks that it has not seen.</p>"
        if transductive
        else ""
    )
    return (
        f"<h2>{escape(group.label)} on {returns.shape[2]} held-out tasks</h2>{note}"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"</tr>".join(rows)}</tr></tbody></table></div>'
        f"<p>{escape(seeds)}; returns undiscounted, means over the same number of greedy episodes of every method on "
        "every task. Single submodels and chance start from other random states than the rest.</p>"
        f"{_cost_table(group)}{_task_table(results[0])}"
    )


_COSTS = ("environment_steps", "selection_steps", "parameters", "stored_bytes")


def _cost_table(group: Group) -> str:
    """What the runs used, beside what they came to; a dash for what runs of older versions did not count."""
    runs = [run for run in group.runs if run.reader.arrays("imt_tasks") is not None]
    cells = []
    for name in _COSTS:
        used = [run.result[name] for run in runs if run.result.get(name) is not None]
        cells.append(_of_seeds(used) if len(used) == len(runs) else "-")
    head = ("environment steps", "steps on validation tasks", "trained parameters", "stored bytes")
    return (
        f'<h3>What it used</h3><div class="wide"><table><thead><tr>{"".join(f"<th>{name}</th>" for name in head)}</tr>'
        f"</thead><tbody><tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr></tbody></table></div>"
        "<p>Environment steps are those of all training tasks, reference transitions included. Parameters: networks "
        "that are trained and kept, slow copies and optimisers left out; networks of their own "
        "(<code>sharing=none</code>) have no common trunk and no embedding predictors. Bytes: reference transitions, "
        "replay, and random networks that are never trained.</p>"
    )


def _of_seeds(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    median = f"{int(np.median(values)):,}"
    return median if least == most else f"{median} (median; {least:,} to {most:,})"


def held_out_pictures(group: Group) -> Iterator[Picture]:
    """Figures of a group of runs; none without a finished run. Draw them under ``rc_context(STYLE)``."""
    results = _results(group)
    if not results:
        return
    first = results[0]
    train, test = (_labels(first, part) for part in ("train", "test"))
    for name, drawn in meta_figures(_sections(group, results, train, test)).items():
        yield Picture(name, drawn, *_TEXTS[name])
        if name == "by-task":
            yield Picture("submodels", _submodels(results, train, test), *_MATRIX)


def _labels(arrays: dict[str, Any], part: str) -> list[str]:
    return [f"{part} {i}" for i in range(len(arrays[f"{part}_tasks"]))]


def _task_table(arrays: dict[str, Any]) -> str:
    """Which parameters the tasks have that figures name by number."""
    names = [str(name) for name in arrays["parameters"]]
    rows = []
    for part in ("train", "test"):
        for label, values in zip(_labels(arrays, part), arrays[f"{part}_tasks"], strict=True):
            cells = "".join(f"<td>{value:.6g}</td>" for value in values)
            rows.append(f'<tr><th scope="row">{label}</th>{cells}</tr>')
    head = "".join(f"<th>{escape(name)}</th>" for name in ("task", *names))
    return (
        f'<details><summary>Parameters of the tasks</summary><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _sections(group: Group, results: list[dict[str, Any]], train: list[str], test: list[str]) -> MetaReportData:
    first = results[0]
    methods = first["methods"].tolist()
    returns = np.stack([arrays["returns"] for arrays in results], axis=1)  # [M, S, T]
    # IMT as configured is one of the averages: it is shown under its own name alone.
    same = (group.runs[0].config.get("hyperparameters") or {}).get("aggregation")
    scores = {name: returns[m] for m, name in enumerate(methods) if name not in (_CHANCE, same)}
    both = np.concatenate((first["train_embeddings"], first["test_embeddings"]))
    rounds = [r["weights"] for run in group.runs if (r := run.reader.arrays("imt_rounds")) is not None]
    shortest = min(map(len, rounds), default=0)
    parameters = {
        str(name): np.concatenate((first["train_tasks"][:, i], first["test_tasks"][:, i]))
        for i, name in enumerate(first["parameters"])
        if not str(name).endswith("seed")  # a number that says nothing of the task
    }
    names, parts = [*train, *test], ["train"] * len(train) + ["test"] * len(test)
    return MetaReportData(
        title=group.label,
        unseen=UnseenTasks(
            test, scores, chance=returns[methods.index(_CHANCE)].mean(axis=0), paired=True, subject="imt"
        ),
        similarity=TaskSimilarity(names, _cosines(both)),
        averaging=AveragingWeights(train, np.stack([w[:shortest] for w in rounds])) if shortest else None,
        routing=RoutingWeights(train, test, np.stack([arrays["weights"] for arrays in results])),
        embeddings=TaskEmbeddings(names, both, parameters, parts),
    )


def _cosines(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1.0)
    cosines: Array = np.clip(unit @ unit.T, -1.0, 1.0)
    return cosines


def _submodels(results: list[dict[str, Any]], train: list[str], test: list[str]) -> Figure:
    """Return of submodel i on task j, training tasks and held-out ones side by side."""
    own, new = (np.mean([arrays[f"submodels_on_{part}"] for arrays in results], axis=0) for part in ("train", "test"))
    low, high = float(min(own.min(), new.min())), float(max(own.max(), new.max()))
    figure = Figure(figsize=(12.0, 2.6 + 0.36 * len(train)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    heatmap(left, own, train, train, low, high)
    image = heatmap(right, new, train, test, low, high)
    left.set_ylabel("submodel")
    left.set_xlabel("training task")
    right.set_xlabel("held-out task")
    figure.colorbar(image, ax=[left, right], label="mean return", shrink=0.85)
    return figure
