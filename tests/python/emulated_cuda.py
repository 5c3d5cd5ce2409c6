"""The CUDA backend's Python module without a GPU, as its tests load it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "build" / "cpp" / "tests" / "cpp"
CAPTURING = 99  # a stream on which the emulator plays the recording of a graph
FAILING = 98  # and one after whose work every wait fails


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


emulated: Any = load()
if emulated is None and "emulated" in os.environ.get("METARL_REQUIRE", ""):
    raise RuntimeError(f"no _cuda_emulated in {FOLDER}; make test-cpp builds it")
needs_emulator = pytest.mark.skipif(emulated is None, reason="make test-cpp builds the emulated module")


class ArrayInterface:
    """An array of a library that knows __cuda_array_interface__ alone."""

    def __init__(self, array: np.ndarray, **changes: object) -> None:
        self.array = array
        host = array.__array_interface__
        self.__cuda_array_interface__ = {
            "shape": host["shape"],
            "typestr": host["typestr"],
            "data": host["data"],
            "strides": host["strides"],
            "version": 3,
            "stream": 1,
            **changes,
        }
