"""Numbers, intervals and counts of seeds as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from metarl_core.report.meta._estimates import FEW_SEEDS, Estimate

__all__ = ["interval", "joined", "number", "quantity", "seeds_text", "seeds_warning", "size", "value_and_ends"]


def number(value: float) -> str:
    """Three significant digits at most; thousands get separators."""
    if math.isfinite(value) and 1e-9 <= abs(value) < 1000:
        return f"{value:.3g}"
    return _fixed(value, value)


def interval(found: Estimate | None) -> str:
    """The number, with its interval or that there is none."""
    if found is None:
        return "not measured"
    center, ends = value_and_ends(found)
    return f"{center} {ends}"


def value_and_ends(found: Estimate) -> tuple[str, str]:
    """The number and its interval, with equally many decimals: three significant digits of the largest."""
    if not found.has_interval:
        return number(found.value), f"(1 {found.unit}, no interval)"
    largest = max(found[:3], key=abs)
    center, low, high = (_fixed(value, largest) for value in found[:3])
    return center, f"[{low}, {high}]"


def _fixed(value: float, largest: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never" if value > 0 else "-inf"
    if abs(largest) < 1e-9:  # rounding
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(largest))))
    if decimals > 6:
        return f"{value:.3g}"
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def size(count: int | None) -> str:
    """Bytes, in the unit that fits."""
    if count is None:
        return "-"
    value, units = float(count), ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if value < 1000 or unit == units[-1]:
            break
        value /= 1000
    return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"


def quantity(count: int, what: str) -> str:
    """A number of things."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def joined(names: Iterable[str]) -> str:
    """Names with commas, and "and" before the last."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def seeds_text(seeds: Mapping[str, int], unit: str = "seed") -> str:
    """Say how many seeds (or other units) each method has: once if all have the same number; one has no interval."""
    seeds = {method: count for method, count in seeds.items() if count}
    counts = set(seeds.values())
    if not counts:
        return f"No {unit} was measured."
    if counts == {1}:
        return f"One {unit}: no interval exists."
    if len(counts) == 1:
        return f"{counts.pop()} {unit}s; 95 % intervals from a bootstrap over the {unit}s."
    each = ", ".join(f"{method} {count}" for method, count in seeds.items())
    alone = f" With one {unit} no interval exists." if 1 in counts else ""
    return f"{unit.capitalize()}s: {each}; 95 % intervals from a bootstrap over the {unit}s.{alone}"


def seeds_warning(seeds: Mapping[str, int], unit: str = "seed") -> str:
    """Warn about methods of which too few seeds were run to conclude anything; empty if there are none.

    Args:
        seeds: Number of each method.
        unit: What is counted, if not seeds.
    """
    one = [method for method, count in seeds.items() if count == 1]
    few = [method for method, count in seeds.items() if 1 < count < FEW_SEEDS]
    parts = []
    if one:
        parts.append(f"{joined(one)}: one {unit}, so that no interval exists.")
    if few:
        parts.append(f"{joined(few)}: fewer than {FEW_SEEDS} {unit}s, whose bootstrap intervals are too narrow.")
    return " ".join([*parts, "So few are an illustration, not evidence."]) if parts else ""
