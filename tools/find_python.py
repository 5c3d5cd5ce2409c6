"""Find the interpreters that wheels are built and tried with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SCRIPT = """\
import sys, sysconfig
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print("%d.%d" % sys.version_info[:2] + threads, getattr(sys, "_base_executable", sys.executable))
"""


def find_python(version: str) -> Path | None:
    """Return the interpreter of a version (``3.11``; ``3.14t``: free-threaded): on PATH, or one of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    pattern = f"{version[:-1]}.*t/bin/python" if version.endswith("t") else f"{version}.*/bin/python"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(pattern), reverse=True)]
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", SCRIPT], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.split()[0] == version:
            return Path(done.stdout.split()[1])
    return None
