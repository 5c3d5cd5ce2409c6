"""Which software and hardware a run used."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from metarl_core._build_info import build_info

__all__ = ["hardware", "versions"]

_PACKAGES = {"numpy": "numpy", "torch": "torch", "gymnasium": "gymnasium"}


def versions() -> dict[str, str | None]:
    """Return the versions of metarl_core, python, numpy, torch and gymnasium; None for what is not installed.

    They are read from the packages' metadata; nothing is imported.
    """
    found: dict[str, str | None] = {"metarl_core": build_info()["version"], "python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, Any]:
    """Describe the machine: ``cpu``, ``cores``, ``usable_cores``, ``memory_bytes``, ``isa``, ``gpus``, ``platform``."""
    build = build_info()
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "usable_cores": len(affinity(0)) if affinity is not None else os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "isa": build["isa_active"],
        "gpus": list(build["cuda_devices"]),
        "platform": platform.platform(),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
