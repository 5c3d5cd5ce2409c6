"""A self-contained HTML page about one or more runs, and the statistics behind it. Needs matplotlib."""

from __future__ import annotations

from metarl_core.report._stats import interquartile_mean
from metarl_core.report.page import write_report

__all__ = ["interquartile_mean", "write_report"]
