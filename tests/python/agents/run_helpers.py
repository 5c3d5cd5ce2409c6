"""Runs from the beginning or a checkpoint, and what they wrote."""

import json

import numpy as np

from metarl_core.agents import train
from metarl_core.runs import NullProgress, RunWriter

TIMES = ("wall_time", "steps_per_second", "updates_per_second", "wall_time_seconds")


class StopAt(NullProgress):
    """Asks to stop from a step on."""

    def __init__(self, step):
        self.limit, self.step = step, 0

    def update(self, step, total_steps, row):
        self.step = step

    def should_stop(self):
        return self.step >= self.limit


class StopInRound(NullProgress):
    """Asks to stop from a round on."""

    def __init__(self, number):
        self.limit, self.now = number, 0

    def update(self, step, total_steps, row):
        self.now = row["round"]

    def should_stop(self):
        return self.now >= self.limit


def run_to_end(config, folder, progress=None, resume=False):
    with RunWriter(folder, config.to_dict(), resume=resume) as run:
        return train(config, run, progress)


def contents(folder):
    """Everything that a run wrote, but for times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    for table in (*rows, result):
        for name in TIMES:
            table.pop(name, None)
    arrays = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as data:
            arrays |= {f"{file.name}/{name}": data[name].tolist() for name in data.files}
    return rows, result, (folder / "episodes.csv").read_text(), arrays
