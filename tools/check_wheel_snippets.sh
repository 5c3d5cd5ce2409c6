#!/usr/bin/env bash
# check_wheel_snippets.sh PYTHON WHEEL: run every Python example of the README and the documentation with an installed wheel,
# outside of the repository: in an empty virtual environment as far as NumPy alone carries them, then all of them beside the
# packages that PYTHON, the development environment's, sees. Where `make test-integrations` has made the virtual environments of
# TorchRL and Tianshou, their pages run beside these, too.
set -euo pipefail
root=$(pwd)
python=$1
wheel=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
venv=$folder/venv/bin/python
"$venv" -m pip install --quiet --disable-pip-version-check "$wheel"
mkdir -p "$folder/pages/docs" "$folder/pages/tests/python"
cp README.md CONTRIBUTING.md pyproject.toml "$folder/pages"
cp docs/*.md "$folder/pages/docs"
cp tests/conftest.py "$folder/pages/tests"
cp tests/python/test_snippets.py "$folder/pages/tests/python"
cp tools/run_snippets.py "$folder"
# The folders of packages alone: files *.pth would bring the sources along.
"$python" -c "import sys; print(*[p for p in sys.path if p.endswith(('site-packages', 'dist-packages'))], sep='\n')" \
  >"$folder/development"
cd "$folder"
"$venv" -W error run_snippets.py pages/README.md pages/docs/*.md
cp development "$("$venv" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/development.pth"
cd pages
"$venv" -c "
import sys, metarl_core
from pathlib import Path
found = Path(metarl_core.__file__).resolve()
assert Path(sys.prefix).resolve() in found.parents, f'{found} is not the wheel in {sys.prefix}'"
"$venv" -m pytest -q -p no:cacheprovider tests/python/test_snippets.py
for library in torchrl tianshou; do
  beside=$root/build/venv-$library/bin/python
  if [ ! -x "$beside" ]; then
    echo "$library.md: its blocks that need $library were not run, make test-integrations was not"
    continue
  fi
  "$beside" -c "import sysconfig; print(sysconfig.get_path('purelib'))" | cat - ../development \
    >"$("$venv" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/development.pth"
  "$venv" -m pytest -q -s -p no:cacheprovider "tests/python/test_snippets.py::test_python_blocks_run_in_order[$library.md]" |
    tee ../output
  if grep "not run" ../output; then
    exit 1
  fi
done
