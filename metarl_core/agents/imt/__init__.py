"""IMT: independent multi-task learning."""

from __future__ import annotations

from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.reliability import Reliability

__all__ = ["Reliability", "TaskEmbedding"]
