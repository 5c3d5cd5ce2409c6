"""``metarl bench``: hands its arguments to metarl_core.benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from metarl_core.cli._arguments import unknown

__all__ = ["run"]

_KINDS = ("replay", "env")


def run(argv: Sequence[str]) -> int:
    """Measure replay or environments."""
    if argv and not argv[0].startswith("-") and argv[0] not in _KINDS:
        raise unknown("benchmark", argv[0], _KINDS)
    from metarl_core.benchmarks import main

    status = main(list(argv))
    sys.stdout.flush()
    return int(status or 0)
