"""Run the tests of this folder and compute-sanitizer's tools, and print what each gave. ``make test-cuda``.

Without a GPU everything is skipped. With one it is a failure if the tests cannot use it (no torch, or one without
CUDA), and if compute-sanitizer is not there, unless ``--without-sanitizer`` says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from metarl_core._cuda_module import cuda_devices

FOLDER = Path(__file__).parent
# torch asks the driver for what it may not have, and takes no for an answer: those are no errors of ours.
TOOLS = {"memcheck": ["--report-api-errors", "no"], "racecheck": [], "initcheck": [], "synccheck": []}
QUICK_STEPS = "2000"  # of the many that test_env.py compares
NOTHING_CHOSEN = 5  # pytest's exit status
# A step that hangs must not take the others' time, where the GPU is there for some minutes only.
QUICK_SECONDS, FULL_SECONDS = 120, 3600


def counts(report: Path) -> str:
    """Return what pytest's report says of its tests; "": there is none."""
    suite = ET.parse(report).find("testsuite") if report.exists() else None
    if suite is None:
        return ""
    skipped, bad = int(suite.get("skipped", 0)), int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    passed = int(suite.get("tests", 0)) - skipped - bad
    found = ((passed, "passed"), (bad, "failed"), (skipped, "skipped"))
    return ", ".join(f"{count} {what}" for count, what in found if count > 0)


class Table:
    """The outcome of every step, which is printed at the end."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.rows: list[tuple[str, str, str]] = []
        self.good = True

    def note(self, name: str, outcome: str, time_taken: str = "", *, good: bool = True) -> None:
        """Add a row."""
        self.rows.append((name, outcome, time_taken))
        self.good = self.good and good

    def run(self, name: str, command: list[str], environment: dict[str, str]) -> int | None:
        """Run a command and note its outcome; return its exit status, None if it ran out of time."""
        print(f"== {name}: {' '.join(command)}", flush=True)
        started = time.monotonic()
        try:
            status: int | None = subprocess.run(command, check=False, env=environment, timeout=self.limit).returncode
        except subprocess.TimeoutExpired:
            status = None
        outcome = "passed" if status == 0 else "FAILED (out of time)" if status is None else f"FAILED ({status})"
        self.note(name, outcome, f"{time.monotonic() - started:.0f} s", good=status == 0)
        return status

    def run_tests(self, path: Path, more: list[str], environment: dict[str, str]) -> None:
        """Run a file of tests; ``more`` are pytest's options, which may leave none of them."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "-n", "0", "-q", str(path), f"--junitxml={report}", *more]
            good_before = self.good
            status = self.run(path.stem, command, environment)
            name, outcome, time_taken = self.rows.pop()
            if status == NOTHING_CHOSEN and more:
                outcome, self.good = "none chosen", good_before
            elif status == 0:  # skipped are, for example, those for two GPUs
                outcome = counts(report) or outcome
            elif found := counts(report):
                outcome += f": {found}"
            self.rows.append((name, outcome, time_taken))


def main() -> int:
    """Return the exit status: 0 if everything passed, or was skipped for want of a GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Other options go to pytest.",
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="some minutes: each value of a parameter once, few steps")
    parser.add_argument("--without-sanitizer", action="store_true", help="do without compute-sanitizer's tools")
    args, for_pytest = parser.parse_known_args()
    devices, problem = cuda_devices()
    environment = os.environ | ({"METARL_REQUIRE": "cuda"} if devices else {})
    if args.quick:
        environment |= {"METARL_CUDA_QUICK": "1", "METARL_CUDA_ENV_STEPS": QUICK_STEPS}
    table = Table(QUICK_SECONDS if args.quick else FULL_SECONDS)
    for path in sorted(FOLDER.glob("test_*.py")):
        if devices:
            table.run_tests(path, for_pytest, environment)
        else:
            table.note(path.stem, "skipped", "no GPU")
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    for tool, options in TOOLS.items():
        if not devices:
            table.note(tool, "skipped", "no GPU")
        elif args.without_sanitizer:
            table.note(tool, "not run", "--without-sanitizer")
        elif sanitizer is None:
            table.note(tool, "NOT RUN", "no compute-sanitizer on PATH; it comes with the CUDA toolkit", good=False)
        else:
            command = [sanitizer, "--tool", tool, *options, "--error-exitcode", "9", sys.executable]
            command += [str(FOLDER / "small_run.py"), *(["--quick"] if args.quick else [])]
            table.run(tool, command, environment)
    print(f"\n{'; '.join(devices) if devices else 'skipped, no GPU: ' + problem}")
    for row in table.rows:
        print(f"  {row[0]:18} {row[1]:36} {row[2]}".rstrip())
    return 0 if table.good else 1


if __name__ == "__main__":
    sys.exit(main())
