"""A network of its own for each task, from scratch: what transfer is measured by."""

from __future__ import annotations

from collections.abc import Sequence

from metarl_core.agents.continual.qlearning import QLearner, QModel

__all__ = ["Scratch"]


class Scratch(QLearner):
    """Double DQN trained anew on every task; earlier networks are kept as they are.

    All networks are members of one batched model. Adam leaves members without a gradient exactly where they are, as its
    moments begin anew with every phase.
    """

    @property
    def identity(self) -> bool:
        """Told, to take the task's network."""
        return True

    def begun(self, tasks: Sequence[int]) -> list[int]:
        """The tasks: one that is yet to come is played by its own network, which nobody has trained.

        A learning curve so begins at what the task alone, from scratch, begins at.
        """
        return list(tasks)

    def make_model(self) -> QModel:
        """A trunk and a last layer for every task."""
        return self._q_model(self.num_tasks, self.num_tasks)
