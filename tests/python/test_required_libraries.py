"""METARL_REQUIRE makes a skip a failure, so that a missing library cannot look like a passing test."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
MODULES = {
    "test_one.py": 'import pytest\n\n\ndef test_skipped():\n    pytest.importorskip("no_such_library")\n',
    "test_whole.py": 'import pytest\n\npytest.importorskip("no_such_library")\n\n\ndef test_never():\n    pass\n',
    "test_expected.py": "import pytest\n\n\n@pytest.mark.xfail\ndef test_fails():\n    assert False\n",
    "test_fine.py": "def test_fine():\n    pass\n",
}


def run(folder, required, *names):
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["METARL_REQUIRE"] = required
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *names]
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=500)
    return result.returncode, result.stdout + result.stderr


def test_a_skip_is_a_failure_where_the_library_is_required(tmp_path):
    shutil.copy(CONFTEST, tmp_path)
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    status, output = run(tmp_path, "")
    assert status == 0, output
    assert "2 skipped" in output
    status, output = run(tmp_path, "pytest", "test_one.py", "test_fine.py", "test_expected.py")
    assert status == 1, output
    assert "1 failed, 1 passed, 1 xfailed" in output
    assert "a skip, where METARL_REQUIRE=pytest allows none" in output
    assert "required: pytest " in output
    status, output = run(tmp_path, "pytest", "test_whole.py")
    assert status != 0, output
    assert "a skip, where METARL_REQUIRE=pytest allows none" in output
    status, output = run(tmp_path, "no-such-library", "test_fine.py")
    assert status == 0, output
    assert "required: no-such-library (no distribution of this name)" in output


@pytest.mark.parametrize(
    ("module", "library", "message"),
    [
        ("stable_baselines3", "stable_baselines3", r"this needs stable-baselines3, .*'metarl-core\[sb3\]'"),
        ("torchrl", "tensordict", r"this needs TorchRL, and tensordict is not installed: .*'metarl-core\[torchrl\]'"),
        ("tianshou", "tianshou", r"this needs Tianshou, .*'metarl-core\[tianshou\]'"),
    ],
)
def test_an_integration_without_its_library_says_what_to_install(module, library, message, monkeypatch):
    for name in list(sys.modules):
        if name.startswith((f"metarl_core.integrations.{module}", library)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=message) as caught:
        importlib.import_module(f"metarl_core.integrations.{module}")
    assert caught.value.name.split(".")[0] == library
