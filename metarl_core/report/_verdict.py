"""What the runs show, in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metarl_core.report._data import Group, Task

__all__ = ["Verdict", "group_verdict", "headline"]


class Verdict(NamedTuple):
    """The outcome of one group: a big figure, what it counts, and a word for its colour."""

    figure: str
    caption: str
    mood: str  # good, bad, neutral


def _span(values: list[int]) -> str:
    return f"{min(values):,} to {max(values):,}" if min(values) != max(values) else f"{values[0]:,}"


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.4g}"


def group_verdict(group: Group) -> Verdict:
    """Say how a group did."""
    runs = group.runs
    judged = [run for run in runs if run.solved is not None]
    if judged:
        needed = [run.episodes_to_solve for run in judged if run.episodes_to_solve is not None]
        counts = f"{len(needed)} of {len(judged)} seeds solved" if len(judged) > 1 else "1 seed"
        if not needed:
            return Verdict("not solved", f"within {_span([run.episodes for run in judged])} episodes; {counts}", "bad")
        figure = f"{np.median(needed):,.0f} episodes"
        spread = f" (median; {_span(needed)})" if len(needed) > 1 else ""
        return Verdict(figure, f"to solve{spread}; {counts}", "good" if len(needed) == len(judged) else "neutral")
    evaluations = [run.evaluation for run in runs if run.evaluation is not None]
    finals = [run.result["final_return"] for run in runs if run.result.get("final_return") is not None]
    for values, name in ((evaluations, "evaluation return"), (finals, "return of the last 100 episodes")):
        if values:
            return Verdict(_mean(values), f"{name}, mean of {len(values)} of {group.seeds}", "neutral")
    return Verdict("no result", "unfinished, or no episode ended", "neutral")


def headline(task: Task) -> str:
    """One or two sentences: what was solved, after how many episodes, against which baseline."""
    solved = [group for group in task.groups if any(run.solved for run in group.runs)]
    judged = [group for group in task.groups if any(run.solved is not None for run in group.runs)]
    failed = [group for group in judged if group not in solved]
    if not judged:
        parts = [f"{group.label}: {group_verdict(group).figure}" for group in task.groups]
        return f"{task.label} has no solve rule. Mean return: {'; '.join(parts)}."
    sentences = [_solved_sentence(group, task) for group in solved]
    within: dict[str, list[str]] = {}
    for group in failed:
        episodes = f"{_span([run.episodes for run in group.runs])} episodes"
        if any(run.status != "finished" for run in group.runs):
            episodes += " (not all runs are finished)"
        within.setdefault(episodes, []).append(group.label)
    for episodes, labels in within.items():
        verb = "does" if len(labels) == 1 else "do"
        what = f"{' and '.join(labels)} {verb} not solve {'it' if solved else task.label} within {episodes}."
        sentences.append(f"On the same task, {what}" if solved else what)
    if len(judged) == 1:
        sentences.append("No baseline among these runs.")
    return " ".join(sentences)


def _solved_sentence(group: Group, task: Task) -> str:
    needed = [run.episodes_to_solve for run in group.runs if run.episodes_to_solve is not None]
    often = "" if len(group.runs) == 1 else f" with {len(needed)} of {len(group.runs)} seeds"
    middle = " (median)" if len(needed) > 1 else ""
    return f"{group.label} solves {task.label}{often} after {np.median(needed):,.0f} episodes{middle}."
