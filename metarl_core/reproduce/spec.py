"""What an experiment consists of, read from a TOML file."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl_core._names import unknown_name
from metarl_core.agents.common.options import field_docs
from metarl_core.agents.config import RunConfig, read_config_file, resolve_config
from metarl_core.agents.imt.curiosity_config import CURIOSITY_OPTIONS, CuriosityOptions
from metarl_core.errors import ConfigError

if TYPE_CHECKING:
    from metarl_core.reproduce.continual.spec import ContinualExperiment

__all__ = [
    "MEASURES",
    "PLOTS",
    "Cell",
    "Experiment",
    "Method",
    "Score",
    "find_experiment",
    "list_experiments",
    "parse_seeds",
    "read_experiment",
]

MEASURES = ("episodes_to_solve", "steps_to_solve", "evaluation_return", "final_return")
"""What a table can be about; fewer episodes or steps are better, a higher return is."""

PLOTS = ("scaling", "curves", "bars", "profile", "unseen")

_FIELDS = (
    "kind",
    "title",
    "measure",
    "plots",
    "baseline",
    "policies",
    "score",
    "solved_return",
    "seeds",
    "tuning",
    "tuning_seeds",
    "tuning_cells",
    "tuning_settings",
    "methods",
    "cells",
)
# Options that came after results were published, with the value that leaves a run as it was before them.
_NEUTRAL = {"reward_threshold": None, "compile": False, "cuda_graphs": False}
_NEUTRAL_HYPERPARAMETERS = {"n_step": 1}  # of every algorithm but CDER, which always had it
_NEUTRAL_CDER = {"bonus_visits": "all", "visit_resolution": 10.0, "novelty_alpha": 0.0}
_NEUTRAL_IMT = {
    name: list(default) if isinstance(default, tuple) else default
    for name, (default, _) in field_docs(CuriosityOptions).items()
    if name in ("exploration", *CURIOSITY_OPTIONS)
}
_METHOD_FIELDS = ("algorithm", "label", "options")
_CELL_FIELDS = ("environment", "methods", "params", "seeds", "options")


@dataclasses.dataclass(frozen=True)
class Method:
    """One line of a plot: an algorithm with options."""

    name: str
    algorithm: str
    label: str
    options: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Score:
    """Returns that count as 0 and as 1 where tasks are put together."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training run of an experiment."""

    method: Method
    environment: str
    params: Mapping[str, Any]
    seed: int
    options: Mapping[str, Any]

    @property
    def params_text(self) -> str:
        """Parameters of the environment as the CSV has them, ``size=20;mapping_seed=42``; empty if none is set."""
        return ";".join(f"{name}={value}" for name, value in self.params.items())

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a row of the CSV belongs to."""
        return self.method.name, self.environment, self.params_text, self.seed

    @property
    def facts(self) -> dict[str, str]:
        """What ``--only`` selects by."""
        return {
            **{name: str(value) for name, value in self.params.items()},
            "method": self.method.name.partition(":")[0],
            "environment": self.environment,
            "seed": str(self.seed),
        }

    @property
    def label(self) -> str:
        """A name for people and for the run directory."""
        parts = [re.sub(r"[^A-Za-z0-9_.=-]+", "-", self.method.name), self.environment.replace("/", "-")]
        parts += [f"{name}{value}" for name, value in self.params.items()]
        return "-".join([*parts, f"seed{self.seed}"])

    @cached_property
    def config(self) -> RunConfig:
        """The resolved run.

        Raises:
            ConfigError: the experiment names something that does not exist; the message names the cell.
        """
        values = {**self.options, **self.method.options, **self.params, "seed": self.seed}
        if values.get("env_tasks_seed") == "seed":
            values["env_tasks_seed"] = self.seed
        try:
            return resolve_config(
                self.method.algorithm, self.environment, None, [_assignment(*v) for v in values.items()]
            )
        except ConfigError as error:
            raise ConfigError(f"{self.label}: {error}") from error

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that change with every setting of the run but for its seed and device."""
        settings = self.config.to_dict()
        settings = {
            name: value
            for name, value in settings.items()
            if name not in ("seed", "device") and not (name in _NEUTRAL and value == _NEUTRAL[name])
        }
        if {**self.options, **self.method.options}.get("env_tasks_seed") == "seed":
            del settings["env_tasks_seed"]
        neutral = {"cder": _NEUTRAL_CDER, "imt": _NEUTRAL_IMT}.get(self.method.algorithm, _NEUTRAL_HYPERPARAMETERS)
        settings["hyperparameters"] = {
            name: value
            for name, value in settings["hyperparameters"].items()
            if not (name in neutral and value == neutral[name])
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A set of cells, and what is drawn of them.

    ``policies`` are the ways to act on held-out tasks in which the methods are compared, each with the baseline's same
    one; none: all of the baseline's, and of the other methods those that suit them.
    """

    name: str
    title: str
    measure: str
    plots: tuple[str, ...]
    baseline: str | None
    policies: tuple[str, ...]
    score: Score | None
    solved_return: float | None
    tuning: str
    methods: Mapping[str, Method]
    cells: tuple[Cell, ...]
    tuning_cells: tuple[Cell, ...]

    def of_tuning(self) -> Experiment:
        """The tuning runs as an experiment of their own, each setting a method, without plots."""
        methods = {cell.method.name: cell.method for cell in self.tuning_cells}
        title = f"Tuning of: {self.title}"
        return dataclasses.replace(
            self, title=title, plots=(), baseline=None, methods=methods, cells=self.tuning_cells, tuning_cells=()
        )


def parse_seeds(value: Any, what: str = "seeds") -> tuple[int, ...]:
    """Seeds from ``"0-9"``, ``"0-4,7"``, an integer or a list of integers.

    Raises:
        ConfigError: something else, a negative seed, or one twice.
    """
    seeds: list[int] = []
    try:
        for part in value if isinstance(value, list) else str(value).split(","):
            first, dash, last = str(part).strip().partition("-")
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        raise ConfigError(f"{what}={value!r}: expected seeds such as 3, '0-9' or '0-4,7'") from None
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"{what}={value!r}: expected at least one seed, none negative and none twice")
    return tuple(seeds)


def list_experiments() -> dict[str, str]:
    """Names and titles of the experiments that the package ships."""
    return {name: str(read_config_file(path).get("title", "")) for name, path in sorted(_shipped().items())}


def find_experiment(name: str) -> Experiment | ContinualExperiment:
    """Read a shipped experiment by name, or the file ``name`` if it ends in .toml.

    Raises:
        ConfigError: there is none, or it is not valid.
    """
    if name.endswith(".toml"):
        return read_experiment(name)
    shipped = _shipped()
    if name not in shipped:
        raise ConfigError(unknown_name("experiment", name, sorted(shipped)))
    return read_experiment(shipped[name])


def read_experiment(path: str | os.PathLike[str]) -> Experiment | ContinualExperiment:
    """Read an experiment; docs/experiments.md describes the file.

    Raises:
        ConfigError: one line that names the file and what is wrong in it.
    """
    file = Path(path)
    values = read_config_file(file)
    try:
        kind = values.get("kind", "training")
        _check_choice("kind", kind, ("training", "continual"))
        if kind == "continual":
            from metarl_core.reproduce.continual.spec import continual_experiment

            return continual_experiment(file.stem, values)
        return _experiment(file.stem, values)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("metarl_core.reproduce"))) / "experiments"
    return {path.stem: path for path in folder.glob("*.toml")}


def _experiment(name: str, values: Mapping[str, Any]) -> Experiment:
    _check_fields(values, _FIELDS, "field")
    measure, plots = values.get("measure", "episodes_to_solve"), tuple(values.get("plots", ()))
    _check_choice("measure", measure, MEASURES)
    for plot in plots:
        _check_choice("plots", plot, PLOTS)
    methods = {
        key: _method(key, _table(table, f"methods.{key}"))
        for key, table in _table(values.get("methods", {}), "methods").items()
    }
    if not methods:
        raise ConfigError("methods: expected at least one")
    baseline = values.get("baseline")
    if baseline is not None:
        _check_choice("baseline", baseline, list(methods))
    policies = _policies(values.get("policies", []))
    seeds = parse_seeds(values.get("seeds", "0-4"))
    tuning_seeds = parse_seeds(values.get("tuning_seeds", "100-101"), "tuning_seeds")
    blocks = [_table(block, "cells") for block in values.get("cells", [])]
    cells = tuple(cell for block in blocks for cell in _cells(block, methods, seeds))
    keys = [cell.key for cell in cells]
    if not cells:
        raise ConfigError("cells: expected at least one")
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"cells: {'-'.join(map(str, key))} comes twice")
    if measure == "steps_to_solve":
        for cell in cells:
            if not cell.config.stop_when_solved:
                raise ConfigError(f"{cell.label}: measure='steps_to_solve' needs stop_when_solved=true")
    both = sorted({cell.seed for cell in cells} & set(tuning_seeds))
    if both:
        raise ConfigError(f"tuning_seeds: {both} are reported as well; tuning and reporting need different seeds")
    tuning_blocks = [_table(block, "tuning_cells") for block in values.get("tuning_cells", blocks)]
    settings = _table(values.get("tuning_settings", {}), "tuning_settings")
    tried = {name: _settings(method, settings.get(name, [{}])) for name, method in methods.items()}
    for of_method in settings:
        _check_choice("tuning_settings", of_method, list(methods))
    tuning = tuple(
        dataclasses.replace(cell, method=setting)
        for block in tuning_blocks
        for cell in _cells({**block, "seeds": ",".join(map(str, tuning_seeds))}, methods, tuning_seeds)
        for setting in tried[cell.method.name]
    )
    return Experiment(
        name=name,
        title=str(values.get("title", name)),
        measure=measure,
        plots=plots,
        baseline=baseline,
        policies=policies,
        score=_score(values.get("score")),
        solved_return=_solved_return(values.get("solved_return")),
        tuning=str(values.get("tuning", "")),
        methods=methods,
        cells=cells,
        tuning_cells=tuning,
    )


def _policies(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"policies={value!r}: expected a list of ways to act on held-out tasks")
    if not value:
        return ()
    from metarl_core.agents.imt.comparison import METHODS

    for name in value:
        _check_choice("policies", name, (*METHODS, "own"))
        if value.count(name) > 1:
            raise ConfigError(f"policies: {name!r} comes twice")
    return tuple(value)


def _score(value: Any) -> Score | None:
    if value is None:
        return None
    table = _table(value, "score")
    _check_fields(table, ("low", "high"), "field of score")
    try:
        score = Score(float(table["low"]), float(table["high"]))
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"score={dict(table)!r}: expected numbers low and high") from None
    if not score.low < score.high:
        raise ConfigError(f"score: low={score.low} must be < high={score.high}")
    return score


def _solved_return(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"solved_return={value!r}: expected a number, the return from which on a task is solved")
    return float(value)


def _method(name: str, table: Mapping[str, Any]) -> Method:
    _check_fields(table, _METHOD_FIELDS, f"field of methods.{name}")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ConfigError(f"methods: {name!r}: expected letters, digits, '_', '-' and '.'")
    algorithm = table.get("algorithm", name)
    return Method(name, algorithm, table.get("label", name), _table(table.get("options", {}), "options"))


def _settings(method: Method, tables: Any) -> list[Method]:
    """The method with each of the settings that are tried, named by what they change."""
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"tuning_settings.{method.name}={tables!r}: expected a list of tables of options")
    found = []
    for table in tables:
        options = _table(table, f"tuning_settings.{method.name}")
        change = ",".join(f"{name}={value}" for name, value in options.items())
        name = f"{method.name}:{change}" if change else method.name
        label = f"{method.label}: {change.replace(',', ', ')}" if change else method.label
        found.append(Method(name, method.algorithm, label, {**method.options, **options}))
    return found


def _cells(block: Mapping[str, Any], methods: Mapping[str, Method], seeds: Sequence[int]) -> Iterator[Cell]:
    _check_fields(block, _CELL_FIELDS, "field of cells")
    environment = block.get("environment")
    if not isinstance(environment, str):
        raise ConfigError(f"cells: environment={environment!r}: expected the id of an environment")
    params = _table(block.get("params", {}), "params")
    axes = [value if isinstance(value, list) else [value] for value in params.values()]
    names = block.get("methods", list(methods))
    for name in names:
        _check_choice("methods", name, list(methods))
    for values in itertools.product(*axes):
        for name in names:
            for seed in parse_seeds(block["seeds"]) if "seeds" in block else seeds:
                options = _table(block.get("options", {}), "options")
                yield Cell(methods[name], environment, dict(zip(params, values, strict=True)), seed, options)


def _check_fields(table: Mapping[str, Any], names: Sequence[str], what: str) -> None:
    for name in table:
        if name not in names:
            raise ConfigError(unknown_name(what, name, names))


def _check_choice(what: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{what}={value!r}: choose from {', '.join(choices)}")


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what}={value!r}: expected a table")
    return value


def _assignment(name: str, value: Any) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, list):
        value = ",".join(map(str, value)) + ","
    return f"{name}={value}"
