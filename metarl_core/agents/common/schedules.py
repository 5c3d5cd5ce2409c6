"""Schedules over environment steps."""

from __future__ import annotations

__all__ = ["linear"]


def linear(start: float, end: float, step: int, duration: float) -> float:
    """Value at ``step`` of a line from ``start`` at 0 to ``end`` at ``duration``, constant afterwards."""
    if duration <= 0:
        return end
    share = min(max(step / duration, 0.0), 1.0)
    return start + (end - start) * share
