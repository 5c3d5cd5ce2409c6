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


class _Needed(NamedTuple):
    """Episodes until solved, over the seeds that have a rule."""

    solved: list[int]  # of the seeds that solved
    total: int  # all seeds
    median: str  # in words; a seed that did not solve counts with all its episodes

    @property
    def share(self) -> str:
        return f"{len(self.solved)} of {self.total} seeds"


def _needed(group: Group) -> _Needed:
    judged = [run for run in group.runs if run.solved is not None]
    solved = [run.episodes_to_solve for run in judged if run.episodes_to_solve is not None]
    # Each seed's episodes, and whether it needs more than these: what is unsolved sorts behind an equal solved one.
    episodes = sorted(
        (run.episodes, True) if run.episodes_to_solve is None else (run.episodes_to_solve, False) for run in judged
    )
    middle = episodes[(len(episodes) - 1) // 2 : len(episodes) // 2 + 1]
    more = "more than " if any(unsolved for _, unsolved in middle) else ""
    return _Needed(solved, len(judged), f"{more}{np.mean([number for number, _ in middle]):,.0f} episodes")


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.4g}"


def group_verdict(group: Group) -> Verdict:
    """Say how a group did."""
    runs = group.runs
    judged = [run for run in runs if run.solved is not None]
    if judged:
        needed = _needed(group)
        counts = f"{needed.share} solved" if len(judged) > 1 else "1 seed"
        if not needed.solved:
            return Verdict("not solved", f"within {_span([run.episodes for run in judged])} episodes; {counts}", "bad")
        if len(needed.solved) == len(judged):
            spread = f" (median; {_span(needed.solved)})" if len(judged) > 1 else ""
            return Verdict(needed.median, f"to solve{spread}; {counts}", "good")
        spread = f"median, unsolved seeds with all their episodes; those that solved: {_span(needed.solved)}"
        return Verdict(needed.median, f"to solve ({spread}); {counts}", "neutral")
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
    needed = _needed(group)
    if needed.total == 1:
        return f"{group.label} solves {task.label} after {needed.median}."
    if len(needed.solved) == needed.total:
        return f"{group.label} solves {task.label} with {needed.share} after {needed.median} (median)."
    return (
        f"{group.label} solves {task.label} with {needed.share} only; median: {needed.median}, "
        "where an unsolved seed counts with all of its episodes."
    )
