"""What the CUDA backend is meant to reach on an H200, beside what the benchmarks of this folder measured.

    python bench/cuda/goals.py build/bench-cuda

reads the files that bench/cuda/run.py wrote there. The goals are derived from the bytes that a call must move, and from
that GPU's copy bandwidth of 4.3 TB/s.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Goal:
    """One figure: in which file, of which row, and what it should be."""

    work: str
    benchmark: str
    key: str
    target: float
    unit: str = "G/s"
    at_most: bool = False
    row: dict[str, Any] = field(default_factory=dict)

    def measured(self, rows: list[dict[str, Any]]) -> float | None:
        """Return the figure of the row, None if there is none."""
        for row in rows:
            if all(row.get(name) == value for name, value in self.row.items()):
                return float(row[self.key]) / (1e9 if self.unit == "G/s" else 1.0)
        return None


def _tree(call: str, capacity: int, batch: int) -> dict[str, Any]:
    return {"library": "metarl_core", "call": f"{call} graph", "capacity": capacity, "batch": batch}


def _cartpole(call: str) -> dict[str, Any]:
    row = {"library": "metarl_core", "environment": "CartPole-v1", "params": {"precision": "float32"}}
    return row | {"call": call, "num_envs": 1 << 20}


_LARGE = 65_536
GOALS = [
    *(
        Goal(f"draws and weights, batch 65,536 of {name}", "sum_tree", "items_per_second", target, row=row)
        for name, target, row in (
            ("2^20", 3.0, _tree("sample", 1 << 20, _LARGE)),
            ("10^7", 2.7, _tree("sample", 10_000_000, _LARGE)),
            ("10^8", 2.4, _tree("sample", 100_000_000, _LARGE)),
        )
    ),
    Goal(
        "draws and weights, batch 256 of 2^20",
        "sum_tree",
        "microseconds",
        7.0,
        "us",
        at_most=True,
        row=_tree("sample", 1 << 20, 256),
    ),
    Goal("updates, batch 65,536 of 2^20", "sum_tree", "items_per_second", 4.0, row=_tree("update", 1 << 20, _LARGE)),
    Goal("CartPole, 2^20 environments, step", "envs", "steps_per_second", 50.0, row=_cartpole("step graph")),
    Goal("CartPole, 2^20 environments, rollout", "envs", "steps_per_second", 50.0, row=_cartpole("rollout")),
    Goal("the same with a task each, step", "envs", "steps_per_second", 35.0, row=_cartpole("step graph tasks")),
]


def print_goals(folder: Path) -> None:
    """Print every goal beside what the files of a folder say; what they do not have is not measured."""
    reports: dict[str, dict[str, Any]] = {}
    for name in sorted({goal.benchmark for goal in GOALS}):
        path = folder / f"{name}.json"
        reports[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    devices = sorted({report["device"] for report in reports.values() if "device" in report})
    print(f"goals, for an H200; measured on {'; '.join(devices) or 'nothing yet'}")
    print(f"  {'calls in a CUDA graph, rollouts in one launch':46} {'goal':>14} {'measured':>14} {'reached':>8}")
    for goal in GOALS:
        measured = goal.measured(reports[goal.benchmark]["rows"])
        target = f"{'<=' if goal.at_most else '>='} {goal.target:g} {goal.unit}"
        if measured is None:
            print(f"  {goal.work:46} {target:>14} {'not measured':>14}")
            continue
        reached = measured <= goal.target if goal.at_most else measured >= goal.target
        print(f"  {goal.work:46} {target:>14} {f'{measured:.2f} {goal.unit}':>14} {'yes' if reached else 'no':>8}")


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print_goals(parser.parse_args().folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
