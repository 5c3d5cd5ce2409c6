"""What the tests of replay buffers on a GPU and on the emulator have in common."""

from __future__ import annotations

import numpy as np


def rows(rng, fields, n):
    """Return random values of every field, n rows each."""
    made = {}
    for name, (shape, dtype) in fields.items():
        kind = np.dtype(dtype).kind
        values = rng.integers(0, 2 if kind == "b" else 100, (n, *shape)) if kind in "biu" else rng.random((n, *shape))
        made[name] = values.astype(dtype)
    return made
