"""Multi-head: one trunk that goes on learning, and a last layer for each task."""

from __future__ import annotations

from metarl_core.agents.continual.qlearning import QLearner

__all__ = ["MultiHead"]


class MultiHead(QLearner):
    """Fine-tuning of a shared trunk with a last layer for each task (Li & Hoiem 2016's "fine-tuning").

    A last layer stays as it is while others are trained; the trunk below it does not.
    """

    @property
    def identity(self) -> bool:
        """Told, to take the task's last layer."""
        return True
