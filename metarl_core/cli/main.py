"""Entry point: finds the command, turns errors into one line and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from metarl_core.cli._arguments import UsageError, unknown
from metarl_core.errors import ConfigError, MetarlError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "train": "train an agent",
    "eval": "evaluate the agent of a run",
    "report": "write an HTML report of one or more runs",
    "reproduce": "run an experiment's missing cells, write its tables and plots",
    "continual": "learn a sequence of tasks, measure what is kept",
    "envs": "list the environments and their parameters",
    "tasks": "list the families of tasks, or draw tasks of one",
    "adapt": "meet a new task with trained agents",
    "info": "show version, build and machine",
    "bench": "measure replay or environments",
}

_MODULES = {"eval": "evaluate"}


def _help() -> str:
    lines = [f"  {name:9} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: metarl COMMAND [...]",
            "",
            *lines,
            "",
            "metarl COMMAND --help explains a command; metarl --version shows the version.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``metarl`` command.

    Args:
        argv: arguments after the program's name; None takes them from ``sys.argv``.

    Returns:
        The exit status: 0; 1 when the work failed; 2 for a wrong command line, or one that needs an extra that is not
        installed; 128 + signal (130 for Ctrl-C) when interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = argv[0] if argv else ""
    prefix = f"metarl {name}" if name in COMMANDS else "metarl"
    try:
        status = _dispatch(name, argv[1:])
        sys.stdout.flush()  # here, not at exit, where a reader that has gone could no longer be told apart
        return status
    except (UsageError, ConfigError) as error:
        return _fail(f"{prefix}: error: {error}", 2)
    except MetarlError as error:
        return _fail(f"{prefix}: error: {error}", 1)
    except BrokenPipeError:
        # The reader (head, less) has gone; point stdout elsewhere so that the flush at exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except OSError as error:
        return _fail(f"{prefix}: error: {error}", 1)
    except KeyboardInterrupt:
        return _fail(f"{prefix}: interrupted", 130)


def _dispatch(name: str, rest: list[str]) -> int:
    if name in ("", "-h", "--help", "help"):
        print(_help())
        return 0 if name else 2
    if name in ("-V", "--version"):
        from metarl_core import __version__

        print(f"metarl {__version__}")
        return 0
    if name not in COMMANDS:
        raise unknown("option" if name.startswith("-") else "command", name, COMMANDS)
    module = importlib.import_module(f"metarl_core.cli.{_MODULES.get(name, name)}")
    try:
        status: int = module.run(rest)
    except SystemExit as stop:  # argparse after --help
        return stop.code if isinstance(stop.code, int) else 0
    return status


def _fail(line: str, status: int) -> int:
    print(line.replace("\n", " "), file=sys.stderr)
    return status
