"""The entry points of the benchmarks."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from metarl_core._build_info import build_info
from metarl_core.benchmarks.peers import OURS, default_venvs, find_interpreter, peers_of
from metarl_core.benchmarks.rows import Row, env_rows, replay_rows
from metarl_core.benchmarks.runner import RowResult, Session, run_rows
from metarl_core.benchmarks.session import SessionError, WorkerSession
from metarl_core.benchmarks.table import (
    OURS as OUR_NAME,
)
from metarl_core.benchmarks.table import (
    SCHEMA_VERSION,
    checksum_lines,
    failure_lines,
    machine,
    markdown_table,
    note_lines,
    summarise,
    text_table,
    to_json,
)

SUITES = ("replay", "env")


@contextlib.contextmanager
def pinned(cores: int) -> Iterator[list[int] | None]:
    """Keep this process and its children on the last ``cores`` of its cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[-cores:]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def _open_sessions(
    suite: str, only: Sequence[str] | None, venvs: Path, cores: int
) -> tuple[dict[str, Session], dict[str, str], list[dict[str, Any]]]:
    """Start a worker for ours and every peer; return sessions, reasons for the missing ones, and the versions."""
    sessions: dict[str, Session] = {}
    missing: dict[str, str] = {}
    described: list[dict[str, Any]] = []
    for peer in [OURS, *peers_of(suite)]:
        if only is not None and peer is not OURS and peer.name not in only:
            continue
        python, reason = (sys.executable, "") if peer is OURS else find_interpreter(peer, venvs)
        if python is not None:
            session = WorkerSession(python, peer.driver, cores)
            try:
                answer = session.call({"op": "hello"}, 120)
                if answer["ok"]:
                    sessions[peer.name] = session
                    described.append({"name": peer.name, "versions": answer["versions"], "python": answer["python"]})
                    continue
                reason = str(answer["error"])
            except SessionError as error:
                reason = str(error)
            session.close(force=True)
        missing[peer.name] = reason
        described.append({"name": peer.name, "missing": reason})
    return sessions, missing, described


def _select(rows: list[Row], only: Sequence[str] | None) -> list[Row]:
    """Return the rows whose name contains one of the texts."""
    if only is None:
        return rows
    chosen = [row for row in rows if any(text.lower() in row.work.lower() for text in only)]
    if not chosen:
        names = ", ".join(dict.fromkeys(row.work.split(",")[0] for row in rows))
        raise ValueError(f"only={list(only)!r} selects no row; the rows are: {names}")
    return chosen


def _run(
    suite: str,
    rows: list[Row],
    peers: Sequence[str] | None,
    venvs: Path | None,
    rounds: int,
    seconds: float,
    cores: int,
    progress: Callable[[str], None],
) -> tuple[list[RowResult], dict[str, Any]]:
    with pinned(cores) as chosen:
        sessions, missing, described = _open_sessions(suite, peers, venvs or default_venvs(), cores)
        try:
            if OURS.name not in sessions:
                raise SessionError(f"metarl_core's own worker does not start: {missing[OURS.name]}")
            results = run_rows(rows, sessions, rounds, seconds, progress)
        finally:
            for session in sessions.values():
                session.close()
    report = {
        "schema_version": SCHEMA_VERSION,
        "suite": suite,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "build": build_info(),
        "settings": {"rounds": rounds, "seconds": seconds, "cores": cores, "pinned_to": chosen},
        "libraries": described,
        "missing": missing,
        "rows": to_json(results),
    }
    return results, report


def run_replay_benchmark(
    *,
    quick: bool = False,
    only: Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
    venvs: Path | None = None,
    rounds: int = 5,
    seconds: float = 0.1,
    cores: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[RowResult], dict[str, Any]]:
    """Measure trees, replay buffers and importance weights.

    Args:
        quick: Small buffers, fewer sizes: seconds instead of minutes, figures of no worth.
        only: Measure only the rows whose name contains one of these texts, such as ``"tree"``; all if None.
        peers: Names of the peers to measure; all that are found if None.
        venvs: Folder of the peers' virtual environments; ``bench/.venvs`` if None.
        rounds: How often each contestant is measured; the table shows medians.
        seconds: How long each measurement lasts at least.
        cores: How many cores everything is pinned to.
        progress: Gets a line now and then.

    Returns:
        The results by row, and the report that ``--json`` writes.

    Raises:
        SessionError: If metarl_core's own worker does not start.
        ValueError: If no row has a name that contains one of the texts in ``only``.
    """
    return _run("replay", _select(replay_rows(quick), only), peers, venvs, rounds, seconds, cores, progress)


def run_env_benchmark(
    *,
    quick: bool = False,
    only: Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
    venvs: Path | None = None,
    rounds: int = 5,
    seconds: float = 0.1,
    cores: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[RowResult], dict[str, Any]]:
    """Measure batched environments; the arguments and the result are those of :func:`run_replay_benchmark`."""
    return _run("env", _select(env_rows(quick, cores), only), peers, venvs, rounds, seconds, cores, progress)


class _Parser(argparse.ArgumentParser):
    """Errors are one line; an unknown option names those that exist."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized"):
            message += f"; valid: {', '.join(name for name in self._option_string_actions if name.startswith('--'))}"
        self.exit(2, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="metarl bench",
        description="Measure metarl_core beside other libraries, in one run on one core.",
        allow_abbrev=False,
    )
    parser.add_argument("suite", choices=SUITES, help="replay: trees, buffers, weights; env: batched environments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows in seconds that everything works")
    parser.add_argument(
        "--only", metavar="A,B", help="only rows whose name contains one of these (tree, CartPole, ...)"
    )
    parser.add_argument("--peers", metavar="A,B", help="only these peers (default: all that are found)")
    parser.add_argument("--venvs", type=Path, metavar="DIR", help="the peers' environments (default: bench/.venvs)")
    parser.add_argument("--rounds", type=int, default=None, metavar="N", help="measurements of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=None, metavar="S", help="length of one (default: 0.1)")
    parser.add_argument("--cores", type=int, default=1, metavar="N", help="cores for everybody (default: 1)")
    parser.add_argument("--verbose", action="store_true", help="print checksums of the checked results")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark, print its table, and write the files that were asked for.

    Returns:
        0; 1 if a result of ours was wrong or missing; 2 for bad arguments.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    peers = None if args.peers is None else [name for name in args.peers.split(",") if name]
    only = None if args.only is None else [text for text in args.only.split(",") if text]
    known = [peer.name for peer in peers_of(args.suite)]
    unknown = sorted(set(peers or ()) - set(known))
    if unknown:
        parser.error(f"unknown peer {unknown[0]!r}; choose from {', '.join(known)}")
    if (
        args.cores < 1
        or (args.rounds is not None and args.rounds < 1)
        or (args.seconds is not None and args.seconds <= 0)
    ):
        parser.error("--cores, --rounds and --seconds must be positive")
    try:
        _select(replay_rows(args.quick) if args.suite == "replay" else env_rows(args.quick), only)
    except ValueError as error:
        parser.error(str(error))
    run = run_replay_benchmark if args.suite == "replay" else run_env_benchmark
    results, report = run(
        quick=args.quick,
        only=only,
        peers=peers,
        venvs=args.venvs,
        rounds=args.rounds or (2 if args.quick else 5),
        seconds=args.seconds or (0.01 if args.quick else 0.1),
        cores=args.cores,
        progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    print(text_table(results))
    lines = failure_lines(results, report["missing"])
    for title, entries in (
        ("Not measured", lines),
        ("Notes", note_lines(results)),
        ("Checksums of the checked results", checksum_lines(results) if args.verbose or args.quick else []),
    ):
        if entries:
            print(f"\n{title}:\n  " + "\n  ".join(entries))
    print("\n" + summary_line(results, report))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.markdown:
        text = markdown_table(results) + "\n\n" + "".join(f"- {line}\n" for line in [*lines, *note_lines(results)])
        args.markdown.parent.mkdir(parents=True, exist_ok=True)
        args.markdown.write_text(text, encoding="utf-8")
    broken = [line for line in lines if line.startswith(OUR_NAME)]
    return 1 if broken or any(summarise(result).ours is None for result in results) else 0


def summary_line(results: list[RowResult], report: dict[str, Any]) -> str:
    """Return how many rows are ahead of every peer, and on what machine."""
    ratios = [summary.ratio for summary in map(summarise, results) if summary.ratio is not None]
    ahead = sum(ratio > 1 for ratio in ratios)
    about, settings = report["machine"], report["settings"]
    return (
        f"Ahead of the best peer on {ahead} of {len(ratios)} rows; medians of {settings['rounds']} interleaved rounds "
        f"of {settings['seconds']:g} s on {settings['cores']} core(s) of {about['cpu']}, Python {about['python']}."
    )
