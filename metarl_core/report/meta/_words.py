"""Numbers, intervals and counts of seeds as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from metarl_core.report.meta._estimates import FEW_SEEDS, Estimate

__all__ = ["interval", "joined", "number", "quantity", "seeds_text", "seeds_warning", "size"]


def number(value: float) -> str:
    """Three significant digits; whole thousands get separators."""
    if math.isnan(value):
        return "-"
    if abs(value) < 1e-9:
        return "0"  # rounding, and no -0
    if math.isinf(value):
        return "never" if value > 0 else "-inf"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def interval(found: Estimate | None) -> str:
    """The number, with its interval or that there is none."""
    if found is None:
        return "not measured"
    if not found.has_interval:
        return f"{number(found.value)} (1 seed, no interval)"
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


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


def seeds_text(seeds: Mapping[str, int]) -> str:
    """Say how many seeds each method has: once if all have the same number; and that one seed has no interval."""
    counts = set(seeds.values())
    if counts == {1}:
        return "One seed: no interval exists."
    if len(counts) == 1:
        return f"{counts.pop()} seeds; 95 % intervals from a bootstrap over the seeds."
    each = ", ".join(f"{method} {count}" for method, count in seeds.items())
    alone = " With one seed no interval exists." if 1 in counts else ""
    return f"Seeds: {each}; 95 % intervals from a bootstrap over the seeds.{alone}"


def seeds_warning(seeds: Mapping[str, int]) -> str:
    """Warn about methods of which too few seeds were run to conclude anything; empty if there are none."""
    one = [method for method, count in seeds.items() if count == 1]
    few = [method for method, count in seeds.items() if 1 < count < FEW_SEEDS]
    parts = []
    if one:
        parts.append(f"{joined(one)}: one seed, so that no interval exists.")
    if few:
        parts.append(f"{joined(few)}: fewer than {FEW_SEEDS} seeds, whose bootstrap intervals are too narrow.")
    return " ".join([*parts, "So few are an illustration, not evidence."]) if parts else ""
