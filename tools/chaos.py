"""Run every test that breaks something on purpose, the long ones too, and print a table of faults.

    python tools/chaos.py [FAULT ...]

METARL_KILLS sets how many processes each long test kills.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

# Of each fault: files below tests/python, and pytest's -k for those that hold other tests as well.
FAULTS: dict[str, list[tuple[str, str]]] = {
    "SIGKILL while saving": [
        ("test_replay_checkpoint_crash.py", "kill"),
        ("test_runs_checkpoint.py", "sigkill"),
        ("test_replay_mmap.py", "killed or crash or interrupted_restore"),
    ],
    "SIGKILL while training": [
        ("test_runs_killed.py", ""),
        ("test_runs_writer.py", "killed"),
        ("test_cli_imt.py", "signal_then_resume"),
        ("test_cli_train.py", "sigkill"),
    ],
    "power failure, disk errors": [("test_replay_mmap.py", "power or torn"), ("test_replay_mmap_faults.py", "")],
    "disk full": [
        ("test_full_disk.py", ""),
        ("test_replay_checkpoint.py", "full_disk"),
        ("test_runs_checkpoint.py", "full_disk"),
        ("test_replay_mmap.py", "full_disk"),
    ],
    "process killed beside us": [
        ("test_shared_writers.py", "killed or end_of_the_learner"),
        ("test_wrapped_workers.py", "killed or ends or ended"),
    ],
    "exception or hang in a worker": [
        ("test_prefetch.py", "any_exception or random_moments"),
        ("test_wrapped_workers.py", "raises or hangs or failure"),
        ("test_vector_async.py", "timeouts"),
        ("test_reproduce_watching.py", "exception"),
    ],
    "fork with threads": [
        ("test_replay_fork.py", ""),
        ("test_prefetch.py", "fork"),
        ("test_shared_writers.py", "fork"),
        ("test_vector_process.py", "fork"),
        ("test_vector_async.py", "fork"),
        ("test_wrapped_workers.py", "fork"),
        ("test_replay_mmap.py", "fork"),
    ],
    "Ctrl-C, SIGTERM": [
        ("test_replay_concurrency.py", "ctrl_c"),
        ("test_replay_in_parts.py", "ctrl_c"),
        ("test_replay_checkpoint.py", "ctrl_c"),
        ("test_prefetch.py", "ctrl_c"),
        ("test_shared_writers.py", "interrupts"),
        ("test_vector_process.py", "interrupt or signal"),
        ("test_vector_async.py", "interrupt"),
        ("test_vector_rollout.py", "interrupt"),
        ("test_wrapped_workers.py", "interrupt"),
        ("test_cli_progress.py", "ctrl_c or sigterm"),
        ("test_cli_train.py", "ctrl_c"),
        ("test_cli_continual.py", "interrupt"),
        ("test_reproduce.py", "interrupted"),
        ("test_reproduce_continual.py", "ctrl_c"),
    ],
}
TESTS = Path(__file__).parents[1] / "tests" / "python"


def main(words: list[str]) -> int:
    """Run the tests of the faults whose names contain one of ``words`` (all without words), print the table.

    Returns:
        1 where a test failed, or all of a fault's were skipped.
    """
    chosen = [name for name in FAULTS if not words or any(word.lower() in name.lower() for word in words)]
    if not chosen:
        print(f"no fault {' '.join(words)!r}; expected part of: {'; '.join(FAULTS)}", file=sys.stderr)
        return 2
    rows, worst = [], 0
    for name in chosen:
        begin, counts = time.monotonic(), dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
        for file, keyword in FAULTS[name]:
            found = run(file, keyword)
            counts = {key: counts[key] + found[key] for key in counts}
        bad = counts["failures"] + counts["errors"]
        worst |= bad > 0
        passed = counts["tests"] - bad - counts["skipped"]
        verdict = "FAILED" if bad else "ok" if passed else "NOT RUN"
        worst |= not passed
        seconds = time.monotonic() - begin
        rows.append(
            f"{name:30} {counts['tests']:>6} {passed:>7} {counts['skipped']:>8} {bad:>7} {seconds:>8.0f}  {verdict}"
        )
    print(f"\n{'fault':30} {'tests':>6} {'passed':>7} {'skipped':>8} {'failed':>7} {'seconds':>8}  result")
    print("\n".join(rows))
    return worst


def run(file: str, keyword: str) -> dict[str, int]:
    """Run the tests of a file; return the counts of pytest's record. A selection without a test is an error."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.xml"
        words = [sys.executable, "-m", "pytest", "-n", "0", "-s", "-q", "--timeout=3600", "-m", "slow or not slow"]
        words += ["-k", keyword, f"--junit-xml={record}", str(TESTS / file)]
        status = subprocess.run(words, check=False).returncode
        if status == 5:  # pytest's "no tests collected"
            raise SystemExit(f"{file} has no test for -k {keyword!r}")
        (suite,) = ET.parse(record).getroot().iter("testsuite")
        found = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
        if status not in (0, 1) and not found["errors"]:
            found["errors"] += 1
        return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
