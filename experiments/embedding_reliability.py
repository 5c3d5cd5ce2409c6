"""Measure how far task embeddings tell the tasks of a family apart, and print a table.

    OPENBLAS_NUM_THREADS=1 python experiments/embedding_reliability.py --out docs/results

Every cell (family, seed, settings) fits a TaskEmbedding on 10 meta-training tasks under random actions and measures
split-half reliability and 1-nearest-neighbour identification on data recorded anew, of the same tasks ("train") and of
10 tasks of the test split ("test"), with windows of 256 to 4096 transitions. Settings were compared on seeds from 100
on (--compare); seeds from 0 on are reported. One thread for OpenBLAS: its threads get in each other's way on the small
products here.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from metarl_core.agents.imt import TaskEmbedding
from metarl_core.tasks import TaskDataset, task_family

FAMILIES = ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "PointRobot-v0", "SparsePointRobot-v0", "Maze-v0")
TRANSITIONS = (256, 1024, 2048, 4096)
TASKS = 10
ROWS = 8  # environments that play at once
FIT, HELD_OUT = 8192, 16384  # transitions a task
SETTINGS: dict[str, dict[str, Any]] = {"default": {}, "whiten": {"whiten": True}}
COMPARED = {
    **SETTINGS,
    "bandwidth/3": {"bandwidth_factor": 1 / 3},
    "bandwidth*3": {"bandwidth_factor": 3.0},
    "no std": {"use_std": False},
    "scale": {"scale": True},
    "64 features": {"num_features": 64},
    "no centring": {"center": False},
    "1 row": {"rows": 1},
}
COLUMNS = ("environment", "settings", "seed", "tasks", "transitions", "reliability", "identification", "windows")


def record(env_id: str, tasks: dict[str, Any], transitions: int, seed: int, rows: int) -> list[TaskDataset]:
    """Transitions of every task under random actions."""
    return [
        TaskDataset.record(
            env_id,
            steps=transitions,
            seed=seed + i,
            num_envs=rows,
            task={name: float(values[i]) for name, values in tasks.items()},
        )
        for i in range(TASKS)
    ]


def cell(env_id: str, settings: dict[str, Any], seed: int, lengths: Iterable[int]) -> Iterable[tuple[Any, ...]]:
    """Rows of the table for one family, settings and seed."""
    options = dict(settings)
    rows, factor = options.pop("rows", ROWS), options.pop("bandwidth_factor", None)
    family = task_family(env_id)
    splits = {split: family.sample_tasks(TASKS, split, seed) for split in ("train", "test")}
    fit = record(env_id, splits["train"], FIT, 1000 * seed, rows)
    if factor is not None:
        size = TaskEmbedding(1, center=False).fit(fit).inputs(fit[0]).shape[1]
        options["bandwidth"] = factor / size**0.5
    embedding = TaskEmbedding(seed=seed, **options).fit(fit)
    for split, tasks in splits.items():
        held_out = record(env_id, tasks, HELD_OUT, 1000 * seed + 500, rows)
        for length in lengths:
            try:
                found = embedding.split_half_reliability(held_out, length, seed)
            except ValueError as error:  # half of the episodes may be a little shorter than half of the transitions
                print(f"{env_id}, {split}, {length} transitions: {error}", file=sys.stderr)
                continue
            yield split, length, found.cosine, found.identification, int(found.windows.sum())


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line for each family, settings and kind of tasks; reliability / identification by transitions."""
    lengths = sorted({int(row["transitions"]) for row in rows})
    lines = [
        "| environment | settings | tasks | " + " | ".join(map(str, lengths)) + " |",
        "| --- " * (3 + len(lengths)) + "|",
    ]
    keys = dict.fromkeys((row["environment"], row["settings"], row["tasks"]) for row in rows)
    for key in keys:
        cells = []
        for length in lengths:
            found = [
                (float(row["reliability"]), float(row["identification"]))
                for row in rows
                if (row["environment"], row["settings"], row["tasks"]) == key and int(row["transitions"]) == length
            ]
            mean = np.mean(found, axis=0) if found else None
            cells.append("" if mean is None else f"{mean[0]:.2f} / {mean[1]:.2f}")
        lines.append("| " + " | ".join([*key, *cells]) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure what the CSV does not hold yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the CSV file")
    parser.add_argument("--compare", action="store_true", help="compare settings, on tuning seeds")
    parser.add_argument("--env", action="append", choices=FAMILIES, help="one family; may be repeated")
    parser.add_argument("--seeds", type=int, help="number of seeds (default: 3)", default=3)
    parser.add_argument("--transitions", type=int, action="append", help="length of a window; may be repeated")
    args = parser.parse_args(arguments)
    path = args.out / ("embedding_settings.csv" if args.compare else "embedding_reliability.csv")
    first = 100 if args.compare else 0
    args.out.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with path.open(newline="", encoding="utf-8") as file:
        done = {(row["environment"], row["settings"], row["seed"]) for row in csv.DictReader(file)}
    for env_id in args.env or FAMILIES:
        for seed in range(first, first + args.seeds):
            for name, settings in (COMPARED if args.compare else SETTINGS).items():
                if (env_id, name, str(seed)) in done:
                    continue
                start = time.perf_counter()
                with path.open("a", newline="", encoding="utf-8") as file:
                    found = list(cell(env_id, settings, seed, args.transitions or TRANSITIONS))
                    for split, length, cosine, rate, windows in found:
                        row = (env_id, name, seed, split, length, f"{cosine:.4f}", f"{rate:.4f}", windows)
                        csv.writer(file, lineterminator="\n").writerow(row)
                print(f"{env_id} {name} {seed}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    with path.open(newline="", encoding="utf-8") as file:
        print(table(list(csv.DictReader(file))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
