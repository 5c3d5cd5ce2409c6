"""``metarl report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metarl_core.cli._arguments import CommandParser, UsageError, open_run, require

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Write the report of some runs."""
    parser = CommandParser(
        "report",
        "Write a self-contained HTML page about one or more runs; its pictures also go to OUT_files/.",
        "metarl report RUN [RUN ...] [--out FILE]",
        "RUN may be a folder of runs. Runs of one algorithm that differ in the seed alone are shown together.",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run directory, or a folder of them")
    parser.add_argument("--out", metavar="FILE", help="HTML file (default: report.html in the run or its parent)")
    args = parser.parse(argv)
    if not args.runs:
        raise UsageError("expected at least one RUN")
    # A glob over a folder of runs also catches the pictures of an earlier report.
    folders = [Path(name) for name in args.runs if not (len(args.runs) > 1 and name.rstrip("/").endswith("_files"))]
    run_dirs = [run_dir for folder in folders for run_dir in _expand(folder)]
    for run_dir in run_dirs:
        open_run(run_dir)
    if args.out and Path(args.out).is_dir():
        raise UsageError(f"--out {args.out} is a folder; expected the name of an HTML file")
    require("matplotlib")
    from metarl_core.report import write_report

    out = Path(args.out) if args.out else _default_out(run_dirs)
    print(f"report: {write_report(run_dirs, out)}")
    return 0


def _expand(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob("*/config.json"))
    if not inside:
        raise UsageError(f"{folder} is not a run and holds none (no config.json)")
    return inside


def _default_out(run_dirs: list[Path]) -> Path:
    return (run_dirs[0] if len(run_dirs) == 1 else run_dirs[0].parent) / "report.html"
