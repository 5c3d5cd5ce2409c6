"""``metarl envs``."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import metarl_core
from metarl_core.cli._arguments import CommandParser, UsageError, unknown
from metarl_core.vector import is_known

__all__ = ["check_env", "run"]

_PREFIX = "metarl_core/"


def _gymnasium_knows(env_id: str) -> bool:
    try:
        return is_known(env_id)
    except ImportError as error:
        raise UsageError(f"environment {env_id!r}: {error}") from error


def check_env(env_id: str, *, wrapped: bool = False) -> None:
    """Check that an environment exists.

    Args:
        env_id: its name.
        wrapped: whether Gymnasium's will do, too.

    Raises:
        UsageError: it does not; the message lists those that do.
    """
    names = list(metarl_core.list_envs())
    if wrapped and env_id not in names and _gymnasium_knows(env_id):
        return
    if env_id.removeprefix(_PREFIX) not in [name.removeprefix(_PREFIX) for name in names]:
        raise unknown("environment", env_id, names)


def run(argv: Sequence[str]) -> int:
    """Print the environments."""
    parser = CommandParser(
        "envs",
        "List the environments; with an ID, its parameters and defaults too.",
        "metarl envs [--library PATH] [ID ...]",
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="show all about these")
    parser.add_argument(
        "--library", metavar="PATH", action="append", default=[], help="a library with environments of one's own"
    )
    args = parser.parse(argv)
    for path in args.library:
        try:
            metarl_core.load_env_library(path)
        except (OSError, metarl_core.EnvLibraryError) as error:
            raise UsageError(f"--library: {error}") from None
    for env_id in args.ids:
        check_env(env_id)
    if args.ids:
        print("\n\n".join(_describe(env_id) for env_id in args.ids))
        return 0
    for env_id in metarl_core.list_envs():
        spec = metarl_core.env_spec(env_id)
        settings = " ".join(f"{name}={_short(p.default)}" for name, p in spec.parameters.items())
        print(textwrap.fill(f"{env_id}  {settings}", width=100, subsequent_indent="    ", break_on_hyphens=False))
    print("\nmetarl envs ID explains the parameters.")
    return 0


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace(", ", ",")


def _describe(env_id: str) -> str:
    spec = metarl_core.env_spec(env_id)
    width = max(len(name) for name in spec.parameters)
    lines = [spec.id]
    for name in ("source", "observation", "action", "reward", "ending"):
        lines.append(f"  {name:11} {getattr(spec, name)}")
    lines.append("  parameters")
    lines += [f"    {name:{width}}  {p.doc} (default {_short(p.default)})" for name, p in spec.parameters.items()]
    return "\n".join(lines)
