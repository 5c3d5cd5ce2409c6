"""Find the interpreters that wheels are built and tried with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SCRIPT = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"


def find_python(version: str) -> Path | None:
    """Return the interpreter of a version (such as ``3.11``): on PATH, or one that pyenv installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", SCRIPT], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.split()[0] == version:
            return Path(done.stdout.split()[1])
    return None
