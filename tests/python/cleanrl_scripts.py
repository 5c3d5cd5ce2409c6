"""Runs CleanRL's scripts for real, after the changes that docs/cleanrl.md shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cleanrl.md").read_text(encoding="utf-8")
REPOSITORY = os.environ.get("METARL_CLEANRL_REPOSITORY")

# Runs a script as a program and prints, as the last line, the returns of its episodes and what its buffer learnt.
DRIVER = """
import json, runpy, sys, warnings
import numpy as np
import torch

torch.set_num_threads(1)
path, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = path
if "atari" in path:
    from ale_py.registration import register_v0_v4_envs
    register_v0_v4_envs()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = runpy.run_path(path, run_name="__main__")
networks = [found[name] for name in ("q_network", "qf1", "agent") if name in found]
core = found["rb"].core if "rb" in found else None
print(json.dumps({
    "told": [str(w.message) for w in caught if "metarl_core" in str(w.message) or "ReplayBuffer" in str(w.message)],
    "parameters": [float(p.detach().double().sum()) for net in networks for p in net.parameters()],
    "spread": None if core is None else float(np.ptp(core.priorities())),
    "size": None if core is None else len(core),
    "bytes": None if core is None else core.bytes_per_transition,
}))
"""


def import_changed(script, folder):
    """Run the page's sed command on a copy of the script."""
    (command,) = re.findall(r"^sed -i (.*) dqn\.py$", PAGE, re.MULTILINE)
    copy = folder / script.name
    copy.write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run(f"sed -i {command} {copy}", shell=True, check=True)
    text = copy.read_text(encoding="utf-8")
    assert text.count("from metarl_core.integrations.cleanrl import ReplayBuffer") == 1
    return copy


def change(script, title):
    """Apply the diff of the page's section to a script: lines that go must be there, once and together."""
    section = PAGE[PAGE.index(f"\n## {title}\n") + 1 :].split("\n## ")[0]
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    text = script.read_text(encoding="utf-8")
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines()
        before = "".join(line[1:] + "\n" for line in lines if line[:1] in ("-", " "))
        after = "".join(line[1:] + "\n" for line in lines if line[:1] in ("+", " "))
        if before:
            assert text.count(before) == 1, before
            text = text.replace(before, after)
    script.write_text(text, encoding="utf-8")
    return script


def options_given(script, more):
    """Hand more options to the buffer of a script."""
    text, count = re.subn(r"(handle_timeout_termination=\w+,)", rf"\1 {more},", script.read_text(encoding="utf-8"))
    assert count == 1
    script.write_text(text, encoding="utf-8")
    return script


def run(script, folder, **arguments):
    words = [word for name, value in arguments.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    (folder / "driver.py").write_text(DRIVER, encoding="utf-8")
    path = [str(ROOT)] + ([REPOSITORY] if REPOSITORY else [])
    done = subprocess.run(
        [sys.executable, "driver.py", str(script), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    returns = re.findall(r"episodic_return=\[?(-?[\d.]+)", done.stdout)
    return {**result, "returns": [float(value) for value in returns]}


QUICK = {"total_timesteps": 1500, "learning_starts": 500, "seed": 1}
