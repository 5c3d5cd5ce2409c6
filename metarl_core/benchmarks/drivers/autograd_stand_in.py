"""What torchrl's wheel misses of the torch beside it, where bench/peers/torchrl_build.py made it."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def load_stand_in() -> None:
    """Load it, if it was built for this virtual environment. Torchrl is imported afterwards."""
    path = Path(sys.prefix) / "autograd_stand_in.so"
    if path.exists():
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
