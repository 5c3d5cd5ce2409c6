"""How a name that does not exist is told, everywhere in the same words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["unknown_name"]


def unknown_name(what: str, given: str, valid: Iterable[str]) -> str:
    """Return ``unknown WHAT 'x'; did you mean 'y'? valid: ...``, or without the question if nothing is close."""
    names = list(valid)
    folded = {name.lower(): name for name in names}
    # "gpu" is close to "cpu" in letters only: with two choices both are in sight anyway.
    close = difflib.get_close_matches(given.lower(), folded, n=1) if len(names) > 2 else []
    hint = f" did you mean {folded[close[0]]!r}?" if close else ""
    return f"unknown {what} {given!r};{hint} valid: {', '.join(names)}"
