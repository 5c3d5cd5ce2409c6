"""``metarl train``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from metarl_core.cli._progress import StopSignal, make_progress
from metarl_core.cli.envs import check_env
from metarl_core.errors import RunError
from metarl_core.runs import RunWriter
from metarl_core.tasks import family_env_id

if TYPE_CHECKING:
    from metarl_core.agents.config import RunConfig

__all__ = ["run"]

_SPLITS = ("auto", "extrapolation", "interpolation", "random")

_USAGE = """metarl train [cder|ddqn|ddqn-per|bootdqn|rnd|icm|noveld|dltv|sac|td3|imt] [--config FILE] [--env ID]
                    [--family NAME --tasks N [--split KIND]] [--seed N] [--steps N] [--out DIR]
                    [--device cpu|cuda] [--no-report] [key=value ...]
       metarl train --resume RUN [--device cpu|cuda] [--no-report]"""

_EPILOG = """key=value sets a hyper-parameter (kappa=0.1), a setting of the run (num_envs=16) or a parameter of the
environment (size=20). metarl train ALGORITHM --help lists the hyper-parameters.

examples:
  metarl train cder --env DeepSea-v0 size=20
  metarl train cder --env DeepSea-v0 size=10 preset=as_written kappa=0.5
  metarl train cder --env Pendulum-v1
  metarl train ddqn-per --env CartPole-v1 --seed 1 --steps 100000 lr=0.001
  metarl train imt --family CartPole-tasks --tasks 8 --split interpolation
  metarl train --resume runs/DeepSea-v0-cder-seed0-20250101-120000"""


def _parser() -> CommandParser:
    parser = CommandParser("train", "Train an agent and write a run directory.", _USAGE, _EPILOG)
    parser.add_argument("words", nargs="*", metavar="ALGORITHM | key=value", help="default algorithm: cder")
    parser.add_argument("--config", metavar="FILE", help="TOML or JSON file with settings")
    parser.add_argument("--env", metavar="ID", help="environment (metarl envs lists them)")
    parser.add_argument("--family", metavar="NAME", help="family of tasks (metarl tasks lists them), in place of --env")
    parser.add_argument("--tasks", type=integer(1), metavar="N", help="training tasks drawn from the family")
    parser.add_argument(
        "--split", metavar="|".join(_SPLITS), help="how training, validation and test tasks of the family differ"
    )
    parser.add_argument("--seed", type=integer(0, MAX_SEED), metavar="N", help="seed of everything random")
    parser.add_argument("--steps", type=integer(1), metavar="N", help="environment steps, over all instances")
    parser.add_argument("--out", metavar="DIR", help="run directory (default: runs/ENV-ALGORITHM-seedN-TIME)")
    parser.add_argument(
        "--device",
        metavar="|".join(DEVICES),
        help="where the networks live; on a GPU (cuda), environments and replay too where the options allow it",
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    parser.add_argument("--no-report", action="store_true", help="imt: write no report.html at the end")
    return parser


def run(argv: Sequence[str]) -> int:
    """Train."""
    if {"-h", "--help"} & set(argv) and any(not word.startswith("-") and "=" not in word for word in argv):
        return _help(next(word for word in argv if not word.startswith("-") and "=" not in word))
    args = _parser().parse(argv)
    if args.device is not None and args.device not in DEVICES:
        raise unknown("device", args.device, DEVICES)
    if args.env is not None:
        check_env(args.env, wrapped=True)
    _check_family(args)
    require("torch")
    from metarl_core.agents.common.devices import check_device

    config, run_dir = _resumed(args) if args.resume else _new(args)
    check_device(config.device)
    return _train(config, run_dir, resume=bool(args.resume), report=not args.no_report)


def _check_family(args: argparse.Namespace) -> None:
    """Put the family's environment in place of its name."""
    if args.split is not None and args.split not in _SPLITS:
        raise unknown("split", args.split, _SPLITS)
    if args.family is None:
        return
    try:
        env_id = family_env_id(args.family)
    except ValueError as error:
        raise UsageError(f"--family: {error}") from None
    if args.env is not None and args.env.removeprefix("metarl_core/") != env_id:
        raise UsageError(f"--family {args.family} is of {env_id}, and --env is {args.env}; give one of the two")
    args.env = env_id


def _help(algorithm: str) -> int:
    """Print the hyper-parameters of an algorithm, with defaults."""
    require("torch")
    from metarl_core.agents.common.options import field_docs
    from metarl_core.agents.registry import ALGORITHMS

    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    spec = ALGORITHMS[algorithm]
    print(f"{algorithm}: {spec.description}\n")
    shown: dict[str, tuple[object, str]] = {}
    for config_class in dict.fromkeys(variant.config_class for variant in spec.variants):
        options = field_docs(config_class)
        if shown:
            print("\nwith continuous actions:\n")
        for name, (default, text) in options.items():
            if shown.get(name) != (default, text):
                print(f"  {name}={default}\n      {text}")
        shown |= options
    return 0


def _new(args: argparse.Namespace) -> tuple[RunConfig, Path]:
    from metarl_core.agents.config import resolve_config
    from metarl_core.agents.registry import ALGORITHMS

    words: list[str] = args.words
    names, overrides = [w for w in words if "=" not in w], [w for w in words if "=" in w]
    if len(names) > 1:
        raise UsageError(f"{names[1]!r} is neither key=value nor the only algorithm")
    algorithm = names[0] if names else None
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    for key, value in (
        ("seed", args.seed),
        ("total_steps", args.steps),
        ("device", args.device),
        ("env_tasks", args.tasks),
        ("env_tasks_split", args.split),
    ):
        if value is not None:
            overrides.append(f"{key}={value}")
    config = resolve_config(algorithm, args.env, args.config, overrides)
    if not config.env_tasks:
        for name, value in (("family", args.family), ("split", args.split)):
            if value is not None:
                raise UsageError(f"--{name} {value} without --tasks: there are no tasks; add --tasks N")
    out = Path(args.out) if args.out else _default_out(config)
    check_out(out)
    if (out / "config.json").exists():
        raise UsageError(f"{out} holds a run already: go on with --resume {out}, or choose another --out")
    return config, out


def _default_out(config: RunConfig) -> Path:
    env_name = config.env_id.rpartition("/")[2].replace(":", "-")
    name = f"{env_name}-{config.algorithm}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    out, number = Path("runs") / name, 2
    while out.exists():
        out, number = Path("runs") / f"{name}-{number}", number + 1
    return out


def _resumed(args: argparse.Namespace) -> tuple[RunConfig, Path]:
    from metarl_core.agents.config import stored_config

    options = ("config", "env", "family", "tasks", "split", "seed", "steps", "out")
    given = [f"--{name}" for name in options if getattr(args, name) is not None]
    given += args.words
    if given:
        raise UsageError(f"--resume takes the settings of the run; leave out {' '.join(given)}")
    run_dir = Path(args.resume)
    if not (run_dir / "config.json").is_file():
        raise UsageError(f"{run_dir} holds no run to resume (no config.json)")
    reader = open_run(run_dir)
    if reader.result is not None and reader.result["status"] == "finished":
        raise UsageError(f"{run_dir} is finished after {reader.result['environment_steps']:,} steps; nothing to resume")
    config = stored_config(reader)
    return dataclasses.replace(config, device=args.device or config.device), run_dir


def _normalized(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    from metarl_core.agents.config import RunConfig

    return RunConfig.from_dict(stored).to_dict()


@contextlib.contextmanager
def _removed_unless_started(run_dir: Path, started: Callable[[], bool]) -> Iterator[None]:
    """Remove what was written into ``run_dir``, and the folders made for it, if the run fails before its first step."""
    new_folders = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    before = set() if new_folders else set(run_dir.iterdir())
    try:
        yield
    except Exception as error:
        if started() or isinstance(error, RunError):  # a RunError says that the folder is somebody else's
            raise
        for path in set(run_dir.iterdir()) - before if run_dir.is_dir() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for folder in new_folders:
            with contextlib.suppress(OSError):  # another run may have been written there since
                folder.rmdir()
        raise


def _train(config: RunConfig, run_dir: Path, resume: bool, report: bool) -> int:
    from metarl_core.agents.common.learner import TrainingDivergedError
    from metarl_core.agents.loop import train

    stop = StopSignal()
    progress = make_progress(lambda: stop.received is not None)
    try:
        with (
            contextlib.nullcontext() if resume else _removed_unless_started(run_dir, lambda: progress.started),
            RunWriter(run_dir, config.to_dict(), resume=resume, normalize=_normalized) as writer,
        ):
            print(_title(config, run_dir, resume), flush=True)
            with stop, progress:
                result = train(config, writer, progress)
    except TrainingDivergedError as error:
        print(f"metarl train: error: {error}; what was recorded is in {run_dir}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped at once; go on from the last checkpoint: metarl train --resume {run_dir}", file=sys.stderr)
        return 128 + signal.SIGINT
    if result["status"] == "interrupted":
        steps = f"{result['environment_steps']:,}"
        print(f"interrupted after {steps} steps; go on with: metarl train --resume {run_dir}", file=sys.stderr)
        return 128 + (stop.received or signal.SIGINT)
    print(_summary(result))
    if "test_returns" in result:
        print(_comparison(result))
        if report and importlib.util.find_spec("matplotlib") is not None:
            from metarl_core.report import write_report

            print(f"run: {run_dir}\nreport: {write_report([run_dir], run_dir / 'report.html')}")
            return 0
    print(f"run: {run_dir}\nnext: metarl report {run_dir}")
    return 0


def _comparison(result: Mapping[str, Any]) -> str:
    """Mean returns of all methods on the held-out tasks, the highest first, and what was used for them."""
    from metarl_core.agents.imt.comparison import METHODS

    returns: Mapping[str, float] = result["test_returns"]
    order = sorted(returns, key=lambda name: -returns[name])
    note = "; transductive: something was trained on these tasks" if result["transductive"] else ""
    lines = [f"mean return on {result['tasks']['test']} held-out tasks{note}:"]
    lines += [f"  {name:16} {returns[name]:>10.4g}  {METHODS.get(name, '')}" for name in order]
    lines.append(
        f"used: {result['environment_steps']:,} environment steps (and {result['selection_steps']:,} on validation "
        f"tasks), {result['parameters']:,} parameters, {result['stored_bytes']:,} bytes stored"
    )
    return "\n".join(lines)


def _title(config: RunConfig, run_dir: Path, resume: bool) -> str:
    params = [f"{key}={value}" for key, value in config.env_params.items()]
    if config.env_tasks:
        params.append(f"{config.env_tasks} tasks, split {config.env_tasks_split}")
    task = f"{config.env_id} ({', '.join(params)})" if params else config.env_id
    verb = "resuming" if resume else "training"
    return f"{verb} {config.algorithm} on {task}, seed {config.seed}, {config.device} -> {run_dir}"


def _summary(result: Mapping[str, Any]) -> str:
    spent = f"{result['environment_steps']:,} steps, {result['wall_time_seconds']:.1f} s"
    episodes = f"{result['episodes']:,} episodes"
    if result["solved"]:
        head = f"solved after {result['episodes_to_solve']:,} episodes"
        spent = f"{episodes} in all, {spent}"
    elif result["solved"] is False:
        head = f"not solved within {episodes}"
    else:
        head = f"finished {episodes}"
    returns = [
        f"{name} {result[key]:.4g}"
        for name, key in (("last", "final_return"), ("best", "best_return"), ("evaluation", "evaluation_return"))
        if result[key] is not None
    ]
    return f"{head} ({spent}); return: {', '.join(returns) or 'no episode ended'}"
