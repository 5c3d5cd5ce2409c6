"""A checkpoint that is whole but holds something else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from metarl_core.errors import CheckpointMismatchError, MetarlError

__all__ = ["restoring"]


@contextlib.contextmanager
def restoring(run_dir: str | os.PathLike[str]) -> Iterator[None]:
    """Name the run where its checkpoint's state does not have the parts, types or shapes that the agent expects.

    Raises:
        CheckpointMismatchError: as said.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        if isinstance(error, MetarlError):
            raise
        what = f"{type(error).__name__}: {error}"
        raise CheckpointMismatchError(
            f"{run_dir}: its checkpoint does not hold what a run with its configuration does ({what})"
        ) from error
