"""Environments of one's own in device memory without a GPU: a library whose kernels run on the emulator, bit for bit
against its environments on the CPU; and libraries that have none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from device_env_helpers import MODES, actions_of, assert_same, assert_same_obs, assert_same_step, pair, play
from emulated_cuda import FOLDER, emulated, needs_emulator
from env_library_helpers import MINIMAL, compiled

import metarl_core
from metarl_core import _cuda_module
from metarl_core.vector.library import library_kernels

pytestmark = needs_emulator
ROWS = 11
LANDER, DRIFTER = "EmulatedLander-v0", "EmulatedDrifter-v3"
IDS = [LANDER, DRIFTER]
PRECISIONS = ["float64", "float32"]


@pytest.fixture(autouse=True)
def _emulated_device(monkeypatch):
    monkeypatch.setattr(_cuda_module, "cuda_module", lambda device: emulated)


@pytest.fixture(autouse=True, scope="module")
def library():
    path = FOLDER / "two_landers.so"
    assert metarl_core.load_env_library(path) == IDS
    return path


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("env_id", IDS)
def test_same_bits_as_the_cpu(env_id, precision, mode):
    device, cpu = pair(env_id, ROWS, mode, seed=4, precision=precision, max_episode_steps=9)
    play(device, cpu, np.ascontiguousarray, 24)


def test_episodes_end_by_themselves_and_precisions_differ():
    """What the comparisons above see: landings, crashes, actions that count, and two sets of kernels."""
    device, _ = pair(LANDER, 64, "same_step", seed=4)
    narrow, _ = pair(LANDER, 64, "same_step", seed=4, precision="float32")
    device.reset()
    narrow.reset()
    rollout = device.rollout("random", 200)
    assert rollout.terminated.numpy().sum() > 50
    assert not np.array_equal(rollout.obs.numpy(), narrow.rollout("random", 200).obs.numpy())
    drifters, _ = pair(DRIFTER, 64, seed=4)
    starts = drifters.reset()[0].numpy()
    assert len(np.unique(starts)) == starts.size


@pytest.mark.parametrize(
    ("env_id", "tasks"),
    [
        (LANDER, {"gravity": np.linspace(1, 3, ROWS), "gust": 1.5}),
        (DRIFTER, {"width": np.linspace(0.5, 2, ROWS)}),
    ],
)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_tasks_of_rows_and_from_a_table(env_id, tasks, precision, table, mode):
    device, cpu = pair(env_id, ROWS, mode, max_episode_steps=6, precision=precision)
    for envs in (device, cpu):
        if table:
            envs.sample_tasks_at_reset({name: np.resize(value, 5) for name, value in tasks.items()})
        else:
            envs.set_tasks(tasks, task_id=100 + np.arange(ROWS))
    play(device, cpu, np.ascontiguousarray, 14)
    for name, values in cpu.get_tasks().items():
        assert_same(device.get_tasks()[name], values, name)
    assert_same(device.task_id, cpu.task_id)


def test_parameters_states_and_errors_are_those_of_every_environment():
    device, cpu = pair(LANDER, ROWS, "disabled", gravity=2.5, max_episode_steps=5)
    cpu.reset(seed=8)
    for actions in actions_of(cpu, 3):
        cpu.step(actions)
    device.restore(cpu.snapshot())
    assert_same_obs(device.observe(), cpu.observe())
    actions = actions_of(cpu, 1)[0]
    assert_same_step(device.step(actions), cpu.step(actions))
    actions[7] = 4
    device.step(actions)
    with pytest.raises(ValueError, match=r"actions\[7\] is 4; must be in \[0, 4\)"):
        device.check()


def test_on_the_second_device():
    envs = metarl_core.make_vec(LANDER, 3, device="cuda:1")
    cpu = metarl_core.make_vec(LANDER, 3)
    assert envs.device == "emulated:1"
    assert_same_obs(envs.reset(seed=1)[0], cpu.reset(seed=1)[0])


# ---- libraries whose kernels cannot be used --------------------------------------------------------------------------
KERNELS = """
#include <metarl/cuda/env_library.h>
using namespace metarl::cuda;
static int load(const void*) { return 0; }
static int launch(const void*, const EnvCall&, void*) { return 0; }
static const EnvRuntime runtime{0, nullptr, load, launch};
static const EnvKernels kernels[] = {KERNELS};
static const EnvKernelLibrary library{LIBRARY, kernels};
extern "C" const EnvKernelLibrary* metarl_cuda_env_library() { return RESULT; }
"""
GOOD = '{"Other-v0/float64", load_address, load_address, load_address, &runtime}'
SIZES = "sizeof(EnvCall), sizeof(EnvStatus), sizeof(EnvKernels)"
BAD = {
    "None": ({}, "has no kernels for GPUs; build it with metarl_add_environment"),
    "Version": (
        {"library": "7, 0, 0, 0, 0"},
        "has kernels for version 7 of the interface for GPUs; this metarl_core has version 1: build it again",
    ),
    "Sizes": (
        {"library": "kEnvKernelsVersion, 8, 8, 8, 1"},
        "lay out structures otherwise than this metarl_core: build it again",
    ),
    "Count": (
        {"library": f"kEnvKernelsVersion, {SIZES}, 1000000"},
        "describes its kernels for GPUs wrongly: there are said to be 1000000",
    ),
    "Absent": (
        {},
        "has kernels for GPUs, but none called 'Absent-v0/float64'; name the model in METARL_CUDA_ENVIRONMENTS",
    ),
    "Incomplete": (
        {"kernels": '{"Incomplete-v0/float64", nullptr, nullptr, nullptr, &runtime}'},
        "lacks a function among its kernels for GPUs, number 0",
    ),
    "Null": ({"result": "nullptr"}, r"has a function metarl_cuda_env_library\(\) that returns null"),
}


def kernels_text(kernels=GOOD, library=f"kEnvKernelsVersion, {SIZES}, 1", result="&library"):
    text = KERNELS.replace("{KERNELS}", "{" + kernels + "}").replace("LIBRARY", library).replace("RESULT", result)
    return text.replace("load_address", "reinterpret_cast<const void*>(&load)")


@pytest.mark.parametrize("name", BAD)
def test_a_library_without_usable_kernels_is_refused_and_runs_on_the_cpu(tmp_path, name):
    values, message = BAD[name]
    text = MINIMAL if name == "None" else MINIMAL + kernels_text(**values)
    path = compiled(tmp_path, text, ID=f'"{name}-v0"')
    assert metarl_core.load_env_library(path) == [f"{name}-v0"]
    with pytest.raises(ValueError, match=message) as raised:
        metarl_core.make_vec(f"{name}-v0", 3, device="cuda")
    assert str(raised.value).startswith(str(path))
    assert metarl_core.make_vec(f"{name}-v0", 2).reset()[0].tolist() == [[0.0], [0.0]]
    support = pytest.importorskip("metarl_core.agents.device.support")
    agents = pytest.importorskip("metarl_core.agents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(support, "cuda_devices", lambda: (["cuda:0 a GPU"], ""))
        for env_id in (f"{name}-v0", f"metarl_core/{name}-v0"):
            assert str(raised.value) == support.why_on_host(agents.resolve_config("ddqn-per", env_id))


def test_a_file_that_is_not_loaded_is_not_opened(library, tmp_path):
    for path in (tmp_path / "absent.so", tmp_path / "copy.so"):
        if path.name == "copy.so":
            path.write_bytes(library.read_bytes())
        with pytest.raises(ValueError, match=r"\.so is not loaded; metarl_core\.load_env_library loads it"):
            emulated.find_library_kernels(str(path).encode(), LANDER + "/float64")


def test_a_library_is_found_through_links_and_after_its_file_was_replaced(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    text = MINIMAL + kernels_text(GOOD.replace("Other-v0", "Linked-v0"))
    path = compiled(folder, text, ID='"Linked-v0"')
    assert metarl_core.load_env_library(tmp_path / "link" / path.name) == ["Linked-v0"]
    path.unlink()
    path.write_text("something else")
    emulated.find_library_kernels(**library_kernels("Linked-v0", "float64"))


# ---- training --------------------------------------------------------------------------------------------------------
def test_training_on_the_device_is_the_hosts_bit_for_bit(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    agents = pytest.importorskip("metarl_core.agents")
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "agents"))
    from device_run_helpers import assert_same_run, run_loop

    from metarl_core.agents.device import support
    from metarl_core.agents.device.loop import DeviceTrainer
    from metarl_core.agents.loop import Trainer
    from metarl_core.replay import device_buffer

    monkeypatch.setattr(device_buffer, "cuda_module", lambda device: emulated)
    monkeypatch.setattr(support, "cuda_devices", lambda: (["cuda:0 a GPU"], ""))
    options = ["total_steps=240", "learning_starts=32", "batch_size=16", "hidden=8", "log_interval=50", "num_envs=4"]
    config = agents.resolve_config(
        "ddqn-per", LANDER, None, [*options, "max_episode_steps=20", "evaluation_episodes=2"]
    )
    assert support.why_on_host(config) is None
    run_loop(Trainer, config, tmp_path / "host")
    trainer = run_loop(DeviceTrainer, config, tmp_path / "device")
    assert trainer.agent.updates > 20
    assert_same_run(tmp_path / "device", tmp_path / "host")
