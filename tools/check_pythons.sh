#!/usr/bin/env bash
# pip install . (with build isolation, as a user does) for every supported Python on this machine.
set -euo pipefail
checked=0
for version in 3.10 3.11 3.12 3.13 3.14; do
  python=$(command -v "python$version" || true)
  if [ -z "$python" ] || ! "$python" -c '' 2>/dev/null; then
    echo "Python $version: not on this machine, NOT CHECKED" >&2
    continue
  fi
  folder=$(mktemp -d)
  "$python" -m venv "$folder/venv"
  "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check .
  cp tools/smoke_test.py "$folder"
  (cd "$folder" && ./venv/bin/python -W error smoke_test.py)
  rm -rf "$folder"
  checked=$((checked + 1))
done
[ "$checked" -gt 0 ]
