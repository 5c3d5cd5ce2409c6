"""Before any test imports TorchRL: what its wheel misses of this torch, where bench/peers/torchrl_build.py made it."""

import ctypes
import sys
from pathlib import Path

STAND_IN = Path(sys.prefix) / "autograd_stand_in.so"
if STAND_IN.exists():
    ctypes.CDLL(str(STAND_IN), ctypes.RTLD_GLOBAL)
