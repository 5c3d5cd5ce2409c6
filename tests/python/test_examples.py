"""The examples run, and show what they are there to show."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_continual_learning_keeps_all_tasks_with_a_balanced_reservoir():
    pytest.importorskip("torch")
    command = [sys.executable, "-W", "error", str(EXAMPLES / "continual_learning.py")]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    print(output)
    fifo, reservoir = (float(re.search(f"^{name}.* mean (.*)$", output, re.M)[1]) for name in ("fifo", "reservoir"))
    assert reservoir > 0.95
    assert fifo < reservoir - 0.1
