#!/usr/bin/env bash
# Test an integration with its library in a venv of its own, which sees the development one; a skip is a failure.
# Usage: tools/test_integration.sh PYTHON EXTRA DISTRIBUTION NAME, for tests/python/integrations/test_NAME*.py and the page
# docs/NAME.md, or with -- and pytest's arguments in place of NAME.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(pwd)/$1 extra=$2 distribution=$3
if [ "$4" = -- ]; then
  tests=("${@:5}")
else
  tests=("tests/python/integrations/test_$4"*.py "tests/python/test_snippets.py::test_python_blocks_run_in_order[${4//_/-}.md]")
fi
venv=build/venv-$extra
test -x "$venv/bin/python" || "$python" -m venv "$venv"
# First, so that pip counts what is there already.
tools/add_development_packages.sh "$venv/bin/python" "$python"
"$python" tools/list_requirements.py "$extra" >"$venv/requirements.txt"
# Tianshou needs older versions of these.
grep -v -E '^(filelock|pandas)==' constraints.txt >"$venv/constraints.txt"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$venv/constraints.txt" -r "$venv/requirements.txt"
if [ "$extra" = torchrl ]; then
  # Its own sampler, which ours is compared with, was compiled for another torch.
  "$venv/bin/python" bench/peers/torchrl_build.py
fi
METARL_REQUIRE=$distribution "$venv/bin/python" -m pytest -n "${METARL_TEST_JOBS:-2}" "${tests[@]}"
