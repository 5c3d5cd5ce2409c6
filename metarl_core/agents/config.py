"""What a training run is made of, and where its values come from."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import metarl_core
from metarl_core.agents.common.actions import Actions, actions_of
from metarl_core.agents.common.config import AgentConfig
from metarl_core.agents.common.options import (
    ConfigError,
    apply_overrides,
    option,
    parse_text,
    preset_values,
    unknown,
    validate,
)
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.agents.task_context import TaskContext
from metarl_core.runs import RunReader
from metarl_core.vector import is_known

__all__ = ["ConfigError", "RunConfig", "named_config", "read_config_file", "resolve_config", "stored_config"]

DEVICES = ("cpu", "cuda")
_PREFIX = "metarl_core/"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run, fully resolved."""

    algorithm: str = option("cder", "name in ALGORITHMS")
    env_id: str = option("DeepSea-v0", "name in list_envs()")
    env_params: dict[str, Any] = dataclasses.field(default_factory=dict, metadata={"doc": "environment parameters"})
    env_tasks: int = option(
        0, "tasks drawn from the environment's family, one for each episode (0: the environment as it is)", minimum=0
    )
    env_tasks_split: str = option(
        "auto",
        "how the family is split into train, val and test; auto: random for tasks that are seeds, else extrapolation",
        choices=("auto", "extrapolation", "interpolation", "random"),
    )
    env_tasks_seed: int = option(0, "seed of the draw of the tasks", minimum=0, maximum=2**63 - 1)
    evaluation_split: str = option(
        "train", "part of the family that the evaluation's tasks are from", choices=("train", "val", "test")
    )
    seed: int = option(0, "seed of environment, replay and agent", minimum=0, maximum=2**64 - 1)
    total_steps: int = option(50_000, "environment steps, counted over all instances", minimum=1)
    max_episodes: int | None = option(None, "stop after this many episodes over all instances", minimum=1)
    num_envs: int = option(4, "environment instances that act together", minimum=1, maximum=2**20)
    env_threads: int | None = option(1, "threads of the vector environment", minimum=1)
    device: str = option(
        "cpu",
        "where the networks live, and on a GPU, where the options allow it, environments and replay",
        choices=DEVICES,
    )
    compile: bool = option(False, "compile the loss with torch.compile; worth its half a minute in long runs")
    cuda_graphs: bool = option(
        False, "record gradient steps as CUDA graphs, where environments and replay live on the GPU, too"
    )
    stop_when_solved: bool = option(False, "end the run when its solve rule is met")
    solve_return: float | None = option(
        None, "solve rule where the environment has none (DeepSea has one): mean return of 100 episodes"
    )
    log_interval: int = option(1_000, "environment steps between two rows of metrics", minimum=1)
    checkpoint_interval: int = option(25_000, "environment steps between two checkpoints", minimum=1)
    evaluation_episodes: int = option(20, "greedy episodes after training (0: none)", minimum=0)
    reward_threshold: float | None = option(
        None,
        "sparse variant of the environment: the reward is 1 where its own is at least this, else 0 (None: its own)",
    )
    hyperparameters: AgentConfig = dataclasses.field(default_factory=lambda: ALGORITHMS["cder"].config_class())

    def __post_init__(self) -> None:
        """Check the fields that are not checked by their own classes."""
        validate_fields = _ScalarFields(**{name: getattr(self, name) for name in _SCALARS})
        for name in _SCALARS:
            object.__setattr__(self, name, getattr(validate_fields, name))
        if self.solve_return is not None and _plain_id(self.env_id) == "DeepSea-v0":
            raise ConfigError(f"solve_return={self.solve_return}: {self.env_id} has a solve rule of its own")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, as config.json holds them."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Inverse of :meth:`to_dict`.

        Raises:
            ConfigError: an unknown algorithm or field, or no algorithm or environment.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(unknown(name, names))
        for name in ("algorithm", "env_id"):
            if not isinstance(values.get(name), str):
                raise ConfigError(f"{name}={values.get(name)!r}: expected text")
        tables = {name: values.get(name, {}) for name in _TABLES}
        _check_tables(tables)
        algorithm = values["algorithm"]
        _check_name(algorithm, list(ALGORITHMS), "algorithm")
        given = tables["hyperparameters"]
        config_class = ALGORITHMS[algorithm].config_class_of(given)
        hyper = apply_overrides(config_class(), {**preset_values(config_class, given), **given})
        return cls(**{**values, "env_params": dict(tables["env_params"]), "hyperparameters": hyper})


_TABLES = ("hyperparameters", "env_params")
_SCALARS = tuple(f.name for f in dataclasses.fields(RunConfig) if f.name not in _TABLES)


def _post_init(self: Any) -> None:
    validate(self)


_ScalarFields = dataclasses.make_dataclass(
    "_ScalarFields",
    [
        (f.name, f.type, dataclasses.field(default=f.default, metadata=f.metadata))
        for f in dataclasses.fields(RunConfig)
        if f.name in _SCALARS
    ],
    frozen=True,
    namespace={"__post_init__": _post_init},
)


def _plain_id(env_id: str) -> str:
    return env_id.removeprefix(_PREFIX)


def _is_native(env_id: str) -> bool:
    return _plain_id(env_id) in {_plain_id(name) for name in metarl_core.list_envs()}


def _check_tables(tables: Mapping[str, Any]) -> None:
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(f"{name}={table!r}: expected a table of options")


def _check_name(name: str, valid: Sequence[str], what: str) -> None:
    if name not in valid:
        raise ConfigError(unknown(name, valid, what))


def read_config_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML or JSON file (told apart by its ending).

    Raises:
        ConfigError: the file is missing, has another ending, or cannot be parsed.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: expected UTF-8 text ({error.reason} at byte {error.start})") from error
    return _parse(text, file.suffix.lower(), str(file))


def _parse(text: str, ending: str, name: str) -> dict[str, Any]:
    try:
        if ending == ".json":
            values = json.loads(text)
        elif ending == ".toml":
            if sys.version_info >= (3, 11):
                import tomllib
            else:
                import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]
            values = tomllib.loads(text)
        else:
            raise ConfigError(f"{name}: a configuration file ends in .toml or .json")
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: expected a table of options")
    return values


def stored_config(reader: RunReader) -> RunConfig:
    """Configuration of a run; options that are newer than the run get their defaults.

    Raises:
        ConfigError: it names an option that does not exist, or an environment or a parameter of it that cannot be made;
            the message names the file.
        RunError: the file is damaged.
    """
    try:
        config = RunConfig.from_dict(reader.config)
        _probe_actions(config.env_id, config.env_params, _is_native(config.env_id))
        return config
    except ConfigError as error:
        raise ConfigError(f"{reader.run_dir / 'config.json'}: {error}") from error


def named_config(algorithm: str, env_id: str) -> dict[str, Any]:
    """The configuration that the package ships for an algorithm on an environment; empty if there is none."""
    file = resources.files("metarl_core.agents") / "configs" / algorithm / f"{_plain_id(env_id)}.json"
    return _parse(file.read_text(encoding="utf-8"), ".json", file.name) if file.is_file() else {}


def resolve_config(
    algorithm: str | None = None,
    env_id: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
) -> RunConfig:
    """Put a run's configuration together.

    Later ones win: the classes' defaults, the shipped configuration for (algorithm, environment), the options of the
    preset that the file or the overrides name, the file, the overrides. Keys are fields of RunConfig, options of the
    algorithm, or parameters of the environment, at the top level or in the tables ``hyperparameters`` and
    ``env_params``. The algorithm and the environment decide which other keys there are, so they are not overridden:
    wherever they are given, they must be the same.

    ``total_steps`` without ``max_episodes`` makes the steps alone end the run. On DeepSea, whose episodes all have
    ``size`` steps, ``total_steps`` follows from ``max_episodes`` where it is not given.

    Args:
        algorithm: name in ``ALGORITHMS``; None: the overrides' or the file's, else cder.
        env_id: name in ``list_envs()``, or one that Gymnasium knows, with its module before a colon if need be; None:
            the overrides' or the file's, else the algorithm's default (most: DeepSea-v0).
        config_file: TOML or JSON.
        overrides: ``key=value`` texts.

    Raises:
        ConfigError: one line that names what is wrong and the valid choices.
    """
    from_file = read_config_file(config_file) if config_file is not None else {}
    from_text = dict(_split(text) for text in overrides)
    file_name = str(config_file)
    algorithm = _agreed(
        "algorithm", [("the argument", algorithm), *_given("algorithm", from_text, from_file, file_name)]
    )
    algorithm = algorithm or "cder"
    _check_name(algorithm, list(ALGORITHMS), "algorithm")
    env_id = _agreed("env_id", [("the argument", env_id), *_given("env_id", from_text, from_file, file_name)])
    spec = ALGORITHMS[algorithm]
    env_id = env_id or spec.defaults.get("env_id", "DeepSea-v0")
    known = metarl_core.list_envs()
    native = _is_native(env_id)
    try:
        if not native and not is_known(env_id):
            raise ConfigError(unknown(env_id, known, "environment"))
    except ImportError as error:
        raise ConfigError(f"environment {env_id!r}: {error}") from error
    # What is not an option is for gymnasium.make, which says what it does not take.
    env_names = list(metarl_core.env_spec(env_id).parameters) if native else []
    hyper_names = spec.option_names
    top: dict[str, Any] = {name: value for name, value in spec.defaults.items() if name != "env_id"}
    given_names: set[str] = set()
    shipped: dict[str, Any] = {}
    own: dict[str, Any] = {}
    env_params: dict[str, Any] = {}
    for hyper, layer in ((shipped, named_config(algorithm, env_id)), (own, from_file), (own, from_text)):
        tables = {name: layer[name] for name in _TABLES if name in layer}
        _check_tables(tables)
        flat = {key: value for key, value in layer.items() if key not in (*tables, "algorithm", "env_id")}
        given = {**flat, **tables.get("hyperparameters", {})}
        given_names |= set(given)
        if "total_steps" in given and "max_episodes" not in given:
            top.pop("max_episodes", None)
        for key, value in given.items():
            if key in _SCALARS and key not in ("algorithm", "env_id"):
                top[key] = value
            elif key in hyper_names:
                hyper[key] = value
            elif key in env_names or not native:
                env_params[key] = value
            else:
                raise ConfigError(unknown(key, [*_SCALARS, *hyper_names, *env_names]))
        for key, value in tables.get("env_params", {}).items():
            if native:
                _check_name(key, env_names, f"parameter of {env_id}")
            env_params[key] = value
    config_class = ALGORITHMS[algorithm].variant(env_id, _probe_actions(env_id, env_params, native)).config_class
    valid = [f.name for f in dataclasses.fields(config_class)]
    for key in own:
        if key not in valid:
            raise ConfigError(
                f"{key}={own[key]!r}: an option of {algorithm} for another kind of actions than {env_id} has"
            )
    config = RunConfig(
        algorithm=algorithm,
        env_id=env_id,
        env_params=env_params,
        hyperparameters=apply_overrides(config_class(), {**shipped, **preset_values(config_class, own), **own}),
        **top,
    )
    TaskContext(config)
    if spec.settle is not None:
        settled: RunConfig = spec.settle(config, frozenset(given_names))
        return settled
    if "total_steps" in top or config.max_episodes is None or _plain_id(env_id) != "DeepSea-v0":
        return config
    size = int(env_params.get("size", metarl_core.env_spec(env_id).parameters["size"].default))
    rounds = -(-config.max_episodes // config.num_envs)
    return dataclasses.replace(config, total_steps=rounds * config.num_envs * size)


def _given(
    key: str, from_text: Mapping[str, Any], from_file: Mapping[str, Any], file_name: str
) -> list[tuple[str, Any]]:
    return [(f"{key}={from_text.get(key)}", from_text.get(key)), (file_name, from_file.get(key))]


def _agreed(key: str, sources: Sequence[tuple[str, Any]]) -> str | None:
    """Value that all sources (pairs of name and value, None where it is not given) agree on."""
    given = [(source, value) for source, value in sources if value is not None]
    for source, value in given:
        if not isinstance(value, str):
            raise ConfigError(f"{key}={value!r} ({source}): expected text")
        if _plain_id(value) != _plain_id(given[0][1]):
            raise ConfigError(f"{key} is {given[0][1]!r} by {given[0][0]}, but {value!r} by {source}; give one")
    return given[0][1] if given else None


def _probe_actions(env_id: str, env_params: Mapping[str, Any], native: bool) -> Actions:
    """Make one instance and read its actions, so that a bad parameter is told before a run directory exists."""
    try:
        envs = metarl_core.make_vec(env_id, 1, num_threads=1, seed=0, **env_params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{env_id}: {error}") from error
    except Exception as error:
        if native:
            raise
        # Others raise what they like, above all when a package is not installed.
        raise ConfigError(f"{env_id}: {type(error).__name__}: {error}") from error
    try:
        return actions_of(envs.single_action_space, env_id)
    finally:
        envs.close()


def _split(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r}: expected key=value")
    return key.strip().lstrip("-").replace("-", "_"), parse_text(value)
