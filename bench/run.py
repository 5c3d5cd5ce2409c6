"""Install the peers, run both benchmarks and write the figures: one command does it all.

    python bench/run.py --json bench/results/NAME.json --markdown

``--markdown`` puts the tables, the machine and the command into ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import setup_peers

from metarl_core.benchmarks import run_env_benchmark, run_replay_benchmark
from metarl_core.benchmarks.main import summary_line
from metarl_core.benchmarks.peers import PEERS
from metarl_core.benchmarks.runner import RowResult
from metarl_core.benchmarks.table import (
    checksum_lines,
    failure_lines,
    markdown_table,
    note_lines,
    summarise,
    text_table,
)

BENCH = Path(__file__).resolve().parent
README = BENCH / "README.md"
TITLES = {"replay": "Replay", "env": "Environments"}


def section(results: list[RowResult], report: dict[str, Any]) -> str:
    """Return one suite as Markdown: machine, table, what is missing and why."""
    about, settings, build = report["machine"], report["settings"], report["build"]
    versions = ", ".join(
        f"{name} {version}"
        for library in report["libraries"]
        for name, version in list(library.get("versions", {}).items())[:1]
    )
    lines = [
        f"Measured {report['created'][:10]} on {settings['cores']} of {about['cores']} cores of {about['cpu']} "
        f"({round((about['memory_bytes'] or 0) / 2**30)} GiB), {about['system']}, Python {about['python']}, "
        f"{build['compiler']}, instruction set {build['isa_active']}.",
        f"{summary_line(results, report).split(';')[0]}.",
        f"Versions: {versions}.",
        "",
        markdown_table(results),
    ]
    failures = failure_lines(results, report["missing"])
    for title, entries in (("Not measured", failures), ("To know", note_lines(results))):
        if entries:
            lines += ["", f"{title}:", "", *(f"- {entry}" for entry in entries)]
    return "\n".join(lines)


def write_section(suite: str, text: str) -> None:
    """Replace what stands between a suite's two markers in the README."""
    begin, end = f"<!-- {suite}: begin -->", f"<!-- {suite}: end -->"
    whole = README.read_text(encoding="utf-8")
    head, _, rest = whole.partition(begin)
    _, _, tail = rest.partition(end)
    README.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything; return 1 if a result of ours is wrong or missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--suite", choices=[*TITLES, "all"], default="all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of both suites to a file")
    parser.add_argument("--markdown", action="store_true", help="write the tables into bench/README.md")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows in a minute that everything works")
    parser.add_argument("--no-setup", action="store_true", help="take the peers as they are, install nothing")
    parser.add_argument("--rounds", type=int, default=None, metavar="N")
    parser.add_argument("--seconds", type=float, default=None, metavar="S")
    parser.add_argument("--cores", type=int, default=1, metavar="N")
    args = parser.parse_args(argv)
    if args.quick and args.markdown:
        parser.error("--quick measures nothing worth writing into the README")
    if not args.no_setup:
        setup_peers.main([peer.name for peer in PEERS if peer.name in setup_peers.peer_names()])
    whole: dict[str, Any] = {}
    code = 0
    for suite, run in (("replay", run_replay_benchmark), ("env", run_env_benchmark)):
        if args.suite not in (suite, "all"):
            continue
        start = time.perf_counter()
        results, report = run(
            quick=args.quick,
            venvs=setup_peers.VENVS,
            rounds=args.rounds or (1 if args.quick else 5),
            seconds=args.seconds or (0.01 if args.quick else 0.1),
            cores=args.cores,
            progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
        )
        whole[suite] = report
        print(f"\n{TITLES[suite]}\n{text_table(results)}")
        for title, entries in (
            ("Not measured", failure_lines(results, report["missing"])),
            ("To know", note_lines(results)),
            ("Checksums of the checked results", checksum_lines(results)),
        ):
            if entries:
                print(f"\n{title}:\n  " + "\n  ".join(entries))
        print(f"\n{summary_line(results, report)} It took {time.perf_counter() - start:.0f} s.", flush=True)
        if any(summarise(result).ours is None for result in results):
            code = 1
        if args.markdown:
            write_section(suite, section(results, report))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"schema_version": 1, **whole}, indent=1) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
