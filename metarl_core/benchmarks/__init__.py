"""Benchmarks against other libraries: ``metarl bench replay`` and ``metarl bench env``.

Ours and every peer run in worker processes of their own, each in its own virtual environment; they are fed the same
inputs and take turns on one core. Results are asserted right before and after they are timed.
"""

from __future__ import annotations

from metarl_core.benchmarks.main import main, run_env_benchmark, run_replay_benchmark

__all__ = ["main", "run_env_benchmark", "run_replay_benchmark"]
