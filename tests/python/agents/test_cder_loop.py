"""Every new switch in the whole loop: same seed, same bytes, and a resumed run is the uninterrupted one."""

import numpy as np
import pytest
from run_helpers import StopAt, contents, run_to_end

from metarl_core.agents import resolve_config
from metarl_core.agents.loop import Trainer
from metarl_core.runs import RunReader, RunWriter

SMALL = ["total_steps=480", "learning_starts=64", "batch_size=16", "hidden=8", "signal_hidden=8", "log_interval=80"]
SMALL += ["evaluation_episodes=2", "epochs=2"]
CASES = [
    ("DeepSea-v0", ["size=4", "preset=as_written", "n_step=3"]),
    ("DeepSea-v0", ["size=4", "preset=intended", "normalize_bonus=true", "imagined_fraction=0.5"]),
    ("CartPole-v1", ["behaviour=distilled", "n_step=3", "critic_n_step=true", "importance_ratios=truncated"]),
    ("DeepSea-v0", ["size=4", "n_step=2", "critic_n_step=true", "importance_ratios=truncated", "imagined=true"]),
    ("MiniGrid-Empty-5x5-v0", ["z_max=2", "bonus_visits=first", "normalize_bonus=true", "conv_filters=4", "members=2"]),
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


@pytest.mark.parametrize("n_step", [1, 3])
def test_first_visits_are_kept_with_their_transitions(tmp_path, n_step):
    """In a random walk on FrozenLake: what is stored says whether s' was new in its episode, its start included."""
    config = resolve_config(
        "cder", "FrozenLake-v1", None,
        ["bonus_visits=first", "num_envs=3", "total_steps=600", "learning_starts=10000", "epsilon_start=1",
         "epsilon_end=1", f"n_step={n_step}", "evaluation_episodes=1", "return_check=none"],
    )  # fmt: skip
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        follow, expected = trainer.agent.transition_columns, []
        known = [set() for _ in range(3)]

        def followed(columns, ended):
            for env, (obs, following) in enumerate(zip(columns["obs"], columns["next_obs"], strict=True)):
                known[env] |= {int(obs)} if not known[env] else set()
                expected.append(int(following) not in known[env])
                known[env].add(int(following))
                if ended[env]:
                    known[env].clear()
            return follow(columns, ended)

        trainer.agent.transition_columns = followed
        for _ in range(200):
            trainer.act()
        stored = trainer.replay.sample(100_000, mode="uniform")
    count = len(trainer.replay)
    assert count == 600 if n_step == 1 else count > 500
    rate = np.mean(expected)
    assert 0.05 < rate < 0.95
    assert stored["first_visit"].mean() == pytest.approx(rate, abs=0.02)
    same = stored["obs"] == stored["next_obs"]
    assert same.any()
    assert not stored["first_visit"][same].any(), "who stays where he is visits nothing new"


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["behaviour=distilled"], ["normalize_bonus=true"]], ids=str)
def test_variants_solve_a_small_deep_sea(tmp_path, options):
    config = resolve_config(
        "cder", "DeepSea-v0", None, ["size=7", "total_steps=10500", "stop_when_solved=true", *options]
    )
    assert run_to_end(config, tmp_path / "run")["solved"]
