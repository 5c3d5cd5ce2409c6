"""Builds libraries of environments as users do: the example by CMake, small ones by the compiler alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import metarl_core

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_env"
MINIMAL = r"""
#include <metarl/env/environment.h>
template <class Real>
struct Model {
  static constexpr const char* kId = ENV_ID;
  static constexpr metarl::env::Text kText = {};
  static constexpr int kActions = ENV_ACTIONS;
  struct State { Real sum; };
  static constexpr metarl::env::Field<State, Real> kFields[] = {{ENV_FIELD, &State::sum}};
  struct Params { Real gain; };
  static constexpr metarl::env::Parameter<Params, Real> kParameters[] = {{ENV_PARAMETER, &Params::gain, 1.0, "Gain.",
                                                                          ENV_LOW}};
  static constexpr int kObs = 1;
  METARL_HD State reset(const Params&, const Real*) { return {Real{0}}; }
  METARL_HD bool step(const Params& p, State& s, auto action, Real& reward) {
    s.sum += p.gain * static_cast<Real>(action);
    reward = s.sum;
    return s.sum >= Real{5};
  }
  METARL_HD void observe(const State& s, float* obs) { obs[0] = static_cast<float>(s.sum); }
};
METARL_ENVIRONMENTS(Model)
"""


def run(*command, env=None):
    """Run a command and return what it printed; fail if it fails."""
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=500, env={**os.environ, **(env or {})}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build_example(folder, *options):
    """Build the example from a copy of its folder against what is installed; return the library and what CMake said."""
    source = folder / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build"))
    build = source / "build"
    cmakedir = run(sys.executable, "-m", "metarl_core", "--cmakedir").strip()
    strict = "-Wall -Wextra -Wconversion -Werror"
    said = run(
        "cmake", "-S", source, "-B", build, f"-Dmetarl_core_DIR={cmakedir}", f"-DCMAKE_CXX_FLAGS={strict}", *options
    )
    run("cmake", "--build", build, "--parallel", "2")
    (path,) = build.glob("windy_lander.so")
    return path, said


def compiled(folder, text=MINIMAL, **definitions):
    """Compile a small library without CMake."""
    values = {"ID": '"Minimal-v0"', "ACTIONS": "2", "FIELD": '"sum"', "PARAMETER": '"gain"', "LOW": "0.0"}
    values.update(definitions)
    source, path = folder / "model.cpp", folder / "model.so"
    source.write_text(text)
    flags = [f"-DENV_{name}={value}" for name, value in values.items()]
    include = f"-I{metarl_core.get_include()}"
    run("c++", "-std=c++20", "-O1", "-shared", "-fPIC", include, *flags, source, "-o", path)
    return path
