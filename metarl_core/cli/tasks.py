"""``metarl tasks``."""

from __future__ import annotations

from collections.abc import Sequence

import metarl_core
from metarl_core.cli._arguments import MAX_SEED, CommandParser, UsageError, integer, unknown
from metarl_core.cli.envs import _short
from metarl_core.tasks import MetaTask, SeedTasks, Task, TaskDistribution, UniformTasks
from metarl_core.tasks.distributions import SPLITS
from metarl_core.tasks.families import family_env_id, family_name, task_families, task_family

__all__ = ["run"]

_KINDS = ("extrapolation", "interpolation", "random")


def run(argv: Sequence[str]) -> int:
    """Print families, or tasks of one."""
    parser = CommandParser(
        "tasks",
        "List the families of tasks; with a name, its parameters and splits; with --split or --k, tasks drawn from it.",
        "metarl tasks [FAMILY] [--kind extrapolation|interpolation|random] [--split train|val|test]\n"
        "                    [--k K] [--seed N] [--json]",
        "FAMILY may also be the environment's id. Equal arguments draw equal tasks: the test tasks of\n"
        "metarl train imt --family FAMILY --split KIND are those of --kind KIND --split test --k TEST_TASKS.",
    )
    parser.add_argument("family", nargs="?", metavar="FAMILY", help="such as CartPole-tasks")
    parser.add_argument("--kind", metavar="|".join(_KINDS), help="how train, val and test differ")
    parser.add_argument("--split", metavar="|".join(SPLITS), help="part to draw from (default: train)")
    parser.add_argument("--k", type=integer(1), metavar="K", help="number of tasks to draw (default: 5)")
    parser.add_argument("--seed", type=integer(0, MAX_SEED), metavar="N", help="seed of the draw (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the drawn tasks as JSON, one a line")
    args = parser.parse(argv)
    for option, choices in (("kind", _KINDS), ("split", SPLITS)):
        value = getattr(args, option)
        if value is not None and value not in choices:
            raise unknown(option, value, choices)
    drawing = any(value is not None for value in (args.split, args.k, args.seed)) or args.json
    if args.family is None:
        if drawing or args.kind is not None:
            raise UsageError("expected a FAMILY to draw tasks from; metarl tasks lists them")
        print(_all_families())
        return 0
    try:
        env_id = family_env_id(args.family)
        family = task_family(env_id, split=args.kind)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not drawing:
        print(_describe(env_id, family))
        return 0
    split, k, seed = args.split or "train", args.k or 5, args.seed or 0
    try:
        tasks = MetaTask.from_family(env_id, k, split, seed, family=family).tasks
    except ValueError as error:
        raise UsageError(str(error)) from None
    print("\n".join(task.to_json() for task in tasks) if args.json else _table(tasks))
    return 0


def _all_families() -> str:
    lines = []
    width = max(len(family_name(env_id)) for env_id in task_families())
    id_width = max(map(len, task_families()))
    for env_id in task_families():
        family = task_family(env_id)
        if isinstance(family, UniformTasks):
            what = ", ".join(f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in family.ranges.items())
        else:
            what = f"{', '.join(family.parameters)} (seeds)"
        lines.append(f"{family_name(env_id):{width}}  {env_id:{id_width}}  {what}")
    return "\n".join(
        [*lines, "", "metarl tasks FAMILY explains one; metarl tasks FAMILY --split test --k 5 draws tasks."]
    )


def _describe(env_id: str, family: TaskDistribution) -> str:
    docs = metarl_core.env_spec(env_id).parameters
    lines = [family_name(env_id), f"  environment {env_id}", "  parameters"]
    width = max(map(len, family.parameters))
    for name in family.parameters:
        lines.append(f"    {name:{width}}  {docs[name].doc} (default {_short(docs[name].default)})")
    if isinstance(family, SeedTasks):
        lines.append("  split random: seeds")
        for split in SPLITS:
            seeds = family.seeds(split)
            lines.append(f"    {split:5}  {family.parameter} from {seeds.start} to {seeds.stop - 1}")
        return "\n".join(lines)
    assert isinstance(family, UniformTasks)
    kinds = {"extrapolation": "test outermost", "interpolation": "test in the middle", "random": "all in all of it"}
    lines.append(f"  split {family.split} ({kinds[family.split]})")
    for split in SPLITS:
        inner, outer = family.distances(split)
        lines.append(f"    {split}")
        for name, (low, high) in family.ranges.items():
            lines.append(f"      {name:{width}}  {_interval(low, high, outer)}")
        if inner > 0:
            inside = ", ".join(f"{n} in {_interval(low, high, inner)}" for n, (low, high) in family.ranges.items())
            lines.append(f"      but not {inside}{' all at once' if len(family.ranges) > 1 else ''}")
    others = ", ".join(kind for kind in _KINDS if kind != family.split)
    return "\n".join([*lines, f"  other splits by --kind: {others}"])


def _interval(low: float, high: float, distance: float) -> str:
    middle, half = (low + high) / 2, (high - low) / 2
    return f"{middle - distance * half:.4g} to {middle + distance * half:.4g}"


def _table(tasks: Sequence[Task]) -> str:
    rows = [["task", *tasks[0].params]]
    rows += [[task.name, *(f"{value:.6g}" for value in task.params.values())] for task in tasks]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
