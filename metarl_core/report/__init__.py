"""A self-contained HTML page about one or more runs. Needs matplotlib."""

from __future__ import annotations

from metarl_core.report.page import write_report

__all__ = ["write_report"]
