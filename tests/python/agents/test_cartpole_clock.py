"""CartPole by the clock (bench/cartpole_clock.py): when it is solved, what counts as time, the table, the arguments."""

import importlib
import math
import runpy
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from metarl_core.agents.config import resolve_config
from metarl_core.benchmarks.peers import Peer

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benchmark by its name."""
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.syspath_prepend(str(BENCH / "clock"))
    return importlib.import_module


def controller(obs):
    """A linear controller that never loses the pole."""
    return (obs @ np.array([0.1, 0.3, 1.0, 0.5]) > 0).astype(np.int64)


def leaning(obs):
    """Push where the pole leans: some 40 steps."""
    return (obs[:, 2] > 0).astype(np.int64)


def plain_return(policy, seed):
    """One episode, alone."""
    env = gymnasium.make("CartPole-v1")
    obs, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(int(policy(obs[None])[0]))
        total += reward
        ended = terminated or truncated
    return total


# --- the rule ----------------------------------------------------------------------------------------------------


def test_an_evaluation_is_the_mean_of_episodes_played_alone(bench):
    episodes = bench("judge").Episodes(50, 12)
    expected = np.mean([plain_return(leaning, 50 + i) for i in range(12)])
    assert episodes.play(leaning) == pytest.approx(expected)
    assert episodes.play(leaning) == pytest.approx(expected)  # the seeds are fixed
    assert 20 < expected < 100


def test_giving_up_early_decides_the_same(bench):
    episodes = bench("judge").Episodes(50, 12)
    mean = episodes.play(leaning)
    assert episodes.play(leaning, mean - 1e-6) == mean
    assert episodes.play(leaning, mean + 1e-6) is None


def test_it_gives_up_as_soon_as_it_is_decided(bench):
    calls = []

    def policy(obs):
        calls.append(len(obs))
        return leaning(obs)

    assert bench("judge").Episodes(50, 12).play(policy, 475.0) is None
    assert len(calls) < max(plain_return(leaning, 50 + i) for i in range(12))


class Run:
    """A training run whose clocks go when told, and whose policy is good on some seeds only."""

    def __init__(self, bench, good_from, good_again_from, **options):
        self.time = self.steps = 0.0
        judge = bench("judge")
        self.judge = judge.Judge(self.greedy, options.get("every", 10), options.get("max_steps", 100), [self.clock] * 2)
        count = 5
        self.judge.first = judge.Episodes(1, count)
        self.judge.second = judge.Episodes(2001, count)
        self.starts = {
            tuple(env.reset(seed=first + i)[0]): good
            for first, good in ((1, good_from), (2001, good_again_from))
            for i, env in enumerate(self.judge.first.envs)
        }

    def clock(self):
        return self.time

    def greedy(self, obs):
        self.time += 1000  # evaluation takes long and does not count
        self.good_from = self.starts.get(tuple(obs[0]), getattr(self, "good_from", math.inf))
        return controller(obs) if self.steps >= self.good_from else leaning(obs)

    def train(self, step_size=1):
        self.judge.start()
        while True:
            self.steps += step_size
            self.time += 0.5
            if self.judge.over(int(self.steps)):
                return self.judge.result()


def test_the_controller_never_loses_the_pole(bench):
    assert bench("judge").Episodes(1, 5).play(controller, 475.0) == 500.0


def test_solved_needs_both_evaluations_and_evaluating_takes_no_time(bench):
    result = Run(bench, good_from=25, good_again_from=45).train()
    assert result["solved"]
    assert result["steps"] == 50  # the evaluations of 30 and 40 were not repeated with success
    assert result["seconds"] == result["cpu_seconds"] == 25.0
    assert (result["evaluations"], result["repeated"]) == (5, 3)
    assert result["return"] == result["return_again"] == 500.0


def test_an_unsolved_run_ends_at_its_last_step_and_is_judged_there(bench):
    result = Run(bench, good_from=0, good_again_from=math.inf, max_steps=35).train()
    assert not result["solved"]
    assert (result["steps"], result["seconds"], result["evaluations"]) == (35, 17.5, 4)
    assert result["return"] is None
    assert Run(bench, good_from=35, good_again_from=35, max_steps=35).train()["solved"]


def test_steps_that_jump_over_the_evaluation_are_judged_after_it(bench):
    result = Run(bench, good_from=0, good_again_from=20).train(step_size=4)
    assert (result["steps"], result["evaluations"]) == (20, 2)


SCRIPT = """
import gymnasium as gym
import numpy as np

if __name__ == "__main__":
    q_network = {"trained": 0}
    envs = gym.vector.SyncVectorEnv([lambda: gym.make("CartPole-v1")])
    obs, _ = envs.reset(seed=1)
    for step in range(60):
        obs, *_ = envs.step(np.array([step % 2]))
        q_network["trained"] += 1
    envs.close()
"""


@pytest.mark.parametrize(("needed", "judged"), [(30, [20, 40]), (60, [20, 40, 60]), (99, [20, 40, 60])])
def test_a_script_is_stopped_between_steps_and_its_last_step_is_judged(bench, monkeypatch, tmp_path, needed, judged):
    module = bench("run_cleanrl")
    networks, seen = [], []

    class Judge:
        def start(self):
            seen.append("start")

        def over(self, steps):
            if steps % 20 or steps in seen:
                return False
            seen.append(steps)
            assert networks[0]["trained"] == steps  # all that the step asked for is done
            return steps >= needed

    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(gymnasium.vector, "SyncVectorEnv", module.watched(Judge(), networks))
    try:
        runpy.run_path(str(tmp_path / "script.py"), run_name="__main__")
    except module._Over:
        assert needed < 60
    assert seen == ["start", *judged]


# --- the contestants ---------------------------------------------------------------------------------------------


def test_ours_run_with_the_steps_that_the_table_says(bench):
    ours = [contestant for contestant in bench("clock.contestants").CONTESTANTS if contestant.algorithm]
    assert len(ours) == 4
    assert all(contestant.peer is None for contestant in ours)
    for contestant in ours:
        config = resolve_config(contestant.algorithm, "CartPole-v1", overrides=contestant.options)
        assert config.total_steps == contestant.total_steps


def test_ours_as_sb3_has_sb3s_options(bench):
    by_name = {contestant.name: contestant for contestant in bench("clock.contestants").CONTESTANTS}
    zoo, twin = by_name["SB3 DQN"], by_name["ours as SB3"]
    hyper = resolve_config("ddqn", "CartPole-v1", overrides=twin.options).hyperparameters
    options = zoo.options
    assert list(hyper.hidden) == options["policy_kwargs"]["net_arch"]
    assert hyper.epsilon_steps == options["exploration_fraction"] * zoo.total_steps
    assert options["target_update_interval"] < options["train_freq"]  # a copy between any two phases
    assert hyper.target_period == hyper.epochs == options["gradient_steps"]
    for ours, theirs in {
        "lr": "learning_rate",
        "batch_size": "batch_size",
        "replay_capacity": "buffer_size",
        "learning_starts": "learning_starts",
        "gamma": "gamma",
        "train_every": "train_freq",
        "epsilon_end": "exploration_final_eps",
    }.items():
        assert getattr(hyper, ours) == options[theirs], ours


def test_sb3_with_our_replay_differs_in_the_replay_alone(bench):
    by_name = {contestant.name: contestant for contestant in bench("clock.contestants").CONTESTANTS}
    stock, prioritized, uniform = (by_name[f"SB3 DQN{end}"] for end in ("", " + our replay", " + our uniform replay"))
    for contestant, replay in ((prioritized, {}), (uniform, {"prioritized": False})):
        assert contestant.options == {**stock.options, "replay": replay}
        assert (contestant.worker, contestant.total_steps) == (stock.worker, stock.total_steps)
    run = bench("cartpole_clock").run
    result = run(prioritized, sys.executable, seed=0, every=1000, max_steps=1300)
    assert (result["steps"], result["solved"]) == (1300, False)


# --- the table ---------------------------------------------------------------------------------------------------


def row(contestant="a", seed=0, solved=True, **values):
    return {
        "contestant": contestant,
        "seed": seed,
        "solved": solved,
        "steps": 3000,
        "cpu_seconds": 1.25,
        "seconds": 2.5,
        "return": 480.0 if solved else None,
        "return_again": 490.0 if solved else None,
        "evaluations": 3,
        "repeated": 1,
        "every": 1000,
        "max_steps": 9000,
        "environment": "same",
        "versions": "x=1",
        **values,
    }


def test_an_unsolved_run_is_slower_than_every_solved_one(bench):
    results = bench("clock.results")
    rows = [row(steps=900), row(solved=False, steps=10), row(steps=700)]
    assert results.median(rows, "steps") == 900
    assert math.isinf(results.median([*rows, row(solved=False)], "steps"))
    assert math.isinf(results.median([row(solved=False)], "seconds"))


def test_the_table_shows_medians_and_every_seed(bench):
    rows = [row(seed=2, cpu_seconds=9.0), row(seed=0, cpu_seconds=1.0), row(seed=1, solved=False), row("b", 7)]
    lines = bench("clock.results").table(rows).splitlines()
    assert lines[2] == (
        "| a | 0, 1, 2 | 2 of 3 | **9.0** (1.0 / - / 9.0) | **2.5** (2.5 / - / 2.5) | **3,000** (3,000 / - / 3,000) |"
    )
    assert lines[3].startswith("| b | 7 | 1 of 1 | **1.2** (1.2)")


def test_csv_round_trip_and_the_table_of_files(bench, tmp_path, capsys):
    results = bench("clock.results")
    rows = [row(), row("ours ddqn", 1, solved=False)]
    for number, each in enumerate(rows):
        results.write_csv(tmp_path / f"{number}.csv", [each])
    back = results.read_csv(tmp_path / "0.csv")[0]
    assert {name: back[name] for name in ("seed", "solved", "steps", "cpu_seconds", "environment")} == {
        name: rows[0][name] for name in ("seed", "solved", "steps", "cpu_seconds", "environment")
    }
    assert bench("cartpole_clock").main(["--table", str(tmp_path / "0.csv"), str(tmp_path / "1.csv")]) == 0
    shown = capsys.readouterr().out
    assert shown.index("| ours ddqn |") < shown.index("| a |")


def test_files_that_are_no_results_and_environments_that_differ(bench, tmp_path, capsys):
    results = bench("clock.results")
    (tmp_path / "x.csv").write_text("contestant,seed\na,1\n")
    with pytest.raises(ValueError, match=r"x\.csv: no column 'solved'"):
        results.read_csv(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="the environments differ: a: same; b: other"):
        results.check_environments([row(), row("b", environment="other")])
    with pytest.raises(SystemExit):
        bench("cartpole_clock").main(["--table", str(tmp_path / "absent.csv")])
    assert "absent.csv" in capsys.readouterr().err


# --- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("3", [3]), ("0, 7-8", [0, 7, 8])])
def test_seeds(bench, text, seeds):
    assert bench("clock.results").parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "a"], "seeds is 'a'; expected numbers or ranges of them, such as 0-4"),
        (["--seeds", "4-1"], "the range 4-1 ends before it begins"),
        (["--seeds", "1-"], "expected numbers or ranges"),
        (["--seeds", "0-2,1"], "a seed comes twice"),
        (["--contestants", "ours"], "unknown contestant 'ours'; choose from ours ddqn, "),
        (["--every", "0"], "is '0'; expected a number of steps above 0"),
    ],
)
def test_bad_arguments(bench, capsys, arguments, message):
    with pytest.raises(SystemExit):
        bench("cartpole_clock").main(arguments)
    assert message in capsys.readouterr().err


def test_a_peer_that_is_not_there_is_left_out_with_the_reason(bench, tmp_path, capsys):
    module = bench("cartpole_clock")
    absent = module.Contestant("x", "run_cleanrl.py", Peer("absent", "", "absent_peer", ()), 1, None, "")
    assert module.interpreters([absent], tmp_path) == {}
    assert "x: left out, not installed: run python bench/setup_peers.py absent" in capsys.readouterr().err


def test_a_worker_that_fails_is_told(bench, tmp_path, capsys):
    options = ["--no-setup", "--seeds", "100", "--contestants", "ours ddqn", "--csv", str(tmp_path / "x.csv")]
    module = bench("cartpole_clock")
    broken = module.Contestant("y", "run_ours.py", None, 1, ["no_such_option=1"], "", "ddqn")
    with pytest.raises(RuntimeError, match=r"y, seed 3: its process ended with code 1: .*no_such_option"):
        module.run(broken, module.sys.executable, 3, 10, 10)
    assert module.main([*options, "--max-steps", "1000"]) == 0
    shown = capsys.readouterr()
    assert "ours ddqn, seed 100: not solved at step 1,000" in shown.err
    assert "| ours ddqn | 100 | 0 of 1 | **not solved** (-)" in shown.out
    stored = bench("clock.results").read_csv(tmp_path / "x.csv")
    assert stored[0]["steps"] == 1000
    assert stored[0]["cpu_seconds"] > 0
