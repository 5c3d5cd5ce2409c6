"""How far task embeddings can be trusted: agreement of two halves, and identification of tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metarl_core.tasks import TaskDataset
from metarl_core.vector.checks import checked_integer

__all__ = ["Reliability", "measure"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """What ``TaskEmbedding.split_half_reliability`` measured.

    Attributes:
        transitions: Length of a window.
        cosines: float64 ``(T,)``: for every task the mean cosine of a window of one half of its episodes and one of the
            other half.
        identified: float64 ``(T,)``: for every task the share of its held-out windows whose nearest task it is; chance
            is 1 / T.
        windows: int64 ``(T,)``: number of held-out windows.
    """

    transitions: int
    cosines: _Floats
    identified: _Floats
    windows: npt.NDArray[np.int64]

    @property
    def cosine(self) -> float:
        """Mean over the tasks."""
        return float(self.cosines.mean())

    @property
    def identification(self) -> float:
        """Mean over the tasks: the 1-nearest-neighbour rate."""
        return float(self.identified.mean())


def measure(
    embed: Callable[[TaskDataset], _Floats], datasets: Sequence[TaskDataset], transitions: int | None, seed: int
) -> Reliability:
    """Measure, with any function that gives a task's embedding of length 1.

    Raises:
        TypeError, ValueError: As of ``TaskEmbedding.split_half_reliability``.
    """
    if len(datasets) < 2:
        raise ValueError(f"datasets has {len(datasets)} tasks; must have at least 2")
    seed = checked_integer("seed", seed, 0, None)
    halves = [_halves(i, dataset, seed) for i, dataset in enumerate(datasets)]
    shortest = min(len(half) for pair in halves for half in pair)
    length = shortest if transitions is None else checked_integer("transitions", transitions, 1, None)
    if length > shortest:
        raise ValueError(f"transitions is {length}; the shortest half of the datasets' episodes has {shortest}")
    known = [_windows(embed, first, length) for first, _ in halves]
    asked = [_windows(embed, second, length) for _, second in halves]
    cosines = np.array([float((a @ b.T).mean()) for a, b in zip(known, asked, strict=True)])
    # Every set of one known window a task is a reference; all have the same number of tasks in it.
    references = min(map(len, known))
    identified = np.empty(len(datasets))
    for task, windows in enumerate(asked):
        hits = [(windows @ np.stack([rows[k] for rows in known]).T).argmax(axis=1) == task for k in range(references)]
        identified[task] = np.mean(hits)
    return Reliability(length, cosines, identified, np.array([len(windows) for windows in asked]))


def _halves(number: int, dataset: TaskDataset, seed: int) -> tuple[TaskDataset, TaskDataset]:
    if not isinstance(dataset, TaskDataset):
        raise TypeError(f"datasets[{number}] is a {type(dataset).__name__}; must be a TaskDataset")
    episodes = dataset.episodes
    if len(episodes) < 2:
        raise ValueError(f"datasets[{number}] has 1 episode; must have at least 2, one for each half")
    order = np.random.default_rng([seed, number]).permutation(episodes)
    middle = len(order) // 2
    return dataset.take_episodes(order[:middle]), dataset.take_episodes(order[middle:])


def _windows(embed: Callable[[TaskDataset], _Floats], half: TaskDataset, length: int) -> _Floats:
    """Embeddings of the half's windows, what is left over not used: ``(number of windows, E)``."""
    starts = range(0, len(half) - length + 1, length)
    return np.stack([embed(half.take_rows(start, start + length)) for start in starts])
