"""CleanRL's scripts, with the changes that docs/cleanrl.md shows, run for real.

They need Gymnasium 0.29, so this runs in an environment of its own: ``make test-migration``. The released scripts come
with the package ``cleanrl`` 1.2.0; METARL_CLEANRL_REPOSITORY names a checkout of the repository, for what came later.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cleanrl.md").read_text(encoding="utf-8")
RELEASE = Path(sysconfig.get_path("purelib")) / "cleanrl"
REPOSITORY = os.environ.get("METARL_CLEANRL_REPOSITORY")

if not (RELEASE / "dqn.py").is_file():
    if "cleanrl" in os.environ.get("METARL_REQUIRE", "").split(","):
        raise ImportError(f"{RELEASE} has no dqn.py: cleanrl is not installed")
    pytest.skip("cleanrl is not installed", allow_module_level=True)

needs_gym = pytest.mark.skipif(importlib.util.find_spec("gym") is None, reason="the released c51.py is for gym")
needs_atari = pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="ale_py is not installed")
needs_repository = pytest.mark.skipif(REPOSITORY is None, reason="METARL_CLEANRL_REPOSITORY is not set")

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


def test_dqn_learns_cartpole_with_one_line_changed(tmp_path):
    script = import_changed(RELEASE / "dqn.py", tmp_path)
    result = run(
        script, tmp_path, total_timesteps=15_000, learning_starts=1000, exploration_fraction=0.3, learning_rate=1e-3
    )
    assert result["told"] == []
    assert result["size"] == 10_000
    assert result["spread"] > 0.01
    early, late = result["returns"][:20], result["returns"][-5:]
    print(f"mean return {sum(early) / 20:.1f} at first, {sum(late) / 5:.1f} at the end")
    assert sum(early) / 20 < 40
    assert sum(late) / 5 > 100


def test_the_weights_are_used_and_the_run_is_reproducible(tmp_path):
    ends = []
    for beta in (0.0, 1.0, 1.0):
        script = options_given(import_changed(RELEASE / "dqn.py", tmp_path), f"beta={beta}")
        ends.append(run(script, tmp_path, **QUICK)["parameters"])
    assert ends[1] == ends[2]
    assert ends[0] != ends[1]


def test_without_priorities_it_is_a_uniform_buffer(tmp_path):
    script = options_given(import_changed(RELEASE / "dqn.py", tmp_path), "prioritized=False")
    text = script.read_text(encoding="utf-8").replace("rb.sample(args.batch_size)", "rb.sample(64)")
    script.write_text(text + "\n    assert type(data.rewards) is torch.Tensor\n    del rb\n", encoding="utf-8")
    assert run(script, tmp_path, **QUICK)["told"] == []


@needs_gym
def test_c51_with_its_loss_changed(tmp_path):
    script = change(import_changed(RELEASE / "c51.py", tmp_path), "C51: the loss")
    result = run(script, tmp_path, **QUICK)
    assert result["told"] == []
    assert result["spread"] > 0.01


@needs_gym
def test_c51_without_that_change_is_told(tmp_path):
    result = run(import_changed(RELEASE / "c51.py", tmp_path), tmp_path, **QUICK)
    assert len(result["told"]) == 1
    assert "data.weighted_mean(losses)" in result["told"][0]
    assert result["spread"] == 0


def test_ddpg_with_one_line_changed(tmp_path):
    script = import_changed(RELEASE / "ddpg_continuous_action.py", tmp_path)
    result = run(script, tmp_path, env_id="Pendulum-v1", total_timesteps=400, learning_starts=200)
    assert result["told"] == []
    assert result["spread"] > 0.01


def test_dqn_on_our_environments(tmp_path):
    script = change(import_changed(RELEASE / "dqn.py", tmp_path), "Environments")
    result = run(script, tmp_path, **QUICK)
    assert result["size"] == 1500
    assert 20 < len(result["returns"]) < 160
    assert sum(result["returns"]) <= 1500


def test_n_step_returns(tmp_path):
    script = change(import_changed(RELEASE / "dqn.py", tmp_path), "n-step returns")
    assert run(script, tmp_path, **QUICK)["spread"] > 0.01


@needs_repository
@pytest.mark.parametrize("name", ["dqn", "c51", "td3_continuous_action", "sac_continuous_action"])
def test_the_repositorys_scripts(name, tmp_path):
    script = import_changed(Path(REPOSITORY) / "cleanrl" / f"{name}.py", tmp_path)
    if name == "c51":
        change(script, "C51: the loss")
    more = {"env_id": "Pendulum-v1", "total_timesteps": 300, "learning_starts": 200} if "continuous" in name else QUICK
    result = run(script, tmp_path, **more)
    assert result["told"] == []
    assert result["spread"] > 0.01


@needs_repository
def test_the_repositorys_ppo_on_our_environments(tmp_path):
    script = tmp_path / "ppo.py"
    text = (Path(REPOSITORY) / "cleanrl" / "ppo.py").read_text(encoding="utf-8")
    made = re.compile(r"    envs = gym\.vector\.SyncVectorEnv\(\n.*\n    \)\n")
    import_line = "from metarl_core.integrations.cleanrl import make_envs\n"
    text, count = made.subn("    envs = make_envs(args.env_id, args.num_envs, args.seed)\n", import_line + text)
    assert count == 1
    script.write_text(text, encoding="utf-8")
    result = run(script, tmp_path, total_timesteps=40_000, num_envs=8, seed=1, learning_rate=1e-3)
    assert sum(result["returns"][-20:]) / 20 > 100


@needs_repository
@needs_atari
@pytest.mark.parametrize("frame_stack", [False, True])
def test_rainbow_on_atari(frame_stack, tmp_path):
    script = tmp_path / "rainbow_atari.py"
    script.write_text((Path(REPOSITORY) / "cleanrl" / script.name).read_text(encoding="utf-8"), encoding="utf-8")
    change(script, "Rainbow")
    if frame_stack:
        text = script.read_text(encoding="utf-8").replace(
            "args.prioritized_replay_eps,\n", "args.prioritized_replay_eps,\n        frame_stack=4,\n"
        )
        script.write_text(text, encoding="utf-8")
    result = run(script, tmp_path, total_timesteps=260, learning_starts=220, buffer_size=1000)
    assert result["size"] == 260
    assert result["spread"] > 0.01
    assert (result["bytes"] < 7_100) == frame_stack
