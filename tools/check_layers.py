"""Fail if a file includes or imports what its room must not know (the arrows are in CONTRIBUTING.md)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# (files, forbidden pattern, reason)
RULES = [
    ("csrc/include/**/*", r"Python\.h|pybind11|#include [\"<](core|envs|bindings)/", "public headers are lowest"),
    ("csrc/core/**/*", r"Python\.h|pybind11|#include [\"<]bindings/", "the core is free of Python"),
    ("csrc/envs/**/*", r"Python\.h|pybind11|#include [\"<]bindings/", "environments are free of Python"),
    ("csrc/{include,core,envs}/**/*", r"#include [\"<]cuda", "only csrc/cuda knows CUDA"),
    ("csrc/bindings/**/*", r"#include [\"<]cuda", "only csrc/cuda and csrc/cuda_bindings know CUDA"),
    ("csrc/cuda/**/*", r"Python\.h|pybind11|#include [\"<](bindings|core)/", "kernels share metarl/detail alone"),
    ("csrc/**/*", r"#include [\"<](torch|ATen|c10)/", "the extension must work with every torch and without it"),
    ("metarl_core/*.py", r"^\s*(import|from) (torch|gymnasium|rich|matplotlib)\b", "the package root needs NumPy only"),
    ("metarl_core/replay/**/*.py", r"^(import|from) (torch|gymnasium)\b", "replay needs NumPy only"),
    ("metarl_core/compat/**/*.py", r"^\s*(import|from) (torch|gymnasium|baselines|cpprb)\b", "compat needs NumPy only"),
    ("metarl_core/runs/**/*.py", r"^(import|from) torch\b", "run directories are read without torch"),
    ("metarl_core/stats/**/*.py", r"^\s*(import|from) (torch|scipy|matplotlib)\b", "statistics need NumPy only"),
    ("metarl_core/tasks/**/*.py", r"^(import|from) (torch|gymnasium)\b", "tasks need NumPy only"),
    (
        "metarl_core/{replay,vector,tasks}/**/*.py",
        r"metarl_core\.(agents|cli|integrations|report|runs)",
        "the core knows no agents",
    ),
    ("metarl_core/stats/**/*.py", r"metarl_core\.(?!stats)", "statistics know nothing else"),
]


def files(pattern: str) -> list[Path]:
    """Expand one ``{a,b}`` group, then the glob."""
    group = re.search(r"\{([^}]*)\}", pattern)
    if group:
        return [f for name in group.group(1).split(",") for f in files(pattern.replace(group.group(0), name))]
    return [f for f in Path().glob(pattern) if f.is_file() and f.suffix in {".py", ".h", ".cpp", ".inl", ".cu"}]


def main() -> int:
    """Print every violation; return the exit status."""
    found = 0
    for pattern, forbidden, reason in RULES:
        for file in files(pattern):
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                if re.search(forbidden, line):
                    print(f"{file}:{number}: {line.strip()}  ({reason})")
                    found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
