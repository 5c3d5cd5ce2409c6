"""What an experiment of continual runs consists of: a TOML file with ``kind = "continual"``."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from metarl_core.errors import ConfigError
from metarl_core.reproduce.spec import (
    Method,
    _check_choice,
    _check_fields,
    _method,
    _settings,
    _table,
    parse_seeds,
)

if TYPE_CHECKING:
    from metarl_core.agents.continual import ContinualConfig, TaskSequence

__all__ = ["ContinualCell", "ContinualExperiment", "SequenceSpec", "continual_experiment"]

_FIELDS = (
    "kind",
    "title",
    "baseline",
    "seeds",
    "tuning",
    "tuning_seeds",
    "tuning_settings",
    "options",
    "methods",
    "sequences",
)
_SEQUENCE_FIELDS = (
    "name",
    "of",
    "label",
    "tasks",
    "steps",
    "cycles",
    "held_out",
    "split",
    "tasks_seed",
    "params",
    "methods",
    "seeds",
    "options",
    "method_options",
    "tuning",
)
_NOT_IN_DIGEST = ("device", "torch_threads")
# Options that came after results were published, with the value that leaves a run as it was before them.
_NEUTRAL = {"routing": "mixture"}


@dataclasses.dataclass(frozen=True)
class SequenceSpec:
    """A sequence of tasks of an experiment.

    Attributes:
        name: What rows are filed under.
        of: A name of :func:`metarl_core.agents.continual.sequence_names`.
        label: In tables and plots.
        tasks: K.
        steps: Environment steps of each phase.
        cycles: How often the sequence is gone through.
        held_out: Number of unseen tasks.
        split: Of the family; None: its default.
        tasks_seed: Of the draw of the tasks; None: each run's own seed.
        params: Parameters of the environment that all tasks have in common.
    """

    name: str
    of: str
    label: str
    tasks: int
    steps: int
    cycles: int
    held_out: int
    split: str | None
    tasks_seed: int | None
    params: tuple[tuple[str, Any], ...]

    def make(self, seed: int) -> TaskSequence:
        """The sequence of a run.

        Args:
            seed: Of the run.

        Raises:
            ConfigError: there is none; the message says why.
        """
        return _made(self, seed if self.tasks_seed is None else self.tasks_seed)


@functools.lru_cache(maxsize=256)
def _made(spec: SequenceSpec, tasks_seed: int) -> TaskSequence:
    from metarl_core.agents.continual import make_sequence

    return make_sequence(
        spec.of,
        spec.tasks,
        spec.steps,
        cycles=spec.cycles,
        held_out=spec.held_out,
        seed=tasks_seed,
        split=spec.split,
        env_params=dict(spec.params),
    )


@dataclasses.dataclass(frozen=True)
class ContinualCell:
    """One method's way through a sequence, for one seed."""

    method: Method
    sequence: SequenceSpec
    seed: int
    options: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, int]:
        """What a row of the CSV belongs to."""
        return self.method.name, self.sequence.name, self.seed

    @property
    def label(self) -> str:
        """A name for people and for files."""
        name = re.sub(r"[^A-Za-z0-9_.=-]+", "-", self.method.name)
        return f"{name}-{self.sequence.name}-seed{self.seed}"

    @property
    def facts(self) -> dict[str, str]:
        """What ``--only`` selects by."""
        return {
            "method": self.method.name.partition(":")[0],
            "sequence": self.sequence.name,
            "environment": self.sequence.name,
            "seed": str(self.seed),
        }

    @cached_property
    def config(self) -> ContinualConfig:
        """The resolved options.

        Raises:
            ConfigError: the experiment names something that does not exist; the message names the cell.
        """
        from metarl_core.agents.common.options import apply_overrides
        from metarl_core.agents.continual import ContinualConfig
        from metarl_core.agents.continual.run import check_method

        try:
            values = {name: tuple(v) if isinstance(v, list) else v for name, v in self.options.items()}
            config = apply_overrides(ContinualConfig(), values)
            check_method(self.sequence.make(self.seed), self.method.algorithm, config)
        except ConfigError as error:
            raise ConfigError(f"{self.label}: {error}") from error
        return config

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that change with every setting of the run but for its seed, device and threads."""
        options = {
            name: value
            for name, value in dataclasses.asdict(self.config).items()
            if name not in _NOT_IN_DIGEST and not (name in _NEUTRAL and value == _NEUTRAL[name])
        }
        sequence = {k: v for k, v in dataclasses.asdict(self.sequence).items() if k not in ("name", "label")}
        settings = {"method": self.method.algorithm, "sequence": sequence, "config": options}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class ContinualExperiment:
    """Cells, and what their tables compare.

    Attributes:
        name: Of the file.
        title: Of the tables.
        baseline: The method that the goals are about.
        tuning: How settings were chosen, in words.
        methods: By name, in the order of the tables.
        sequences: In the order of the tables.
        cells: Reported.
        tuning_cells: Of the tuning seeds.
    """

    name: str
    title: str
    baseline: str
    tuning: str
    methods: Mapping[str, Method]
    sequences: tuple[SequenceSpec, ...]
    cells: tuple[ContinualCell, ...]
    tuning_cells: tuple[ContinualCell, ...]

    def of_tuning(self) -> ContinualExperiment:
        """The tuning runs as an experiment of their own, each setting a method."""
        methods = {cell.method.name: cell.method for cell in self.tuning_cells}
        return dataclasses.replace(
            self, title=f"Tuning of: {self.title}", methods=methods, cells=self.tuning_cells, tuning_cells=()
        )


def continual_experiment(name: str, values: Mapping[str, Any]) -> ContinualExperiment:
    """Build the experiment of a file.

    Args:
        name: Of the file.
        values: Its content; docs/experiments.md describes it.

    Raises:
        ConfigError: what is wrong in it.
    """
    from metarl_core.agents.continual.registry import method_class

    _check_fields(values, _FIELDS, "field")
    methods = {
        key: _method(key, _table(table, f"methods.{key}"))
        for key, table in _table(values.get("methods", {}), "methods").items()
    }
    if not methods:
        raise ConfigError("methods: expected at least one")
    for method in methods.values():
        method_class(method.algorithm)
        _check_own(method.options, f"methods.{method.name}.options")
    baseline = values.get("baseline", next(iter(methods)))
    _check_choice("baseline", baseline, list(methods))
    seeds = parse_seeds(values.get("seeds", "0-9"))
    tuning_seeds = parse_seeds(values.get("tuning_seeds", "100-102"), "tuning_seeds")
    blocks = [_table(block, "sequences") for block in values.get("sequences", [])]
    if not blocks:
        raise ConfigError("sequences: expected at least one")
    shared = _table(values.get("options", {}), "options")
    sequences = [_sequence(block) for block in blocks]
    for sequence in sequences:
        if sum(sequence.name == other.name for other in sequences) > 1:
            raise ConfigError(f"sequences: {sequence.name} comes twice; give one of them another name")
    settings = _table(values.get("tuning_settings", {}), "tuning_settings")
    for of_method in settings:
        _check_choice("tuning_settings", of_method, list(methods))
    tried = {
        key: list(zip(_settings(method, tables), tables, strict=True))
        for key, method in methods.items()
        for tables in (settings.get(key, [{}]),)
    }
    as_they_are: dict[str, list[tuple[Method, Mapping[str, Any]]]] = {
        key: [(method, {})] for key, method in methods.items()
    }
    cells, tuning = [], []
    for sequence, block in zip(sequences, blocks, strict=True):
        own_seeds = parse_seeds(block["seeds"]) if "seeds" in block else seeds
        cells += list(_cells(sequence, block, shared, methods, own_seeds, as_they_are))
        if block.get("tuning", True):
            tuning += list(_cells(sequence, block, shared, methods, tuning_seeds, tried))
    both = sorted({cell.seed for cell in cells} & set(tuning_seeds))
    if both:
        raise ConfigError(f"tuning_seeds: {both} are reported as well; tuning and reporting need different seeds")
    return ContinualExperiment(
        name=name,
        title=str(values.get("title", name)),
        baseline=baseline,
        tuning=str(values.get("tuning", "")),
        methods=methods,
        sequences=tuple(sequences),
        cells=tuple(cells),
        tuning_cells=tuple(tuning),
    )


def _sequence(block: Mapping[str, Any]) -> SequenceSpec:
    _check_fields(block, _SEQUENCE_FIELDS, "field of sequences")
    name = block.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ConfigError(f"sequences: name={name!r}: expected letters, digits, '_', '-' and '.'")
    tasks_seed = block.get("tasks_seed", "seed")
    if tasks_seed != "seed" and (type(tasks_seed) is not int or tasks_seed < 0):
        raise ConfigError(
            f"sequences: tasks_seed={tasks_seed!r}: expected an integer >= 0, or 'seed' for each run's own"
        )
    numbers = {}
    for field, default in (("tasks", 5), ("steps", 20_000), ("cycles", 1), ("held_out", 5)):
        value = block.get(field, default)
        if type(value) is not int or value < (0 if field == "held_out" else 1):
            raise ConfigError(f"sequences: {name}: {field}={value!r}: expected an integer >= 1 (held_out: 0)")
        numbers[field] = value
    split = block.get("split")
    if split is not None and not isinstance(split, str):
        raise ConfigError(f"sequences: {name}: split={split!r}: expected the name of a split")
    return SequenceSpec(
        name=name,
        of=str(block.get("of", name)),
        label=str(block.get("label", name)),
        split=split,
        tasks_seed=None if tasks_seed == "seed" else tasks_seed,
        params=tuple(_table(block.get("params", {}), "params").items()),
        **numbers,
    )


def _cells(
    sequence: SequenceSpec,
    block: Mapping[str, Any],
    shared: Mapping[str, Any],
    methods: Mapping[str, Method],
    seeds: Sequence[int],
    variants: Mapping[str, Sequence[tuple[Method, Mapping[str, Any]]]],
) -> Iterator[ContinualCell]:
    """Cells of a sequence; options of all methods, then its own, then the method's, then the method's on it."""
    names = block.get("methods", list(methods))
    options = _table(block.get("options", {}), "options")
    own = _table(block.get("method_options", {}), "method_options")
    for name in (*names, *own):
        _check_choice(f"methods of {sequence.name}", name, list(methods))
    for name, table in own.items():
        _check_own(_table(table, f"method_options.{name}"), f"method_options.{name}")
    for name in names:
        for variant, changed in variants[name]:  # what a tuned setting changes goes before all else
            values = {**shared, **options, **methods[name].options, **own.get(name, {}), **changed}
            for seed in seeds:
                yield ContinualCell(variant, sequence, seed, values)


def _check_own(options: Mapping[str, Any], what: str) -> None:
    from metarl_core.agents.continual.config import COMMON_OPTIONS

    for name in options:
        if name in COMMON_OPTIONS:
            raise ConfigError(f"{what}: {name} must be the same for all methods; set it in options")
