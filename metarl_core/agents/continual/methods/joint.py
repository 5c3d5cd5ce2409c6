"""Joint multi-task learning: all tasks at once, an upper bound."""

from __future__ import annotations

from typing import ClassVar

from metarl_core.agents.continual.memory import row_bytes, transition_fields
from metarl_core.agents.continual.methods.multihead import MultiHead
from metarl_core.tasks import TaskDataset

__all__ = ["Joint"]


class Joint(MultiHead):
    """The multi-head network trained on all tasks in every phase (Caruana 1997), with the same number of steps in all.

    The replay goes on through the phases and is as large as those of all tasks together.
    """

    simultaneous: ClassVar[bool] = True

    def replay_size(self) -> int:
        """As much as one task's replay for each of them."""
        return self.config.replay_capacity * self.num_tasks

    def stored_bytes(self) -> int:
        """The replay, which goes on through all phases."""
        return len(self.replay) * row_bytes(transition_fields(self.spaces.in_features))

    def begin_task(self, task: int, reference: TaskDataset | None) -> None:
        """Begin once, and go on."""
        if self.known:
            return
        super().begin_task(task, reference)
        self.known = self.num_tasks
