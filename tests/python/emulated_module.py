"""The CUDA backend's Python module around the emulator, which `make test-cpp` builds; for the tests that use it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "build" / "cpp" / "tests" / "cpp"
CAPTURING = 99  # a stream on which the emulator plays the recording of a graph


def load() -> ModuleType | None:
    found = sorted(FOLDER.glob("_cuda_emulated.*.so"))
    if not found:
        return None
    spec = importlib.util.spec_from_file_location("_cuda_emulated", found[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


emulated = load()
if emulated is None and "emulated" in os.environ.get("METARL_REQUIRE", ""):
    raise RuntimeError(f"no _cuda_emulated in {FOLDER}; make test-cpp builds it")
needs_emulator = pytest.mark.skipif(emulated is None, reason="make test-cpp builds the emulated module")
