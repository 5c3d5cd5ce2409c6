"""Run CDER and Double DQN + PER on MountainCar and write one CSV row per seed.

    python experiments/mountaincar.py --out docs/results

`metarl reproduce cder-mountaincar` runs these and more methods; the rows in docs/results/mountaincar.csv are older.
Every cell (algorithm, seed) is one training run with the configuration that the package
ships for the algorithm on that environment. --runs keeps the run directories. Cells that the CSV already holds are
skipped, so an interrupted call can simply be repeated. Seeds 0 to 4 are reported; configurations were tuned on seeds
from 100 on.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metarl_core.agents import resolve_config, train
from metarl_core.runs import RunWriter

SEEDS = range(5)
MOUNTAINCAR_COLUMNS = (
    "algorithm",
    "environment",
    "seed",
    "evaluation_return",
    "evaluation_episodes",
    "episodes",
    "environment_steps",
    "final_return",
    "best_return",
    "wall_time_seconds",
)


def mountaincar_cells() -> Iterator[dict[str, Any]]:
    """MountainCar: CDER and the baseline, 100,000 steps, 100 greedy evaluation episodes of the last networks."""
    for algorithm in ("cder", "ddqn-per"):
        for seed in SEEDS:
            yield {"algorithm": algorithm, "seed": seed}


EXPERIMENTS = {
    "mountaincar": ("MountainCar-v0", MOUNTAINCAR_COLUMNS, mountaincar_cells, []),
}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows already written."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_cell(env_id: str, cell: dict[str, Any], options: list[str], folder: Path) -> dict[str, Any]:
    """Train one cell and return its result with the cell's own columns."""
    overrides = [f"{name}={value}" for name, value in cell.items() if name != "algorithm"]
    config = resolve_config(cell["algorithm"], env_id, None, [*overrides, *options])
    with RunWriter(folder, config.to_dict()) as run:
        result = train(config, run)
    return {**result, **cell, "evaluation_episodes": config.evaluation_episodes}


def text(value: Any) -> str:
    """A cell of the CSV."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the CSV files")
    parser.add_argument("--runs", type=Path, help="keep the run directories here")
    parser.add_argument("--only", choices=sorted(EXPERIMENTS), help="one experiment")
    parser.add_argument("--algorithm", help="one algorithm")
    parser.add_argument("--limit", type=int, help="stop after this many new cells")
    args = parser.parse_args(arguments)
    done = 0
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (env_id, columns, cells, options) in EXPERIMENTS.items():
        if args.only not in (None, name):
            continue
        path = args.out / f"{name}.csv"
        for cell in cells():
            if args.algorithm not in (None, cell["algorithm"]):
                continue
            if any(all(row[key] == str(value) for key, value in cell.items()) for row in read_rows(path)):
                continue
            if args.limit is not None and done >= args.limit:
                return 0
            done += 1
            label = "-".join([name, *map(str, cell.values())])
            with tempfile.TemporaryDirectory() as scratch:
                result = run_cell(env_id, cell, options, (args.runs or Path(scratch)) / label)
            new = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                if new:
                    writer.writerow(columns)
                writer.writerow([text(result[column]) for column in columns])
            outcome = {column: text(result[column]) for column in columns if column not in cell}
            print(label, outcome, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
