"""Sequential fine-tuning: one network goes on learning, whatever the task."""

from __future__ import annotations

from metarl_core.agents.continual.qlearning import QLearner

__all__ = ["FineTuning"]


class FineTuning(QLearner):
    """Double DQN that is not told of tasks, but whose replay begins anew with each: what forgetting is measured by."""
