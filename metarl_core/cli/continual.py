"""``metarl continual``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl_core.cli._arguments import CommandParser, UsageError, check_out, integer, require
from metarl_core.cli._progress import StopSignal, make_progress

if TYPE_CHECKING:
    from metarl_core.agents.continual import ContinualConfig, ContinualResult, TaskSequence

__all__ = ["run"]

_USAGE = """metarl continual --sequence NAME [--tasks K] [--methods M[,M ...]] [--steps N] [--cycles N] [--seed N[-N]]
                        [--held-out N] [--tasks-seed N] [--split NAME] [--out DIR] [key=value | method.key=value ...]
       metarl continual --list"""

_EPILOG = """Every method learns the same tasks one after another, with the same environment steps; after every task all
tasks are evaluated. A result is written when a method ends; the same command goes on with what is missing.
key=value sets an option of all methods, method.key=value of one (ewc.ewc_weight=100). --list shows sequences, methods
and options.

examples:
  metarl continual --sequence CartPole-tasks --tasks 5 --methods finetune,ewc,imt --steps 30000
  metarl continual --sequence PointRobot-tasks --methods finetune,scratch,imt --seed 0-4 imt.imt_td_tasks=own
  metarl continual --sequence MinAtar-games --tasks 3 --steps 200000 --methods finetune,ewc hidden=128"""

_DEFAULT_METHODS = "finetune,multihead,scratch,joint,independent,imt"


def _parser() -> CommandParser:
    parser = CommandParser("continual", "Learn a sequence of tasks and measure what is kept.", _USAGE, _EPILOG)
    parser.add_argument("words", nargs="*", metavar="key=value", help="options (--list shows them)")
    parser.add_argument("--sequence", metavar="NAME", help="tasks of a family (CartPole-tasks), or MinAtar-games")
    parser.add_argument("--tasks", type=integer(1), default=5, metavar="K", help="number of tasks (5)")
    parser.add_argument("--methods", default=_DEFAULT_METHODS, metavar="M,M", help=f"({_DEFAULT_METHODS})")
    parser.add_argument(
        "--steps", type=integer(1), default=20_000, metavar="N", help="environment steps a task (20000)"
    )
    parser.add_argument("--cycles", type=integer(1), default=1, metavar="N", help="how often the sequence comes (1)")
    parser.add_argument("--seed", default="0", metavar="N", help="of everything random: 3, 0-4, 0-4,7 (0)")
    parser.add_argument("--held-out", type=integer(0), default=5, metavar="N", help="unseen tasks at the end (5)")
    parser.add_argument("--tasks-seed", type=integer(0), default=0, metavar="N", help="which tasks are drawn (0)")
    parser.add_argument("--split", metavar="NAME", help="of the family: interpolation, extrapolation or random")
    parser.add_argument("--out", metavar="DIR", help="results (default: runs/continual/SEQUENCE)")
    parser.add_argument("--list", action="store_true", help="list sequences, methods and options")
    return parser


def run(argv: Sequence[str]) -> int:
    """Run what is missing, and write tables and report."""
    args = _parser().parse(argv)
    require("torch")
    if args.list:
        return _list()
    if args.sequence is None:
        raise UsageError("expected --sequence NAME; metarl continual --list shows the names")
    from metarl_core.agents.continual import make_sequence
    from metarl_core.reproduce.spec import parse_seeds

    methods = _methods(args.methods)
    configs = _configs(methods, args.words)
    seeds = parse_seeds(args.seed, "--seed")
    sequence = make_sequence(
        args.sequence,
        args.tasks,
        args.steps,
        cycles=args.cycles,
        held_out=args.held_out,
        seed=args.tasks_seed,
        split=args.split,
    )
    out = Path(args.out) if args.out else Path("runs/continual") / sequence.name
    check_out(out)
    require("matplotlib")
    return _run(sequence, configs, seeds, out, ["metarl continual " + " ".join(argv)])


def _methods(text: str) -> list[str]:
    from metarl_core.agents.continual.registry import method_class

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--methods is empty; metarl continual --list shows the methods")
    for name in names:
        method_class(name)
        if names.count(name) > 1:
            raise UsageError(f"--methods: {name} comes twice")
    return names


def _configs(methods: Sequence[str], words: Sequence[str]) -> dict[str, ContinualConfig]:
    """Options of each method, from ``key=value`` for all and ``method.key=value`` for one."""
    from metarl_core.agents.common.options import apply_overrides, parse_text
    from metarl_core.agents.continual import ContinualConfig
    from metarl_core.agents.continual.config import COMMON_OPTIONS

    common: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {method: {} for method in methods}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"unexpected argument {word!r}; expected key=value or method.key=value")
        method, dot, key = name.partition(".")
        if not dot:
            common[name] = parse_text(value)
        elif method not in own:
            raise UsageError(f"{word!r}: {method!r} is not among the methods {', '.join(methods)}")
        elif key in COMMON_OPTIONS:
            raise UsageError(f"{word!r}: must be the same for all methods; give {key}={value}")
        else:
            own[method][key] = parse_text(value)
    return {method: apply_overrides(ContinualConfig(), {**common, **own[method]}) for method in methods}


def _list() -> int:
    from metarl_core.agents.common.options import field_docs
    from metarl_core.agents.continual import METHODS, ContinualConfig, sequence_names

    print("sequences:")
    for name, of in sequence_names().items():
        print(f"  {name:24} {of}")
    print("\nmethods:")
    for name, spec in METHODS.items():
        print(f"  {name:24} {spec.description}")
    print("\noptions:")
    for name, (default, text) in field_docs(ContinualConfig).items():
        print(f"  {name}={default}\n      {text}")
    return 0


def _run(
    sequence: TaskSequence,
    configs: dict[str, ContinualConfig],
    seeds: Sequence[int],
    out: Path,
    commands: Sequence[str],
) -> int:
    from metarl_core.agents.common.learner import TrainingDivergedError
    from metarl_core.agents.continual.results import read_result, result_path, write_result
    from metarl_core.agents.continual.run import check_method, run_method
    from metarl_core.reproduce.store import source_commit

    for method, config in configs.items():
        check_method(sequence, method, config)
    cells = [(method, seed) for seed in seeds for method in configs]
    done: dict[tuple[str, int], tuple[ContinualResult, str]] = {}
    for method, seed in cells:  # told before anything runs
        path = result_path(out, method, seed)
        if path.is_file():
            done[method, seed] = read_result(path, sequence, configs[method])
    print(f"{sequence.name}: {len(cells) - len(done)} of {len(cells)} results to make -> {out}", flush=True)
    commit, failed, stop = source_commit(), 0, StopSignal()
    with stop:
        for method, seed in cells:
            if (method, seed) in done:
                continue
            progress = make_progress(lambda: stop.received is not None)
            progress.note(f"{method}, seed {seed}")
            try:
                with progress:
                    result = run_method(sequence, method, configs[method], seed=seed, watch=progress)
            except TrainingDivergedError as error:
                print(f"metarl continual: error: {method}, seed {seed}: {error}", file=sys.stderr)
                failed += 1
                continue
            except KeyboardInterrupt:
                print("interrupted; the same command goes on with what is missing", file=sys.stderr)
                return 128 + (stop.received or signal.SIGINT)
            write_result(out, sequence, configs[method], result, commit)
            done[method, seed] = (result, commit)
    if done:
        # Methods in the order asked for, whatever was there before.
        _summarise(
            sequence,
            [done[cell] for m in configs for cell in cells if cell[0] == m and cell in done],
            [cell for cell in cells if cell not in done],
            out,
            commands,
        )
    return 1 if failed else 0


def _summarise(
    sequence: TaskSequence,
    found: Sequence[tuple[ContinualResult, str]],
    missing: Sequence[tuple[str, int]],
    out: Path,
    commands: Sequence[str],
) -> None:
    from metarl_core.agents.continual.report import write_continual_report
    from metarl_core.agents.continual.results import write_curves
    from metarl_core.agents.continual.summary import measure, scale_of, table, write_table
    from metarl_core.runs._files import atomic_writer

    results = [result for result, _ in found]
    scale = scale_of(sequence, results)
    measures = measure(sequence, results, scale)
    write_table(out / "results.csv", results, measures, [commit for _, commit in found])
    write_curves(out / "curves.csv", results)
    text = table(sequence, results, measures, scale, missing)
    with atomic_writer(out / "table.md") as file:
        file.write(text.encode())
    print(text)
    page = write_continual_report(out / "report.html", sequence, results, measures, scale, commands, missing)
    print(f"report: {page}")
