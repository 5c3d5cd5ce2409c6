"""Experiments as data: what a file may say, the shipped ones, selecting cells, figures in the tables."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from reproduce_helpers import TINY, made_up_row, write_rows, write_spec

from metarl_core import ConfigError, RunError, stats
from metarl_core.cli import main
from metarl_core.reproduce import Experiment, find_experiment, list_experiments, read_experiment, write_summary
from metarl_core.reproduce.spec import parse_seeds
from metarl_core.reproduce.store import read_rows

TRAINED = [name for name in list_experiments() if isinstance(find_experiment(name), Experiment)]


@pytest.mark.parametrize("name", TRAINED)
def test_shipped_experiments_resolve(name):
    if name == "cder-metaworld":
        pytest.importorskip("metaworld", reason="needs metaworld: make test-metaworld", exc_type=ImportError)
    experiment = find_experiment(name)
    assert experiment.title
    assert experiment.tuning
    assert not {cell.seed for cell in experiment.cells} & {cell.seed for cell in experiment.tuning_cells}
    assert len({cell.key for cell in experiment.cells}) == len(experiment.cells)
    seen = {}
    for cell in experiment.cells:
        seen.setdefault(cell.key[:3], cell)
    for cell in seen.values():
        assert cell.config.seed == cell.seed
        assert cell.config.algorithm == cell.method.algorithm
    for cell in experiment.tuning_cells[:1]:
        assert cell.digest  # resolves too


def test_cells_are_the_product_in_order(tmp_path):
    experiment = read_experiment(write_spec(tmp_path))
    assert [cell.label for cell in experiment.cells[:5]] == [
        "ddqn-DeepSea-v0-size3-seed0",
        "ddqn-DeepSea-v0-size3-seed1",
        "rnd-DeepSea-v0-size3-seed0",
        "rnd-DeepSea-v0-size3-seed1",
        "ddqn-DeepSea-v0-size4-seed0",
    ]
    cell = experiment.cells[2]
    assert cell.config.hyperparameters.curiosity_hidden == (8,)
    assert cell.config.env_params == {"size": 3}
    assert cell.config.max_episodes == 40
    assert {cell.seed for cell in experiment.tuning_cells} == {7}


TUNING = """
[[tuning_cells]]
environment = "DeepSea-v0"
methods = ["ddqn"]
params = { size = 5 }
options = { max_episodes = 20 }

[tuning_settings]
ddqn = [{}, { hidden = [4, 4], lr = 0.1 }]
"""


def test_tuning_is_a_grid_of_settings_on_cells_of_its_own(tmp_path):
    experiment = read_experiment(write_spec(tmp_path, TINY + TUNING))
    assert [cell.key for cell in experiment.tuning_cells] == [
        ("ddqn", "DeepSea-v0", "size=5", 7),
        ("ddqn:hidden=[4, 4],lr=0.1", "DeepSea-v0", "size=5", 7),
    ]
    shipped, other = experiment.tuning_cells
    assert shipped.config.hyperparameters.hidden == (32,)
    assert (other.config.hyperparameters.hidden, other.config.hyperparameters.lr) == ((4, 4), 0.1)
    assert other.label == "ddqn-hidden=-4-4-lr=0.1-DeepSea-v0-size5-seed7"
    of_tuning = experiment.of_tuning()
    assert of_tuning.cells == experiment.tuning_cells
    assert list(of_tuning.methods) == ["ddqn", "ddqn:hidden=[4, 4],lr=0.1"]
    for change, message in (
        (("ddqn = [", "rnd = 1 #"), r"tuning_settings\.rnd=1: expected a list of tables"),
        (("ddqn = [", "dqn = ["), "tuning_settings='dqn': choose from ddqn, rnd, bad"),
        (("[{}, {", "[1, {"), r"tuning_settings\.ddqn=1: expected a table"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_experiment(write_spec(tmp_path, TINY + TUNING.replace(*change), "wrong"))


def test_options_of_a_method_go_before_those_of_its_cells(tmp_path):
    text = TINY.replace("curiosity_hidden = 8 }", "curiosity_hidden = 8, batch_size = 32 }")
    by_method = {
        cell.method.name: cell.config.hyperparameters for cell in read_experiment(write_spec(tmp_path, text)).cells
    }
    assert by_method["rnd"].batch_size == 32
    assert by_method["ddqn"].batch_size == 16


def test_the_digest_changes_with_the_settings_but_not_with_the_seed(tmp_path):
    cells = read_experiment(write_spec(tmp_path)).cells
    assert cells[0].digest == cells[1].digest
    assert len({cells[i].digest for i in (0, 2, 4)}) == 3
    other = read_experiment(write_spec(tmp_path, TINY.replace("hidden = 8, b", "hidden = 9, b"), "other")).cells
    assert other[0].digest != cells[0].digest


def test_seeds():
    assert parse_seeds("0-4,7") == (0, 1, 2, 3, 4, 7)
    assert parse_seeds(3) == (3,)
    assert parse_seeds([1, 5]) == (1, 5)
    for bad in ("a", "", "3-1", "-1", "1,1", [2.5]):
        with pytest.raises(ConfigError, match="seeds="):
            parse_seeds(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title =", "titlex ="), "unknown field 'titlex'; did you mean 'title'"),
        (('label = "Double DQN"', "colour = 1"), "unknown field of methods.ddqn 'colour'"),
        (('methods = ["bad"]', 'methods = ["worse"]'), "methods='worse': choose from ddqn, rnd, bad"),
        (("tuning_seeds = [7]", "tuning_seeds = [1]"), r"tuning_seeds: \[1\] are reported as well"),
        (('baseline = "ddqn"', 'baseline = "dqn"'), "baseline='dqn': choose from"),
        (('"bars"', '"pie"'), "plots='pie': choose from scaling, curves, bars, profile"),
        (("seeds = 0\n", "seeds = 'x'\n"), "seeds='x': expected seeds such as"),
        (('methods = ["bad"]', 'methods = ["bad", "bad"]'), "bad-DeepSea-v0-size=3-0 comes twice"),
        (('baseline = "ddqn"', 'measure = "reward"'), "measure='reward': choose from episodes_to_solve"),
        (('baseline = "ddqn"', "score = { low = 2, high = 1 }"), "score: low=2.0 must be < high=1.0"),
        (("[methods.bad]", '[methods."a/b"]'), "methods: 'a/b': expected letters"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, change, message):
    assert change[0] in TINY
    spec = write_spec(tmp_path, TINY.replace(*change))
    with pytest.raises(ConfigError, match=rf"tiny\.toml: .*{message}"):
        read_experiment(spec)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "unknown experiment 'nowhere'"),
        (["nowhere.toml"], "cannot read nowhere.toml"),
        (["SPEC", "--only", "method"], "--only 'method': expected KEY=VALUE"),
        (["SPEC", "--only", "methodx=ddqn"], "unknown key of --only 'methodx'; did you mean 'method'"),
        (["SPEC", "--only", "method=dqn"], "unknown method of this experiment 'dqn'; did you mean 'ddqn'"),
        (["SPEC", "--only", "seed=5"], "unknown seed of this experiment '5'"),
        (["SPEC", "--jobs", "0"], "--jobs: expected an integer >= 1"),
        (["SPEC", "--from-csv", "--stale"], "--from-csv trains nothing"),
        (["SPEC", "--from-csv", "--out", "OUT"], "results.csv does not exist"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(tmp_path, capsys, words, message):
    spec = write_spec(tmp_path)
    words = [{"SPEC": str(spec), "OUT": str(tmp_path / "out")}.get(word, word) for word in words]
    assert main(["reproduce", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_an_option_that_does_not_exist_is_told_before_anything_runs(tmp_path, capsys):
    spec = write_spec(tmp_path, TINY.replace("curiosity_hidden = 8", "curiosity = 8"))
    assert main(["reproduce", str(spec), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]) == 2
    assert "rnd-DeepSea-v0-size3-seed0: unknown option 'curiosity'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_experiments_are_listed(capsys):
    assert main(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == list(list_experiments())
    assert "cder-deepsea" in out


def test_figures_of_the_tables(tmp_path):
    """An unsolved run counts as its whole budget; everything else is what metarl_core.stats says."""
    experiment = read_experiment(write_spec(tmp_path))
    needed = {("ddqn", 3): [10, 14], ("ddqn", 4): [20, None], ("rnd", 3): [30, 34], ("rnd", 4): [None, None]}
    rows = [
        made_up_row(cell, needed[cell.method.name, cell.params["size"]][cell.seed])
        for cell in experiment.cells
        if cell.method.name != "bad"
    ]
    write_rows(tmp_path / "results.csv", rows)
    files = write_summary(experiment, tmp_path / "results.csv")
    assert [file.name for file in files] == ["tables.md", "scaling.png", "curves.png", "bars.png", "profile.png"]
    text = (tmp_path / "tables.md").read_text()
    assert "| Double DQN | 2 / 2 | 12 | 10, 14 | 2 |" in text
    assert "| Double DQN | 1 / 2 | 30 | 20, not in 40 | 2 |" in text
    assert "Of fewer than 5 seeds no interval is given" in text
    assert "| rnd | 0 / 2 | - | none in 40 | 2 |" in text
    scores = {name: [[1 - (v or 40) / 40 for v in needed[name, size]] for size in (3, 4)] for name in ("ddqn", "rnd")}
    together = text.split("## All tasks together")[1]
    assert "2 tasks and the seeds for which all methods have runs" in together
    for name, label in (("ddqn", "Double DQN"), ("rnd", "rnd")):
        assert f"| {label} | {float(stats.iqm(scores[name])):.3f} [" in together
    better = float(stats.probability_of_improvement(scores["ddqn"], scores["rnd"]))
    assert f"| {better:.3f} [" in together


def test_methods_are_compared_on_the_seeds_that_all_of_them_have(tmp_path):
    experiment = read_experiment(write_spec(tmp_path))
    cells = [cell for cell in experiment.cells if cell.method.name != "bad"]
    missing = next(cell for cell in cells if cell.key[0] == "rnd" and cell.seed == 1)
    made = {"ddqn": [10, 30], "rnd": [20, 20]}
    rows = [
        made_up_row(cell, made[cell.method.name][cell.seed], commit=f"c{cell.seed}")
        for cell in cells
        if cell != missing
    ]
    write_rows(tmp_path / "results.csv", rows)
    write_summary(experiment, tmp_path / "results.csv")
    text = (tmp_path / "tables.md").read_text()
    scores = [[1 - 10 / 40], [1 - 10 / 40, 1 - 30 / 40]]  # of size 3 the first seed alone
    assert f"| Double DQN | {float(stats.iqm(scores)):.3f} [" in text.split("## All tasks together")[1]
    assert "different versions of the sources: c0 (4), c1 (3)." in text


def test_returns_and_curves(tmp_path):
    text = TINY.replace('baseline = "ddqn"', 'measure = "final_return"\nscore = { low = -1, high = 1 }')
    text = text.replace('seeds = "0-1"', 'seeds = "0-4"')
    experiment = read_experiment(write_spec(tmp_path, text))
    rng = np.random.default_rng(0)
    rows = [made_up_row(cell, None, final_return=float(rng.normal())) for cell in experiment.cells]
    write_rows(tmp_path / "results.csv", rows)
    names = [file.name for file in write_summary(experiment, tmp_path / "results.csv")]
    # A return has no scaling plot; "bad" has no run on size 4, so that one task is left in the profile, and no table.
    assert names == ["tables.md", "curves.png", "bars.png", "profile.png"]
    values = [row["final_return"] for row in rows[:5]]
    low, high = stats.bootstrap_interval(stats.iqm, [values], resamples=10_000)
    assert f"| {stats.iqm([values]):.4g} [{low:.4g}, {high:.4g}] |" in (tmp_path / "tables.md").read_text()
    assert "All tasks together" not in (tmp_path / "tables.md").read_text()


def test_steps_to_solve(tmp_path):
    """Where runs stop when solved, their steps count; an unsolved run counts as its whole budget of steps."""
    text = TINY.replace('baseline = "ddqn"', 'measure = "steps_to_solve"')
    with pytest.raises(ConfigError, match="measure='steps_to_solve' needs stop_when_solved=true"):
        read_experiment(write_spec(tmp_path, text))
    text = text.replace("max_episodes = 40", "stop_when_solved = true, total_steps = 500")
    experiment = read_experiment(write_spec(tmp_path, text))
    needed = {("ddqn", 3): [100, 140], ("ddqn", 4): [200, None], ("rnd", 3): [300, 340], ("rnd", 4): [None, None]}
    rows = []
    for cell in experiment.cells:
        if cell.method.name != "bad":
            steps = needed[cell.method.name, cell.params["size"]][cell.seed]
            row = made_up_row(cell, 9 if steps else None, environment_steps=steps or 504)
            rows.append(row | {"curve": " ".join(["0.5"] * 5 + ["-"] * 35)} if steps else row)
    write_rows(tmp_path / "results.csv", rows)
    write_summary(experiment, tmp_path / "results.csv")
    text = (tmp_path / "tables.md").read_text()
    assert "| Double DQN | 2 / 2 | 120 | 100, 140 | 2 |" in text
    assert "| Double DQN | 1 / 2 | 350 | 200, not in 504 | 2 |" in text
    assert "| rnd | 0 / 2 | - | none in 504 | 2 |" in text
    scores = [[1 - 100 / 500, 1 - 140 / 500], [1 - 200 / 500, 0.0]]
    assert f"| Double DQN | {float(stats.iqm(scores)):.3f} [" in text
    assert "Score: share of the budget of environment steps left when solved" in text


def test_curves_of_runs_that_stopped_when_solved_go_on_as_they_ended(tmp_path):
    from metarl_core.reproduce.plots import _curve_values
    from metarl_core.reproduce.summary import collect

    experiment = read_experiment(write_spec(tmp_path))
    cells = [cell for cell in experiment.cells if cell.method.name == "ddqn" and cell.params["size"] == 3]
    parts = " ".join(["-", "0.25", "0.5"] + ["-"] * 37)
    solved = made_up_row(cells[0], 9, environment_steps=cells[0].config.total_steps // 10, curve=parts)
    write_rows(tmp_path / "results.csv", [solved, made_up_row(cells[1], None, curve=parts)])
    values, _ = _curve_values(collect(experiment, read_rows(tmp_path / "results.csv")).groups[0])
    np.testing.assert_array_equal(values[0], [np.nan, 0.25] + [0.5] * 38)
    np.testing.assert_array_equal(values[1], [np.nan, 0.25, 0.5] + [np.nan] * 37)


def test_damaged_results(tmp_path):
    (tmp_path / "a.csv").write_text("method,seed\n")
    with pytest.raises(RunError, match=r"a\.csv: expected the columns method, algorithm"):
        read_rows(tmp_path / "a.csv")
    cell = read_experiment(write_spec(tmp_path)).cells[0]
    write_rows(tmp_path / "b.csv", [made_up_row(cell, 3)])
    (tmp_path / "b.csv").write_text((tmp_path / "b.csv").read_text() + "ddqn,1\n")
    with pytest.raises(RunError, match=r"b\.csv, line 3: 2 cells; expected 24"):
        read_rows(tmp_path / "b.csv")
