"""The agents learn."""

import numpy as np
import pytest

from metarl_core.agents import resolve_config, train
from metarl_core.runs import RunReader, RunWriter


def run(folder, algorithm, env_id, *options):
    config = resolve_config(algorithm, env_id, None, list(options))
    with RunWriter(folder, config.to_dict()) as writer:
        return train(config, writer)


def test_cder_solves_a_small_deep_sea(tmp_path):
    result = run(tmp_path / "run", "cder", "DeepSea-v0", "size=7", "stop_when_solved=true", "total_steps=7000")
    assert result["solved"]
    assert result["episodes_to_solve"] < 700
    assert result["evaluation_return"] == pytest.approx(0.99, abs=1e-6)


def test_double_dqn_improves_on_cartpole(tmp_path):
    result = run(tmp_path / "run", "ddqn-per", "CartPole-v1", "total_steps=8000")
    returns = np.asarray(RunReader(tmp_path / "run").episodes["return"])
    assert returns[:50].mean() < 40
    assert result["evaluation_return"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("mapping_seed", [42, 1])
def test_cder_solves_deep_sea_20_within_2500_episodes(tmp_path, mapping_seed):
    result = run(
        tmp_path / "run", "cder", "DeepSea-v0", "size=20", f"mapping_seed={mapping_seed}", "stop_when_solved=true"
    )
    assert result["solved"]
    assert result["episodes_to_solve"] <= 2500


@pytest.mark.slow
def test_cder_learns_mountain_car(tmp_path):
    assert run(tmp_path / "run", "cder", "MountainCar-v0")["evaluation_return"] >= -130
