"""Dataclass options that carry their own documentation, bounds and parsing rule.

Every hyper-parameter of an algorithm is one dataclass field made with :func:`option`; the command line, configuration
files and the documentation all read the same field.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from metarl_core._names import unknown_name
from metarl_core.errors import ConfigError

__all__ = ["ConfigError", "apply_overrides", "field_docs", "option", "parse_text", "preset_values", "validate"]

T = TypeVar("T")


def option(
    default: Any,
    doc: str,
    *,
    choices: Sequence[str] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
) -> Any:
    """Declare one configuration field.

    Args:
        default: value when nothing is given.
        doc: one sentence, with unit and source where there is one.
        choices: the valid strings.
        minimum: smallest valid number.
        maximum: largest valid number.
        above: number that a value must exceed.

    Returns:
        A dataclass field.
    """
    metadata = {"doc": doc, "choices": choices, "minimum": minimum, "maximum": maximum, "above": above}
    return dataclasses.field(default=default, metadata=metadata)


def field_docs(cls: type) -> dict[str, tuple[Any, str]]:
    """Map every field of a configuration class to its default and documentation."""
    return {f.name: (f.default, str(f.metadata.get("doc", ""))) for f in dataclasses.fields(cls)}


def parse_text(text: str) -> Any:
    """Turn the right side of ``key=value`` into a number, a truth value, a tuple (comma separated) or a string."""
    lowered = text.strip().lower()
    if lowered in {"true", "yes", "on"}:
        return True
    if lowered in {"false", "no", "off"}:
        return False
    if lowered in {"none", "null"}:
        return None
    if "," in text:
        return tuple(parse_text(part) for part in text.strip("()[] ").split(",") if part.strip())
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()


def _convert(name: str, value: Any, hint: Any) -> Any:
    """Convert ``value`` to the annotated type, never losing information."""
    alternatives = typing.get_args(hint) if typing.get_origin(hint) is not tuple else ()
    if value is None and type(None) in alternatives:
        return None
    if alternatives:
        hint = next(a for a in alternatives if a is not type(None))
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if hint is str and isinstance(value, str):
        return value
    if typing.get_origin(hint) is tuple:
        items = value if isinstance(value, (list, tuple)) else (value,)
        return tuple(_convert(name, item, typing.get_args(hint)[0]) for item in items)
    wanted = {bool: "true or false", int: "an integer", float: "a number", str: "text"}.get(hint, "integers (64,64)")
    raise ConfigError(f"{name}={value!r}: expected {wanted}")


def validate(config: Any) -> None:
    """Check every field of a dataclass made of :func:`option` fields; converts values to the annotated type.

    Raises:
        ConfigError: names the field, its value and what is expected.
    """
    hints = typing.get_type_hints(type(config))
    for f in dataclasses.fields(config):
        value, meta = getattr(config, f.name), f.metadata
        if value is None and "none" in (meta.get("choices") or ()):  # key=none reads as None
            value = "none"
        value = _convert(f.name, value, hints[f.name])
        object.__setattr__(config, f.name, value)
        if value is None:
            continue
        if meta.get("choices") and value not in meta["choices"]:
            raise ConfigError(f"{f.name}={value!r}: choose one of {', '.join(meta['choices'])}")
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, (int, float)):
                continue
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(f"{f.name}={value!r}: must be finite")
            if meta.get("minimum") is not None and number < meta["minimum"]:
                raise ConfigError(f"{f.name}={value!r}: must be >= {meta['minimum']}")
            if meta.get("maximum") is not None and number > meta["maximum"]:
                raise ConfigError(f"{f.name}={value!r}: must be <= {meta['maximum']}")
            if meta.get("above") is not None and number <= meta["above"]:
                raise ConfigError(f"{f.name}={value!r}: must be > {meta['above']}")


def apply_overrides(config: T, values: Mapping[str, Any]) -> T:
    """Copy a configuration dataclass with some fields replaced.

    Raises:
        ConfigError: a key is no field of the dataclass, or a value is not valid.
    """
    names = [f.name for f in dataclasses.fields(config)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            raise ConfigError(unknown(key, names))
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def preset_values(config_class: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the preset that ``values`` names; empty where none is named or the class has no presets.

    Args:
        config_class: a configuration class, its presets in ``PRESETS``.
        values: options, ``preset`` among them or not.

    Raises:
        ConfigError: there is no such preset.
    """
    presets: Mapping[str, Mapping[str, Any]] = getattr(config_class, "PRESETS", {})
    if "preset" not in values or not presets:
        return {}
    name = values["preset"]
    if not isinstance(name, str) or name not in presets:
        raise ConfigError(unknown(str(name), list(presets), "preset"))
    return {**presets[name], "preset": name}


def unknown(key: str, names: Sequence[str], what: str = "option") -> str:
    """One line that names what is not known and what is."""
    return unknown_name(what, key, sorted(names))
