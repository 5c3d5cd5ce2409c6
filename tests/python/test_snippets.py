"""Every Python example of the README and the documentation runs."""

from __future__ import annotations

import importlib
import importlib.util
import re
import warnings
from pathlib import Path

import pytest

from metarl_core.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES_WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]
# Pages on a library that need not be installed; what it imports may warn.
LIBRARIES = {
    "stable-baselines3.md": "stable_baselines3",
    "tianshou.md": "tianshou",
    "torch-data.md": "torch",
    "torchrl.md": "torchrl",
}


def test_the_readme_has_an_example():
    assert ROOT / "README.md" in PAGES_WITH_CODE


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    library = LIBRARIES.get(page.name)
    if library is not None:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(library)
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for run in sorted(set(re.findall(r'"(runs/[^"]+)"', text))):  # runs that the page reads
        assert main(["train", "cder", "--env", "DeepSea-v0", "--steps", "100", "--out", run, "size=5"]) == 0
    namespace: dict[str, object] = {"__name__": "snippet"}
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        exec(compile("\n" * line + match.group(1), str(page), "exec"), namespace)
