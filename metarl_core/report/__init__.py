"""A self-contained HTML page about one or more runs, its statistics, and plots of tasks. Needs matplotlib."""

from __future__ import annotations

from metarl_core.report._stats import interquartile_mean
from metarl_core.report.page import write_report
from metarl_core.report.task_plots import embedding_map, similarity_heatmap

__all__ = ["embedding_map", "interquartile_mean", "similarity_heatmap", "write_report"]
