"""Install CleanRL's last release from the package index: its scripts alone, checked against the release's SHA-256.

The release pins what its other scripts need (gym, wandb, pygame, an older stable-baselines3) and says that it is for
Python below 3.11. Its dqn.py imports none of them and runs on newer Pythons, which is checked here.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

RELEASE = "cleanrl==1.2.0 --hash=sha256:002f6dac6cd0efb5889cd9096a252da1b4bc98a8f52ccb1f47a7215c18b30369"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "release.txt"
        pins.write_text(RELEASE + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-input", "--no-deps"]
        options = ["--ignore-requires-python", "--require-hashes", "-r", str(pins)]
        code = subprocess.run([*command, *options], check=False).returncode
    if code:
        return code
    script = Path(sysconfig.get_path("purelib")) / "cleanrl" / "dqn.py"
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, str(script), "--total-timesteps", "100"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
