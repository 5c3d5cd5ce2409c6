"""The HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl

from metarl_core.report import _figures, _visitation
from metarl_core.report._data import Run, Task, load_tasks
from metarl_core.report._html import document, figure, png
from metarl_core.report._stats import BAND_NAMES, MIN_SEEDS_FOR_IQM
from metarl_core.report._verdict import group_verdict, headline
from metarl_core.runs._files import atomic_writer

__all__ = ["write_report"]

_FIGURES = (
    ("learning", _figures.learning_curves, "Learning curves", "Returns as the environment gives them, without bonus."),
    (
        "solve",
        _figures.episodes_to_solve,
        "Episodes to solve",
        "bsuite's rule for DeepSea: solved at the first episode at which fewer than 0.9 of all episodes so far were "
        "bad, that is, left the optimal path; the star marks the moment. Elsewhere: the first episode at which the "
        "mean return of 100 episodes reached the run's solve_return. Episodes are counted over all instances.",
    ),
    (
        "visitation",
        _visitation.visitation,
        "Where the agent went",
        "Visits of each cell of DeepSea on a logarithmic scale; grey cells were never reached, white ones cannot be. "
        "The agent starts at the top left and falls one row a step; the treasure is at the bottom right. One seed of "
        "each algorithm.",
    ),
    (
        "curiosity",
        _figures.curiosity,
        "Curiosity",
        "The bonus on the stored transitions, and the two parts of the predicted return's spread: epistemic (between "
        "the submodels; shrinks where the agent has been) and aleatoric (within them; stays under noise).",
    ),
    ("loss", _figures.loss, "Loss", "Of the sampled batches, importance weights included in the loss."),
    (
        "priorities",
        _figures.priorities,
        "Replay priorities",
        "How the replay buffer's priorities are spread at the end of the run, before the exponent alpha.",
    ),
)


def write_report(run_dirs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Path:
    """Write a page about some runs.

    The page needs no network and no other file: pictures are embedded. They are also written as PNG files to
    ``<out without suffix>_files/``.

    Args:
        run_dirs: run directories, finished or not. Runs that differ in the seed alone are shown together; what is
            missing is said on the page.
        out: the HTML file.

    Returns:
        The path of the page.

    Raises:
        RunError: a folder is not a run, or a file of it is damaged.
        ValueError: no runs.
    """
    if not run_dirs:
        raise ValueError("run_dirs is empty; expected at least one run")
    tasks = load_tasks([Path(run_dir) for run_dir in run_dirs])
    out = Path(out)
    pictures = out.with_name(f"{out.stem}_files")
    pictures.mkdir(parents=True, exist_ok=True)
    sections = []
    for number, task in enumerate(tasks):
        prefix = "" if len(tasks) == 1 else f"task{number + 1}-"
        sections.append(_task(task, pictures, prefix))
    count = sum(len(task.runs) for task in tasks)
    page = document(
        " · ".join(task.label for task in tasks), f"{count} {'run' if count == 1 else 'runs'}", "".join(sections)
    )
    with atomic_writer(out) as file:
        file.write(page.encode("utf-8", errors="replace"))
    return out


def _task(task: Task, pictures: Path, prefix: str) -> str:
    parts = [f"<section><h1>{escape(task.label)}</h1>", f'<p class="headline">{escape(headline(task))}</p>']
    parts.append(_cards(task))
    few = [f"{group.label}: {group.seeds}" for group in task.groups if len(group.runs) < MIN_SEEDS_FOR_IQM]
    if few:
        parts.append(f'<p class="note">{escape("; ".join(few))}. So few are an illustration, not evidence.</p>')
    absent = []
    for name, draw, title, text in _FIGURES:
        caption = f"{text} {_how(task)}" if name == "learning" else text
        with mpl.rc_context(_figures.STYLE):
            drawn = draw(task)
            if drawn is None:
                absent.append(title)
                continue
            picture = png(drawn)
        (pictures / f"{prefix}{name}.png").write_bytes(picture)
        parts.append(figure(picture, title, caption))
    parts += _held_out(task, pictures, prefix)
    parts += [_table(task), _missing(task, absent), _reproduce(task), "</section>"]
    return "\n".join(parts)


def _held_out(task: Task, pictures: Path, prefix: str) -> list[str]:
    """What runs of IMT did on tasks that were held out; nothing for other algorithms."""
    groups = [group for group in task.groups if group.algorithm == "imt"]
    if not groups:
        return []
    from metarl_core.report._imt import held_out_pictures, held_out_table

    parts = []
    for number, group in enumerate(groups):
        parts.append(held_out_table(group))
        own = prefix if len(groups) == 1 else f"{prefix}imt{number + 1}-"
        with mpl.rc_context(_figures.STYLE):
            for name, drawn, title, caption in held_out_pictures(group):
                picture = png(drawn)
                (pictures / f"{own}{name}.png").write_bytes(picture)
                parts.append(figure(picture, title, caption))
    return parts


def _how(task: Task) -> str:
    most = max(len(group.runs) for group in task.groups)
    kind = "single" if most == 1 else "range" if most < MIN_SEEDS_FOR_IQM else "iqm"
    return f"Curves: {BAND_NAMES[kind]}; running mean over up to 100 episodes."


def _cards(task: Task) -> str:
    cards = []
    for number, group in enumerate(task.groups):
        verdict = group_verdict(group)
        color = _figures.COLORS[number % len(_figures.COLORS)]
        cards.append(
            f'<div class="card {verdict.mood}" style="border-top-color:{color}">'
            f'<div class="name">{escape(group.label)}</div>'
            f'<div class="big">{escape(verdict.figure)}</div><div class="small">{escape(verdict.caption)}</div></div>'
        )
    return f'<div class="cards">{"".join(cards)}</div>'


_COLUMNS = ["run", "algorithm", "seed", "status", "solved", "episodes to solve", "episodes", "steps"]
_COLUMNS += ["final return", "best return", "evaluation", "wall time", "steps/s"]


def _table(task: Task) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    rows = []
    for group in task.groups:
        for run in group.runs:
            cells = [run.name, group.label, run.seed, run.status, *_figures_of(run)]
            rows.append("<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in cells) + "</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<h2>Runs</h2><div class="wide">{table}</div>'


def _figures_of(run: Run) -> list[Any]:
    result = run.result
    seconds = result.get("wall_time_seconds")
    steps = run.reader.metrics.get("step")
    last_step = int(steps[-1]) if steps is not None and len(steps) else None
    return [
        {True: "yes", False: "no", None: "-"}[run.solved],
        run.episodes_to_solve,
        run.episodes,
        result.get("environment_steps", last_step),
        result.get("final_return"),
        result.get("best_return"),
        run.evaluation,
        None if seconds is None else f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s",
        None if result.get("steps_per_second") is None else round(float(result["steps_per_second"])),
    ]


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.4g}"


def _missing(task: Task, absent: list[str]) -> str:
    lines = [f"No data for: {', '.join(absent)}."] if absent else []
    lines += [f"{run.name} has no {', '.join(run.missing)}." for run in task.runs if run.missing]
    if not lines:
        return ""
    return '<h2>Not shown</h2><ul class="missing">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _reproduce(task: Task) -> str:
    """One block for each group: a command for each seed, the versions and machines used, one configuration."""
    parts = ["<h2>Reproduce</h2>"]
    for group in task.groups:
        commands = "\n".join(run.command for run in group.runs)
        used = dict.fromkeys(f"{_versions(run)}; {_machine(run)}" for run in group.runs)
        first = group.runs[0]
        title = "Resolved configuration"
        if len(group.runs) > 1:
            title += f" of {first.name} (the others differ in the seed, or in what does not change the learning)"
        parts.append(
            f'<div class="run"><h3>{escape(group.label)}</h3><pre class="command">{escape(commands)}</pre>'
            f"<p>{'<br>'.join(map(escape, used))}</p><details><summary>{escape(title)}</summary>"
            f"<pre>{escape(json.dumps(first.config, indent=2))}</pre></details></div>"
        )
    return "".join(parts)


def _versions(run: Run) -> str:
    versions = run.reader.versions.get("versions") or run.result.get("versions") or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "versions not recorded"


def _machine(run: Run) -> str:
    machine = run.reader.versions.get("hardware")
    if not machine:
        return "machine not recorded"
    return f"{machine.get('cpu')}, {machine.get('usable_cores')} cores, {machine.get('isa')}"
