"""Every Python example of the README and the documentation runs.

Blocks of a page share a namespace, in order. A block that needs a package which the development environment does not
have is preceded by ``<!-- needs: PACKAGE -->``, one that needs a GPU by ``<!-- needs: GPU -->``; it runs where that
is, and is compiled everywhere.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

import pytest

from metarl_core._cuda_module import cuda_devices
from metarl_core.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"(?:^<!-- needs: (?P<needs>\w+) -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES_WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]


def test_the_readme_has_an_example():
    assert ROOT / "README.md" in PAGES_WITH_CODE


def test_no_python_escapes():
    """Neither by another name of the language, nor inside a list, nor by a marker that means nothing."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fences = re.findall(r"^[ \t]*```[ \t]*py\w*\b.*$", text, re.MULTILINE | re.IGNORECASE)
        assert fences == ["```python"] * len(BLOCK.findall(text)), page.name
        assert len(re.findall(r"<!-- needs:", text)) == sum(bool(m["needs"]) for m in BLOCK.finditer(text)), page.name


def is_there(name: str) -> bool:
    return bool(cuda_devices()[0]) if name == "GPU" else importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for run in sorted(set(re.findall(r'"(runs/[^"]+)"', text))):  # runs that the page reads
        assert main(["train", "cder", "--env", "DeepSea-v0", "--steps", "100", "--out", run, "size=5"]) == 0
    namespace: dict[str, object] = {"__name__": "snippet"}
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        code = compile("\n" * line + match["code"], str(page), "exec")
        if match["needs"] and not is_there(match["needs"]):
            print(f"{page.name}:{line + 1} not run: needs {match['needs']}")
            continue
        with warnings.catch_warnings():
            if match["needs"]:  # parts of that package may warn when they are imported
                warnings.simplefilter("ignore", DeprecationWarning)
            exec(code, namespace)
