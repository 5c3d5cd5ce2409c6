"""Experiments of continual runs: what a file may say, rows, measures from rows, and a tiny one end to end."""

import contextlib
import csv
import dataclasses
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from metarl_core import ConfigError, RunError, stats
from metarl_core.agents.continual import ContinualConfig, ContinualResult, measure, run_method, scale_of
from metarl_core.cli import main
from metarl_core.reproduce import find_experiment, list_experiments, read_experiment
from metarl_core.reproduce.continual import (
    CONTINUAL_COLUMNS,
    ContinualExperiment,
    ContinualStore,
    read_continual_rows,
    run_continual_cells,
    write_continual_summary,
)
from metarl_core.reproduce.continual.measures import measure_rows
from metarl_core.reproduce.continual.store import continual_row, stored_result
from metarl_core.reproduce.continual.summary import goals, interval_of
from metarl_core.reproduce.watching import NullWatcher

TINY = """
kind = "continual"
title = "Tiny"
baseline = "imt"
seeds = "0-1"
tuning_seeds = [100]

[options]
evaluations = 2
evaluation_episodes = 2
hidden = [8]
reference_steps = 256
memory = 400
rounds = 1
local_updates = 3
head_updates = 3

[methods.imt]
label = "IMT"

[methods.finetune]
label = "fine-tuning"

[methods.wide]
algorithm = "independent"
options = { lr = 1e-3 }

[[sequences]]
name = "goals"
of = "PointRobot-tasks"
label = "Goals"
tasks = 3
steps = 520
held_out = 2
split = "interpolation"
options = { batch_size = 16 }

[sequences.method_options]
wide = { hidden = [12] }
"""
COSTS = ("seconds",)


def write_spec(folder, text=TINY):
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return read_experiment(write_spec(tmp_path_factory.mktemp("spec")))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny experiment, run once: folder and what the command said."""
    folder = tmp_path_factory.mktemp("tiny")
    command = [sys.executable, "-m", "metarl_core.cli", "reproduce", str(write_spec(folder)), "--jobs", "2"]
    command += ["--out", str(folder / "out"), "--runs", str(folder / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return folder, done, command


def made_up(cell, seed=None, **changes):
    """A result of a cell as if it had been trained: returns drawn from its seed."""
    sequence = cell.sequence.make(cell.seed)
    tasks, unseen, phases = len(sequence.tasks), len(sequence.held_out), len(sequence.flat)
    rng = np.random.default_rng([cell.seed if seed is None else seed, len(cell.method.name)])
    points = 2 * phases + 1
    values = {
        "method": cell.method.algorithm,
        "seed": cell.seed,
        "task_names": tuple(task.name for task in sequence.tasks),
        "identity": cell.method.algorithm != "finetune",
        "simultaneous": False,
        "steps": np.arange(points) * (cell.sequence.steps // 2),
        "phase_ends": np.arange(1, phases + 1) * 2,
        "returns": rng.uniform(-70, -5, (points, tasks)),
        "learned": rng.uniform(-30, -5, (phases, tasks)),
        "random_returns": np.full(tasks, -80.0),
        "held_out_names": tuple(task.name for task in sequence.held_out),
        "held_out_returns": rng.uniform(-60, -5, unseen),
        "held_out_random": np.full(unseen, -70.0),
        "unnamed_returns": rng.uniform(-60, -5, tasks),
        "adaptation_steps": 256,
        "parameters": 1000,
        "stored_bytes": 2000,
        "updates": 300,
        "environment_steps": sequence.flat.total_steps,
        "seconds": 1.25,
    }
    return ContinualResult(**{**values, **changes})


def store_of(path, experiment, results):
    """A CSV with a row of each result, by cell."""
    with ContinualStore(path, experiment.cells) as store:
        for cell, result in results:
            store.add(continual_row(cell, result, "abc"))
    return path


# What a file may say


def test_cells_are_sequences_methods_and_seeds_in_order(experiment):
    assert [cell.label for cell in experiment.cells] == [
        f"{method}-goals-seed{seed}" for method in ("imt", "finetune", "wide") for seed in (0, 1)
    ]
    imt, _, _, _, wide, _ = experiment.cells
    assert imt.config.hidden == (8,)
    assert wide.config.hidden == (12,)  # of the method on this sequence
    assert {imt.config.batch_size, wide.config.batch_size} == {16}
    assert (wide.method.algorithm, wide.method.label) == ("independent", "wide")
    assert {cell.seed for cell in experiment.tuning_cells} == {100}


def test_each_seed_draws_its_own_tasks_unless_told_otherwise(tmp_path, experiment):
    one, two = (dict(experiment.cells[0].sequence.make(seed).tasks[0].params) for seed in (0, 1))
    assert one != two
    fixed = read_experiment(write_spec(tmp_path, TINY.replace("tasks = 3", "tasks = 3\ntasks_seed = 7")))
    made = [fixed.cells[0].sequence.make(seed).tasks[0].params for seed in (0, 1)]
    assert made[0] == made[1]


def test_parameters_of_the_environment_are_those_of_all_tasks(tmp_path):
    text = TINY.replace('of = "PointRobot-tasks"', 'of = "FrozenLake-tasks"\nparams = { is_slippery = false }')
    sequence = read_experiment(write_spec(tmp_path, text.replace('split = "interpolation"', ""))).cells[0].sequence
    made = sequence.make(3)
    assert all(task.env_params["is_slippery"] is False for task in (*made.tasks, *made.held_out))


def test_the_digest_changes_with_settings_alone(tmp_path, experiment):
    first, second = experiment.cells[:2]
    assert first.digest == second.digest  # seeds apart
    renamed = read_experiment(write_spec(tmp_path, TINY.replace('label = "Goals"', 'label = "Others"')))
    assert renamed.cells[0].digest == first.digest
    for old, new in (("rounds = 1", "rounds = 2"), ("steps = 520", "steps = 530"), ("held_out = 2", "held_out = 3")):
        changed = read_experiment(write_spec(tmp_path, TINY.replace(old, new)))
        assert changed.cells[0].digest != first.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "continual"', 'kind = "other"', "kind='other': choose from training, continual"),
        ('baseline = "imt"', 'baseline = "ewc"', "baseline='ewc': choose from imt, finetune, wide"),
        ("[methods.finetune]", "[methods.fintune]", "unknown method 'fintune'; did you mean 'finetune'"),
        ("tuning_seeds = [100]", "tuning_seeds = [1]", "tuning_seeds: .1. are reported as well"),
        ("tasks = 3", "task = 3", "unknown field of sequences 'task'; did you mean 'tasks'"),
        ("tasks = 3", "tasks = 0", "goals: tasks=0: expected an integer >= 1"),
        ("held_out = 2", "held_out = true", "goals: held_out=True: expected an integer"),
        ("tasks = 3", 'tasks_seed = "each"', "tasks_seed='each': expected an integer >= 0, or 'seed'"),
        ("hidden = [12]", "memory = 500", "method_options.wide: memory must be the same for all methods"),
        ("lr = 1e-3", "evaluations = 3", "methods.wide.options: evaluations must be the same for all methods"),
        ("wide = { hidden", "narrow = { hidden", "methods of goals='narrow': choose from"),
        ('name = "goals"', 'name = "two goals"', "sequences: name='two goals': expected letters"),
        ("[[sequences]]", "[[sequence]]", "unknown field 'sequence'; did you mean 'sequences'"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path, old, new, message):
    assert old in TINY
    with pytest.raises(ConfigError, match=message) as caught:
        read_experiment(write_spec(tmp_path, TINY.replace(old, new)))
    assert "tiny.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rounds = 1", "rounds = 0", "imt-goals-seed0: rounds"),
        ("of = ", "steps_of = ", "unknown field of sequences"),
        ("PointRobot-tasks", "Pointrobot-tasks", "imt-goals-seed0: .*did you mean 'PointRobot-tasks'"),
        ("steps = 520", "steps = 200", "imt-goals-seed0: imt: a phase has 200 environment steps"),
    ],
)
def test_a_cell_that_cannot_run_is_told_before_any_runs(tmp_path, capsys, old, new, message):
    out = tmp_path / "out"
    assert main(["reproduce", str(write_spec(tmp_path, TINY.replace(old, new))), "--out", str(out)]) == 2
    assert pytest.importorskip("re").search(message, capsys.readouterr().err)
    assert not out.exists()


def test_a_name_comes_once(tmp_path):
    again = TINY + '\n[[sequences]]\nname = "goals"\nof = "CartPole-tasks"\n'
    with pytest.raises(ConfigError, match="sequences: goals comes twice"):
        read_experiment(write_spec(tmp_path, again))


def test_tuned_settings_go_before_all_else(tmp_path):
    text = TINY + "\n[tuning_settings]\nwide = [{}, { hidden = [20] }]\n"
    cells = read_experiment(write_spec(tmp_path, text)).tuning_cells
    assert [(cell.method.name, cell.config.hidden) for cell in cells] == [
        ("imt", (8,)),
        ("finetune", (8,)),
        ("wide", (12,)),
        ("wide:hidden=[20]", (20,)),
    ]


@pytest.mark.parametrize("name", [n for n in list_experiments() if isinstance(find_experiment(n), ContinualExperiment)])
def test_shipped_experiments_resolve(name):
    experiment = find_experiment(name)
    assert experiment.title
    assert experiment.tuning
    assert not {cell.seed for cell in experiment.cells} & {cell.seed for cell in experiment.tuning_cells}
    assert len({cell.key for cell in experiment.cells}) == len(experiment.cells)
    first = min(cell.seed for cell in experiment.cells)
    for cell in experiment.cells:
        if cell.seed == first:
            assert len(cell.digest) == 12  # resolves, and its sequence is one that the method can learn
    assert experiment.of_tuning().cells == experiment.tuning_cells


# Rows


def test_a_row_is_the_result(tmp_path, experiment):
    cell = experiment.cells[0]
    result = made_up(cell)
    path = store_of(tmp_path / "results.csv", experiment, [(cell, result)])
    (row,) = read_continual_rows(path)
    assert (row["config"], row["commit"]) == (cell.digest, "abc")
    found = stored_result(cell, row, path)
    for field in dataclasses.fields(ContinualResult):
        ours, theirs = getattr(result, field.name), getattr(found, field.name)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(theirs, ours, rtol=1e-7)
        else:
            assert theirs == ours


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("returns", "1 2 3", r"returns has shape \(1, 3\); expected \(7, 3\)"),
        ("learned", "1 2;3 4", r"learned has shape \(2, 2\); expected \(3, 3\)"),
        ("returns", "1 2;3", "is damaged"),
        ("steps", "a", "is damaged"),
        ("parameters", "", "is damaged"),
        ("identity", "2", "is damaged"),
        ("phase_ends", "2 4 9", "phase_ends are out of range"),
        ("held_out_returns", "1", r"held_out_returns has shape \(1,\); expected \(2,\)"),
    ],
)
def test_damaged_rows_are_refused(tmp_path, experiment, column, value, message):
    cell = experiment.cells[0]
    row = {name: str(v) for name, v in continual_row(cell, made_up(cell), "").items()} | {"identity": "1"}
    row |= {"simultaneous": "0", column: value}
    with pytest.raises(RunError, match=message):
        stored_result(cell, row, tmp_path / "results.csv")


def test_a_csv_of_another_kind_is_refused(tmp_path, experiment, capsys):
    path = tmp_path / "results.csv"
    path.write_text("method,algorithm\n")
    with pytest.raises(RunError, match="expected the columns method, algorithm, sequence"):
        ContinualStore(path, experiment.cells)
    assert main(["reproduce", str(write_spec(tmp_path)), "--out", str(tmp_path), "--list"]) == 1
    assert "expected the columns" in capsys.readouterr().err


def test_a_row_made_with_other_settings_is_stale(tmp_path, experiment):
    cell = experiment.cells[0]
    path = store_of(tmp_path / "results.csv", experiment, [(cell, made_up(cell))])
    other = read_experiment(write_spec(tmp_path, TINY.replace("rounds = 1", "rounds = 2")))
    assert not ContinualStore(path, experiment.cells).is_stale(cell)
    assert ContinualStore(path, other.cells).is_stale(other.cells[0])


# Measures and tables


def test_measures_of_rows_are_those_of_the_results(tmp_path, experiment):
    results = [(cell, made_up(cell)) for cell in experiment.cells]
    path = store_of(tmp_path / "results.csv", experiment, results)
    (found,) = measure_rows(experiment, read_continual_rows(path), path)
    for seed in (0, 1):  # each seed has tasks of its own, and so a scale of its own
        own = [(cell, result) for cell, result in results if cell.seed == seed]
        sequence = own[0][0].sequence.make(seed)
        alone = [result for _, result in own]
        direct = measure(sequence, alone, scale_of(sequence, alone))
        for (cell, _), expected in zip(own, direct, strict=True):
            ours = found.runs[cell.method.name][seed].measures
            for field in dataclasses.fields(expected):
                np.testing.assert_allclose(
                    getattr(ours, field.name), getattr(expected, field.name), rtol=1e-6, atol=1e-9
                )


def test_where_scratch_is_the_reference_seeds_without_it_are_told(tmp_path):
    text = TINY.replace('[methods.wide]\nalgorithm = "independent"', "[methods.scratch]").replace(
        "wide = ", "scratch = "
    )
    text = text.replace("PointRobot-tasks", "Pendulum-tasks")
    experiment = read_experiment(write_spec(tmp_path, text))
    cells = [c for c in experiment.cells if (c.method.name, c.seed) != ("scratch", 1)]
    path = store_of(tmp_path / "results.csv", experiment, [(cell, made_up(cell)) for cell in cells])
    (found,) = measure_rows(experiment, read_continual_rows(path), path)
    assert found.left_out == (1,)
    assert {seed for runs in found.runs.values() for seed in runs} == {0}
    assert not found.unseen_scaled
    scratch = made_up(next(c for c in cells if c.method.name == "scratch"))
    assert found.values("scratch", "unseen")[0] == pytest.approx(scratch.held_out_returns.mean())
    write_continual_summary(experiment, path)
    assert "(of scratch) is not there: seeds 1." in (tmp_path / "tables.md").read_text()


@pytest.mark.parametrize(
    ("mine", "theirs", "verdict"),
    [
        ([0.0, 0.01, 0.02, 0.03, 0.04], [0.5, 0.5, 0.4, 0.6, 0.5], "reached"),
        ([0.4, 0.41, 0.42, 0.43, 0.44], [0.5, 0.5, 0.4, 0.6, 0.5], "missed"),
        ([0.05, 0.5, 0.0, 0.45, 0.25], [0.5, 0.5, 0.4, 0.6, 0.5], "not shown"),
    ],
)
def test_forgetting_is_compared_with_half_of_fine_tunings(tmp_path, mine, theirs, verdict):
    experiment = read_experiment(write_spec(tmp_path, TINY.replace('seeds = "0-1"', 'seeds = "0-4"')))
    results = []
    for cell in experiment.cells:
        if cell.method.name == "wide":
            continue
        lost = (mine if cell.method.name == "imt" else theirs)[cell.seed]
        # Uniform actions -80 are 0, a return of 0 is 1: all tasks end at a score of 0.9 - lost, from 0.9.
        returns, learned = np.full((7, 3), -80 * 0.1), np.full((3, 3), -80 * 0.1)
        returns[6] = learned[2] = -80 * (0.1 + lost)
        returns[6, 2] = learned[2, 2] = -80 * 0.1
        results.append((cell, made_up(cell, returns=returns, learned=learned)))
    path = store_of(tmp_path / "results.csv", experiment, results)
    (found,) = measure_rows(experiment, read_continual_rows(path), path)
    assert list(found.values("imt", "forgetting").values()) == pytest.approx([2 / 3 * x for x in mine], abs=1e-6)
    (goal,) = [goal for goal in goals(experiment, found) if goal.name.startswith("F ")]
    assert goal.verdict == verdict
    difference = [2 / 3 * (a - b / 2) for a, b in zip(mine, theirs, strict=True)]
    low, high = stats.bootstrap_interval(stats.iqm, [difference], resamples=10_000)
    center = stats.iqm([difference])
    assert f"{center:.3g} [{low:.3g}, {high:.3g}]" in goal.sentence
    assert interval_of(difference) == pytest.approx(tuple(map(float, (center, low, high))))


def test_a_tuning_without_the_settings_as_they_are_has_tables(tmp_path):
    spec = TINY + "\n[tuning_settings]\nimt = [{ hidden = [20] }]\n"
    experiment = read_experiment(write_spec(tmp_path, spec)).of_tuning()
    path = store_of(tmp_path / "tuning.csv", experiment, [(cell, made_up(cell)) for cell in experiment.cells])
    write_continual_summary(experiment, path)
    assert "hidden=[20]" in (tmp_path / "tuning.md").read_text()


def test_neither_interval_nor_verdict_from_four_seeds(tmp_path):
    experiment = read_experiment(write_spec(tmp_path, TINY.replace('seeds = "0-1"', 'seeds = "0-3"')))
    path = store_of(tmp_path / "results.csv", experiment, [(cell, made_up(cell)) for cell in experiment.cells])
    (found,) = measure_rows(experiment, read_continual_rows(path), path)
    assert goals(experiment, found) == []
    write_continual_summary(experiment, path)
    text = (tmp_path / "tables.md").read_text()
    assert "| goal |" not in text
    assert "at most half" not in text
    assert not [line for line in text.splitlines() if line.startswith("|") and "[" in line]
    assert "Of fewer than 5 seeds no interval is given" in text


def test_the_csv_alone_makes_the_same_files(tmp_path, experiment):
    path = store_of(tmp_path / "results.csv", experiment, [(cell, made_up(cell)) for cell in experiment.cells])
    written = write_continual_summary(experiment, path)
    assert [file.name for file in written] == ["tables.md", "matrices.png", "forgetting.png"]
    before = [file.read_bytes() for file in written]
    assert [file.read_bytes() for file in write_continual_summary(experiment, path)] == before
    assert write_continual_summary(experiment, tmp_path / "missing.csv") == []


# End to end


def test_a_tiny_experiment_runs(tiny):
    folder, done, _ = tiny
    assert done.returncode == 0, done.stderr
    assert "tiny: 6 of 6 cells to run, 2 at once" in done.stdout
    rows = rows_of(folder / "out" / "results.csv")
    assert [(row["method"], row["seed"]) for row in rows] == [
        (method, seed) for method in ("imt", "finetune", "wide") for seed in ("0", "1")
    ]
    assert list(rows[0]) == list(CONTINUAL_COLUMNS)
    assert {row["environment_steps"] for row in rows} == {"1560"}
    text = (folder / "out" / "tables.md").read_text()
    assert "| **IMT** | yes |" in text
    assert {file.name for file in (folder / "out").glob("*.png")} == {"matrices.png", "forgetting.png"}


def test_a_row_is_what_the_method_comes_to_alone(tiny, experiment):
    """A process that has run other cells before gives the very same figures."""
    folder, _, _ = tiny
    rows = rows_of(folder / "out" / "results.csv")
    for cell in experiment.cells:
        if cell.seed == 0:
            continue
        result = run_method(cell.sequence.make(cell.seed), cell.method.algorithm, cell.config, seed=cell.seed)
        ours = {name: str(v) for name, v in continual_row(cell, result, "").items()}
        (row,) = [row for row in rows if (row["method"], row["seed"]) == (cell.method.name, "1")]
        for name in ("config", "steps", "returns", "learned", "held_out_returns", "unnamed_returns", "updates"):
            assert row[name] == ours[name], (cell.label, name)


def test_what_is_there_is_not_run_again(tiny):
    folder, _, command = tiny
    path = folder / "out" / "results.csv"
    before = rows_of(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "1 of 6 cells to run" in done.stdout
    again = rows_of(path)
    assert again[:-1] == before[:-1]
    assert {**again[-1], "seconds": ""} == {**before[-1], "seconds": ""}
    main(["reproduce", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--from-csv"])


def test_cells_are_selected_and_listed(tiny, capsys):
    folder, _, _ = tiny
    start = ["reproduce", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--list"]
    assert main([*start, "--only", "method=imt,sequence=goals,seed=0"]) == 0
    assert capsys.readouterr().out == "done     imt-goals-seed0\n1 of 1 cells have a row\n"
    assert main([*start, "--only", "environment=goals,method=wide"]) == 0
    assert "2 of 2 cells" in capsys.readouterr().out
    assert main([*start, "--only", "sequence=goal"]) == 2
    assert "unknown sequence of this experiment 'goal'; valid: goals" in capsys.readouterr().err


def test_tuning_has_files_of_its_own(tmp_path):
    out = tmp_path / "out"
    spec = str(write_spec(tmp_path))
    only = ["--only", "method=finetune"]
    assert main(["reproduce", spec, "--out", str(out), "--runs", str(tmp_path / "r"), "--tuning", *only]) == 0
    assert sorted(file.name for file in out.iterdir() if not file.name.startswith(".")) == ["tuning.csv", "tuning.md"]
    assert [row["seed"] for row in rows_of(out / "tuning.csv")] == ["100"]


class Watcher(NullWatcher):
    """Remembers what failed."""

    def __init__(self):
        self.failures = []

    def failed(self, cell, reason, log):
        self.failures.append((cell.label, reason, log.read_text()))


def test_a_cell_that_fails_leaves_the_others(tmp_path):
    text = TINY.replace('seeds = "0-1"', 'seeds = "0"').replace("options = { lr = 1e-3 }", "options = { lr = 1e30 }")
    experiment, watcher = read_experiment(write_spec(tmp_path, text)), Watcher()
    cells = [cell for cell in experiment.cells if cell.method.name != "imt"][::-1]
    with ContinualStore(tmp_path / "results.csv", experiment.cells) as store:
        outcome = run_continual_cells(cells, store, tmp_path / "runs", 1, watcher)
    assert outcome.finished == 1
    ((label, reason, log),) = watcher.failures
    assert label == "wide-goals-seed0"
    assert "loss is" in reason
    assert "TrainingDivergedError" in log
    assert [row["method"] for row in rows_of(tmp_path / "results.csv")] == ["finetune"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to another process")
def test_ctrl_c_ends_at_once_and_the_next_call_goes_on(tmp_path):
    spec = write_spec(
        tmp_path, TINY.replace("steps = 520", "steps = 400000").replace("evaluations = 2", "evaluations = 1")
    )
    command = [sys.executable, "-m", "metarl_core.cli", "reproduce", str(spec), "--out", str(tmp_path / "out")]
    command += ["--runs", str(tmp_path / "runs"), "--jobs", "1"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(3)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopping: the running cells begin anew with the next call" in output
    assert "go on with: metarl reproduce" in errors
    assert not (tmp_path / "out" / "results.csv").exists()


def test_jobs_must_be_positive(tmp_path, experiment):
    with (
        ContinualStore(tmp_path / "results.csv", experiment.cells) as store,
        pytest.raises(ValueError, match="jobs is 0; must be >= 1"),
    ):
        run_continual_cells(experiment.cells, store, tmp_path / "runs", 0)


def test_default_options_are_the_methods_own(experiment):
    """Nothing that the file does not name is changed."""
    changed = {"evaluations", "evaluation_episodes", "hidden", "reference_steps", "memory", "rounds"}
    changed |= {"local_updates", "head_updates", "batch_size"}
    ours, default = dataclasses.asdict(experiment.cells[0].config), dataclasses.asdict(ContinualConfig())
    assert {name for name in ours if ours[name] != default[name]} == changed
