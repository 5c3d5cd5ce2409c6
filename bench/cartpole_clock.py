"""DQN on CartPole-v1 by the clock: seconds and environment steps until it is solved, ours, SB3's and CleanRL's.

    python bench/cartpole_clock.py [--seeds 0-4] [--contestants NAME,NAME] [--csv FILE]
    python bench/cartpole_clock.py --table FILE [FILE ...]     # only print what such files hold

Solved, for everybody: the mean return of 100 greedy episodes of Gymnasium's CartPole-v1 is at least 475, and so is that
of 100 others from other seeds. This is looked at every 1,000 environment steps while the clock stands still. A run that
has not solved it ends with the steps that its options were made for (``bench/clock/contestants.py``).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import setup_peers
from clock.contestants import CONTESTANTS, Contestant
from clock.results import check_environments, parse_seeds, read_csv, table, write_csv

from metarl_core.benchmarks.peers import find_interpreter
from metarl_core.benchmarks.session import worker_environment

WORKERS = Path(__file__).resolve().parent / "clock"
TIMEOUT = 4 * 3600.0


def run(contestant: Contestant, python: str, seed: int, every: int, max_steps: int) -> dict[str, Any]:
    """Train once in a process of its own, with one thread.

    Returns:
        A row of results.

    Raises:
        RuntimeError: the process failed; the message ends with its last line.
    """
    task = {**contestant.task(), "seed": seed, "every": every, "max_steps": max_steps}
    done = subprocess.run(
        [python, str(WORKERS / contestant.worker), json.dumps(task)],
        capture_output=True,
        text=True,
        env=worker_environment(1),
        cwd=tempfile.gettempdir(),
        timeout=TIMEOUT,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{contestant.name}, seed {seed}: its process ended with code {done.returncode}: {last}")
    result = json.loads(lines[-1])
    result["versions"] = " ".join(f"{name}={version}" for name, version in result["versions"].items())
    return {"contestant": contestant.name, "seed": seed, "every": every, "max_steps": max_steps, **result}


def interpreters(contestants: Sequence[Contestant], venvs: Path) -> dict[str, str]:
    """Find each contestant's Python; says on standard error who is left out and why."""
    found = {}
    for contestant in contestants:
        python, reason = (sys.executable, "") if contestant.peer is None else find_interpreter(contestant.peer, venvs)
        if python is None:
            print(f"{contestant.name}: left out, {reason}", file=sys.stderr, flush=True)
        else:
            found[contestant.name] = python
    return found


def _seeds(text: str) -> list[int]:
    try:
        return parse_seeds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _chosen(text: str) -> list[Contestant]:
    known = {contestant.name: contestant for contestant in CONTESTANTS}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown contestant {name!r}; choose from {', '.join(known)}")
    return [contestant for contestant in CONTESTANTS if contestant.name in names]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; expected a number of steps above 0")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run everybody, print the table; return 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=_seeds, default=list(range(5)), metavar="0-4")
    parser.add_argument("--contestants", type=_chosen, default=list(CONTESTANTS), metavar="NAME,NAME")
    parser.add_argument("--every", type=_positive, default=1000, metavar="E", help="steps between two evaluations")
    parser.add_argument("--max-steps", type=_positive, default=500_000, metavar="N", help="end every run here at last")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a line for each run")
    parser.add_argument("--venvs", type=Path, default=setup_peers.VENVS, metavar="DIR", help="the peers' environments")
    parser.add_argument("--no-setup", action="store_true", help="take the peers as they are, install nothing")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="run nothing, print these files' table")
    args = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    code = 0
    if args.table:
        try:
            rows = [row for file in args.table for row in read_csv(file)]
        except (OSError, ValueError) as error:
            parser.error(f"--table: {error}")
        order = [contestant.name for contestant in CONTESTANTS]
        rows.sort(key=lambda row: order.index(row["contestant"]) if row["contestant"] in order else len(order))
    else:
        peers = sorted({contestant.peer.name for contestant in args.contestants if contestant.peer})
        if peers and not args.no_setup and args.venvs == setup_peers.VENVS:
            setup_peers.main(peers)
        pythons = interpreters(args.contestants, args.venvs)
        for seed in args.seeds:
            for contestant in args.contestants:
                if contestant.name not in pythons:
                    continue
                try:
                    rows.append(run(contestant, pythons[contestant.name], seed, args.every, args.max_steps))
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    print(f"failed: {error}", file=sys.stderr, flush=True)
                    code = 1
                    continue
                last = rows[-1]
                print(
                    f"{contestant.name}, seed {seed}: {'solved' if last['solved'] else 'not solved'} at step "
                    f"{last['steps']:,}, {last['cpu_seconds']:.1f} CPU s, {last['seconds']:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
                if args.csv:
                    write_csv(args.csv, rows)
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one thread\n")
    check_environments(rows)
    print(table(rows))
    return code


if __name__ == "__main__":
    sys.exit(main())
