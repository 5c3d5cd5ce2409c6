"""What is said where the library of an integration is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["required"]


@contextmanager
def required(library: str, extra: str) -> Iterator[None]:
    """Around imports of ``library`` and of what it brings: name both where a module is missing.

    Args:
        library: as its users know it.
        extra: of this package that installs it.

    Raises:
        ModuleNotFoundError: a module is missing; the message says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "metarl_core":
            raise
        raise ModuleNotFoundError(
            f"this needs {library}, and {error.name} is not installed: pip install 'metarl-core[{extra}]'",
            name=error.name,
            path=error.path,
        ) from error
