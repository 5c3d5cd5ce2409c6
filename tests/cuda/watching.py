"""A watch over what passes between host and GPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch


def _set_sync_debug_mode(mode: str) -> None:
    with warnings.catch_warnings():
        # Once a process torch warns that the mode does not see everything: the profiler watches, too.
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype feature", UserWarning)
        torch.cuda.set_sync_debug_mode(mode)


@contextlib.contextmanager
def no_copy_and_no_wait() -> Iterator[None]:
    """Fail if the block copies between host and GPU, or waits for it, or if nothing ran there."""
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        _set_sync_debug_mode("error")
        try:
            yield
        finally:
            _set_sync_debug_mode("default")
        torch.cuda.synchronize()
    names = [event.name for event in profile.events()]
    assert any(str(event.device_type).endswith("CUDA") for event in profile.events())  # the GPU was watched
    found = {name for name in names if "HtoD" in name or "DtoH" in name or name == "cudaStreamSynchronize"}
    assert not found
