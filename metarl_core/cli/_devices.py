"""Checking that a device can be used before anything else is done, with the reason if not."""

from __future__ import annotations

import ctypes

from metarl_core.cli._arguments import UsageError, unknown

__all__ = ["DEVICES", "check_device"]

DEVICES = ("cpu", "cuda")
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


def check_device(device: str) -> None:
    """Check that torch can use ``device``.

    Raises:
        UsageError: an unknown device, or CUDA that cannot be used; the message says why: torch built without CUDA, no
            driver, or no device.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cpu":
        return
    import torch

    if torch.version.cuda is None:
        reason = f"torch {torch.__version__} was built without CUDA"
    elif torch.cuda.is_available():
        return
    else:
        reason = _driver_problem() or "torch finds no usable CUDA device (is the driver too old for its CUDA?)"
    raise UsageError(f"device cuda cannot be used: {reason}; use --device cpu")


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
