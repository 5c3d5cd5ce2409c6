"""metarl_core itself."""

from __future__ import annotations

from typing import Any

from . import ours_env, ours_replay, ours_streams
from .base import Driver, Factory


class Ours(Driver):
    """metarl_core."""

    name = "metarl_core"
    packages = ("metarl-core", "numpy", "gymnasium")

    def contestants(self, workload: str, params: dict[str, Any]) -> dict[str, Factory]:
        """Everything."""
        if workload == "env":
            return ours_env.contestants(workload, params)
        if workload in ours_streams.CLASSES:
            return ours_streams.contestants(workload, params)
        return ours_replay.contestants(workload, params)


DRIVER = Ours()
