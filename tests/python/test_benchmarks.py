"""The benchmark harness: its table, its worker protocol, its checks, and a quick run of the whole."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl_core import _core, benchmarks
from metarl_core.benchmarks.drivers.base import Contestant, Driver, UnsupportedError, WrongResultError, time_operation
from metarl_core.benchmarks.drivers.worker import Worker
from metarl_core.benchmarks.main import pinned
from metarl_core.benchmarks.peers import PEERS, Peer, find_interpreter
from metarl_core.benchmarks.rows import Goal, Row, env_rows, replay_rows
from metarl_core.benchmarks.runner import Failure, RowResult, run_rows
from metarl_core.benchmarks.session import InProcessSession, SessionError, WorkerSession
from metarl_core.benchmarks.table import failure_lines, markdown_table, number, summarise, text_table, to_json

TREE = {"capacity": 4096}


def row(unit="ns", goal=None, size=32, case="sample"):
    return Row("replay", f"work, {unit}", size, "tree", TREE, case, unit, goal)


# --- the table ---------------------------------------------------------------------------------------------------


def test_ratio_is_above_one_when_ours_takes_less_time():
    values = {"metarl_core": [2e-8, 1e-8, 9e-8], "a": [6e-8], "b": [4e-8, 5e-8, 3e-8]}
    summary = summarise(RowResult(row(), values))
    assert summary.ours == pytest.approx(20)
    assert [name for name, _ in summary.peers] == ["b", "a"]
    assert summary.peers[0][1] == pytest.approx(40)
    assert summary.ratio == pytest.approx(2)


def test_rates_are_shown_the_other_way_round_with_the_same_ratio():
    summary = summarise(RowResult(row("M/s"), {"metarl_core": [1e-7], "a": [2e-7]}))
    assert summary.ours == pytest.approx(10)
    assert summary.peers == [("a", pytest.approx(5))]
    assert summary.ratio == pytest.approx(2)


def test_the_better_of_our_variants_is_named():
    result = RowResult(row("M/s"), {"metarl_core": [2e-7], "metarl_core out=": [1e-7], "a": [1e-7]})
    assert summarise(result).variant == "metarl_core out="
    assert "10 (out=)" in text_table([result])


@pytest.mark.parametrize(
    ("unit", "goal", "seconds", "met"),
    [
        ("ns", Goal("value", 60), 5e-8, True),
        ("ns", Goal("value", 60), 7e-8, False),
        ("M/s", Goal("value", 6), 1e-7, True),
        ("M/s", Goal("value", 6), 1e-6, False),
        ("M/s", Goal("ratio", 5), 1e-7, True),
        ("M/s", Goal("ratio", 5), 1e-6, False),
        ("ns", None, 1e-8, None),
    ],
)
def test_goals(unit, goal, seconds, met):
    assert summarise(RowResult(row(unit, goal), {"metarl_core": [seconds], "peer": [1e-6]})).met is met


def test_the_floor_is_shown_and_is_no_peer():
    result = RowResult(row(), {"metarl_core": [2e-8], "a": [6e-8], "floor": [5e-9]})
    summary = summarise(result)
    assert summary.ratio == pytest.approx(3)
    assert summary.floor == pytest.approx(5)
    assert [name for name, _ in summary.peers] == ["a"]
    assert to_json([result])[0]["floor"] == pytest.approx(5)
    assert failure_lines([RowResult(row(), {}, {"floor": Failure("unsupported", "a floor of time")})], {}) == []


def test_lines_are_touched_once_each_and_in_range():
    memory = np.zeros(16 * 130, np.uint8)
    lines = _core.LineToucher([(memory, 130, 0), (np.ones(64, np.uint8), 16, 2)])
    assert lines.touch(np.array([3, 3, 15]), True) == 3 + 6 + 3 + 2 + 3 + 2
    assert memory.reshape(16, 130)[3].nonzero()[0].tolist() == [0, 64, 128]
    assert memory.reshape(16, 130)[3, 64] == 2
    assert lines.touch(np.array([0]), False) == 3
    for bad in (-1, 16):
        with pytest.raises(IndexError, match=f"index {bad} is out of range"):
            lines.touch(np.array([bad]), True)
    with pytest.raises(ValueError, match="parts must be"):
        _core.LineToucher([(memory, 0, 0)])


def test_rows_without_peers_or_without_ours_have_no_ratio():
    alone = summarise(RowResult(row(goal=Goal("ratio", 2)), {"metarl_core": [1e-8]}))
    assert (alone.ratio, alone.met, alone.peers) == (None, None, [])
    without = summarise(RowResult(row(), {"a": [1e-8]}))
    assert (without.ours, without.ratio) == (None, None)
    assert " - " in text_table([RowResult(row(), {"a": [1e-8]})])


def test_reasons_for_missing_figures_are_listed_once():
    results = [RowResult(row(size=n), {}, {"a": Failure("wrong", "an index is out of range")}) for n in (32, 256)]
    assert failure_lines(results, {"b": "not installed"}) == [
        "b: not installed",
        "a, work 32 ... work 256: wrong: an index is out of range",
    ]


def test_numbers_have_three_digits():
    assert [number(v) for v in (None, 1234.5, 123.4, 12.34, 0.01234, 0.00001234)] == [
        "-",
        "1,234",
        "123",
        "12.3",
        "0.0123",
        "1.2e-05",
    ]


def test_json_and_markdown_agree_with_the_table():
    result = RowResult(
        row("M/s", Goal("ratio", 1.5)), {"metarl_core": [1e-7, 3e-7, 2e-7], "a": [4e-7]}, checksums={"a": "00ff00ff"}
    )
    (entry,) = json.loads(json.dumps(to_json([result])))
    assert entry["ours"] == pytest.approx(5)
    assert entry["contestants"]["metarl_core"]["min"] == pytest.approx(1 / 0.3)
    assert entry["contestants"]["metarl_core"]["max"] == pytest.approx(10)
    assert entry["contestants"]["a"]["checksum"] == "00ff00ff"
    assert entry["best_peer"] == ["a", pytest.approx(2.5)]
    assert (entry["ratio"], entry["goal_met"]) == (pytest.approx(2), True)
    assert "| **2.00x** | >= 1.5x | yes |" in markdown_table([result])


def test_every_row_can_be_shown_and_has_its_own_name():
    for rows in (replay_rows(), env_rows(), replay_rows(quick=True), env_rows(quick=True)):
        names = [(entry.work, entry.size) for entry in rows]
        assert len(set(names)) == len(names)
        assert all(entry.shown(1e-6) > 0 for entry in rows)


# --- sessions and workers ----------------------------------------------------------------------------------------


def test_worker_process_answers_for_ours():
    session = WorkerSession(sys.executable, "ours")
    try:
        hello = session.call({"op": "hello"})
        assert hello["name"] == "metarl_core"
        assert set(hello["versions"]) >= {"metarl-core", "numpy"}
        prepared = session.call({"op": "prepare", "workload": "tree", "params": TREE})
        assert prepared["contestants"]["metarl_core"]["ok"], prepared
        command = {
            "op": "measure",
            "contestant": "metarl_core",
            "case": "sample",
            "params": {"batch": 64},
            "seconds": 0.001,
        }
        answer = session.call(command)
        assert answer["ok"]
        assert 0 < answer["value"] < 1e-3
        refused = session.call({**command, "case": "teleport"})
        assert (refused["ok"], refused["kind"]) == (False, "unsupported")
        assert session.call({"op": "dance"})["kind"] == "failed"
        assert session.call({"op": "release"})["ok"]
    finally:
        session.close()


def test_same_seed_same_checksum():
    checksums = set()
    for _ in range(2):
        answer = InProcessSession(Worker("ours")).call({"op": "prepare", "workload": "tree", "params": TREE})
        checksums.add(answer["contestants"]["metarl_core"]["checksum"])
    assert len(checksums) == 1


def test_a_driver_that_does_not_load_is_an_answer_then_an_error():
    session = WorkerSession(sys.executable, "peer_of_nobody")
    try:
        answer = session.call({"op": "hello"})
        assert not answer["ok"]
        assert "peer_of_nobody" in answer["error"]
        with pytest.raises(SessionError, match="ended"):
            session.call({"op": "hello"})
    finally:
        session.close()


@pytest.mark.parametrize(
    ("program", "message"),
    [("import time; time.sleep(60)", "no answer"), ("raise SystemExit('out of memory')", "code 1: out of memory")],
)
def test_a_worker_that_hangs_or_dies_is_an_error_and_can_be_started_again(program, message):
    session = WorkerSession(sys.executable, "ours")
    good, session._command = session._command, [sys.executable, "-c", program]
    try:
        with pytest.raises(SessionError, match=message):
            session.call({"op": "hello"}, timeout=1.0)
        session._command = good
        assert session.call({"op": "hello"})["ok"]
    finally:
        session.close()


class _Scripted(Driver):
    """A driver whose contestants do what the test says."""

    name = "scripted"

    def __init__(self, **factories):
        self.factories = factories

    def contestants(self, workload, params):
        return self.factories


class _Steady(Contestant):
    """Takes a given time for everything and writes down when it was asked."""

    def __init__(self, name="steady", value=1e-6, log=None, fail_at=None):
        self.name, self.value, self.log, self.fail_at, self.calls = (
            name,
            value,
            log if log is not None else [],
            fail_at,
            0,
        )

    def check(self):
        return "c0ffee00"

    def measure(self, case, params, seconds):
        self.calls += 1
        self.log.append(self.name)
        if self.calls == self.fail_at:
            raise WrongResultError("a weight is not finite")
        return self.value


def _worker(**factories):
    worker = Worker.__new__(Worker)
    worker.driver, worker._contestants = _Scripted(**factories), {}
    return InProcessSession(worker)


def test_contestants_take_turns_and_each_round_begins_with_another():
    log = []
    sessions = {
        "metarl_core": _worker(metarl_core=lambda: _Steady("metarl_core", 1e-6, log)),
        "peer": _worker(one=lambda: _Steady("one", 2e-6, log), two=lambda: _Steady("two", 3e-6, log)),
    }
    (result,) = run_rows([row()], sessions, rounds=3, seconds=0.0)
    assert log == ["metarl_core", "one", "two", "one", "two", "metarl_core", "two", "metarl_core", "one"]
    assert result.values == {"metarl_core": [1e-6] * 3, "one": [2e-6] * 3, "two": [3e-6] * 3}
    assert result.checksums["one"] == "c0ffee00"
    assert summarise(result).ratio == pytest.approx(2)


def test_failures_do_not_stop_the_others():
    def unsupported():
        raise UnsupportedError("vectors only")

    def broken():
        raise MemoryError("no room")

    class Dead:
        def call(self, command, timeout=0.0):
            raise SessionError("its process ended with code -11: segmentation fault")

        def close(self, force=False):
            pass

    sessions = {
        "metarl_core": _worker(metarl_core=_Steady),
        "peer": _worker(narrow=unsupported, broken=broken, late=lambda: _Steady(fail_at=2)),
        "dead": Dead(),
    }
    (result,) = run_rows([row()], sessions, rounds=3, seconds=0.0)
    assert list(result.values) == ["metarl_core"]
    assert result.failures["narrow"] == Failure("unsupported", "vectors only")
    assert result.failures["broken"] == Failure("failed", "MemoryError: no room")
    assert result.failures["late"] == Failure("wrong", "a weight is not finite")
    assert "segmentation fault" in result.failures["dead"].reason


def test_time_operation_counts_calls():
    calls = 0

    def operation():
        nonlocal calls
        calls += 1
        return calls

    seconds, last = time_operation(operation, 0.01)
    assert last == calls > 100
    assert 0 < seconds < 1e-4


def test_interpreters_of_peers(tmp_path):
    absent = Peer("absent", "peer_absent", "a_module_that_is_not_there", ("replay",))
    assert find_interpreter(absent, tmp_path) == (None, "not installed: run python bench/setup_peers.py absent")
    (tmp_path / "absent").mkdir()
    status = {"pins": "", "ok": False, "reason": "no matching distribution"}
    (tmp_path / "absent" / "peer_status.json").write_text(json.dumps(status))
    assert find_interpreter(absent, tmp_path) == (None, "its installation failed: no matching distribution")
    here = Peer("here", "peer_numpy", "numpy", ("replay",))
    assert find_interpreter(here, tmp_path) == (sys.executable, "")
    assert len({peer.name for peer in PEERS}) == len(PEERS)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity")
def test_pinning_is_undone():
    before = os.sched_getaffinity(0)
    with pinned(1) as cores:
        assert os.sched_getaffinity(0) == set(cores)
        assert len(cores) == 1
    assert os.sched_getaffinity(0) == before


# --- whole runs --------------------------------------------------------------------------------------------------


def test_quick_replay_run(tmp_path, capsys):
    file = tmp_path / "out" / "replay.json"
    assert benchmarks.main(["replay", "--quick", "--peers", "numpy", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "tree: sample, ns an index" in shown
    assert "Ahead of the best peer on" in shown
    report = json.loads(file.read_text())
    assert report["schema_version"] == 1
    assert {entry["workload"] for entry in report["rows"]} == {
        *("tree", "small", "images", "weights", "pixels", "sequences", "tasks")
    }
    for entry in report["rows"]:
        assert entry["ours"] > 0
        assert len(entry["contestants"]["metarl_core"]["checksum"]) == 8


def test_quick_env_run(tmp_path, capsys):
    file, markdown = tmp_path / "env.json", tmp_path / "env.md"
    command = ["env", "--quick", "--only", "cartpole,deepsea", "--peers", "gymnasium", "--venvs", str(tmp_path)]
    assert benchmarks.main([*command, "--json", str(file), "--markdown", str(markdown)]) == 0
    capsys.readouterr()
    report = json.loads(file.read_text())
    cartpole = next(entry for entry in report["rows"] if entry["work"].startswith("CartPole") and entry["size"] == 256)
    assert set(cartpole["contestants"]) == {
        "metarl_core",
        "metarl_core out=",
        "metarl_core float32",
        "gymnasium sync",
        "gymnasium vector",
        "floor",
    }
    assert cartpole["ratio"] > 0
    assert not any(name.startswith("metarl_core") for entry in report["rows"] for name in entry["failures"])
    assert "| CartPole-v1, M steps/s | 1 |" in markdown.read_text()


def test_peers_that_are_not_there_are_named(tmp_path, capsys):
    command = ["replay", "--quick", "--only", "weights", "--peers", "cpprb", "--venvs", str(tmp_path)]
    assert benchmarks.main(command) == 0
    assert "cpprb: not installed: run python bench/setup_peers.py cpprb" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["trees"],
        ["replay", "--peers", "torchlr"],
        ["env", "--only", "Chess"],
        ["env", "--cores", "0"],
        ["env", "--rounds", "0"],
    ],
)
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmarks.main(arguments)
    assert stopped.value.code == 2
    assert "metarl bench" in capsys.readouterr().err


def test_drivers_do_not_import_the_package():
    folder = Path(benchmarks.__file__).parent / "drivers"
    for file in folder.glob("*.py"):
        if not file.name.startswith(("ours", "floor")):  # these run beside the package
            assert "import metarl_core" not in file.read_text(), file.name
