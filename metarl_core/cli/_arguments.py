"""Argument parsing whose errors are one line that names the valid choices and the closest one."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from metarl_core._names import unknown_name
from metarl_core.errors import RunError
from metarl_core.runs import RunReader

__all__ = [
    "DEVICES",
    "MAX_SEED",
    "CommandParser",
    "UsageError",
    "check_out",
    "integer",
    "open_run",
    "require",
    "unknown",
]

DEVICES = ("cpu", "cuda")
MAX_SEED = 2**64 - 1


class UsageError(Exception):
    """The command line asks for something that does not exist; shown as one line, exit status 2."""


def unknown(what: str, given: str, valid: Iterable[str]) -> UsageError:
    """Build the error for a name that does not exist: ``unknown WHAT 'x'; did you mean 'y'? valid: ...``."""
    return UsageError(unknown_name(what, given, valid))


def require(module: str, extra: str = "agents") -> None:
    """Fail with the pip command if an optional dependency is not installed. Does not import it.

    Raises:
        UsageError: ``module`` cannot be found.
    """
    try:
        found = importlib.util.find_spec(module) is not None
    except ValueError:  # sys.modules holds something without a spec
        found = False
    if not found:
        raise UsageError(f"this needs {module}, which is not installed: pip install 'metarl-core[{extra}]'")


def integer(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return an argument type: an integer, ``1_000`` and ``2e5`` included, from ``minimum`` to ``maximum``."""
    expected = f"expected an integer >= {minimum}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            try:
                number = float(text)
                value = int(number)
            except (ValueError, OverflowError):
                number, value = 0.5, 0
            if number != value:
                raise argparse.ArgumentTypeError(f"{expected}, got {text!r}") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{expected}, got {text!r}")
        if maximum is not None and value > maximum:
            raise argparse.ArgumentTypeError(f"expected an integer <= {maximum}, got {text!r}")
        return value

    return parse


def open_run(run_dir: Path) -> RunReader:
    """Open a run and read its configuration.

    Raises:
        UsageError: the folder is not a run, or its configuration is damaged.
    """
    try:
        reader = RunReader(run_dir)
        for name in ("algorithm", "env_id"):
            if not isinstance(reader.config.get(name), str):
                raise RunError(f"{run_dir / 'config.json'} is not the configuration of a run (no {name})")
    except RunError as error:
        raise UsageError(str(error)) from None
    return reader


def check_out(out: Path) -> None:
    """Check that a folder can be made.

    Raises:
        UsageError: it, or something above it, is a file.
    """
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise UsageError(f"--out {out}: {path} is a file; expected a folder")


class CommandParser(argparse.ArgumentParser):
    """A parser of one command. Options and positional arguments may come in any order."""

    def __init__(self, command: str, description: str, usage: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"metarl {command}",
            description=description,
            usage=usage,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise UsageError(message.removeprefix("argument "))

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments after the command.

        Raises:
            UsageError: an unknown option, a missing or a bad value.
        """
        namespace, rest = self.parse_known_intermixed_args(argv)
        if rest:
            option = rest[0].partition("=")[0]
            if not option.startswith("-"):
                raise UsageError(f"unexpected argument {rest[0]!r}")
            valid = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            raise unknown("option", option, valid)
        return namespace
