"""What is made of the transitions that the reference policy recorded: parts, mean returns, the scale of rewards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from metarl_core.agents.common.options import ConfigError
from metarl_core.tasks import TaskDataset

__all__ = ["hold_out", "mean_return", "recorded_bytes", "reward_factor"]


def hold_out(recorded: Sequence[TaskDataset], share: float, seed: int) -> tuple[list[TaskDataset], list[TaskDataset]]:
    """Keep a share of every training task's transitions apart, by episodes.

    Returns:
        What tasks are embedded from, and what nothing but step 3 sees.

    Raises:
        ConfigError: a task has too few episodes.
    """
    parts: list[tuple[TaskDataset, ...]] = []
    for number, dataset in enumerate(recorded):
        try:
            parts.append(dataset.split((1 - share, share), seed))
        except ValueError as error:
            raise ConfigError(
                f"training task {number} has {len(dataset)} transitions in {len(dataset.episodes)} episodes, of "
                f"which held_out={share:g} cannot be kept apart ({error}); give it more episodes (larger "
                "reference_steps), or set another held_out"
            ) from error
    return [part[0] for part in parts], [part[1] for part in parts]


def mean_return(dataset: TaskDataset) -> float:
    """Of the episodes that ended; of the cut ones too, if none did."""
    complete = dataset.complete
    return float(dataset.returns[complete].mean() if complete.any() else dataset.returns.mean())


def recorded_bytes(datasets: Iterable[TaskDataset]) -> int:
    """Bytes of all columns of all transitions."""
    return sum(
        column.nbytes
        for d in datasets
        for column in (d.obs, d.actions, d.rewards, d.next_obs, d.terminated, d.truncated, d.episode)
    )


def reward_factor(datasets: Sequence[TaskDataset]) -> float:
    """1 / standard deviation of all tasks' rewards together, or 10 / the largest reward where they are too rare."""
    rewards = np.concatenate([dataset.rewards for dataset in datasets]).astype(np.float64)
    spread, size = float(rewards.std()), float(np.abs(rewards).max())
    if spread <= 1e-6 * size:  # of a reward that never changes
        return 1 / size if size > 0 else 1.0
    return 1 / max(spread, 0.1 * size)
