"""The command as a user runs it, and what its files hold but for the clock."""

import json
import subprocess
import sys

CLOCK_COLUMNS = ("wall_time", "steps_per_second", "updates_per_second")


def command(*words):
    return [sys.executable, "-m", "metarl_core.cli", *[str(word) for word in words]]


def metarl(*words, cwd=None):
    return subprocess.run(command(*words), capture_output=True, text=True, cwd=cwd, check=False)


def rows_without_clock(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK_COLUMNS} for line in lines]
