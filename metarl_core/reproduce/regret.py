"""Regret on held-out tasks: what networks that were trained on these very tasks do better."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from metarl_core.agents.imt.comparison import FEW_EPISODES
from metarl_core.reproduce.summary import Results, figure_text, markdown
from metarl_core.reproduce.unseen import Unseen
from metarl_core.reproduce.unseen_summary import LABELS, reference_text, shown_policies

__all__ = ["Regret", "oracle_method", "regret_table", "regrets"]


@dataclasses.dataclass(frozen=True)
class Regret:
    """By how much the oracle is ahead of a way to act, by the seeds that both have.

    Attributes:
        label: what acts.
        reference: of each seed; weights, if it has any, are from the reference transitions of the new task.
        episodes: the same with weights from ``FEW_EPISODES`` of the new task; empty where there is no such way to act.
        share: ``reference``, over the regret of uniform actions of the same seed; empty where these are no worse than
            the oracle, or were not measured.
    """

    label: str
    reference: tuple[float, ...]
    episodes: tuple[float, ...]
    share: tuple[float, ...]


def oracle_method(results: Results) -> str | None:
    """The method with rows whose networks were trained on the held-out tasks (``train_split=test``); None: none."""
    methods = results.experiment.methods
    return next((name for name in results.methods if methods[name].options.get("train_split") == "test"), None)


def regrets(results: Results, unseen: Unseen, task: tuple[str, str]) -> list[Regret]:
    """Regrets on the held-out tasks of an environment; none without rows of an oracle.

    A seed's oracle is one network for each of the tasks that its other methods are measured on, each playing the task
    that it was trained on, and the regret is the difference of the mean returns.
    """
    name = oracle_method(results)
    oracle = unseen.values(name, task, "own") if name else {}
    if name is None or not oracle:
        return []
    baseline = results.experiment.baseline or results.methods[0]
    chance = _behind(oracle, unseen.values(baseline, task, "chance"))
    found = []
    for method in sorted((m for m in results.methods if m != name), key=lambda m: m != baseline):
        shown = shown_policies(results, method)
        for policy in unseen.policies(method, task):
            if policy in ("own", "imt_10") or (shown is not None and policy not in shown):
                continue
            label = results.label(method)
            if (method, policy) == (baseline, "imt"):
                label = f"**{label}**"
            elif method == baseline:
                label = LABELS.get(policy, policy)
            elif policy != "imt":
                label = f"{label}: {LABELS.get(policy, policy)}"
            behind = _behind(oracle, unseen.values(method, task, policy))
            if not behind:
                continue
            few = _behind(oracle, unseen.values(method, task, "imt_10")) if policy == "imt" else {}
            found.append(Regret(label, _by_seed(behind), _by_seed(few), _shares(behind, chance)))
    return found


def regret_table(results: Results, unseen: Unseen, task: tuple[str, str]) -> str:
    """Markdown: IQM over the seeds of the regret against the oracle, with its interval; empty without an oracle."""
    found = regrets(results, unseen, task)
    name = oracle_method(results)
    if not found or name is None:
        return ""
    met = reference_text(results, task)
    header = ["on held-out tasks", f"regret, from {met} [95 %]", f"regret, from {FEW_EPISODES} episodes [95 %]"]
    header += ["share of chance's", "seeds"]
    rows = [
        [
            regret.label,
            *(figure_text(values) if values else "-" for values in (regret.reference, regret.episodes, regret.share)),
            str(len(regret.reference)),
        ]
        for regret in found
    ]
    note = (
        f"Regret against *{results.label(name)}*: their mean return, each network on the task that it was trained on, "
        "minus that of what acts; interquartile mean of the differences on the same seeds. Below 0: better than they. "
        f"What acts is not trained on the task; its weights, if any, are from {met} of it under uniform actions, or "
        f"from {FEW_EPISODES} episodes."
    )
    return f"{note}\n\n{markdown(header, rows)}"


def _behind(oracle: Mapping[int, float], values: Mapping[int, float]) -> dict[int, float]:
    return {seed: oracle[seed] - values[seed] for seed in sorted(set(oracle) & set(values))}


def _by_seed(values: Mapping[int, float]) -> tuple[float, ...]:
    return tuple(values[seed] for seed in sorted(values))


def _shares(behind: Mapping[int, float], chance: Mapping[int, float]) -> tuple[float, ...]:
    seeds: Sequence[int] = sorted(set(behind) & set(chance))
    if any(chance[seed] <= 0 for seed in seeds):
        return ()
    return tuple(behind[seed] / chance[seed] for seed in seeds)
