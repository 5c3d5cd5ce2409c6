"""Skips the tests of this folder, and of no other, where no GPU can be used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from metarl_core._cuda_module import cuda_devices

FOLDER = Path(__file__).parent
# What these tests have in common with those on the emulator.
sys.path.append(str(FOLDER.parent / "python"))


def _problem() -> str:
    devices, problem = cuda_devices()
    if not devices:
        return problem
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return "" if torch.cuda.is_available() else "this torch cannot use the GPU"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The hook is called with every test of the run, also those collected elsewhere.
    ours = [item for item in items if FOLDER in item.path.parents]
    problem = _problem() if ours else ""
    if problem and "cuda" in os.environ.get("METARL_REQUIRE", ""):
        pytest.exit(f"METARL_REQUIRE asks for CUDA: {problem}", returncode=1)
    for item in ours:
        if problem:
            item.add_marker(pytest.mark.skip(reason=f"no GPU: {problem}"))
