"""Importing the package is clean: nothing heavy loaded, nothing started, errors that say what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import metarl_core

ROOT = Path(__file__).parents[2]

PROBE = """
import json, os, signal, sys, threading
before_env = dict(os.environ)
before_signals = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGSEGV)}
import numpy
tasks_before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
import metarl_core
tasks_after = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
print(json.dumps({
    "heavy": sorted({"torch", "gymnasium", "matplotlib", "rich", "tensorboard", "bsuite"} & set(sys.modules)),
    "threads": threading.active_count(),
    "new_tasks": None if tasks_before is None else tasks_after - tasks_before,
    "env_changed": dict(os.environ) != before_env,
    "signals_changed": before_signals != {s: signal.getsignal(s) for s in before_signals},
    "isa": metarl_core.build_info()["isa_active"],
}))
"""


def run_probe(code: str = PROBE, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "METARL_ISA"} | environ
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)


def test_import_loads_numpy_only_and_starts_nothing():
    result = run_probe()
    assert result.returncode == 0, result.stderr
    probe = json.loads(result.stdout)
    assert probe["heavy"] == []
    assert probe["threads"] == 1
    assert probe["new_tasks"] in (0, None)
    assert not probe["env_changed"]
    assert not probe["signals_changed"]
    print(f"heavy imports {probe['heavy']}, threads {probe['threads']}, new kernel tasks {probe['new_tasks']}")


def test_names_are_there_though_their_modules_are_loaded_late():
    code = """
import json, sys
import metarl_core as mc
import metarl_core.replay
late = ("pathlib", "queue", "metarl_core.vector", "metarl_core.replay.prefetch", "metarl_core.replay.writers")
early = [name for name in late if name in sys.modules]
listed = set(dir(mc)) >= set(mc.__all__) and set(dir(mc.replay)) >= set(mc.replay.__all__)
missing = [name for package in (mc, mc.replay) for name in package.__all__ if not hasattr(package, name)]
same = mc.make_vec is mc.vector.make_vec and mc.PrefetchSampler is mc.replay.PrefetchSampler
try:
    mc.make_vecs
except AttributeError as error:
    message = str(error)
print(json.dumps([early, listed, missing, same, "make_vec" in vars(mc), message]))
"""
    early, listed, missing, same, kept, message = json.loads(run_probe("import numpy\n" + code).stdout)
    numpys_own = json.loads(run_probe("import json, numpy, sys; print(json.dumps(sorted(sys.modules)))").stdout)
    assert set(early) <= set(numpys_own)  # older ones need pathlib themselves
    assert listed
    assert missing == []
    assert same
    assert kept
    assert message == "module 'metarl_core' has no attribute 'make_vecs'"


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_metarl_isa_caps_the_level(level):
    levels = ["baseline", "avx2", "avx512"]
    uncapped = json.loads(run_probe().stdout)["isa"]
    result = run_probe(METARL_ISA=level)
    assert result.returncode == 0, result.stderr
    expected = levels[min(levels.index(level), levels.index(uncapped))]
    assert json.loads(result.stdout)["isa"] == expected


def test_wrong_metarl_isa_fails_at_import_and_names_the_choices():
    result = run_probe(METARL_ISA="sse9")
    assert result.returncode != 0
    assert "METARL_ISA is 'sse9'; must be baseline, avx2 or avx512" in result.stderr


def test_version_has_one_source():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    stated = re.search(r'^version = "([^"]+)"', pyproject, re.MULTILINE)
    assert stated is not None
    assert metarl_core.__version__ == stated.group(1) == metarl_core.build_info()["version"]


def test_build_info_is_a_fresh_dict():
    info = metarl_core.build_info()
    info["version"] = "changed"
    assert metarl_core.build_info()["version"] == metarl_core.__version__


def test_every_public_name_exists_and_is_documented():
    for name in metarl_core.__all__:
        value = getattr(metarl_core, name)
        if name != "__version__":
            assert value.__doc__, name
