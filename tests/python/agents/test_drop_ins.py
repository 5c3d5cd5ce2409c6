"""Other libraries' agents, stock against ours (bench/drop_ins.py): evaluation, a real run, table, arguments."""

import dataclasses
import importlib
from pathlib import Path

import gymnasium
import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benchmark by its name."""
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.syspath_prepend(str(BENCH / "drop_in"))
    return importlib.import_module


def leaning(obs):
    return (obs[:, 2] > 0).astype(np.int64)


def test_the_evaluation_is_the_mean_of_episodes_played_alone(bench):
    measure = bench("measure")
    returns = []
    for number in range(6):
        env = gymnasium.make("CartPole-v1")
        obs, _ = env.reset(seed=measure.FIRST_SEED + number)
        total, ended = 0.0, False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(int(leaning(obs[None])[0]))
            total += float(reward)
            ended = terminated or truncated
        returns.append(total)
    assert measure.evaluate("CartPole-v1", leaning, episodes=6) == np.mean(returns)
    assert measure.evaluate("CartPole-v1", leaning, episodes=6, longest=5) == 5.0


@pytest.mark.parametrize("contestant", ["stock", "our replay, prioritized, our environments"])
def test_sb3_runs_stock_and_with_ours(bench, contestant):
    library = dataclasses.replace(bench("drop_in.contestants").LIBRARIES[0], steps=2_080)
    row = bench("drop_ins").run(library, contestant, seed=3)
    assert (row["steps"], row["seed"], row["contestant"]) == (2_080, 3, contestant)
    assert row["return"] >= 0
    assert row["cpu_seconds"] > 0
    assert "stable_baselines3=" in row["versions"]


def test_a_worker_that_fails_is_told(bench):
    library = dataclasses.replace(bench("drop_in.contestants").LIBRARIES[0], env_id="NoSuch-v0")
    with pytest.raises(RuntimeError, match=r"stock, seed 3: its process ended with code 1: .*NoSuch"):
        bench("drop_ins").run(library, "stock", seed=3)


def row(contestant, seed, value, seconds):
    fixed = {"library": "sb3", "env_id": "MinAtar/Breakout-v1", "steps": 60_000, "versions": "x=1"}
    return {**fixed, "contestant": contestant, "seed": seed, "return": value, "cpu_seconds": seconds, "seconds": 9.0}


def test_the_table_compares_the_clock_seed_by_seed_and_files_come_back(bench, tmp_path, capsys):
    ours = "our replay, prioritized, our environments"
    rows = [row("stock", seed, 4.0, 10.0 * (seed + 1)) for seed in range(4)]
    rows += [row(ours, seed, 2.0 * seed, 5.0 * (seed + 1)) for seed in range(4)]
    module = bench("drop_ins")
    module.write_csv(tmp_path / "x.csv", rows)
    assert module.read_csv(tmp_path / "x.csv") == rows
    assert module.main(["--table", str(tmp_path / "x.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| stock | 4 | 4 [4, 4] | 25.0 | 1.00 | 9.0 |" in lines
    (line,) = [line for line in lines if line.startswith(f"| {ours} | 4 | 3 [")]  # IQM: the mean of 2 and 4
    assert line.endswith("| 12.5 | 0.50 | 9.0 |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a library (sb3, tianshou, torchrl), or --table FILE"),
        (["nobody"], "invalid choice: 'nobody'"),
        (["sb3", "--seeds", "1,1"], "a seed comes twice"),
    ],
)
def test_bad_arguments(bench, capsys, arguments, message):
    with pytest.raises(SystemExit):
        bench("drop_ins").main(arguments)
    assert message in capsys.readouterr().err


def test_other_files_are_refused(bench, tmp_path):
    (tmp_path / "x.csv").write_text("library,seed\nsb3,1\n")
    with pytest.raises(ValueError, match=r"x\.csv: expected the columns library, contestant"):
        bench("drop_ins").read_csv(tmp_path / "x.csv")
