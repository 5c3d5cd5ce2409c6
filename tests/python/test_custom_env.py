"""examples/custom_env: built out of tree against the installed package, compared with plain Python at every step."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from env_library_helpers import EXAMPLE, build_example, compiled, run
from windy_lander_reference import DEFAULTS, Row, pilot

import metarl_core as mc
from metarl_core._cuda_module import cuda_devices
from metarl_core.cli import main
from metarl_core.testing import check_vector_env
from metarl_core.vector.library import library_kernels

ID = "WindyLander-v0"
LEVELS = mc.build_info()["isa_levels"]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Build the example from a copy of its folder, against what is installed; the library and what CMake said."""
    return build_example(tmp_path_factory.mktemp("custom_env"))


@pytest.fixture(scope="session")
def library(built):
    path, _ = built
    assert mc.load_env_library(path) == [ID]
    return path


def compare(mode, steps, tasks=None, limit=400, **params):
    """Step a batch and its reference side by side; return how many landings, crashes and truncations there were."""
    rows = 24
    envs = mc.make_vec(ID, rows, seed=5, autoreset_mode=mode, num_threads=1, max_episode_steps=limit, **params)
    own = [dict(params) for _ in range(rows)]
    if tasks is not None:
        envs.set_tasks(tasks)
        own = [{**params, **{name: values[i] for name, values in tasks.items()}} for i in range(rows)]
    reference = [Row(5, i, limit, **own[i]) for i in range(rows)]
    obs, _ = envs.reset()
    assert np.array_equal(obs, [row.reset() for row in reference])
    rng = np.random.default_rng(1)
    seen = {"landed": 0, "crashed": 0, "truncated": 0}
    for _ in range(steps):
        # A third of the rows crashes, a third hovers until the time is up, a third lands.
        hover = np.where(obs[:, 3] < 0, 2, 0)
        actions = np.choose(np.arange(rows) % 3, [rng.integers(4, size=rows), hover, pilot(obs)])
        obs, reward, terminated, truncated, info = envs.step(actions)
        state = envs.get_state()["state"]
        finals = {}
        for i, row in enumerate(reference):
            if mode == "next_step" and row.done:
                expected = (row.reset(), 0.0, False, False)
            else:
                expected = row.step(int(actions[i]))
                seen["truncated"] += expected[3]
                seen["landed"] += expected[2] and expected[1] > 0
                seen["crashed"] += expected[2] and expected[1] < 0
                if mode == "same_step" and row.done:
                    finals[i] = expected[0]
                    expected = (row.reset(), *expected[1:])
            assert np.abs(np.float64(obs[i]) - expected[0]).max() <= 1e-6 * max(1.0, np.abs(expected[0]).max())
            assert abs(reward[i] - expected[1]) <= 1e-13
            assert (terminated[i], truncated[i]) == expected[2:]
            np.testing.assert_allclose(state[i], row.state, rtol=1e-13, atol=1e-13)
        if finals:
            assert info["_final_obs"].nonzero()[0].tolist() == list(finals)
            for i, final in finals.items():
                np.testing.assert_allclose(info["final_obs"][i], final, rtol=1e-6)
        done = terminated | truncated
        if mode == "disabled" and done.any():
            obs, _ = envs.reset(options={"reset_mask": done})
            for i in done.nonzero()[0]:
                np.testing.assert_allclose(obs[i], reference[i].reset(), rtol=1e-6)
    envs.close()
    return seen


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_every_step_equals_the_python_reference(library, mode):
    seen = compare(mode, 500, limit=90)
    assert min(seen.values()) > 10, seen


def test_rows_with_tasks_equal_references_with_these_parameters(library):
    rng = np.random.default_rng(3)
    tasks = {"gravity": rng.uniform(0.5, 3, 24), "gust": rng.uniform(0, 2, 24), "start_height": rng.uniform(2, 12, 24)}
    seen = compare("same_step", 300, tasks)
    assert seen["landed"] > 5, seen
    assert seen["crashed"] > 5, seen


def test_it_keeps_what_every_vector_environment_promises(library):
    check_vector_env(lambda **arguments: mc.make_vec(ID, **arguments))
    check_vector_env(lambda **arguments: mc.make_vec(ID, precision="float32", **arguments))


def played(threads, precision="float64"):
    envs = mc.make_vec(ID, 20000, seed=9, num_threads=threads, precision=precision, gust=1.5)
    envs.set_tasks({"gravity": np.linspace(1, 2, 20000)})
    obs, _ = envs.reset()
    out = [obs.tobytes()]
    for _ in range(60):
        obs, reward, terminated, truncated, _ = envs.step(pilot(obs))
        out += [a.tobytes() for a in (obs, reward, terminated, truncated)]
    envs.close()
    return b"".join(out)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_equal_bits_at_1_2_and_8_threads(library, precision):
    first = played(1, precision)
    assert first == played(2, precision) == played(8, precision)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_equal_bits_at_every_instruction_set_level(library, precision):
    code = (
        "import hashlib, sys; import metarl_core as mc; import test_custom_env as t; mc.load_env_library(sys.argv[1]); "
        "print(mc.build_info()['isa_active'], hashlib.sha256(t.played(1, sys.argv[2])).hexdigest())"
    )
    found = {}
    for level in LEVELS:
        environment = {"METARL_ISA": level, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        active, digest = run(sys.executable, "-c", code, library, precision, env=environment).split()
        found[active] = digest
    assert "baseline" in found
    assert len(set(found.values())) == 1, found


def test_float32_is_near_float64(library):
    wide, narrow = (mc.make_vec(ID, 64, seed=2, precision=precision) for precision in ("float64", "float32"))
    a, b = wide.reset()[0], narrow.reset()[0]
    for _ in range(20):
        actions = pilot(a)
        a, b = wide.step(actions)[0], narrow.step(actions)[0]
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_it_is_listed_described_and_registered(library, capsys):
    gymnasium = pytest.importorskip("gymnasium")
    assert ID in mc.list_envs()
    spec = mc.env_spec("metarl_core/" + ID)
    assert spec.max_episode_steps == 400
    assert {name: p.default for name, p in spec.parameters.items() if name in DEFAULTS} == DEFAULTS
    assert main(["envs", "--library", str(library), ID]) == 0
    assert "Gravity, m/s^2. (default 1.62)" in capsys.readouterr().out
    mc.register_envs()  # what the first make_vec of a process does
    envs = gymnasium.make_vec("metarl_core/" + ID, num_envs=3, gravity=1.0)
    assert envs.get_tasks()["gravity"].tolist() == [1.0] * 3
    assert envs.reset(seed=1)[0].shape == (3, 5)
    envs.close()
    assert mc.load_env_library(library) == [ID]  # again: nothing happens
    assert mc.list_envs().count(ID) == 1


def test_state_is_exact_and_checked(library):
    envs = mc.make_vec(ID, 4, seed=1)
    obs, _ = envs.reset()
    envs.step(pilot(obs))
    state = envs.get_state()
    first = envs.step(np.array([1, 2, 3, 0]))[:4]
    envs.set_state(state)
    for a, b in zip(first, envs.step(np.array([1, 2, 3, 0]))[:4], strict=True):
        assert np.array_equal(a, b)
    state["state"][2, 1] = np.nan
    with pytest.raises(ValueError, match=r"state\[2\] is not a state of WindyLander-v0"):
        envs.set_state(state)
    with pytest.raises(ValueError, match=r"dt is 2.0; must be a finite number > 0 and <= 1"):
        mc.make_vec(ID, 1, dt=2.0)
    with pytest.raises(ValueError, match=r"calming\[1\] is 1.5; must be <= 1"):
        envs.set_tasks({"calming": [0.5, 1.5, 0.5, 0.5]})
    with pytest.raises(ValueError, match=r"actions\[0\] is 4; must be in \[0, 4\)"):
        envs.step(np.array([4, 0, 0, 0]))


def test_the_demo_runs(library):
    output = run(sys.executable, "-W", "error", EXAMPLE / "demo.py", library)
    print(output)
    assert "landed" in output


def test_a_minimal_library_without_cmake(tmp_path):
    path = compiled(tmp_path, ID='"MinimalTwo-v3"')
    assert mc.load_env_library(path) == ["MinimalTwo-v3"]
    envs = mc.make_vec("MinimalTwo-v3", 2, gain=2.0)
    assert envs.reset()[0].tolist() == [[0.0], [0.0]]
    obs, reward, terminated, *_ = envs.step(np.array([0, 1]))
    assert (obs[:, 0].tolist(), reward.tolist(), terminated.tolist()) == ([0.0, 2.0], [0.0, 2.0], [False, False])
    assert envs.max_episode_steps is None


BAD = [
    ({"ID": '"Minimal"'}, r"the id 'Minimal' must be letters, digits, _ and -, then -v and a number"),
    ({"ID": '"CartPole-v1"'}, r"there is an environment 'CartPole-v1' already"),
    ({"FIELD": '"a b"'}, r"Minimal-v0: field 'a b' is no identifier"),
    ({"PARAMETER": '"num_envs"'}, r"Minimal-v0: a parameter cannot be called 'num_envs'"),
    ({"PARAMETER": '"2x"'}, r"Minimal-v0: parameter '2x' is no identifier"),
    ({"LOW": "3.0"}, r"Minimal-v0: parameter 'gain' has the default 1.0+, which is not in its range"),
]


@pytest.mark.parametrize(("definitions", "message"), BAD)
def test_bad_descriptions_are_refused_and_change_nothing(tmp_path, definitions, message):
    before = mc.list_envs()
    path = compiled(tmp_path, **definitions)
    with pytest.raises(mc.EnvLibraryError, match=message):
        mc.load_env_library(path)
    assert mc.list_envs() == before


def test_other_versions_and_other_files_are_refused(tmp_path):
    before = mc.list_envs()
    function = 'extern "C" const metarl::env::LibraryInfo* metarl_env_library_baseline() { return &info; }'
    header = "#include <metarl/env/library.h>\nstatic const metarl::env::LibraryInfo info = "
    version = "this metarl_core has version 2: build it again"
    for values, message in (
        ("{7, 0, 0, 0, 0, nullptr}", f"built for version 7 of the environment interface; {version}"),
        ("{metarl::env::kAbiVersion, 8, 8, 8, 1, nullptr}", "lays out its structures otherwise"),
        (
            "{metarl::env::kAbiVersion, sizeof(metarl::EnvBatch), sizeof(metarl::env::EnvironmentInfo), "
            "sizeof(metarl::env::ParameterInfo), 0, nullptr}",
            "has 0 environments",
        ),
    ):
        path = compiled(tmp_path, f"{header}{values};\n{function}\n")
        with pytest.raises(mc.EnvLibraryError, match=message):
            mc.load_env_library(path)
        path.unlink()
    path = compiled(tmp_path, "int unrelated() { return 1; }\n")
    with pytest.raises(mc.EnvLibraryError, match="has no function metarl_env_library_baseline"):
        mc.load_env_library(path)
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(mc.EnvLibraryError, match=r"text\.so"):
        mc.load_env_library(text)
    with pytest.raises(FileNotFoundError, match=r"absent\.so"):
        mc.load_env_library(tmp_path / "absent.so")
    with pytest.raises(TypeError):
        mc.load_env_library(3)
    assert mc.list_envs() == before


def test_functions_that_levels_would_share_fail_the_build(tmp_path):
    if LEVELS == ["baseline"]:
        pytest.skip("one level only")
    shared = "__attribute__((noinline)) inline float twice(float x) { return 2 * x; }\n"
    use = 'extern "C" __attribute__((visibility("default"))) float METARL_ENV_JOIN(use_, METARL_ISA_NS)(float x)'
    (tmp_path / "bad.cpp").write_text(f"#include <metarl/env/environment.h>\n{shared}{use} {{ return twice(x); }}\n")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(bad LANGUAGES CXX)\nfind_package(metarl_core CONFIG REQUIRED)\n"
        "metarl_add_environment(bad bad.cpp)\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-Dmetarl_core_DIR={mc.get_cmake_dir()}")
    result = subprocess.run(["cmake", "--build", str(tmp_path / "build")], capture_output=True, text=True)
    assert result.returncode != 0
    assert "twice(float) is compiled for several instruction-set levels" in " ".join(
        (result.stdout + result.stderr).split()
    )


# ---- kernels for GPUs ------------------------------------------------------------------------------------------------
def configured(folder, *options, lines="metarl_add_environment(windy_lander windy_lander.cpp CUDA windy_lander.cu)"):
    """Let CMake look at a project, and build nothing."""
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(own LANGUAGES CXX)\nfind_package(metarl_core CONFIG REQUIRED)\n"
        + lines
    )
    for name in ("windy_lander.cpp", "windy_lander.cu", "windy_lander.h"):
        shutil.copy(EXAMPLE / name, folder)
    command = ["cmake", "-S", folder, "-B", folder / "build", f"-Dmetarl_core_DIR={mc.get_cmake_dir()}", *options]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return result.returncode, " ".join((result.stdout + result.stderr).split())


# An nvcc that does not work.
NO_NVCC = f"-DMETARL_NVCC={shutil.which('false')}"


@pytest.mark.parametrize(
    ("options", "fails", "said"),
    [
        (
            [NO_NVCC],
            False,
            "12.0 or newer is needed -- windy_lander: built without kernels for GPUs (METARL_CUDA=AUTO)",
        ),
        ([NO_NVCC, "-DMETARL_CUDA=ON"], True, "has version ''; 12.0 or newer is needed"),
        (["-DMETARL_CUDA=OFF"], False, "windy_lander: built without kernels for GPUs (METARL_CUDA=OFF)"),
        (["-DMETARL_CUDA=yes"], True, "METARL_CUDA must be AUTO, ON or OFF, got 'yes'"),
    ],
)
def test_without_nvcc_the_build_says_so_or_fails(tmp_path, options, fails, said):
    status, text = configured(tmp_path, *options)
    assert (status != 0) == fails, text
    assert said in text


def test_cuda_without_files_is_an_error(tmp_path):
    status, text = configured(tmp_path, lines="metarl_add_environment(own windy_lander.cpp CUDA)")
    assert status != 0
    assert "CUDA must be followed by files for nvcc" in text


@pytest.fixture
def with_kernels(built, library):
    """The built library, where nvcc could compile its kernels."""
    if "built without kernels for GPUs" in built[1]:
        pytest.skip("no nvcc works here: " + built[1].split("CUDA: not built: ")[-1].splitlines()[0])
    return library


def test_the_library_exports_its_kernels_and_nothing_of_cudas_runtime(with_kernels):
    exported = {line.split()[-1] for line in run("nm", "-D", "--defined-only", with_kernels).splitlines()}
    assert "metarl_cuda_env_library" in exported
    assert [name for name in exported if name.lower().startswith(("cuda", "__cuda", "cu"))] == []
    needed = run("readelf", "-d", with_kernels)
    assert "libcuda" not in needed


class Kernels(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("reset", ctypes.c_void_p), ("step", ctypes.c_void_p)]
    _fields_ += [("roll_out", ctypes.c_void_p), ("runtime", ctypes.c_void_p)]


class Library(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("version", "call_size", "status_size", "kernels_size", "count")]
    _fields_ += [("kernels", ctypes.POINTER(Kernels))]


def test_what_the_library_says_of_its_kernels(with_kernels):
    function = ctypes.CDLL(str(with_kernels)).metarl_cuda_env_library
    function.restype = ctypes.POINTER(Library)
    library = function().contents
    assert library.version == 1
    assert library.kernels_size == ctypes.sizeof(Kernels)
    kernels = library.kernels[: library.count]
    assert [k.name.decode() for k in kernels] == [f"{ID}/float64", f"{ID}/float32"]
    pointers = {pointer for k in kernels for pointer in (k.reset, k.step, k.roll_out)}
    assert len(pointers) == 6
    assert None not in pointers


def test_on_a_gpu_it_runs_and_without_one_it_says_what_is_missing(with_kernels):
    devices, problem = cuda_devices()
    if devices:
        envs = mc.make_vec(ID, 3, device="cuda")
        assert np.array_equal(envs.reset(seed=1)[0].numpy(), mc.make_vec(ID, 3).reset(seed=1)[0])
        return
    with pytest.raises(RuntimeError, match=re.escape(f"device 'cuda' cannot be used: {problem}")):
        mc.make_vec(ID, 3, device="cuda")


def test_the_package_finds_the_kernels(with_kernels):
    if not mc.build_info()["cuda_built"]:
        pytest.skip("this build has no CUDA backend")
    module = importlib.import_module("metarl_core._cuda")
    for precision in ("float64", "float32"):
        module.find_library_kernels(**library_kernels(ID, precision))
    with pytest.raises(ValueError, match=r"windy_lander\.so has kernels for GPUs, but none called 'Other-v0/float64'"):
        module.find_library_kernels(os.fsencode(with_kernels), "Other-v0/float64")
