"""What is shown while cells run, and what an exception does to the processes."""

import io
import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

from reproduce_helpers import write_spec

from metarl_core.cli._cells import LiveCells, PlainCells, make_watcher
from metarl_core.reproduce import ResultStore, read_experiment, run_cells
from metarl_core.reproduce.watching import NullWatcher, first_seeds_first


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def cells(tmp_path):
    return read_experiment(write_spec(tmp_path)).cells


def follow(kind, cells, stop=lambda: False):
    """Three cells: one ends, one fails, one runs."""
    stream, clock = io.StringIO(), Clock()
    with kind(3, stop, stream, clock) as watcher:
        watcher.started(cells[0], False)
        watcher.started(cells[1], True)
        clock.now = 60.0
        watcher.tick([(cells[0], 0.5), (cells[1], 0.25)])
        watcher.finished(cells[0])
        watcher.failed(cells[1], "loss is nan", Path("runs/x.log"))
        watcher.tick([(cells[2], 0.5)])
        stopping = watcher.should_stop(), watcher.should_stop()
    return stream.getvalue(), stopping


@pytest.mark.parametrize("kind", [PlainCells, LiveCells])
def test_the_lines_of_cells(kind, cells):
    pytest.importorskip("rich")
    text, stopping = follow(kind, cells)
    text = " ".join(text.split())
    assert "resuming ddqn-DeepSea-v0-size3-seed1" in text
    assert "resuming ddqn-DeepSea-v0-size3-seed0" not in text
    assert "[1/3] ddqn-DeepSea-v0-size3-seed0 left 2:00" in text
    assert "[2/3] ddqn-DeepSea-v0-size3-seed1 FAILED: loss is nan (see runs/x.log)" in text
    assert stopping == (False, False)
    if kind is LiveCells:  # two of three ended and half of the last: half a cell of 24 s is left
        assert "2/3 cells" in text
        assert "1 failed, 0:12 left" in text
        assert "50% rnd-DeepSea-v0-size3-seed0" in text


def test_stopping_is_told_once(cells):
    text, stopping = follow(PlainCells, cells, stop=lambda: True)
    assert text.count("stopping: the running cells write a checkpoint") == 1
    assert stopping == (True, True)


def test_plain_lines_where_there_is_no_terminal():
    assert type(make_watcher(1, lambda: False, io.StringIO())) is PlainCells


def test_every_first_seed_comes_before_any_second(cells):
    seeds = [cell.seed for cell in first_seeds_first(cells)]
    assert seeds == [0] * 5 + [1] * 4
    assert {cell.key for cell in first_seeds_first(cells)} == {cell.key for cell in cells}


class Interrupt(NullWatcher):
    """A second Ctrl-C, as soon as processes run."""

    def tick(self, running):
        if running:
            raise KeyboardInterrupt


def test_an_exception_leaves_no_process_behind(cells, tmp_path, monkeypatch):
    import metarl_core.reproduce.runner as runner

    started = []
    real = runner.subprocess.Popen

    def popen(*args, **options):
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(runner.subprocess, "Popen", popen)
    with ResultStore(tmp_path / "results.csv", cells) as store, pytest.raises(KeyboardInterrupt):
        run_cells(cells[:3], store, tmp_path / "runs", jobs=2, watcher=Interrupt())
    trainings = [process for process in started if "train" in process.args]
    assert len(trainings) == 2
    for process in trainings:
        assert process.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
    assert not (tmp_path / "results.csv").exists()


def test_jobs_must_be_positive(cells, tmp_path):
    with ResultStore(tmp_path / "results.csv", cells) as store, pytest.raises(ValueError, match="jobs is 0"):
        run_cells(cells, store, tmp_path / "runs", jobs=0)
