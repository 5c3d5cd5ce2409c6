"""``device="cuda"`` where it cannot be used, and what may not happen before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import metarl_core
from metarl_core import PrioritizedReplayBuffer, SumTree, _cuda_module
from metarl_core.cli import main


def test_import_loads_no_cuda():
    code = "import sys, metarl_core; metarl_core.build_info(); print('metarl_core._cuda' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CUDA", 0, None, "cuda:-1"])
def test_unknown_devices(device):
    with pytest.raises(ValueError, match=r"device is .*; must be 'cpu', 'cuda' or 'cuda:N'"):
        SumTree(4, device=device)
    with pytest.raises(ValueError, match=r"device is .*; must be 'cpu', 'cuda' or 'cuda:N'"):
        PrioritizedReplayBuffer(4, {"x": ((), bool)}, device=device)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", None])
def test_unknown_devices_of_environments(device):
    with pytest.raises(ValueError, match=r"device is .*; must be 'cpu', 'cuda' or 'cuda:N'"):
        metarl_core.make_vec("CartPole-v1", 2, device=device)


def test_environments_of_the_cpu_are_the_default():
    envs = metarl_core.make_vec("CartPole-v1", 2, device="cpu")
    assert type(envs) is type(metarl_core.make_vec("CartPole-v1", 2))
    metarl_core.make_async("CartPole-v1", 2, device="cpu").close()


def test_cpu_is_the_default():
    assert type(SumTree(4, 1, device="cpu")) is type(SumTree(4)) is SumTree
    fields = {"x": ((), bool)}
    for options in ({}, {"device": "cpu"}):
        assert type(PrioritizedReplayBuffer(4, fields, **options)) is PrioritizedReplayBuffer
    with pytest.raises(TypeError):
        SumTree(4, 1, "cpu")


def test_a_build_without_cuda_says_so_even_where_an_old_module_lies(monkeypatch, capsys):
    info = metarl_core.build_info()
    monkeypatch.setattr(_cuda_module._core, "build_info", lambda: info | {"cuda_built": False})
    with pytest.raises(
        RuntimeError, match=r"device 'cuda:1' cannot be used: this build .* has no CUDA kernels; build it"
    ):
        SumTree(4, device="cuda:1")
    with pytest.raises(RuntimeError, match=r"device 'cuda:1' cannot be used: this build .* has no CUDA kernels"):
        metarl_core.make_vec("CartPole-v1", 4, device="cuda:1")
    assert main(["info"]) == 0
    assert "GPUs              none: this build of metarl_core has no CUDA kernels" in capsys.readouterr().out


def test_without_driver_or_gpu_the_message_says_which(capsys):
    if not metarl_core.build_info()["cuda_built"]:
        pytest.skip("this build has no CUDA kernels")
    devices, problem = _cuda_module.cuda_devices()
    if devices:
        pytest.skip("this machine has a usable GPU")
    assert any(
        reason in problem for reason in ("no NVIDIA driver", "finds no GPU", "update the driver", "does not start")
    )
    with pytest.raises(RuntimeError) as raised:
        SumTree(4, device="cuda")
    assert str(raised.value) == f"device 'cuda' cannot be used: {problem}, or use device='cpu'"
    with pytest.raises(RuntimeError) as raised:
        metarl_core.make_vec("CartPole-v1", 4, device="cuda")
    assert str(raised.value) == f"device 'cuda' cannot be used: {problem}, or use device='cpu'"
    assert main(["info"]) == 0
    assert f"GPUs              none: {problem}" in capsys.readouterr().out
