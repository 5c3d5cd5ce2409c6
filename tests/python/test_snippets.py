"""Every Python example of the README and the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metarl_core.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES_WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]


def test_the_readme_has_an_example():
    assert ROOT / "README.md" in PAGES_WITH_CODE


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for run in sorted(set(re.findall(r'"(runs/[^"]+)"', text))):  # runs that the page reads
        assert main(["train", "cder", "--env", "DeepSea-v0", "--steps", "100", "--out", run, "size=5"]) == 0
    namespace: dict[str, object] = {"__name__": "snippet"}
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(1))
        exec(compile("\n" * line + match.group(1), str(page), "exec"), namespace)
