"""Runs as the report sees them: grouped by task (environment and its parameters) and by algorithm."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metarl_core.errors import ConfigError
from metarl_core.report._stats import Array, running_mean, window_for
from metarl_core.runs import RunReader

__all__ = ["BAD_FRACTION", "Group", "Run", "Task", "load_tasks"]

BAD_FRACTION = 0.9
"""bsuite's rule for DeepSea: solved once the fraction of bad episodes falls below this."""

# What runs of one group may differ in, or what does not change what is learned.
_NOT_PART_OF_GROUP = ("seed", "device", "log_interval", "checkpoint_interval", "evaluation_episodes", "env_threads")


class Run:
    """One run with what the figures need."""

    def __init__(self, run_dir: Path) -> None:
        self.reader = RunReader(run_dir)
        self.run_dir = run_dir
        self.config = self.reader.config
        self.result: dict[str, Any] = self.reader.result or {}
        self.algorithm = str(self.config.get("algorithm", "unknown"))
        self.env_id = str(self.config.get("env_id", "unknown"))
        self.env_params: Mapping[str, Any] = self.config.get("env_params") or {}
        self.seed = self.config.get("seed")

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.run_dir.resolve().name

    @property
    def status(self) -> str:
        """finished, interrupted, or unfinished (killed, or still going on)."""
        return str(self.result.get("status", "unfinished"))

    @property
    def episodes(self) -> int:
        """Finished episodes."""
        return int(self.result.get("episodes", len(self.reader.episodes["episode"])))

    @cached_property
    def bad_fraction(self) -> Array | None:
        """Fraction of bad episodes after each episode, float64[episodes]; None where it does not apply."""
        bad = self.reader.episodes["bad_episode"]
        if not len(bad) or np.isnan(bad).any():
            return None
        fraction: Array = np.cumsum(bad) / np.arange(1, len(bad) + 1)
        return fraction

    @cached_property
    def solved(self) -> bool | None:
        """The result's verdict; from the episodes where there is no result yet."""
        if "solved" in self.result:
            verdict: bool | None = self.result["solved"]
            return verdict
        return None if self.bad_fraction is None else bool((self.bad_fraction < BAD_FRACTION).any())

    @cached_property
    def episodes_to_solve(self) -> int | None:
        """Number of the first episode at which the rule was met."""
        if "episodes_to_solve" in self.result:
            number: int | None = self.result["episodes_to_solve"]
            return number
        if not self.solved or self.bad_fraction is None:
            return None
        return int(np.argmax(self.bad_fraction < BAD_FRACTION)) + 1

    @cached_property
    def evaluation(self) -> float | None:
        """Mean return of greedy episodes: of the last ``metarl eval``, else of the one after training."""
        outcome = self.reader.evaluation
        value = self.result.get("evaluation_return") if outcome is None else outcome.get("return_mean")
        return None if value is None else float(value)

    def returns(self, against: str) -> tuple[Array, Array]:
        """Running mean of the episode returns against ``step`` or ``episode``; from the metrics if there are none."""
        episodes = self.reader.episodes
        if len(episodes["return"]):
            window = window_for(len(episodes["return"]))
            return episodes[against][window - 1 :], running_mean(episodes["return"], window)[window - 1 :]
        column = "step" if against == "step" else "episodes"
        return self.metric("return_mean", column)

    def metric(self, name: str, against: str = "step") -> tuple[Array, Array]:
        """A column of the metrics against another; empty if it does not exist."""
        metrics = self.reader.metrics
        if name not in metrics or against not in metrics:
            return np.empty(0), np.empty(0)
        return metrics[against], metrics[name]

    @property
    def command(self) -> str:
        """The command that makes this run again."""
        sittings = self.reader.versions.get("sittings") or [{}]
        words = [str(word) for word in sittings[0].get("command", [])]
        if len(words) > 1 and Path(words[0]).stem in ("metarl", "__main__") and words[1] == "train":
            return shlex.join(["metarl", *_without_out(words[1:])])
        words = ["metarl", "train", self.algorithm, "--env", self.env_id, "--seed", str(self.seed)]
        words += ["--steps", str(self.config.get("total_steps"))]
        settings = {**self.env_params, **(self.config.get("hyperparameters") or {}), **self._other_settings()}
        return shlex.join(words + [f"{key}={_plain(value)}" for key, value in settings.items()])

    def _other_settings(self) -> dict[str, Any]:
        """Settings of the run that differ from what ``metarl train`` takes by itself; all where that is not known."""
        named = ("algorithm", "env_id", "env_params", "seed", "total_steps", "hyperparameters")
        settings = {name: value for name, value in self.config.items() if name not in named}
        try:
            from metarl_core.agents.config import resolve_config

            overrides = [f"{name}={_plain(value)}" for name, value in self.env_params.items()]
            overrides.append(f"total_steps={self.config.get('total_steps')}")
            default = resolve_config(self.algorithm, self.env_id, None, overrides).to_dict()
        except (ImportError, ConfigError):
            return settings
        return {name: value for name, value in settings.items() if name not in default or value != default[name]}

    @property
    def missing(self) -> list[str]:
        """Files that this run could have and does not."""
        found = {
            "result.json (unfinished or killed)": bool(self.result),
            "metrics.jsonl": bool(self.reader.metrics),
            "episodes.csv (no finished episode)": bool(len(self.reader.episodes["episode"])),
            "versions.json": bool(self.reader.versions),
        }
        if self.env_id.endswith("DeepSea-v0"):
            found["visitation.npz"] = (self.run_dir / "visitation.npz").exists()
        return [name for name, there in found.items() if not there]


def _without_out(words: Sequence[str]) -> Iterable[str]:
    skip = False
    for word in words:
        if not skip and word != "--out" and not word.startswith("--out="):
            yield word
        skip = word == "--out" and not skip


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


@dataclasses.dataclass
class Group:
    """Runs that differ in the seed alone."""

    label: str
    runs: list[Run]

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return self.runs[0].algorithm

    @property
    def seeds(self) -> str:
        """How many seeds, in words."""
        return "1 seed" if len(self.runs) == 1 else f"{len(self.runs)} seeds"


@dataclasses.dataclass
class Task:
    """Runs on one environment with one set of parameters."""

    env_id: str
    params: Mapping[str, Any]
    groups: list[Group]

    @property
    def label(self) -> str:
        """The environment with its parameters."""
        params = ", ".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.env_id} ({params})" if params else self.env_id

    @property
    def runs(self) -> list[Run]:
        """All runs of the task."""
        return [run for group in self.groups for run in group.runs]


def load_tasks(run_dirs: Sequence[Path]) -> list[Task]:
    """Read runs and group them, in the order in which they were given.

    Raises:
        RunError: a folder is not a run.
    """
    tasks: dict[str, list[Run]] = {}
    for run_dir in dict.fromkeys(Path(d).resolve() for d in run_dirs):
        run = Run(run_dir)
        key = json.dumps([run.env_id, dict(run.env_params)], sort_keys=True)
        tasks.setdefault(key, []).append(run)
    return [Task(runs[0].env_id, runs[0].env_params, _groups(runs)) for runs in tasks.values()]


def _groups(runs: list[Run]) -> list[Group]:
    keyed: dict[str, list[Run]] = {}
    for run in runs:
        config = {name: value for name, value in run.config.items() if name not in _NOT_PART_OF_GROUP}
        keyed.setdefault(json.dumps(config, sort_keys=True), []).append(run)
    groups = [Group(_label(members[0], runs), members) for members in keyed.values()]
    # What was solved comes first; otherwise the order in which the runs were given stays.
    return sorted(groups, key=lambda group: -np.mean([bool(run.solved) for run in group.runs]))


def _label(run: Run, runs: list[Run]) -> str:
    """Name the algorithm, and the settings in which it differs from others of the same name."""
    mine = _settings(run)
    others = [_settings(other) for other in runs if other.algorithm == run.algorithm]
    different = [key for key in mine if any(other.get(key) != mine[key] for other in others)]
    settings = ", ".join(f"{key}={_plain(mine[key])}" for key in different)
    return f"{run.algorithm} ({settings})" if settings else run.algorithm


def _settings(run: Run) -> dict[str, Any]:
    ignored = (*_NOT_PART_OF_GROUP, "hyperparameters", "env_params")
    top = {name: value for name, value in run.config.items() if name not in ignored}
    return {**top, **(run.config.get("hyperparameters") or {})}
