"""Agents on torch: CDER and its baselines. ``metarl_core`` itself never imports this package."""

from __future__ import annotations

from metarl_core.agents.config import ConfigError, RunConfig, resolve_config
from metarl_core.agents.evaluate import evaluate
from metarl_core.agents.loop import train
from metarl_core.agents.registry import ALGORITHMS, AlgorithmSpec

__all__ = ["ALGORITHMS", "AlgorithmSpec", "ConfigError", "RunConfig", "evaluate", "resolve_config", "train"]
