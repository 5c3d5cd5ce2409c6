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


def solved_after(size, seed):
    pytest.importorskip("torch")
    command = [sys.executable, "-W", "error", str(EXAMPLES / "cder_single_file.py"), str(size), str(seed), "2000"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=500).stdout
    print(output)
    return int(re.search(r"solved after (\d+) episodes", output)[1])


def test_cder_in_a_single_file_solves_deep_sea():
    assert solved_after(6, 0) < 400


@pytest.mark.slow
def test_cder_in_a_single_file_needs_as_many_episodes_as_the_library(tmp_path):
    pytest.importorskip("torch")
    from metarl_core.agents import resolve_config, train
    from metarl_core.runs import RunWriter

    library = []
    for seed in range(6):
        options = ["size=8", f"seed={seed}", "stop_when_solved=true", "evaluation_episodes=0"]
        config = resolve_config("cder", "DeepSea-v0", None, options)
        with RunWriter(tmp_path / str(seed), config.to_dict()) as run:
            library.append(train(config, run)["episodes_to_solve"])
    single = [solved_after(8, seed) for seed in range(6)]
    assert sum(library) / 1.6 < sum(single) < 1.6 * sum(library)
