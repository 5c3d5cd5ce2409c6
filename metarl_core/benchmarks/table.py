"""Turns results into a table, Markdown and JSON."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .rows import UNITS
from .runner import RowResult

SCHEMA_VERSION = 1
OURS = "metarl_core"
FLOOR = "floor"  # no library, but what memory alone allows (drivers/floor.py)
HEADERS = ("work", "size", "ours", "best peer", "next", "ratio", "goal", "met", "floor", "probe in C")


@dataclass(frozen=True)
class Summary:
    """A row of the table; values are medians in the row's unit.

    Attributes:
        ours: Our median, the better of our variants, or None.
        variant: Which variant that is.
        peers: (name, median), best first.
        ratio: How much better ours is than the best peer: above 1 is ahead. None without either.
        met: Whether the goal is met; None without a goal or a figure.
        floor: What memory alone allows, or None.
    """

    ours: float | None
    variant: str
    peers: list[tuple[str, float]]
    ratio: float | None
    met: bool | None
    floor: float | None


def summarise(result: RowResult) -> Summary:
    """Return medians, order and ratio of a row."""
    row = result.row
    # Seconds and bytes: less is better, whatever the unit that is shown.
    medians = {name: statistics.median(values) for name, values in result.values.items() if values}
    own = sorted((value, name) for name, value in medians.items() if name.startswith(OURS))
    floor = medians.pop(FLOOR, None)
    peers = sorted((value, name) for name, value in medians.items() if not name.startswith(OURS))
    ratio = peers[0][0] / own[0][0] if own and peers else None
    ours = row.shown(own[0][0]) if own else None
    met = row.goal.met(ours, ratio, row.unit) if row.goal and ours is not None else None
    return Summary(
        ours,
        own[0][1] if own else "",
        [(name, row.shown(value)) for value, name in peers],
        ratio,
        met,
        None if floor is None else row.shown(floor),
    )


def number(value: float | None) -> str:
    """Return three significant digits, without an exponent."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"


def _cells(result: RowResult) -> tuple[str, ...]:
    row, summary = result.row, summarise(result)
    shown = [f"{name} {number(value)}" for name, value in summary.peers[:2]] + ["-", "-"]
    ours = number(summary.ours)
    if summary.variant not in ("", OURS):
        ours += f" ({summary.variant.removeprefix(OURS).strip()})"
    return (
        row.work,
        "" if row.size is None else f"{row.size:,}",
        ours,
        shown[0],
        shown[1],
        "-" if summary.ratio is None else f"{summary.ratio:.2f}x",
        row.goal.text(row.unit) if row.goal else "",
        "" if summary.met is None else ("yes" if summary.met else "no"),
        "" if summary.floor is None else number(summary.floor),
        row.probe,
    )


def text_table(results: list[RowResult]) -> str:
    """Return the table with aligned columns."""
    lines = [HEADERS, *(_cells(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADERS))]
    left = {0, 3, 4}
    shown = [
        "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    shown.insert(1, "-" * max(len(line) for line in shown))
    return "\n".join(shown)


def markdown_table(results: list[RowResult]) -> str:
    """Return the table in Markdown."""
    lines = [" | ".join(("", *HEADERS, "")).strip(), "|" + "---|" * len(HEADERS)]
    previous = ""
    for result in results:
        cells = list(_cells(result))
        cells[0], previous = ("" if cells[0] == previous else cells[0]), cells[0]
        if summarise(result).ratio is not None:
            cells[5] = f"**{cells[5]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def failure_lines(results: list[RowResult], missing: dict[str, str]) -> list[str]:
    """Return one line for every reason why a figure is not there."""
    lines = [f"{name}: {reason}" for name, reason in missing.items()]
    seen: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        for name, failure in result.failures.items():
            if name == FLOOR and failure.kind == "unsupported":
                continue
            size = "" if result.row.size is None else f" {result.row.size:,}"
            where = f"{result.row.work.split(',')[0]}{size}"
            seen.setdefault((name, failure.kind, failure.reason), []).append(where)
    for (name, kind, reason), found in seen.items():
        places = found[0] if len(found) == 1 else f"{found[0]} ... {found[-1]}"
        lines.append(f"{name}, {places}: {'' if kind == 'unsupported' else kind + ': '}{reason}")
    return lines


def note_lines(results: list[RowResult]) -> list[str]:
    """Return what has to be known about a peer's figures."""
    notes: dict[str, None] = {}
    for result in results:
        for name, note in result.notes.items():
            if note and name in result.values:
                notes[f"{name} ({result.row.workload}): {note}"] = None
    return list(notes)


def checksum_lines(results: list[RowResult]) -> list[str]:
    """Return the checksums of the checked results, one line for each preparation."""
    lines: dict[str, None] = {}
    for result in results:
        size = f" {result.row.size}" if result.row.suite == "env" else ""
        head = result.row.work.split(",")[0] if result.row.suite == "env" else result.row.workload
        sums = "  ".join(f"{name} {value}" for name, value in sorted(result.checksums.items()))
        lines[f"{head}{size}: {sums}"] = None
    return list(lines)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, memory, system, interpreter."""
    model = platform.processor() or "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]).strip(),
        "python": platform.python_version(),
    }


def to_json(results: list[RowResult]) -> list[dict[str, Any]]:
    """Return the rows as plain values (the schema is in ``bench/README.md``)."""
    rows = []
    for result in results:
        row, summary = result.row, summarise(result)
        contestants = {}
        for name, values in result.values.items():
            shown = [row.shown(value) for value in values]
            contestants[name] = {
                "median": statistics.median(shown),
                "min": min(shown),
                "max": max(shown),
                "rounds": shown,
                "checksum": result.checksums.get(name),
            }
        rows.append(
            {
                "suite": row.suite,
                "work": row.work,
                "workload": row.workload,
                "params": row.params,
                "case": row.case,
                "size": row.size,
                "unit": row.unit,
                "higher_is_better": UNITS[row.unit][1],
                "contestants": contestants,
                "failures": {n: {"kind": f.kind, "reason": f.reason} for n, f in result.failures.items()},
                "ours": summary.ours,
                "best_peer": list(summary.peers[0]) if summary.peers else None,
                "next_peer": list(summary.peers[1]) if len(summary.peers) > 1 else None,
                "ratio": summary.ratio,
                "goal": None if row.goal is None else {"kind": row.goal.kind, "value": row.goal.value},
                "goal_met": summary.met,
                "floor": summary.floor,
                "probe": row.probe or None,
            }
        )
    return rows
