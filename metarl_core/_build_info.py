"""What this build of the package is and what it found on this machine."""

from __future__ import annotations

from typing import Any

from metarl_core import _core

__all__ = ["build_info"]


def build_info() -> dict[str, Any]:
    """Describe the compiled core.

    Returns:
        A new dict with ``version`` (str), ``compiler`` (str), ``isa_levels`` (instruction-set levels compiled in,
        lowest first), ``isa_active`` (the level in use; cap it with the environment variable ``METARL_ISA``),
        ``num_threads`` (CPUs this process may use: affinity mask and cgroup limit), ``cuda_built`` (bool) and
        ``cuda_devices`` (list of str; empty here, as listing them starts the driver: ``metarl info`` does).
    """
    info: dict[str, Any] = _core.build_info()
    return info
