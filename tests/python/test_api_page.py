"""docs/api.md has every public class and function (docs/stability.md says what is public)."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
# Read, not imported: some need libraries that are not there.
PACKAGES = [
    "metarl_core",
    "metarl_core.vector",
    "metarl_core.tasks",
    "metarl_core.agents",
    "metarl_core.agents.imt",
    "metarl_core.agents.meta",
    "metarl_core.agents.continual",
    "metarl_core.stats",
    "metarl_core.report",
    "metarl_core.report.meta",
    "metarl_core.testing",
    "metarl_core.compat.baselines",
    "metarl_core.compat.cpprb",
    "metarl_core.integrations.cleanrl",
    "metarl_core.integrations.stable_baselines3",
    "metarl_core.integrations.tianshou",
    "metarl_core.integrations.torch_data",
    "metarl_core.integrations.torchrl",
]

ERRORS = re.findall(r"^class (\w+)", (ROOT / "metarl_core" / "errors.py").read_text(encoding="utf-8"), re.MULTILINE)
ALIASES = ("Array", "Scores")  # of types, for annotations


def public_names(package):
    path = ROOT / package.replace(".", "/")
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("_")]
    raise AssertionError(f"{package} has no __all__")


def directives():
    return re.findall(r"^\.\. (\w+):: (\S+)\n((?: +\S.*\n)*)", PAGE, re.MULTILINE)


def is_listed(package, name):
    if name in ERRORS:
        return is_listed("metarl_core.errors", "")
    for kind, target, options in directives():
        if kind == "automodule" and target == package:
            members = re.search(r":members: *(.*)", options)
            excluded = re.search(r":exclude-members: *(.*)", options)
            if excluded and name in excluded[1].replace(",", " ").split():
                continue
            if not members[1] or name in members[1].replace(",", " ").split():
                return True
    return any(
        kind in ("autoclass", "autofunction", "autodata", "autoexception") and target.split(".")[-1] == name
        for kind, target, _ in directives()
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_the_page(package):
    missing = [n for n in public_names(package) if n != n.upper() and n not in ALIASES and not is_listed(package, n)]
    assert missing == []
