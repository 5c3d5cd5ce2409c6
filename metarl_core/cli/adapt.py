"""``metarl adapt``."""

from __future__ import annotations

import math
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarl_core.cli._arguments import (
    DEVICES,
    MAX_SEED,
    CommandParser,
    UsageError,
    check_out,
    integer,
    open_run,
    require,
    unknown,
)

if TYPE_CHECKING:
    from metarl_core.agents.meta.adaptation import FineTuning, KShot
    from metarl_core.agents.meta.agent import MetaAgent
    from metarl_core.tasks import Task

__all__ = ["run"]

SHOTS = (0, 1, 2, 5, 10)
_MEASURES = ("jump_start", "asymptotic_gain", "auc_gain", "time_to_threshold", "scratch_time_to_threshold")

_USAGE = """metarl adapt RUN [RUN ...] --task NAME=VALUE[,NAME=VALUE ...] [--episodes N] [--router NAME]
                    [--aggregation NAME] [--fine-tune STEPS [--scratch]] [--repeats N] [--seed N]
                    [--save FILE] [--out DIR] [--device cpu|cuda]"""

_EPILOG = """RUN is a run of imt, whose submodels act together, or several runs of other algorithms with one task each.
Returns are greedy, after 0, 1, 2, 5, 10 ... episodes of the new task; their interval is over repeated adaptations.

examples:
  metarl adapt runs/imt --task goal_x=0.3,goal_y=-0.2
  metarl adapt runs/short runs/middle runs/long --task length=0.8 --router return --episodes 12
  metarl adapt runs/imt --task goal_x=0.3,goal_y=-0.2 --fine-tune 10000 --scratch --out adapted"""


def run(argv: Sequence[str]) -> int:
    """Adapt runs to a new task."""
    parser = CommandParser("adapt", "Meet a new task with trained agents: print the k-shot curve.", _USAGE, _EPILOG)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--task", metavar="NAME=VALUE,...", required=True, help="parameters of the new task")
    parser.add_argument("--episodes", type=integer(0), default=10, metavar="N", help="of the new task (default: 10)")
    parser.add_argument("--router", metavar="NAME", help="embedding (default; of imt its own), uniform, best or return")
    parser.add_argument(
        "--aggregation", metavar="NAME", help="weighted, uniform, vote, best or soup (default: the run's)"
    )
    parser.add_argument("--fine-tune", type=integer(1), metavar="STEPS", help="then go on learning by TD")
    parser.add_argument("--scratch", action="store_true", help="and learn from scratch beside it")
    parser.add_argument(
        "--repeats", type=integer(1), default=5, metavar="N", help="adaptations with other episodes (default: 5)"
    )
    parser.add_argument("--seed", type=integer(0, MAX_SEED), default=0, metavar="N", help="seed (default: 0)")
    parser.add_argument("--save", metavar="FILE", help="write the adapted agent, for MetaAgent.load")
    parser.add_argument("--out", metavar="DIR", help="write report.html and its numbers, adaptation.json, there")
    parser.add_argument("--device", metavar="|".join(DEVICES), default="cpu", help="where the networks live")
    args = parser.parse(argv)
    if args.device not in DEVICES:
        raise unknown("device", args.device, DEVICES)
    if args.scratch and args.fine_tune is None:
        raise UsageError("--scratch learns for as many steps as --fine-tune; give that too")
    params = _parameters(args.task)
    for run_dir in map(Path, args.runs):
        open_run(run_dir)
        if not (run_dir / "checkpoints" / "latest.ckpt").is_file():
            raise UsageError(f"{run_dir} has no checkpoint to adapt")
    if args.save is not None and not Path(args.save).absolute().parent.is_dir():
        raise UsageError(f"--save {args.save}: there is no folder {Path(args.save).parent}")
    if args.out is not None:
        _check_folder(Path(args.out))
        require("matplotlib")
    require("torch")
    from metarl_core.agents.common.devices import check_device
    from metarl_core.agents.meta.adaptation import load_meta_agent, new_task
    from metarl_core.agents.meta.routers import make_router

    check_device(args.device)
    router = None if args.router is None else make_router(args.router)
    agent = load_meta_agent(args.runs, router, aggregation=args.aggregation, seed=args.seed, device=args.device)
    task = new_task(agent, params)
    found, level = _print_curve(agent, task, args.episodes, args.repeats, args.seed)
    tuning = None
    if args.fine_tune is not None:
        tuning = _print_tuning(agent, task, args.fine_tune, scratch=args.scratch, seed=args.seed)
    if args.save is not None:
        agent.save(args.save)
        print(f"agent: {args.save}")
    if args.out is not None:
        from metarl_core.agents.meta.report import write_adaptation_report

        command = shlex.join(["metarl", "adapt", *argv])
        print(f"report: {write_adaptation_report(Path(args.out), agent, task, found, level, tuning, command)}")
    return 0


def _parameters(text: str) -> dict[str, float | None]:
    """``name=value,name=value`` as numbers.

    Raises:
        UsageError: a part is none, or a name comes twice.
    """
    found: dict[str, float | None] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        try:
            number = {"true": 1.0, "false": 0.0}.get(value.lower())
            number = float(value) if number is None else number
        except ValueError:
            number = math.nan
        if not (name and equals) or not math.isfinite(number):
            raise UsageError(f"--task {text}: {part.strip()!r} is not NAME=VALUE with a number")
        if name in found:
            raise UsageError(f"--task {text}: {name} comes twice")
        found[name] = number
    return found


def _check_folder(out: Path) -> None:
    """Refuse a folder that cannot be written, or that holds something else.

    Raises:
        UsageError: it is not the folder of an earlier adaptation, is a file, or nothing can be written there.
    """
    check_out(out)
    if out.is_dir() and any(out.iterdir()) and not (out / "adaptation.json").is_file():
        raise UsageError(
            f"--out {out}: the folder holds other files and no adaptation.json of metarl adapt; expected a new or an "
            "empty folder, or that of an earlier adaptation"
        )
    above = next(path for path in (out, *out.absolute().parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=above):  # asks the file system itself, whatever the permissions say
            pass
    except OSError as error:
        raise UsageError(f"--out {out}: {above} cannot be written ({error.strerror})") from None


def _print_curve(agent: MetaAgent, task: Task, episodes: int, repeats: int, seed: int) -> tuple[KShot, float]:
    """Print and return the k-shot curve, and the return of uniform actions."""
    from metarl_core.agents.meta.adaptation import chance, k_shot, sub_agent_labels

    shots = sorted({*(k for k in SHOTS if k < episodes), episodes})
    params = ", ".join(f"{name}={value:g}" for name, value in task.params.items() if value is not None)
    print(f"{len(agent.sub_agents)} sub-agents, router {agent.router.name}, aggregation {agent.aggregation}")
    print(f"task {task.env_id} ({params})\n")
    found = k_shot(agent, task, shots, repeats=repeats, seed=seed)
    print(f"{'episodes':>8}  {'steps':>7}  {'return':>10}  95 % of {repeats} adaptations")
    level = chance(agent, task, seed=seed)
    print(f"{'chance':>8}  {'':7}  {level:10.4g}")
    for i, number in enumerate(found.shots):
        value, low, high = (column[i] for column in found.curve)
        print(
            f"{number:8}  {found.steps[i]:7.0f}  {value:10.4g}  "
            + (f"{low:.4g} to {high:.4g}" if repeats > 1 else "no interval")
        )
    heaviest = sorted(zip(agent.weights, sub_agent_labels(agent), strict=True), key=lambda pair: -abs(pair[0]))[:5]
    print("\nweight  sub-agent")
    for weight, label in heaviest:
        print(f"{weight:6.3f}  {label}")
    return found, level


def _print_tuning(agent: MetaAgent, task: Task, steps: int, *, scratch: bool, seed: int) -> FineTuning:
    from metarl_core.agents.meta.adaptation import fine_tuning

    found = fine_tuning(agent, task, steps, scratch=scratch, seed=seed)
    curve, other = found.tuned, found.scratch
    print(f"\n{'steps':>8}  {'fine-tuned':>10}" + (f"  {'scratch':>10}" if other is not None else ""))
    if other is not None and found.adaptation_steps:
        print(f"(fine-tuned has {found.adaptation_steps:,} more steps behind it, of its adaptation; scratch has none)")
    for i, step in enumerate(curve.steps):
        line = f"{step:8}  {curve.returns[i]:10.4g}"
        print(line if other is None else f"{line}  {other.returns[i]:10.4g}")
    if found.measures is not None:
        print(f"\ntransfer (one seed: no interval), threshold {found.threshold:.4g}, times in steps")
        for name in _MEASURES:
            value = float(getattr(found.measures, name))
            print(f"{name.replace('_', ' '):26} {'never' if math.isinf(value) else f'{value:.4g}':>10}")
    return found
