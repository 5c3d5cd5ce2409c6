"""metarl reproduce end to end: real processes, a cell that fails, Ctrl-C and going on, all else from the CSV."""

import contextlib
import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from reproduce_helpers import CLOCK, OPTIONS, made_up_row, write_rows, write_spec

from metarl_core.agents import train
from metarl_core.cli import main
from metarl_core.reproduce import COLUMNS, ResultStore, read_experiment
from metarl_core.reproduce.store import row_of
from metarl_core.runs import RunReader, RunWriter


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_clock(row):
    return {name: str(value) for name, value in row.items() if name not in CLOCK}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny experiment, run once: folder, exit status."""
    folder = tmp_path_factory.mktemp("tiny")
    spec = write_spec(folder)
    command = [sys.executable, "-m", "metarl_core.cli", "reproduce", str(spec), "--keep-runs"]
    done = subprocess.run(
        [*command, "--out", str(folder / "out"), "--runs", str(folder / "runs"), "--jobs", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    return folder, done


def test_every_cell_has_its_row_but_the_one_that_failed(tiny):
    folder, done = tiny
    assert done.returncode == 1, done.stderr
    assert "tiny: 9 of 9 cells to run, 2 at once" in done.stdout
    assert "failed: bad-DeepSea-v0-size3-seed0: metarl train: error: loss is" in done.stderr
    rows = rows_of(folder / "out" / "results.csv")
    expected = [(m, f"size={n}", str(s)) for n in (3, 4) for m in ("ddqn", "rnd") for s in (0, 1)]
    assert [(row["method"], row["params"], row["seed"]) for row in rows] == expected
    assert list(rows[0]) == list(COLUMNS)
    for row in rows:
        size = int(row["params"].removeprefix("size="))
        assert int(row["environment_steps"]) == int(row["episodes"]) * size
        assert 40 <= int(row["episodes"]) < 44
        assert len(row["curve"].split()) == 40
        assert float(row["wall_time_seconds"]) > 0
        assert row["torch"]
    assert (folder / "runs" / "bad-DeepSea-v0-size3-seed0-failed" / "config.json").is_file()
    assert "loss is" in (folder / "runs" / "bad-DeepSea-v0-size3-seed0.log").read_text()


def test_rows_are_those_of_the_runs(tiny):
    folder, _ = tiny
    for row in rows_of(folder / "out" / "results.csv")[::3]:
        name = f"{row['method']}-DeepSea-v0-{row['params'].replace('=', '')}-seed{row['seed']}"
        reader = RunReader(folder / "runs" / name)
        result = reader.result
        assert reader.config["hyperparameters"]["hidden"] == [8]
        for name in ("episodes_to_solve", "episodes", "environment_steps"):
            assert row[name] == ("" if result[name] is None else str(result[name]))
        for name in ("final_return", "best_return", "evaluation_return", "wall_time_seconds"):
            assert float(row[name]) == result[name]
        assert row["solved"] == str(int(result["solved"]))
        episodes, total = reader.episodes, reader.config["total_steps"]
        for part, point in enumerate(row["curve"].split()):
            inside = (episodes["step"] > part * total / 40) & (episodes["step"] <= (part + 1) * total / 40)
            if part == 39:
                inside |= episodes["step"] > total
            if point == "-":
                assert not inside.any()
            else:
                assert float(point) == pytest.approx(episodes["return"][inside].mean(), rel=1e-5, abs=1e-9)


def test_the_failed_cell_alone_is_missing_and_the_rest_is_not_run_again(tiny, capsys):
    folder, _ = tiny
    where = [str(folder / "tiny.toml"), "--out", str(folder / "out")]
    assert main(["reproduce", *where, "--list"]) == 0
    out = capsys.readouterr().out
    assert "8 of 9 cells have a row" in out
    assert [line for line in out.splitlines() if line.startswith("missing")] == ["missing  bad-DeepSea-v0-size3-seed0"]
    before = (folder / "out" / "results.csv").read_bytes()
    assert main(["reproduce", *where, "--only", "method=ddqn", "--runs", str(folder / "other")]) == 0
    assert "0 of 4 cells to run" in capsys.readouterr().out
    assert (folder / "out" / "results.csv").read_bytes() == before


def test_tables_and_plots_come_from_the_csv_with_the_same_bytes(tiny, tmp_path, capsys):
    folder, _ = tiny
    names = ("tables.md", "scaling.png", "curves.png", "bars.png", "profile.png")
    made = {name: (folder / "out" / name).read_bytes() for name in names}
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "results.csv").write_bytes((folder / "out" / "results.csv").read_bytes())
    assert main(["reproduce", str(folder / "tiny.toml"), "--out", str(tmp_path / "again"), "--from-csv"]) == 0
    for name, data in made.items():
        assert (tmp_path / "again" / name).read_bytes() == data, name
    assert "## DeepSea-v0, size 3" in made["tables.md"].decode()
    assert made["scaling.png"].startswith(b"\x89PNG")


LONG = f"""
seeds = "0-1"
tuning_seeds = "9"
[methods.rnd]
[[cells]]
environment = "DeepSea-v0"
params = {{ size = 4 }}
options = {{ total_steps = 5000, log_interval = 200, {OPTIONS} }}
"""


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.05)


def test_interrupted_and_repeated_gives_the_rows_of_an_undisturbed_run(tmp_path):
    spec = write_spec(tmp_path, LONG, "long")
    command = [sys.executable, "-m", "metarl_core.cli", "reproduce", str(spec), "--out", str(tmp_path / "out")]
    command += ["--runs", str(tmp_path / "runs")]
    metrics = [tmp_path / "runs" / f"rnd-DeepSea-v0-size4-seed{seed}" / "metrics.jsonl" for seed in (0, 1)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: all(path.is_file() and path.stat().st_size > 0 for path in metrics))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 130, err
    assert "go on with: metarl reproduce" in err
    assert not (tmp_path / "out" / "results.csv").exists()
    steps = [json.loads((path.parent / "result.json").read_text())["environment_steps"] for path in metrics]
    assert all(0 < step < 5000 for step in steps)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("resuming rnd-DeepSea-v0-size4-seed") == 2
    assert list((tmp_path / "runs").iterdir()) == []  # finished runs are not kept unless asked for
    rows = rows_of(tmp_path / "out" / "results.csv")
    for cell, row in zip(read_experiment(spec).cells, rows, strict=True):
        folder = tmp_path / f"undisturbed{cell.seed}"
        with RunWriter(folder, cell.config.to_dict()) as run:
            train(cell.config, run)
        expected = row_of(cell, folder, row["commit"])
        expected |= {"solved": int(expected["solved"])}
        expected = {name: "" if value is None else value for name, value in expected.items()}
        assert without_clock(row) == without_clock(expected)


def test_rows_of_other_settings_are_told_and_only_replaced_on_demand(tmp_path, capsys):
    spec = write_spec(tmp_path)
    cells = read_experiment(spec).cells
    write_rows(tmp_path / "out" / "results.csv", [made_up_row(cells[0], 9, config="0123456789ab")])
    where = [str(spec), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    only = ["--only", "method=ddqn,size=3,seed=0"]
    assert main(["reproduce", *where, "--list", *only]) == 0
    assert capsys.readouterr().out.startswith("stale    ddqn-DeepSea-v0-size3-seed0\n")
    assert main(["reproduce", *where, *only]) == 0
    assert "1 rows were made with other settings" in capsys.readouterr().out
    assert rows_of(tmp_path / "out" / "results.csv")[0]["config"] == "0123456789ab"
    assert main(["reproduce", *where, *only, "--stale"]) == 0
    assert rows_of(tmp_path / "out" / "results.csv")[0]["config"] == cells[0].digest


def test_tuning_seeds_have_a_file_of_their_own(tmp_path, capsys):
    spec = write_spec(tmp_path)
    where = [str(spec), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    assert main(["reproduce", *where, "--tuning", "--only", "method=ddqn,size=3"]) == 0
    assert [row["seed"] for row in rows_of(tmp_path / "out" / "tuning.csv")] == ["7"]
    assert not (tmp_path / "out" / "results.csv").exists()


def test_one_writer_at_a_time(tmp_path, capsys):
    spec = write_spec(tmp_path)
    with ResultStore(tmp_path / "out" / "results.csv", read_experiment(spec).cells):
        assert main(["reproduce", str(spec), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]) == 1
    assert "results.csv is being written by another process" in capsys.readouterr().err


def test_a_row_goes_to_its_place_whatever_finishes_first(tmp_path):
    cells = read_experiment(write_spec(tmp_path)).cells
    path = tmp_path / "results.csv"
    with ResultStore(path, cells) as store:
        for number in (3, 0, 6):
            store.add(made_up_row(cells[number], 5 + number))
    assert [row["episodes_to_solve"] for row in rows_of(path)] == ["5", "8", "11"]
    with ResultStore(path, cells) as store:
        assert [cell in store for cell in cells] == [number in (0, 3, 6) for number in range(len(cells))]
        store.add(made_up_row(cells[3], 30))
    assert [row["episodes_to_solve"] for row in rows_of(path)] == ["5", "30", "11"]
    assert np.all([len(row) == len(COLUMNS) for row in rows_of(path)])
