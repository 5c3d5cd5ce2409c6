"""The command as a user runs it, and what its files hold but for the clock."""

import json
import subprocess
import sys

import numpy as np

CLOCK_COLUMNS = ("wall_time", "steps_per_second", "updates_per_second")


def command(*words):
    return [sys.executable, "-m", "metarl_core.cli", *[str(word) for word in words]]


def metarl(*words, cwd=None):
    return subprocess.run(command(*words), capture_output=True, text=True, cwd=cwd, check=False)


def rows_without_clock(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK_COLUMNS} for line in lines]


def assert_same_state(a, b, path="state"):
    """Equal bit for bit, but for the time that was spent."""
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            if key != "wall_time":
                assert_same_state(a[key], b[key], f"{path}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same_state(x, y, f"{path}[{k}]")
    elif isinstance(a, np.ndarray):
        assert a.tobytes() == b.tobytes(), path
    elif type(a).__module__ == "torch":
        assert a.numpy().tobytes() == b.numpy().tobytes(), path
    else:
        assert a == b or (a != a and b != b), path
