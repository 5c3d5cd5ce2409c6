"""metarl reproduce with runs that are measured on held-out tasks."""

import csv
import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from reproduce_helpers import made_up_row, write_rows, write_spec

from metarl_core import ConfigError, stats
from metarl_core.agents.imt.averaging import WEIGHTINGS
from metarl_core.agents.task_context import family_tasks
from metarl_core.cli import main
from metarl_core.errors import RunError
from metarl_core.reproduce import find_experiment, read_experiment, write_summary
from metarl_core.reproduce.unseen import UNSEEN_COLUMNS, read_unseen, unseen_path, write_unseen
from metarl_core.runs import RunReader

OPTIONS = (
    'env_tasks = 3, test_tasks = 3, val_tasks = 0, env_tasks_seed = "seed", evaluation_episodes = 2, rounds = 1, '
    "steps_per_round = 40, submodel_updates = 2, head_updates = 2, pretrain_updates = 2, reference_steps = 400, "
    "embedding_features = 8, hidden = 8, predictor_hidden = 8"
)
SPEC = f"""
title = "Tiny families"
measure = "evaluation_return"
plots = ["unseen"]
baseline = "imt"
seeds = "0-1"
tuning_seeds = [7]

[methods.imt]
label = "IMT"

[methods.oracle]
algorithm = "imt"
label = "oracle"
options = {{ train_split = "test" }}

[[cells]]
environment = "PointRobot-v0"
params = {{ env_tasks_split = ["extrapolation", "interpolation"] }}
options = {{ {OPTIONS} }}
"""


def test_a_run_writes_what_every_policy_came_to(tmp_path):
    spec = write_spec(tmp_path, SPEC)
    out, runs = tmp_path / "out", tmp_path / "runs"
    words = ["--only", "method=imt,env_tasks_split=interpolation", "--keep-runs", "--runs", str(runs), "--jobs", "2"]
    assert main(["reproduce", str(spec), "--out", str(out), *words]) == 0
    experiment = read_experiment(spec)
    found = read_unseen(out / "unseen.csv")
    cells = [c for c in experiment.cells if c.method.name == "imt" and c.params["env_tasks_split"] == "interpolation"]
    assert {key[:4] for key in found} == {cell.key for cell in cells}
    configs = []
    for cell in cells:
        reader = RunReader(runs / cell.label)
        configs.append(reader.config)
        tasks = reader.arrays("imt_tasks")
        for name, returns in zip(tasks["methods"], tasks["returns"], strict=True):
            row = found[(*cell.key, str(name))]
            assert float(row["mean_return"]) == pytest.approx(returns.mean(), rel=1e-12)
            np.testing.assert_allclose(np.array(row["returns"].split(), float), returns, rtol=1e-5)
            assert row["config"] == cell.digest
        own = np.diag(tasks["submodels_on_train"]).mean()
        assert float(found[(*cell.key, "own")]["mean_return"]) == pytest.approx(own, rel=1e-12)
    assert [config["env_tasks_seed"] for config in configs] == [0, 1], "each seed draws tasks of its own"
    assert cells[0].digest == cells[1].digest, "and the settings are the same"
    assert (out / "unseen.png").read_bytes()[:4] == b"\x89PNG"
    text = (out / "tables.md").read_text()
    assert "| on held-out tasks |" in text


def made_up(cell, policy, value):
    environment, params = cell.key[1:3]
    names = {"method": cell.method.name, "environment": environment, "params": params, "seed": cell.seed}
    return {**names, "config": cell.digest, "policy": policy, "mean_return": value, "returns": f"{value}", "commit": ""}


def outcomes(path):
    """Rows of the tables before the one of what was used."""
    text = path.read_text()
    return [line for line in text[: text.index("| used in training |")].splitlines() if line.startswith("|")]


def test_figures_of_the_table(tmp_path):
    """Interquartile means over the seeds, and by how much the baseline is ahead on the seeds that both have."""
    experiment = read_experiment(write_spec(tmp_path, SPEC.replace('seeds = "0-1"', 'seeds = "0-4"')))
    path, ours, other = tmp_path / "results.csv", [5.0, 6.0, 7.0, 9.0, 11.0], [1.0, 2.0, 4.0, 4.0]
    cells = [c for c in experiment.cells if c.params["env_tasks_split"] == "extrapolation"]
    write_rows(path, [made_up_row(cell, evaluation_return=1.0) for cell in cells])
    stale = made_up(cells[0], "vote", 99.0) | {"config": "other"}
    write_unseen(unseen_path(path), [stale], experiment.cells)
    for cell in reversed(cells):  # in whatever order they finish
        if cell.method.name == "imt":
            rows = [made_up(cell, "imt", ours[cell.seed]), made_up(cell, "own", 30.0), made_up(cell, "chance", -1.0)]
            rows += [made_up(cell, "uniform", other[cell.seed])] if cell.seed < 4 else []
        else:
            rows = [made_up(cell, "imt", 0.0), made_up(cell, "own", 12.0)]
        write_unseen(unseen_path(path), rows, experiment.cells)
    write_summary(experiment, path)
    table = outcomes(tmp_path / "tables.md")
    low, high = stats.bootstrap_interval(stats.iqm, [ours], resamples=10_000)
    assert f"| **IMT** | {stats.iqm([ours]):.4g} [{low:.4g}, {high:.4g}] | - | 5 |" in table
    ahead = list(np.subtract(ours[:4], other))
    found = next(line for line in table if line.startswith("| mean of values, equal weights"))
    assert found.endswith(f"| {stats.iqm([other]):.4g} | {stats.iqm([ahead]):.4g} | 4 |"), "of four no interval"
    text = (tmp_path / "tables.md").read_text()
    assert "are from 400 transitions of it under uniform actions, or from 10 episodes" in text
    assert "| uniform actions | -1 [-1, -1] | - | 5 |" in table
    assert "| each on its own training task | 30 [30, 30] | - | 5 |" in table
    oracle = [line for line in table if line.startswith("| oracle")]
    assert len(oracle) == 1
    assert oracle[0].startswith("| oracle: each on its own training task | 12 [12, 12]"), "not as configured"
    assert not any("vote" in line for line in table), "made with other settings"
    with (tmp_path / "unseen.csv").open() as file:
        seeds = [int(row["seed"]) for row in csv.DictReader(file) if row["method"] == "imt" and row["policy"] == "imt"]
    assert seeds == [0, 1, 2, 3, 4]


def test_regret_against_networks_trained_on_the_held_out_tasks(tmp_path):
    """By hand: the oracle's return on its own tasks minus what acts, on the seeds that both have."""
    text = SPEC.replace('seeds = "0-1"', 'seeds = "0-6"') + WORSE
    experiment = read_experiment(write_spec(tmp_path, text))
    path = tmp_path / "results.csv"
    oracle = [20.0, 22.0, 18.0, 24.0, 30.0]  # two seeds of the others have none yet
    returns = {
        "imt": {"imt": [10, 18, 17, 26, 20, 99, 99], "imt_10": [9, 16, 16, 20, 20, 99, 99], "chance": [-10] * 7},
        "control": {"imt": [0, 2, 4, 6, 8, 99], "imt_10": [0, 1, 2, 3, 4, 99], "best": [10] * 5, "shuffled": [0] * 5},
    }
    cells = [c for c in experiment.cells if c.params["env_tasks_split"] == "extrapolation"]
    write_rows(path, [made_up_row(cell, evaluation_return=1.0) for cell in cells])

    def written(with_oracle):
        unseen_path(path).unlink(missing_ok=True)
        for cell in cells:
            name, seed = cell.method.name, cell.seed
            if name == "oracle":
                # As configured, this method's average of networks, is not the oracle: it is worth nothing here.
                rows = [made_up(cell, "own", oracle[seed]), made_up(cell, "imt", 0.0)] if seed < 5 else []
                rows = rows if with_oracle else []
            else:
                rows = [made_up(cell, p, float(v[seed])) for p, v in returns[name].items() if seed < len(v)]
                rows.append(made_up(cell, "own", 50.0))
            write_unseen(unseen_path(path), rows, experiment.cells)
        write_summary(experiment, path)
        return (tmp_path / "tables.md").read_text()

    without = written(False)
    assert "regret" not in without.lower()
    with_oracle = written(True)
    start = with_oracle.index("Regret against *oracle*")
    rows = [line.strip("| ").split(" | ") for line in with_oracle[start:].split("## ")[0].splitlines() if "|" in line]

    def figure(values):
        low, high = stats.bootstrap_interval(stats.iqm, [values], resamples=10_000)
        return f"{stats.iqm([values]):.4g} [{low:.4g}, {high:.4g}]"

    assert rows[0][1:3] == ["regret, from 400 transitions [95 %]", "regret, from 10 episodes [95 %]"]
    assert "zero-shot" not in with_oracle
    regret = np.subtract(oracle, returns["imt"]["imt"][:5])
    assert rows[2] == [
        "**IMT**",
        figure(regret),
        figure(np.subtract(oracle, returns["imt"]["imt_10"][:5])),
        figure(regret / (np.array(oracle) + 10)),
        "5",
    ]
    assert regret.tolist() == [10, 4, 1, -2, 10]
    assert [row[0] for row in rows[3:]] == [
        "uniform actions",
        "control",
        "control: for each task the submodel with the largest weight",
    ]
    assert rows[3][2:] == ["-", "1 [1, 1]", "5"]
    assert rows[4][2] == figure(np.subtract(oracle, returns["control"]["imt_10"][:5]))
    assert rows[5][1:3] == [figure(np.subtract(oracle, 10.0)), "-"]
    # Nothing else in the table changes but the oracle's own line.
    assert [line for line in without.splitlines() if line not in with_oracle] == []


def test_what_each_method_used(tmp_path):
    """Steps from the rows, the rest from the configuration; nothing of rows of other settings."""
    text = SPEC.replace('seeds = "0-1"', 'seeds = "0-2"') + ALONE
    experiment = read_experiment(write_spec(tmp_path, text))
    cells = [c for c in experiment.cells if c.params["env_tasks_split"] == "extrapolation"]
    path, steps = tmp_path / "results.csv", [1290, 1320, 1200]
    rows = [made_up_row(cell, evaluation_return=1.0, environment_steps=steps[cell.seed]) for cell in cells]
    rows = [row | ({"config": "other"} if row["method"] == "oracle" else {}) for row in rows]
    write_rows(path, rows)
    for cell in cells:
        write_unseen(unseen_path(path), [made_up(cell, "imt", 0.0)], experiment.cells)
    write_summary(experiment, path)
    text = (tmp_path / "tables.md").read_text()
    start = text.index("| used in training |")
    table = [line.strip("| ").split(" | ") for line in text[start:].split("\n\n")[0].splitlines()]
    assert table[0] == ["used in training", "environment steps", "parameters", "stored bytes", "all bytes", "seeds"]
    # 2 numbers, 9 actions, 8 features; 3 tasks of 400 reference transitions of 42 bytes, the rest replayed, of 33.
    trunk, head, predictor = 3 * 8, 9 * 9, (2 * 8 + 9 + 1 + 1) * 8 + 9 * 16
    counts = {"IMT": 4 * trunk + 3 * (head + predictor), "alone": 3 * (trunk + head)}
    played = "1,290 (1,200 to 1,320)"
    for label, row in zip(counts, (table[2], table[4]), strict=True):
        stored = [3 * 400 * 42 + 33 * more for more in (90, 0, 120)]
        every = [4 * counts[label] + s for s in stored]
        spans = [f"{values[0]:,} ({values[1]:,} to {values[2]:,})" for values in (stored, every)]
        assert row == [label, played, f"{counts[label]:,}", *spans, "3"]
    assert table[3] == ["oracle", played, "-", "-", "-", "3"]
    assert text.count("Used in training: median over the seeds") == 1
    assert "of IMT also the common trunk and embedding predictors;" in text
    assert "curiosity" not in text
    assert "validation" not in text


ALONE = """
[methods.alone]
algorithm = "imt"
label = "alone"
options = { sharing = "none" }
"""


def test_the_oracle_learns_the_tasks_that_the_others_are_tested_on():
    experiment = find_experiment("imt-transfer")
    cells = {cell.key: cell.config for cell in experiment.cells}
    for (method, *rest), config in cells.items():
        if method == "oracle":
            tested, hyper = cells[("imt", *rest)], config.hyperparameters
            learned = family_tasks(config, config.env_tasks, hyper.train_split)
            expected = family_tasks(tested, tested.hyperparameters.test_tasks, "test")
            assert list(learned) == list(expected)
            for name, values in learned.items():
                np.testing.assert_array_equal(values, expected[name])


POLICIES = SPEC.replace('baseline = "imt"', 'baseline = "imt"\npolicies = ["imt", "own"]')


def test_methods_beside_each_other_in_the_same_ways_to_act(tmp_path):
    """With ``policies`` each method is compared with the baseline's same way to act, with a verdict."""
    text = POLICIES.replace('seeds = "0-1"', 'seeds = "0-5"') + WORSE
    text = text.replace('train_split = "test"', 'weighting = "random"')
    experiment = read_experiment(write_spec(tmp_path, text))
    path = tmp_path / "results.csv"
    configured = {"imt": [5, 6, 7, 8, 9, 10], "oracle": [7, 7, 8, 10, 10, 12], "control": [4, 7, 6, 9, 8, 11]}
    own = {"imt": [30] * 6, "oracle": [20, 22, 24, 26, 27, 28], "control": [30.5, 29.5, 30.5, 29.5]}
    cells = [c for c in experiment.cells if c.params["env_tasks_split"] == "extrapolation"]
    write_rows(path, [made_up_row(cell, evaluation_return=1.0) for cell in cells])
    for cell in cells:
        rows = [made_up(cell, "imt", float(configured[cell.method.name][cell.seed])), made_up(cell, "vote", 50.0)]
        if cell.seed < len(own[cell.method.name]):
            rows.append(made_up(cell, "own", float(own[cell.method.name][cell.seed])))
        write_unseen(unseen_path(path), rows, experiment.cells)
    write_summary(experiment, path)
    table = outcomes(tmp_path / "tables.md")
    assert table[0].endswith("| seeds | verdict |")
    assert [line.split(" | ")[0] for line in table[2:]] == [
        "| **IMT**",
        "| oracle",
        "| control",
        "| **IMT**: each on its own training task",
        "| oracle: each on its own training task",
        "| control: each on its own training task",
    ]
    verdicts = [line.split(" | ")[-1].removesuffix(" |") for line in table[2:]]
    few = "fewer than 5 seeds"
    assert verdicts == ["-", "baseline worse", "no difference seen", "-", "baseline better", few]
    ahead = np.subtract(own["imt"], own["oracle"])
    low, high = stats.bootstrap_interval(stats.iqm, [ahead], resamples=10_000)
    assert f"| {stats.iqm([ahead]):.4g} [{low:.4g}, {high:.4g}] | 6 | baseline better |" in table[6]
    assert (tmp_path / "unseen.png").read_bytes()[:4] == b"\x89PNG"


WORSE = """
[methods.control]
algorithm = "imt"
label = "control"
options = { weighting = "uniform" }
"""


def test_weighting_controls_differ_from_the_default_in_the_weights_and_the_round_alone():
    """So that their rows, and those of the experiment on transfer, are to be compared by seed."""
    transfer = {cell.key: cell for cell in find_experiment("imt-transfer").cells}
    experiment = find_experiment("imt-weights")
    assert {cell.config.hyperparameters.weighting for cell in experiment.cells} == set(WEIGHTINGS)
    for cell in experiment.cells:
        default = transfer[("imt", *cell.key[1:])]
        if cell.method.name == "imt":
            assert cell.digest == default.digest
        assert cell.config.hyperparameters.keep == ("last" if cell.method.name.endswith("-last") else "best")
        hyper = dataclasses.replace(cell.config.hyperparameters, weighting="similarity_accuracy", keep="best")
        assert dataclasses.replace(cell.config, hyperparameters=hyper) == default.config


def test_tasks_solved(tmp_path):
    """Tasks whose return is at least solved_return, of every method, on its own tasks and on held-out ones."""
    spec = SPEC.replace('baseline = "imt"', 'baseline = "imt"\nsolved_return = 0.5')
    experiment = read_experiment(write_spec(tmp_path, spec))
    cells = [c for c in experiment.cells if c.params["env_tasks_split"] == "extrapolation"]
    path = tmp_path / "results.csv"
    write_rows(path, [made_up_row(cell, evaluation_return=1.0) for cell in cells])
    own = {
        ("imt", 0): (0.5, 1.0, 0.9),
        ("imt", 1): (1.0, 1.0, 0.4),
        ("oracle", 0): (0.49, 0, 0),
        ("oracle", 1): (1, 0, 0),
    }
    for cell in cells:
        returns = own[cell.method.name, cell.seed]
        row = made_up(cell, "own", np.mean(returns)) | {"returns": " ".join(map(str, returns))}
        held_out = made_up(cell, "imt", 0.0) | {"returns": "0.6 0 0"}
        write_unseen(unseen_path(path), [row, held_out], experiment.cells)
    write_summary(experiment, path)
    text = (tmp_path / "tables.md").read_text()
    assert "A task is solved where greedy episodes return 0.5 or more on average." in text
    found = [line for line in text.splitlines() if "| its own |" in line or "| held out |" in line]
    assert len(found) == 4
    returns, solved = [2.4 / 3, 0.8], [3.0, 2.0]
    assert f"| {stats.iqm([solved]):.4g} | 3 | 5 / 6 | 2 | - |" in found[0]
    assert found[0].startswith(f"| IMT | its own | {stats.iqm([returns]):.4g} ")
    assert "Of fewer than 5 seeds no interval is given" in text
    assert "| 3 | 1 / 6 | 2 | 1.000 |" in found[1]
    assert "| 3 | 2 / 6 | 2 | 0.500 |" in found[3]
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("results.csv", "unseen.csv"):
        (plain / name).write_bytes((tmp_path / name).read_bytes())
    write_summary(read_experiment(write_spec(plain, SPEC)), plain / "results.csv")
    assert "solved" not in (plain / "tables.md").read_text()


def test_a_run_again_takes_the_place_of_its_rows(tmp_path):
    experiment = read_experiment(write_spec(tmp_path, SPEC))
    first, second = experiment.cells[:2]
    path = tmp_path / "unseen.csv"
    for cell in (first, second):
        write_unseen(path, [made_up(cell, "imt", 1.0), made_up(cell, "gone", 1.0)], experiment.cells)
    write_unseen(path, [made_up(first, "imt", 2.0)], experiment.cells)
    found = {(key[3], key[4]): float(row["mean_return"]) for key, row in read_unseen(path).items()}
    assert found == {(0, "imt"): 2.0, (1, "imt"): 1.0, (1, "gone"): 1.0}


def test_mistakes(tmp_path):
    path = tmp_path / "unseen.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match=f"expected the columns {', '.join(UNSEEN_COLUMNS)}"):
        read_unseen(path)
    for value in ('"high"', "true", "nan"):
        with pytest.raises(ConfigError, match=r"solved_return=.*expected a number"):
            read_experiment(write_spec(tmp_path, f"solved_return = {value}\n{SPEC}"))
    text = SPEC.replace('env_tasks_seed = "seed"', 'env_tasks_seed = "seeds"')
    with pytest.raises(ConfigError, match="env_tasks_seed"):
        read_experiment(write_spec(tmp_path, text)).cells[0].config  # noqa: B018
    for wrong, message in (
        ('["imt", "own", "imt"]', "policies: 'imt' comes twice"),
        ('["imtt"]', "policies='imtt': choose from imt, imt_mixture, imt_10, .*own"),
        ('"imt"', "policies='imt': expected a list"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_experiment(write_spec(tmp_path, POLICIES.replace('["imt", "own"]', wrong)))
