"""Runs the rows: every contestant is checked, then all are measured in turn, round after round."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .rows import Row
from .session import MEASURE_TIMEOUT, PREPARE_TIMEOUT, SessionError


class Session(Protocol):
    """Something that answers the commands of a worker."""

    def call(self, command: dict[str, Any], timeout: float = MEASURE_TIMEOUT) -> dict[str, Any]:
        """Answer one command."""
        ...

    def close(self, force: bool = False) -> None:
        """End it."""
        ...


@dataclass
class Failure:
    """Why a contestant has no figure: ``"unsupported"``, ``"wrong"`` (its result), ``"failed"`` or ``"missing"``."""

    kind: str
    reason: str


@dataclass
class RowResult:
    """What was measured for a row: seconds per item (or bytes) of every round, by contestant."""

    row: Row
    values: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def _failure(answer: dict[str, Any]) -> Failure:
    return Failure(str(answer.get("kind", "failed")), str(answer["error"]))


def run_rows(
    rows: Sequence[Row],
    sessions: dict[str, Session],
    rounds: int,
    seconds: float,
    progress: Callable[[str], None] = lambda _: None,
) -> list[RowResult]:
    """Measure rows.

    Rows with the same workload and parameters share one preparation. Within a row the contestants take turns, and
    each round begins with another one, so that a slow minute of the machine hits all of them.

    Args:
        rows: The rows; those that share a preparation must follow each other.
        sessions: By name of the library.
        rounds: How often each contestant is measured.
        seconds: How long each measurement lasts at least.
        progress: Gets a line now and then.
    """
    results = []
    for key, group in itertools.groupby(rows, lambda row: (row.workload, sorted(row.params.items()))):
        members = list(group)
        failures: dict[str, Failure] = {}
        checksums: dict[str, str] = {}
        notes: dict[str, str] = {}
        entrants: list[tuple[str, str]] = []
        described = ", ".join(f"{name}={value}" for name, value in key[1])
        for library, session in sessions.items():
            progress(f"{key[0]} ({described}): checking {library}")
            command = {"op": "prepare", "workload": key[0], "params": members[0].params}
            try:
                answer = session.call(command, PREPARE_TIMEOUT)
            except SessionError as error:
                failures[library] = Failure("failed", str(error))
                continue
            if not answer["ok"]:
                failures[library] = _failure(answer)
                continue
            for name, state in answer["contestants"].items():
                if state["ok"]:
                    entrants.append((library, name))
                    checksums[name], notes[name] = state["checksum"], state["notes"]
                else:
                    failures[name] = _failure(state)
        for row in members:
            result = RowResult(row, failures=dict(failures), checksums=dict(checksums), notes=dict(notes))
            progress(f"{row.work} {row.size or ''}")
            _measure(result, entrants, sessions, rounds, seconds)
            results.append(result)
        for session in sessions.values():
            try:
                session.call({"op": "release"})
            except SessionError:
                continue
    return results


def _measure(
    result: RowResult, entrants: list[tuple[str, str]], sessions: dict[str, Session], rounds: int, seconds: float
) -> None:
    """Fill in the values of one row."""
    row, left = result.row, list(entrants)
    for number in range(1 if row.case == "bytes" else rounds):
        turn = number % max(1, len(left))
        for library, name in left[turn:] + left[:turn]:
            command = {
                "op": "measure",
                "contestant": name,
                "case": row.case,
                "params": row.case_params,
                "seconds": seconds,
            }
            try:
                answer = sessions[library].call(command)
            except SessionError as error:
                answer = {"ok": False, "kind": "failed", "error": str(error)}
            if answer["ok"]:
                result.values.setdefault(name, []).append(answer["value"])
                continue
            # A wrong result in any round makes all rounds worthless.
            result.failures[name] = _failure(answer)
            result.values.pop(name, None)
            left = [entrant for entrant in left if entrant[1] != name]
