"""Checking that a device can be used before anything else is done, with the reason if not."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import torch

from metarl_core.errors import ConfigError

__all__ = ["check_device", "flushed_denormals"]

_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def check_device(device: str) -> None:
    """Check that torch can use ``device``.

    Raises:
        ConfigError: CUDA cannot be used; the message says why: torch built without CUDA, no driver, or no device.
    """
    if device != "cuda" or torch.cuda.is_available():
        return
    if torch.version.cuda is None:
        reason = f"torch {torch.__version__} was built without CUDA"
    else:
        reason = _driver_problem() or "torch finds no usable CUDA device (is the driver too old for its CUDA?)"
    raise ConfigError(f"device cuda cannot be used: {reason}; use cpu")


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take denormal numbers for zero on this thread's CPU meanwhile.

    Adam's moments of parameters that hardly ever get a gradient, such as the first layer's rows of rare one-hot
    observations, decay into the denormals, where each operation traps and costs a hundred times as much.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _driver_problem() -> str | None:
    """Ask the driver itself: without one, the runtime reports an 'insufficient driver', which misleads."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver is installed (libcuda.so.1 not found)"
    status = driver.cuInit(0)
    if status == _NO_DEVICE:
        return "the driver finds no CUDA device"
    return f"the NVIDIA driver cannot start (cuInit gives {status})" if status else None
