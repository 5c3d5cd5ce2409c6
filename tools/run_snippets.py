"""Run the Python examples of pages as far as NumPy alone carries them; part of check_wheel_snippets.sh.

    python run_snippets.py README.md docs/*.md

Blocks of a page share a namespace, in order, as in tests/python/test_snippets.py, which runs all. A page stops at
the first block that needs another package; a block that fails otherwise fails the run, and so does a README whose first
block does not run.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import metarl_core

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What the extras bring. Another module that is not there is a fault of the wheel.
OPTIONAL = ("torch", "gymnasium", "matplotlib", "rich", "tensorboard", "tomli", "tomllib")
OPTIONAL += ("stable_baselines3", "torchrl", "tensordict", "tianshou", "minari", "h5py", "metaworld", "minigrid")


def missing_package(error: ImportError) -> str | None:
    """Return the optional package whose absence is the error, if it is."""
    name = (error.name or "").split(".")[0]
    if name in OPTIONAL:
        return name
    return next((word for word in re.findall(r"\w+", str(error)) if word in OPTIONAL), None)


def run_page(page: Path) -> tuple[int, str]:
    """Run a page's blocks in an empty folder; return how many ran and what the next one needs."""
    text, ran = page.read_text(encoding="utf-8"), 0
    namespace: dict[str, object] = {"__name__": "snippet"}
    for match in BLOCK.finditer(text):
        if re.search(r'"runs/', match[1]):
            return ran, "a run, which torch makes"
        line = text.count("\n", 0, match.start(1))
        try:
            exec(compile("\n" * line + match[1], str(page), "exec"), namespace)
        except ImportError as error:
            name = missing_package(error)
            if name is None:
                raise
            return ran, name
        ran += 1
    return ran, ""


def main() -> None:
    """Run every page and print what ran."""
    pages = [Path(name).resolve() for name in sys.argv[1:]]
    total = 0
    for page in pages:
        if not BLOCK.search(page.read_text(encoding="utf-8")):
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            ran, needs = run_page(page)
            os.chdir(page.parent)
        total += ran
        print(f"{page.name}: {ran} blocks" + (f", then one that needs {needs}" if needs else ""))
        if page.name == "README.md" and ran == 0:
            sys.exit("the first block of the README needs more than NumPy")
    print(f"{total} blocks ran with NumPy alone, metarl_core {metarl_core.__version__} in {metarl_core.__file__}")


if __name__ == "__main__":
    main()
