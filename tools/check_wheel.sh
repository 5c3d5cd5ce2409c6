#!/usr/bin/env bash
# check_wheel.sh PYTHON WHEEL: install the wheel into an empty virtual environment and use it with NumPy alone, then build
# examples/custom_env and examples/cpp against it. METARL_CHECK_CPP=0 leaves out examples/cpp, which compiles the core.
set -euo pipefail
python=$1
wheel=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
"$folder/venv/bin/python" -m pip list --disable-pip-version-check --format=freeze | grep -v -i -E '^(pip|setuptools|wheel|numpy|metarl[-_]core)=' &&
  { echo "the wheel installed more than NumPy" >&2; exit 1; }
cp tools/smoke_test.py "$folder"
cp -r examples/custom_env examples/cpp "$folder"
rm -rf "$folder"/{custom_env,cpp}/build
cd "$folder"
./venv/bin/python -W error smoke_test.py
./venv/bin/metarl info >/dev/null
if command -v "${CXX:-c++}" >/dev/null && command -v cmake >/dev/null; then
  cmake -S custom_env -B custom_env/build "-Dmetarl_core_DIR=$(./venv/bin/python -m metarl_core --cmakedir)" >/dev/null
  cmake --build custom_env/build >/dev/null
  ./venv/bin/python -W error custom_env/demo.py custom_env/build/windy_lander.so
  if [ "${METARL_CHECK_CPP:-1}" != 0 ]; then
    cmake -S cpp -B cpp/build -DMETARL_BASELINE_ONLY=ON "-Dmetarl_core_DIR=$(./venv/bin/python -m metarl_core --cmakedir)" >/dev/null
    cmake --build cpp/build --parallel 2 >/dev/null
    cpp/build/levels
  fi
fi
