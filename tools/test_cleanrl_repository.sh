#!/usr/bin/env bash
# Run what CleanRL's repository has and its release has not (Rainbow, the current C51, PPO, ...) on our replay and
# environments, in the migration venv; a skip is a failure.
# Usage: tools/test_cleanrl_repository.sh PYTHON VENV [pytest's arguments]
# METARL_CLEANRL_REPOSITORY: a checkout; else the commit below is fetched from GitHub.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(pwd)/$1 venv=$2
shift 2
commit=fe8d8a03c41a7ef5b523e2e354bd01c363e786bb
test -x "$venv/bin/python" || "$python" -m venv "$venv"
tools/add_development_packages.sh "$venv/bin/python" "$python"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  -r bench/peers/cleanrl.txt -r bench/peers/cleanrl_repository.txt
if [ -z "${METARL_CLEANRL_REPOSITORY:-}" ]; then
  METARL_CLEANRL_REPOSITORY=$(pwd)/build/cleanrl
  if [ "$(git -C "$METARL_CLEANRL_REPOSITORY" rev-parse --verify -q HEAD 2>/dev/null)" != "$commit" ]; then
    rm -rf "$METARL_CLEANRL_REPOSITORY"
    git init -q "$METARL_CLEANRL_REPOSITORY"
    git -C "$METARL_CLEANRL_REPOSITORY" fetch -q --depth 1 https://github.com/vwxyzjn/cleanrl "$commit" ||
      { echo "no checkout of CleanRL: set METARL_CLEANRL_REPOSITORY to one" >&2; exit 1; }
    git -C "$METARL_CLEANRL_REPOSITORY" checkout -q FETCH_HEAD
  fi
fi
export METARL_CLEANRL_REPOSITORY
METARL_REQUIRE=tyro,ale-py,opencv-python-headless "$venv/bin/python" -m pytest -n "${METARL_TEST_JOBS:-2}" \
  tests/python/test_integration_cleanrl_repository.py "$@"
