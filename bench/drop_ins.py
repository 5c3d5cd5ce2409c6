"""Other libraries' agents, stock against with our replay and environments: what they learn, and the clock.

    python bench/drop_ins.py LIBRARY [--seeds 0-9] [--csv FILE]
    python bench/drop_ins.py --table FILE [FILE ...]     # only print what such files hold

LIBRARY is sb3, tianshou or torchrl; the last two run in the virtual environments of `make test-integrations`. Everybody
has the same options and the same number of environment steps and updates (``bench/drop_in``). The result is the mean
return of 100 greedy episodes after training, in the environment of the package that defines it.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clock.results import parse_seeds
from drop_in.contestants import LIBRARIES, Library

from metarl_core.benchmarks.session import worker_environment
from metarl_core.stats import bootstrap_interval, iqm

HERE = Path(__file__).resolve().parent
COLUMNS = ("library", "contestant", "seed", "return", "cpu_seconds", "seconds", "env_id", "steps", "versions")
TIMEOUT = 3600.0


def interpreter(library: Library) -> Path:
    """Python of the library's virtual environment.

    Raises:
        FileNotFoundError: it is not there.
    """
    if library.venv is None:
        return Path(sys.executable)
    path = HERE.parent / "build" / library.venv / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; make test-integrations makes it")
    return path


def run(library: Library, contestant: str, seed: int) -> dict[str, Any]:
    """Train once in a process of its own, with one thread.

    Returns:
        A row of results.

    Raises:
        RuntimeError: the process failed; the message ends with its last line.
    """
    task = library.task(contestant, seed)
    done = subprocess.run(
        [str(interpreter(library)), str(HERE / "drop_in" / library.worker), json.dumps(task)],
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
        raise RuntimeError(f"{contestant}, seed {seed}: its process ended with code {done.returncode}: {last}")
    result = json.loads(lines[-1])
    result["versions"] = " ".join(f"{name}={version}" for name, version in result["versions"].items())
    given = {"library": library.name, "contestant": contestant, "seed": seed}
    return {**given, "env_id": library.env_id, "steps": library.steps, **result}


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Rows of a file that ``--csv`` wrote.

    Raises:
        ValueError: it has other columns.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: expected the columns {', '.join(COLUMNS)}; found {reader.fieldnames}")
        rows: list[dict[str, Any]] = list(reader)
    for row in rows:
        row["seed"], row["steps"] = int(row["seed"]), int(row["steps"])
        for name in ("return", "cpu_seconds", "seconds"):
            row[name] = float(row[name])
    return rows


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows with the columns ``COLUMNS``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: for each library a line for each contestant, its clock as a ratio of stock's on the same seeds."""
    lines = []
    for library in LIBRARIES:
        own = [row for row in rows if row["library"] == library.name]
        if not own:
            continue
        lines += [
            f"{library.title}, {own[0]['steps']:,} steps ({own[0]['versions']}):",
            "",
            "| | seeds | IQM return [95 %] | CPU s, median | CPU time of stock's, median over seeds | wall s, median |",
            "|---|---|---|---|---|---|",
        ]
        stock = {row["seed"]: row["cpu_seconds"] for row in own if row["contestant"] == "stock"}
        for name in library.contestants:
            group = [row for row in own if row["contestant"] == name]
            if group:
                lines.append(_line(name, group, stock))
        lines.append("")
    return "\n".join(lines).rstrip()


def _line(name: str, rows: Sequence[dict[str, Any]], stock: dict[int, float]) -> str:
    returns = [[row["return"] for row in rows]]
    low, high = bootstrap_interval(iqm, returns)
    shares = [row["cpu_seconds"] / stock[row["seed"]] for row in rows if row["seed"] in stock]
    share = f"{statistics.median(shares):.2f}" if shares else "-"
    cpu, wall = (statistics.median(row[key] for row in rows) for key in ("cpu_seconds", "seconds"))
    return (
        f"| {name} | {len(rows)} | {float(iqm(returns)):.4g} [{float(low):.4g}, {float(high):.4g}] "
        f"| {cpu:.1f} | {share} | {wall:.1f} |"
    )


def _seeds(text: str) -> list[int]:
    try:
        return parse_seeds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run every contestant of a library, print the table; return 1 if a run failed."""
    by_name = {library.name: library for library in LIBRARIES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", choices=sorted(by_name))
    parser.add_argument("--seeds", type=_seeds, default=list(range(10)), metavar="0-9")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a line for each run; those there are not repeated")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="run nothing, print these files' table")
    args = parser.parse_args(argv)
    if (args.library is None) == (args.table is None):
        parser.error("expected a library (sb3, tianshou, torchrl), or --table FILE")
    files = args.table or ([args.csv] if args.csv and args.csv.exists() else [])
    try:
        rows = [row for file in files for row in read_csv(file)]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    code = 0
    if args.library:
        library = by_name[args.library]
        try:
            interpreter(library)
        except FileNotFoundError as error:
            parser.error(str(error))
        code = _run_missing(library, args.seeds, rows, args.csv)
    print(table(rows))
    return code


def _run_missing(library: Library, seeds: Sequence[int], rows: list[dict[str, Any]], path: Path | None) -> int:
    done = {(row["library"], row["contestant"], row["seed"]) for row in rows}
    code = 0
    for seed in seeds:
        for contestant in library.contestants:
            if (library.name, contestant, seed) in done:
                continue
            try:
                row = run(library, contestant, seed)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"failed: {error}", file=sys.stderr, flush=True)
                code = 1
                continue
            rows.append(row)
            print(
                f"{contestant}, seed {seed}: return {row['return']:.2f}, {row['cpu_seconds']:.1f} CPU s",
                file=sys.stderr,
                flush=True,
            )
            if path:
                write_csv(path, rows)
    return code


if __name__ == "__main__":
    sys.exit(main())
