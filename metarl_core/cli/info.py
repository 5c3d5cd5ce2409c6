"""``metarl info``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from metarl_core import build_info
from metarl_core._cuda_module import cuda_devices
from metarl_core.cli._arguments import CommandParser
from metarl_core.runs.versions import hardware, versions

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Print version, build and machine."""
    parser = CommandParser("info", "Show version, build and machine.", "metarl info [--json]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse(argv)
    build, machine, packages = build_info(), hardware(), versions()
    build["cuda_devices"], problem = cuda_devices()
    if args.json:
        print(json.dumps({"build": build, "hardware": machine, "versions": packages}, indent=2))
        return 0
    memory = machine["memory_bytes"]
    _print("metarl_core", build["version"])
    _print("compiler", build["compiler"])
    levels = ", ".join(f"{level} (active)" if level == build["isa_active"] else level for level in build["isa_levels"])
    _print("instruction sets", f"{levels}; cap with METARL_ISA")
    for key, value in build.items():
        if key not in ("version", "compiler", "isa_levels", "isa_active", "cuda_built", "cuda_devices"):
            _print(key.replace("_", " "), value)
    _print("CUDA", "built in" if build["cuda_built"] else "not built in")
    _print("GPUs", "; ".join(build["cuda_devices"]) or f"none: {problem}")
    _print("processor", machine["cpu"])
    _print("cores", f"{machine['usable_cores']} usable of {machine['cores']}")
    _print("memory", f"{memory / 2**30:.1f} GiB" if memory else "unknown")
    _print("system", machine["platform"])
    for name in ("python", "numpy", "torch", "gymnasium"):
        _print(name, packages[name] or "not installed")
    return 0


def _print(name: str, value: Any) -> None:
    print(f"{name:17} {value}")
