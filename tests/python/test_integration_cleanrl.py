"""CleanRL's released scripts on our replay and environments, with the changes that docs/cleanrl.md shows.

They need Gymnasium 0.29, so this runs in an environment of its own: ``make test-migration``.
"""

import importlib.util
import os
import sysconfig
from pathlib import Path

import pytest
from cleanrl_scripts import QUICK, change, import_changed, options_given, run

RELEASE = Path(sysconfig.get_path("purelib")) / "cleanrl"

if not (RELEASE / "dqn.py").is_file():
    if "cleanrl" in os.environ.get("METARL_REQUIRE", "").split(","):
        raise ImportError(f"{RELEASE} has no dqn.py: cleanrl is not installed")
    pytest.skip("cleanrl is not installed", allow_module_level=True)

needs_gym = pytest.mark.skipif(importlib.util.find_spec("gym") is None, reason="the released c51.py is for gym")


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
