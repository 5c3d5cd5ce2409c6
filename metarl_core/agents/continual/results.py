"""Result files of continual learning: one for each method and seed, whole or not there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.run import ContinualResult
from metarl_core.agents.continual.sequence import TaskSequence
from metarl_core.errors import RunError
from metarl_core.runs import versions
from metarl_core.runs._files import atomic_writer, finite_or_text, read_object, write_json
from metarl_core.runs._tables import csv_line

__all__ = ["CURVE_COLUMNS", "read_result", "result_path", "write_curves", "write_result"]

FORMAT = 2
CURVE_COLUMNS = ("method", "seed", "step", "phase_end", "task", "return")


def result_path(folder: Path, method: str, seed: int) -> Path:
    """File of a method's result."""
    return folder / "results" / f"{method}-seed{seed}.json"


def _settings(sequence: TaskSequence, config: ContinualConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(
        json.dumps(finite_or_text({"sequence": sequence.to_dict(), "config": dataclasses.asdict(config)}))
    )
    return plain


def write_result(
    folder: Path, sequence: TaskSequence, config: ContinualConfig, result: ContinualResult, commit: str = ""
) -> Path:
    """Write a result with everything it was made by; atomically.

    Args:
        folder: Of all results of the sequence.
        sequence: What was learned.
        config: How.
        result: What came out.
        commit: Of the sources.
    """
    path = result_path(folder, result.method, result.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"format": FORMAT, "commit": commit, "versions": versions(), **_settings(sequence, config)}
    write_json(path, {**about, "result": dataclasses.asdict(result)})
    return path


def read_result(path: Path, sequence: TaskSequence, config: ContinualConfig) -> tuple[ContinualResult, str]:
    """Read a result, and the commit that it was made by.

    Raises:
        RunError: it is damaged, or was made by another sequence or other settings; the message names the difference.
    """
    stored = read_object(path)
    if stored.get("format") != FORMAT:
        raise RunError(f"{path} has format {stored.get('format')!r}; expected {FORMAT}")
    for part, wanted in _settings(sequence, config).items():
        found = stored.get(part)
        if not isinstance(found, Mapping):
            raise RunError(f"{path} has no {part}")
        for key in wanted.keys() | found.keys():
            if wanted.get(key) != found.get(key):
                raise RunError(
                    f"{path} was made with another {key} of the {part} ({_short(found.get(key))}, now "
                    f"{_short(wanted.get(key))}); choose another folder, or remove the file to make it again"
                )
    try:
        return _result(stored["result"]), str(stored["commit"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{path} is damaged: {error}") from None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _result(values: Mapping[str, Any]) -> ContinualResult:
    found: dict[str, Any] = {}
    for field in dataclasses.fields(ContinualResult):
        value = values[field.name]
        if isinstance(value, list):
            if field.name.endswith("names"):
                found[field.name] = tuple(value)
                continue
            whole = field.name in ("steps", "phase_ends")
            found[field.name] = np.array(value, dtype=np.int64 if whole else np.float64)
        else:
            found[field.name] = value
    return ContinualResult(**found)


def write_curves(path: Path, results: Sequence[ContinualResult]) -> None:
    """Write every evaluation as a row of a CSV."""
    lines = [csv_line(CURVE_COLUMNS)]
    for result in results:
        ends = set(result.phase_ends.tolist())
        for point, step in enumerate(result.steps.tolist()):
            for task, name in enumerate(result.task_names):
                row = (result.method, result.seed, step, point in ends, name, float(result.returns[point, task]))
                lines.append(csv_line(row))
    with atomic_writer(path) as file:
        file.write("".join(lines).encode())
