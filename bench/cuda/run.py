"""Run the benchmarks of this folder, and print the goals beside what was measured. ``make bench-cuda``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from goals import print_goals

from metarl_core._cuda_module import cuda_devices

FOLDER = Path(__file__).parent
BENCHMARKS = ("sum_tree", "replay", "envs", "training")
# One that hangs must not take the others' time on a GPU that is lent for some minutes.
QUICK_SECONDS, FULL_SECONDS = 120, 3600


def main() -> int:
    """Return the exit status: 2 without a GPU, 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some minutes: fewer sizes, environments and repeats")
    parser.add_argument("--out", type=Path, default=Path("build/bench-cuda"), help="folder for the rows as JSON")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    args = parser.parse_args()
    devices, problem = cuda_devices()
    if not devices:
        print(f"bench/cuda needs a GPU: {problem}", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in args.only:
        report = args.out / f"{name}.json"
        report.unlink(missing_ok=True)  # of an earlier run
        command = [sys.executable, str(FOLDER / f"{name}.py"), "--json", str(report)]
        command += ["--quick"] if args.quick else []
        print(f"== {name}", flush=True)
        started = time.monotonic()
        try:
            limit = QUICK_SECONDS if args.quick else FULL_SECONDS
            status: int | None = subprocess.run(command, check=False, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            status = None
        outcome = "done" if status == 0 else "FAILED (out of time)" if status is None else f"FAILED ({status})"
        outcomes.append((name, outcome, time.monotonic() - started))
    print()
    for name, outcome, seconds in outcomes:
        print(f"  {name:10} {outcome:20} {seconds:.0f} s")
    print()
    print_goals(args.out)
    return 0 if all(outcome == "done" for _, outcome, _ in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
