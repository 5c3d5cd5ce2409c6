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
from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.observations import is_discrete
from metarl_core.agents.common.options import ConfigError, apply_overrides, option, parse_text, unknown, validate
from metarl_core.agents.registry import ALGORITHMS

__all__ = ["ConfigError", "RunConfig", "named_config", "read_config_file", "resolve_config"]

DEVICES = ("cpu", "cuda")
_PREFIX = "metarl_core/"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run, fully resolved."""

    algorithm: str = option("cder", "name in ALGORITHMS")
    env_id: str = option("DeepSea-v0", "name in list_envs()")
    env_params: dict[str, Any] = dataclasses.field(default_factory=dict, metadata={"doc": "environment parameters"})
    seed: int = option(0, "seed of environment, replay and agent", minimum=0)
    total_steps: int = option(50_000, "environment steps, counted over all instances", minimum=1)
    max_episodes: int | None = option(None, "stop after this many episodes over all instances", minimum=1)
    num_envs: int = option(4, "environment instances that act together", minimum=1)
    env_threads: int | None = option(1, "threads of the vector environment", minimum=1)
    device: str = option("cpu", "where the networks live", choices=DEVICES)
    stop_when_solved: bool = option(False, "end the run when its solve rule is met")
    solve_return: float | None = option(None, "solve rule where the environment has none: mean of 100 episodes")
    log_interval: int = option(1_000, "environment steps between two rows of metrics", minimum=1)
    checkpoint_interval: int = option(25_000, "environment steps between two checkpoints", minimum=1)
    evaluation_episodes: int = option(20, "greedy episodes after training (0: none)", minimum=0)
    hyperparameters: LearnerConfig = dataclasses.field(default_factory=lambda: ALGORITHMS["cder"].config_class())

    def __post_init__(self) -> None:
        """Check the fields that are not checked by their own classes."""
        validate_fields = _ScalarFields(**{name: getattr(self, name) for name in _SCALARS})
        for name in _SCALARS:
            object.__setattr__(self, name, getattr(validate_fields, name))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, as config.json holds them."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Inverse of :meth:`to_dict`.

        Raises:
            ConfigError: an unknown algorithm or field.
        """
        algorithm = str(values.get("algorithm"))
        _check_name(algorithm, list(ALGORITHMS), "algorithm")
        hyper = apply_overrides(ALGORITHMS[algorithm].config_class(), values["hyperparameters"])
        for name in values:
            if name not in {f.name for f in dataclasses.fields(cls)}:
                raise ConfigError(unknown(name, [f.name for f in dataclasses.fields(cls)]))
        return cls(**{**values, "env_params": dict(values["env_params"]), "hyperparameters": hyper})


_SCALARS = tuple(f.name for f in dataclasses.fields(RunConfig) if f.name not in ("env_params", "hyperparameters"))


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
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: expected a table of options")
    return values


def named_config(algorithm: str, env_id: str) -> dict[str, Any]:
    """The configuration that the package ships for an algorithm on an environment; empty if there is none."""
    file = resources.files("metarl_core.agents") / "configs" / algorithm / f"{env_id.removeprefix(_PREFIX)}.json"
    return _parse(file.read_text(encoding="utf-8"), ".json", file.name) if file.is_file() else {}


def resolve_config(
    algorithm: str = "cder",
    env_id: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
) -> RunConfig:
    """Put a run's configuration together.

    Later ones win: the classes' defaults, the shipped configuration for (algorithm, environment), the file, the
    overrides. Keys are fields of RunConfig, options of the algorithm, or parameters of the environment, at the top
    level or in the tables ``hyperparameters`` and ``env_params``.

    Args:
        algorithm: name in ``ALGORITHMS``.
        env_id: name in ``list_envs()``; None: the file's, else DeepSea-v0.
        config_file: TOML or JSON.
        overrides: ``key=value`` texts.

    Raises:
        ConfigError: one line that names what is wrong and the valid choices.
    """
    _check_name(algorithm, list(ALGORITHMS), "algorithm")
    from_file = read_config_file(config_file) if config_file is not None else {}
    from_text = dict(_split(text) for text in overrides)
    env_id = str(env_id or from_text.get("env_id") or from_file.get("env_id") or "DeepSea-v0")
    known = metarl_core.list_envs()
    if env_id.removeprefix(_PREFIX) not in {name.removeprefix(_PREFIX) for name in known}:
        raise ConfigError(unknown(env_id, known, "environment"))
    env_names = list(metarl_core.env_spec(env_id).parameters)
    config_class = ALGORITHMS[algorithm].config_class
    hyper_names = [f.name for f in dataclasses.fields(config_class)]
    top: dict[str, Any] = {}
    hyper: dict[str, Any] = {}
    env_params: dict[str, Any] = {}
    for layer in (named_config(algorithm, env_id), from_file, from_text):
        tables = {name: layer[name] for name in ("hyperparameters", "env_params") if name in layer}
        for name, table in tables.items():
            if not isinstance(table, Mapping):
                raise ConfigError(f"{name}={table!r}: expected a table of options")
        flat = {key: value for key, value in layer.items() if key not in tables}
        for key, value in [*flat.items(), *tables.get("hyperparameters", {}).items()]:
            if key in ("algorithm", "env_id"):
                continue
            if key in _SCALARS:
                top[key] = value
            elif key in hyper_names:
                hyper[key] = value
            elif key in env_names:
                env_params[key] = value
            else:
                raise ConfigError(unknown(key, [*_SCALARS, *hyper_names, *env_names]))
        for key, value in tables.get("env_params", {}).items():
            _check_name(key, env_names, f"parameter of {env_id}")
            env_params[key] = value
    _check_environment(algorithm, env_id, env_params)
    return RunConfig(
        algorithm=algorithm,
        env_id=env_id,
        env_params=env_params,
        hyperparameters=apply_overrides(config_class(), hyper),
        **top,
    )


def _check_environment(algorithm: str, env_id: str, env_params: Mapping[str, Any]) -> None:
    """Make one instance, so that a bad parameter is told before a run directory exists."""
    try:
        envs = metarl_core.make_vec(env_id, 1, num_threads=1, seed=0, **env_params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{env_id}: {error}") from error
    discrete = is_discrete(envs.single_action_space)
    envs.close()
    if not discrete:
        raise ConfigError(f"{env_id} has continuous actions; {algorithm} needs discrete ones")


def _split(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r}: expected key=value")
    return key.strip().lstrip("-").replace("-", "_"), parse_text(value)
