"""What an adaptation leaves in a folder: its numbers, and a page about them. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from metarl_core.agents.meta.adaptation import FineTuning, KShot, sub_agent_labels
from metarl_core.agents.meta.agent import MetaAgent
from metarl_core.report.meta import Adaptation, MetaReportData, RoutingWeights, TransferCurves, write_meta_report
from metarl_core.report.meta._words import quantity
from metarl_core.runs import versions
from metarl_core.runs._files import write_json
from metarl_core.tasks import Task

__all__ = ["NUMBERS", "PAGE", "write_adaptation_report"]

NUMBERS, PAGE = "adaptation.json", "report.html"
_FORMAT = 1


def write_adaptation_report(
    folder: Path,
    agent: MetaAgent,
    task: Task,
    found: KShot,
    chance: float,
    tuning: FineTuning | None = None,
    command: str = "",
) -> Path:
    """Write ``adaptation.json`` and ``report.html``.

    Args:
        folder: Made if need be; files of these names are replaced.
        agent: Adapted to the task.
        task: The new one.
        found: Its k-shot curve.
        chance: Return of uniform actions.
        tuning: What came after.
        command: That made all this.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NUMBERS, _numbers(agent, task, found, chance, tuning, command))
    return write_meta_report(folder / PAGE, _page(agent, task, found, chance, tuning, command))


def _numbers(
    agent: MetaAgent, task: Task, found: KShot, chance: float, tuning: FineTuning | None, command: str
) -> dict[str, Any]:
    learned: dict[str, Any] | None = None
    if tuning is not None:
        learned = {
            "adaptation_steps": tuning.adaptation_steps,
            "steps": tuning.tuned.steps,
            "tuned": tuning.tuned.returns,
            "scratch": None if tuning.scratch is None else tuning.scratch.returns,
            "threshold": tuning.threshold,
            "measures": None if tuning.measures is None else tuning.measures._asdict(),
        }
    # One adaptation has no interval: its ends would be the value itself.
    several = len(found.returns) > 1
    return {
        "format": _FORMAT,
        "command": command,
        "versions": versions(),
        "task": task.to_dict(),
        "router": agent.router.name,
        "aggregation": agent.aggregation,
        "sub_agents": [
            {"name": each.name, "task": each.task.to_dict(), "weight": float(weight)}
            for each, weight in zip(agent.sub_agents, agent.weights, strict=True)
        ],
        "chance": chance,
        "k_shot": {
            "shots": found.shots,
            "steps": found.steps,
            "returns": found.returns,
            "mean": found.curve.value,
            "low": found.curve.low if several else None,
            "high": found.curve.high if several else None,
        },
        "fine_tuning": learned,
    }


def _page(
    agent: MetaAgent, task: Task, found: KShot, chance: float, tuning: FineTuning | None, command: str
) -> MetaReportData:
    labels, repeats, last = sub_agent_labels(agent), len(found.returns), int(found.shots[-1])
    if len(set(labels)) < len(labels):  # runs of one name in several folders
        labels = [f"{number}: {label}" for number, label in enumerate(labels, 1)]
    params = ", ".join(f"{name}={value:g}" for name, value in task.params.items() if value is not None)
    about = (
        f"{quantity(len(labels), 'sub-agent')} met {task.env_id} ({params}): router {agent.router.name}, aggregation "
        f"{agent.aggregation}. The weights are those after {quantity(last, 'episode')}."
    )
    if repeats > 1:
        about += (
            f" Intervals are over {repeats} adaptations of the same trained agents with other episodes each, and hold "
            "no spread of training; the weights are of the first."
        )
    transfer = None
    if tuning is not None:
        curves = {"fine-tuned": tuning.tuned.returns[None]}
        if tuning.scratch is None:
            about += f" Fine-tuning alone came to {tuning.tuned.returns[-1]:.4g}; {NUMBERS} has its curve."
        else:
            curves["scratch"] = tuning.scratch.returns[None]
            transfer = TransferCurves(tuning.tuned.steps, curves, "scratch", tuning.threshold)
            about += (
                f" The fine-tuned learner has {tuning.adaptation_steps:,} more environment steps behind it, of its "
                f"adaptation, and its sub-agents' training; scratch has none. Threshold: {tuning.threshold:.4g}."
            )
    return MetaReportData(
        title=f"{task.env_id}: a new task",
        about=about,
        commands=[command] if command else [],
        adaptation=Adaptation(
            found.shots, {"adapted": found.returns}, chance=chance, statistic="mean", unit="adaptation"
        ),
        transfer=transfer,
        routing=RoutingWeights(labels, [params or task.env_id], np.asarray(agent.weights)[:, None]),
    )
