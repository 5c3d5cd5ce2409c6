"""No file that we read can run code: nothing in the package unpickles, evaluates or loads by torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import metarl_core

PACKAGE = Path(metarl_core.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "execfile",
    "runpy.run_path",
    "runpy.run_module",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "cloudpickle.load",
    "cloudpickle.loads",
    "dill.load",
    "dill.loads",
    "joblib.load",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "os.system",
    "os.popen",
}
# Worker processes and their parent: over pipes that nobody else can open, never from a file.
PIPES = {"vector/wrapped/workers.py", "vector/wrapped/process.py"}


def found(text: str) -> list[str]:
    """Every call in a source that could run code which came from a file, with its line."""
    tree = ast.parse(text)
    names: dict[str, str] = {}  # what a local name stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {item.asname: item.name for item in node.names if item.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    problems = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, _, rest = ast.unparse(node.func).partition(".")
        name = ".".join(filter(None, (names.get(head, head), rest)))
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        bad = name in FORBIDDEN
        bad |= name == "torch.load" and options.get("weights_only") != "True"
        bad |= name == "numpy.load" and options.get("allow_pickle") != "False"
        bad |= name.startswith("subprocess.") and options.get("shell", "False") != "False"
        bad |= "allow_pickle" in options and options["allow_pickle"] != "False"
        if bad:
            problems.append(f"line {node.lineno}: {ast.unparse(node)}")
    return problems


@pytest.mark.parametrize(
    "text",
    [
        "eval(text)",
        "import pickle\npickle.loads(b)",
        "from pickle import loads as read\nread(b)",
        "import pickle as p\np.load(file)",
        "import torch\ntorch.load(path)",
        "import torch as t\nt.load(path, weights_only=False)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import yaml\nyaml.load(text)",
    ],
)
def test_the_scan_finds(text: str) -> None:
    assert found(text)


def test_no_module_runs_code_from_a_file() -> None:
    assert len(MODULES) > 200
    problems = {}
    for path in MODULES:
        name = path.relative_to(PACKAGE).as_posix()
        lines = found(path.read_text(encoding="utf-8"))
        if name in PIPES:
            lines = [line for line in lines if "pickle.loads(" not in line]
        if lines:
            problems[name] = lines
    assert not problems
