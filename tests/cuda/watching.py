"""A watch over what passes between host and GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def no_copy_and_no_wait() -> Iterator[None]:
    """Fail if the block copies between host and GPU, or waits for it, or if nothing ran there."""
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
    names = [event.name for event in profile.events()]
    assert any(str(event.device_type).endswith("CUDA") for event in profile.events())  # the GPU was watched
    found = {name for name in names if "HtoD" in name or "DtoH" in name or name == "cudaStreamSynchronize"}
    assert not found
