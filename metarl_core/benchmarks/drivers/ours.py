"""metarl_core itself."""

from __future__ import annotations

from typing import Any

from . import floor, ours_env, ours_replay, ours_streams
from .base import Driver, Factory


class Ours(Driver):
    """metarl_core."""

    name = "metarl_core"
    packages = ("metarl-core", "numpy", "gymnasium")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Everything, and beside it the floor that memory sets."""
        if workload == "env":
            return {**ours_env.contestants(workload, params), **floor.contestants(workload, params)}
        streams = workload in ours_streams.CLASSES
        found = (ours_streams if streams else ours_replay).contestants(workload, params)
        return {**found, **floor.contestants(workload, params)}


DRIVER = Ours()
