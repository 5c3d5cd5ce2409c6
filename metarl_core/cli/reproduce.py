"""``metarl reproduce``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarl_core.cli._arguments import CommandParser, UsageError, check_out, integer, require, unknown
from metarl_core.cli._cells import make_watcher
from metarl_core.cli._progress import StopSignal

if TYPE_CHECKING:
    from metarl_core.reproduce import Outcome, ResultStore
    from metarl_core.reproduce.kinds import AnyCell, AnyExperiment

__all__ = ["run"]

_USAGE = """metarl reproduce NAME [--out DIR] [--jobs N] [--only KEY=VALUE[,KEY=VALUE ...]] [--tuning] [--stale]
                        [--runs DIR] [--keep-runs]
       metarl reproduce NAME --from-csv [--tuning] [--out DIR]
       metarl reproduce [NAME] --list"""

_EPILOG = """NAME is an experiment of the package or a .toml file. Each cell (method, environment, parameters, seed) is
one training run in a process of its own; its row goes to DIR/results.csv when it ends. Cells with a row are skipped, so
the command can be stopped (Ctrl-C) and repeated at any time. --only takes method, environment (of continual runs also
sequence), seed (also 0-4) and the parameters of the environment; values of one key are alternatives.

examples:
  metarl reproduce                                           # the experiments
  metarl reproduce cder-deepsea --list                       # its cells, and which have a row
  metarl reproduce cder-deepsea --only method=cder,size=20,seed=0-4
  metarl reproduce cder-deepsea --from-csv                   # tables and plots again, without training"""


def _parser() -> CommandParser:
    parser = CommandParser(
        "reproduce", "Run the missing cells of an experiment; write its tables and plots.", _USAGE, _EPILOG
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="experiment, or a .toml file")
    parser.add_argument(
        "--out", metavar="DIR", help="where results.csv, tables and plots go (default: docs/results/NAME)"
    )
    parser.add_argument("--runs", metavar="DIR", help="where runs in progress live (default: runs/reproduce/NAME)")
    parser.add_argument("--jobs", type=integer(1), default=2, metavar="N", help="cells at once, one thread each (2)")
    parser.add_argument("--only", action="append", default=[], metavar="KEY=VALUE", help="some of the cells")
    parser.add_argument(
        "--tuning",
        action="store_true",
        help="the settings and seeds of the tuning instead, into tuning.csv and tuning.md",
    )
    parser.add_argument("--stale", action="store_true", help="also cells whose row was made with other settings")
    parser.add_argument("--keep-runs", action="store_true", help="keep the run directories of finished cells")
    parser.add_argument("--from-csv", action="store_true", help="train nothing")
    parser.add_argument("--list", action="store_true", help="list the experiments, or the cells of NAME")
    return parser


def run(argv: Sequence[str]) -> int:
    """Reproduce an experiment."""
    args = _parser().parse(argv)
    require("torch")
    from metarl_core.reproduce import find_experiment, list_experiments
    from metarl_core.reproduce.kinds import open_store

    if args.name is None:
        for name, title in list_experiments().items():
            print(f"{name:22} {title}")
        return 0
    experiment = find_experiment(args.name)
    out = Path(args.out) if args.out else Path("docs/results") / experiment.name
    check_out(out)
    if args.from_csv and (args.stale or args.only or args.list):
        raise UsageError("--from-csv trains nothing and selects nothing; leave out the other options")
    csv_path = out / ("tuning.csv" if args.tuning else "results.csv")
    if args.tuning:
        experiment = experiment.of_tuning()
    if args.from_csv:
        if not csv_path.is_file():
            raise UsageError(f"{csv_path} does not exist; run metarl reproduce {args.name} first")
        return _summarise(experiment, csv_path)
    cells = _selected(experiment.cells, args.only)
    for cell in cells:
        cell.config  # noqa: B018  # told before anything runs, not when its turn comes
    if args.list:
        return _list(open_store(experiment, csv_path), cells)
    require("matplotlib")
    return _run(args, experiment, cells, csv_path)


def _run(args: argparse.Namespace, experiment: AnyExperiment, cells: Sequence[AnyCell], csv_path: Path) -> int:
    from metarl_core.reproduce.kinds import has_checkpoints, open_store, run_missing

    runs = Path(args.runs) if args.runs else Path("runs/reproduce") / experiment.name
    runs = runs / "tuning" if args.tuning else runs
    with open_store(experiment, csv_path) as store:
        stale = [cell for cell in cells if store.is_stale(cell)]
        missing = [cell for cell in cells if cell not in store or (args.stale and cell in stale)]
        print(
            f"{experiment.name}: {len(missing)} of {len(cells)} cells to run, {args.jobs} at once -> {csv_path}",
            flush=True,
        )
        if stale and not args.stale:
            print(f"{len(stale)} rows were made with other settings (first: {stale[0].label}); --stale runs them again")
        stop = StopSignal()
        watcher = make_watcher(len(missing), lambda: stop.received is not None)
        if not has_checkpoints(experiment):
            watcher.stopping = "stopping: the running cells begin anew with the next call"
        try:
            with stop, watcher:
                outcome = run_missing(experiment, missing, store, runs, args.jobs, watcher, args.keep_runs)
        except KeyboardInterrupt:
            print(f"\nstopped at once; go on with: metarl reproduce {args.name}", file=sys.stderr)
            return 128 + signal.SIGINT
    _summarise(experiment, csv_path)
    return _tell(args.name, outcome, stop.received)


def _tell(name: str, outcome: Outcome, received: int | None) -> int:
    for cell, reason in outcome.failed:
        print(f"failed: {cell.label}: {reason}", file=sys.stderr)
    if outcome.interrupted:
        print(f"interrupted after {outcome.finished} cells; go on with: metarl reproduce {name}", file=sys.stderr)
        return 128 + (received or signal.SIGINT)
    if outcome.failed:
        print(f"{len(outcome.failed)} cells failed; the same command tries them again", file=sys.stderr)
    return 1 if outcome.failed else 0


def _summarise(experiment: AnyExperiment, csv_path: Path) -> int:
    from metarl_core.reproduce.kinds import summarise

    require("matplotlib")
    for path in summarise(experiment, csv_path):
        print(path)
    return 0


def _list(store: ResultStore, cells: Sequence[AnyCell]) -> int:
    for cell in cells:
        state = "missing" if cell not in store else "stale" if store.is_stale(cell) else "done"
        print(f"{state:8} {cell.label}")
    done = sum(cell in store for cell in cells)
    print(f"{done} of {len(cells)} cells have a row")
    return 0


def _selected(cells: Sequence[AnyCell], only: Sequence[str]) -> list[AnyCell]:
    """Cells that match one of the values of every key.

    Raises:
        UsageError: a key or value that no cell has.
    """
    from metarl_core.reproduce.spec import parse_seeds

    wanted: dict[str, set[str]] = {}
    for part in (part for text in only for part in text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"--only {part!r}: expected KEY=VALUE")
        values = set(map(str, parse_seeds(value, "--only seed"))) if key == "seed" else {value}
        wanted.setdefault(key, set()).update(values)
    table = [cell.facts for cell in cells]
    for key, values in wanted.items():
        known = {row[key] for row in table if key in row}
        if not known:
            raise unknown("key of --only", key, sorted({name for row in table for name in row}))
        for value in sorted(values - known):
            raise unknown(f"{key} of this experiment", value, sorted(known))
    return [
        cell
        for cell, row in zip(cells, table, strict=True)
        if all(row.get(key) in values for key, values in wanted.items())
    ]
