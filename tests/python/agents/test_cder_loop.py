"""Every new switch in the whole loop: same seed, same bytes, and a resumed run is the uninterrupted one."""

import numpy as np
import pytest
from run_helpers import StopAt, contents, run_to_end

from metarl_core.agents import resolve_config
from metarl_core.runs import RunReader

SMALL = ["total_steps=480", "learning_starts=64", "batch_size=16", "hidden=8", "signal_hidden=8", "log_interval=80"]
SMALL += ["evaluation_episodes=2", "epochs=2"]
CASES = [
    ("DeepSea-v0", ["size=4", "preset=as_written", "n_step=3"]),
    ("DeepSea-v0", ["size=4", "preset=intended", "normalize_bonus=true", "imagined_fraction=0.5"]),
    ("CartPole-v1", ["behaviour=distilled", "n_step=3", "critic_n_step=true", "importance_ratios=truncated"]),
    ("DeepSea-v0", ["size=4", "n_step=2", "critic_n_step=true", "importance_ratios=truncated", "imagined=true"]),
    ("MinAtar/Breakout-v1", ["preset=as_written", "members=2", "conv_filters=4", "z_max=50", "total_steps=240"]),
]


def config_of(case, *more):
    env_id, options = case
    return resolve_config("cder", env_id, None, [*SMALL, *options, *more])


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1][:4]}")
def test_resuming_continues_the_same_run_and_other_seeds_differ(case, tmp_path):
    config = config_of(case)
    run_to_end(config, tmp_path / "whole")
    assert run_to_end(config, tmp_path / "parts", StopAt(160))["status"] == "interrupted"
    run_to_end(config, tmp_path / "parts", resume=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    rows = contents(tmp_path / "whole")[0]
    assert rows[-1]["updates"] > 50
    assert np.isfinite(rows[-1]["loss"])
    if "imagined=true" in case[1] or case[1][1].startswith("preset"):
        assert rows[-1]["imagined_rows"] > 10
    run_to_end(config_of(case, "seed=1"), tmp_path / "other")
    assert contents(tmp_path / "other")[0] != rows


def test_real_rows_are_never_displaced_by_imagined_ones(tmp_path):
    config = config_of(CASES[0], "checkpoint_interval=480")
    run_to_end(config, tmp_path / "run")
    state = RunReader(tmp_path / "run").load_checkpoint()
    assert RunReader(tmp_path / "run").priorities["counts"].sum() == 480  # every real step
    assert "imagined" in state["agent"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["behaviour=distilled"], ["normalize_bonus=true"]], ids=str)
def test_variants_solve_a_small_deep_sea(tmp_path, options):
    config = resolve_config(
        "cder", "DeepSea-v0", None, ["size=7", "total_steps=10500", "stop_when_solved=true", *options]
    )
    assert run_to_end(config, tmp_path / "run")["solved"]
