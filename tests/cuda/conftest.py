"""Skips the tests of this folder, and of no other, where no GPU can be used; leaves some out of a quick run."""

from __future__ import annotations

import os
import random
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


def _not_in_a_quick_run(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests without which each value of each parameter of a test still comes up."""
    seen: set[tuple[str, str, str]] = set()
    left_out = []
    # In a mixed order, so that values of different parameters meet.
    for item in random.Random(0).sample(items, len(items)):
        callspec = getattr(item, "callspec", None)
        if callspec is None:
            continue
        test = item.nodeid.partition("[")[0]
        values = {(test, name, repr(value)) for name, value in callspec.params.items()}
        if values <= seen:
            left_out.append(item)
        seen |= values
    return left_out


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The hook is called with every test of the run, also those collected elsewhere.
    ours = [item for item in items if FOLDER in item.path.parents]
    required = "cuda" in os.environ.get("METARL_REQUIRE", "")
    # Without torch there is no test left to ask for.
    problem = _problem() if ours or required else ""
    if problem and required:
        pytest.exit(f"METARL_REQUIRE asks for CUDA: {problem}", returncode=1)
    for item in ours:
        if problem:
            item.add_marker(pytest.mark.skip(reason=f"no GPU: {problem}"))
    if os.environ.get("METARL_CUDA_QUICK") == "1":
        left_out = set(_not_in_a_quick_run(ours))
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
