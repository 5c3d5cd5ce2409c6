"""Write tests/data/rliable.json: scores and what the package rliable computes from them.

    python -m venv VENV && VENV/bin/python -m pip install rliable==1.2.0 "pandas<3"
    VENV/bin/python tools/make_rliable_fixture.py tests/data/rliable.json

rliable 1.2.0 does not work with pandas 3, hence an environment of its own. Its bootstrap draws from NumPy's global
generator: the seed in the file gives the same draws again.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rliable import library, metrics

RESAMPLES = 500
THRESHOLDS = [-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5]
SHAPES = {"matrix": (10, 5), "odd": (7, 3), "one_task": (5, 1), "two_runs": (2, 4), "many": (25, 8)}
AGGREGATES = {
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "iqm": metrics.aggregate_iqm,
    "optimality_gap": metrics.aggregate_optimality_gap,
}


def interval(scores: Any, function: Any, seed: int) -> list[list[float]]:
    """Percentile interval of rliable."""
    np.random.seed(seed)  # noqa: NPY002
    _, intervals = library.get_interval_estimates({"x": scores}, function, reps=RESAMPLES)
    return [[float(value) for value in row] for row in intervals["x"]]


def case(name: str, shape: tuple[int, int], seed: int) -> dict[str, Any]:
    """Scores of two methods, and every figure."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.6, 0.4, size=shape)
    other = rng.normal(0.5, 0.4, size=(shape[0] + 2, shape[1]))
    scores[:, 0] = np.round(scores[:, 0], 1)  # ties
    other[:, 0] = np.round(other[:, 0], 1)
    figures: dict[str, Any] = {
        key: {
            "point": float(function(scores)),
            "interval": interval(scores, lambda x, f=function: np.array([f(x)]), seed),
        }
        for key, function in AGGREGATES.items()
    }
    figures["probability_of_improvement"] = {
        "point": float(metrics.probability_of_improvement(scores, other)),
        "interval": interval([scores, other], lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), seed),
    }
    for key, function in (
        ("profile_runs", library.score_distributions),
        ("profile_tasks", library.average_score_distributions),
    ):
        figures[key] = {
            "point": [float(value) for value in function(scores, THRESHOLDS)],
            "interval": interval(scores, lambda x, f=function: f(x, THRESHOLDS), seed),
        }
    return {"name": name, "seed": seed, "scores": scores.tolist(), "other": other.tolist(), "figures": figures}


def main() -> int:
    """Write the file named by the argument."""
    record = {
        "versions": {name: version(name) for name in ("rliable", "arch", "numpy", "scipy", "pandas")},
        "resamples": RESAMPLES,
        "thresholds": THRESHOLDS,
        "cases": [case(name, shape, seed) for seed, (name, shape) in enumerate(SHAPES.items(), start=1)],
    }
    Path(sys.argv[1]).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
