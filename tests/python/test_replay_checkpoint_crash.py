"""Checkpoints of earlier versions, and processes that are killed while they save."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checkpoint_helpers import KINDS

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_of_format_1_load_and_go_on_with_the_same_bits(kind):
    cls = ReplayBuffer if kind.startswith("uniform") else PrioritizedReplayBuffer
    path = DATA / f"replay-v1-{kind}.ckpt"
    expected = json.loads(path.with_suffix(".json").read_text())
    buffer = cls.load(path)
    assert len(buffer) == expected["size"]
    batch = buffer.sample(8)
    assert sorted(batch) == sorted(expected["batch"])
    for name, values in expected["batch"].items():
        found, wanted = batch[name].ravel(), np.array(values, batch[name].dtype)
        if name == "weights":  # their last bits are no part of the format
            np.testing.assert_allclose(found, wanted, rtol=1e-5)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=name)
    print(f"{path.name}: {len(buffer)} items, the next batch's {len(batch)} columns as they were")


_SAVER = """
import sys
import numpy as np
from metarl_core import PrioritizedReplayBuffer
n = 20_000
buffer = PrioritizedReplayBuffer(n, {"x": ((64,), np.float32), "round": ((), np.int64)})
print("ready", flush=True)
for number in range(10**9):
    buffer.add(x=np.full((n, 64), number, np.float32), round=np.full(n, number))
    buffer.save(sys.argv[1])
    if number == 0:
        print("saved", flush=True)
"""


def kill_while_saving(folder, kills):
    """Kill a process that saves all the time, again and again; return how often a save was cut off."""
    path = folder / "replay.ckpt"
    cut_off = 0
    rng = random.Random(0)
    for _ in range(kills):
        saver = subprocess.Popen([sys.executable, "-c", _SAVER, str(path)], stdout=subprocess.PIPE, text=True)
        assert saver.stdout.readline() == "ready\n"
        if not path.exists():
            assert saver.stdout.readline() == "saved\n"
        time.sleep(rng.uniform(0, 0.08))
        os.kill(saver.pid, signal.SIGKILL)
        saver.wait()
        saver.stdout.close()
        others = {entry.name for entry in folder.iterdir()} - {path.name}
        assert others <= {".replay.ckpt.0.tmp"}
        cut_off += bool(others)
        buffer = PrioritizedReplayBuffer.load(path)
        rows = buffer.state_dict()["columns"]
        assert len(buffer) == 20_000
        assert (rows["round"] == rows["round"][0]).all()
        assert (rows["x"] == rows["round"][0]).all()
    PrioritizedReplayBuffer.load(path).save(path)
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    return cut_off


def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path):
    cut_off = kill_while_saving(tmp_path, 15)
    print(f"15 kills, {cut_off} of them in the middle of a save: every checkpoint whole")


@pytest.mark.slow
def test_many_kills_while_saving(tmp_path):
    kills = int(os.environ.get("METARL_KILLS", "200"))
    cut_off = kill_while_saving(tmp_path, kills)
    print(f"{kills} kills, {cut_off} of them in the middle of a save: every checkpoint whole")
    assert cut_off > kills // 10
