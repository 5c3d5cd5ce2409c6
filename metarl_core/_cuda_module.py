"""The CUDA backend: loaded when it is first asked for, as most processes have no use for it."""

from __future__ import annotations

import importlib
import re
from typing import Any

from metarl_core import _core

__all__ = ["cuda_devices", "cuda_module", "device_number", "is_device_array"]

_NOT_BUILT = (
    "this build of metarl_core has no CUDA kernels; build it where nvcc 12 or newer is on PATH (METARL_CUDA=ON)"
)


def device_number(device: Any) -> int | None:
    """Read a ``device`` argument.

    Args:
        device: "cpu", "cuda" (the first GPU), "cuda:1" or an object that prints so, such as a ``torch.device``.

    Returns:
        The number of the GPU, or None for the CPU.

    Raises:
        ValueError: It is none of these.
    """
    name = str(device)
    if name == "cpu":
        return None
    match = re.fullmatch(r"cuda(?::([0-9]{1,3}))?", name)
    if match is None:
        raise ValueError(f"device is {device!r}; must be 'cpu', 'cuda' or 'cuda:N'")
    return int(match.group(1) or 0)


# As DLPack numbers them: CUDA memory, and managed memory.
_DEVICE_MEMORY = (2, 13)


def is_device_array(array: Any) -> bool:
    """Tell whether an object is an array in a GPU's memory."""
    if hasattr(array, "__dlpack_device__"):
        return int(array.__dlpack_device__()[0]) in _DEVICE_MEMORY
    return hasattr(array, "__cuda_array_interface__")


def cuda_module(device: Any) -> Any:
    """Load the extension module for a device that was asked for.

    Raises:
        RuntimeError: There is none in this build, no driver or no GPU; the message says which and what to do.
    """
    # A module of an earlier build may lie beside the core: the core says whether it is of this one.
    if not _core.build_info()["cuda_built"]:
        raise RuntimeError(f"device {str(device)!r} cannot be used: {_NOT_BUILT}, or use device='cpu'")
    module = importlib.import_module("metarl_core._cuda")
    devices, problem = module.list_devices()
    if not devices:
        raise RuntimeError(f"device {str(device)!r} cannot be used: {problem}, or use device='cpu'")
    return module


def cuda_devices() -> tuple[list[str], str]:
    """List the GPUs, which starts the driver.

    Returns:
        A line for each GPU that can be used ("cuda:0 NVIDIA H100, sm_90, 81079 MiB"), and the reason if there is none.
    """
    if not _core.build_info()["cuda_built"]:
        return [], _NOT_BUILT
    try:
        devices, problem = importlib.import_module("metarl_core._cuda").list_devices()
    except (ImportError, RuntimeError) as error:
        return [], str(error)
    return devices, problem
