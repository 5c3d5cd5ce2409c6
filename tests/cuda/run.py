"""Run the tests of this folder and compute-sanitizer's tools, and print what each gave. ``make test-cuda``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from metarl_core._cuda_module import cuda_devices

FOLDER = Path(__file__).parent
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def run(name: str, command: list[str], rows: list[tuple[str, str, str]]) -> bool:
    """Run a command and note its outcome."""
    print(f"== {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    rows.append((name, "passed" if status == 0 else f"FAILED ({status})", f"{time.monotonic() - started:.0f} s"))
    return status == 0


def main() -> int:
    """Return the exit status: 0 if everything passed, or was skipped for want of a GPU."""
    devices, problem = cuda_devices()
    rows: list[tuple[str, str, str]] = []
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", str(FOLDER), *sys.argv[1:]]
    good = run("tests", command, rows)
    if good and not devices:
        rows[-1] = ("tests", "skipped", "no GPU")
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    for tool in TOOLS:
        if not devices or sanitizer is None:
            rows.append((tool, "skipped", "no GPU" if not devices else "no compute-sanitizer"))
            continue
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, str(FOLDER / "small_run.py")]
        good = run(tool, command, rows) and good
    print(f"\n{'; '.join(devices) if devices else 'skipped, no GPU: ' + problem}")
    for row in rows:
        print(f"  {row[0]:12} {row[1]:12} {row[2]}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
