"""The example that needs a GPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

EXAMPLE = Path(__file__).parents[2] / "examples" / "cuda_graph.py"


def test_sampling_and_updates_in_a_graph():
    ran = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said = re.fullmatch(r"1000 replays, total priority ([0-9.]+) of 1048576 leaves, largest ([0-9.]+)\n", ran.stdout)
    assert said, ran.stdout
    # All priorities were 1; those that were drawn are smaller now, which are nearly all of them.
    assert 0 < float(said[1]) < 1 << 20
    assert 0 < float(said[2]) <= 1
