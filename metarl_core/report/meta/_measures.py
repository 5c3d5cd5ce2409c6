"""The measures of each section, as arrays [seeds, tasks] and as estimates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metarl_core import stats
from metarl_core.report.meta._arrays import Array
from metarl_core.report.meta._estimates import Estimate, estimate
from metarl_core.report.meta.sections import ContinualResults, UnseenTasks

__all__ = [
    "ContinualMeasures",
    "average_over_seeds",
    "continual_measures",
    "final_performance",
    "forgetting_by_task",
    "levels",
    "performance",
    "task_ends",
    "transfer_undefined",
    "unseen_scores",
]


class ContinualMeasures(NamedTuple):
    """One method's measures; None where one is not defined or not measured."""

    average: Estimate | None
    middle: Estimate | None
    forgetting: Estimate | None
    backward: Estimate | None
    forward: Estimate | None
    worst: Estimate | None


def performance(section: ContinualResults, method: str) -> Array:
    """p_i(t), float64 [seeds, checkpoints, tasks]."""
    return np.asarray(section.performance[method])


def task_ends(section: ContinualResults) -> npt.NDArray[np.int64]:
    """Checkpoint at which each task's training had ended, int64 [tasks]."""
    return np.asarray(section.task_ends)


def final_performance(section: ContinualResults, method: str) -> Array:
    """p_i(T), float64 [seeds, tasks]."""
    return performance(section, method)[:, -1]


def forgetting_by_task(section: ContinualResults, method: str) -> Array | None:
    """F_i, float64 [seeds, tasks], NaN in seeds that lack a number it needs; None for joint training."""
    if method in section.joint:
        return None
    matrix, ends = performance(section, method), task_ends(section)
    own = matrix[:, ends, np.arange(len(ends))]
    if section.learned is not None and method in section.learned:
        own = np.asarray(section.learned[method])
    lost: Array = own - matrix[:, -1]
    lost[np.isnan(lost).any(axis=1)] = np.nan
    return lost


def continual_measures(section: ContinualResults, method: str) -> ContinualMeasures:
    """Measures of one method with their intervals."""
    final, lost = final_performance(section, method), forgetting_by_task(section, method)
    earlier = task_ends(section) < performance(section, method).shape[1] - 1
    forward = _forward_transfer(section, method)
    return ContinualMeasures(
        average=estimate(final, stats.mean),
        middle=estimate(final, stats.iqm),
        forgetting=None if lost is None else estimate(lost, stats.mean),
        # Zero minus: so that none lost is 0, not -0.
        backward=None if lost is None or not earlier.any() else estimate(0.0 - lost[:, earlier], stats.mean),
        forward=None if forward is None else estimate(forward, stats.mean),
        worst=estimate(final, stats.worst_task),
    )


def _forward_transfer(section: ContinualResults, method: str) -> Array | None:
    """FT_i, float64 [seeds, tasks that could gain something]; None where there are no areas."""
    if section.auc is None or section.scratch_auc is None or method not in section.auc:
        return None
    areas = np.asarray(section.auc[method])
    whole = ~np.isnan(areas).any(axis=1)
    gained = np.full(areas.shape, np.nan)
    if not whole.any():
        return None
    gained[whole] = stats.forward_transfer(areas[whole], np.asarray(section.scratch_auc).mean(axis=0))
    defined = ~np.isnan(gained[whole]).any(axis=0)
    return gained[:, defined] if defined.any() else None


def transfer_undefined(section: ContinualResults) -> list[str]:
    """Tasks that are learned so fast from scratch that nothing could be gained: forward transfer leaves them out."""
    if section.scratch_auc is None:
        return []
    alone = np.asarray(section.scratch_auc).mean(axis=0)
    missing = np.isnan(stats.forward_transfer(alone, alone))
    return [task for task, nothing in zip(section.tasks, missing, strict=True) if nothing]


def unseen_scores(section: UnseenTasks, method: str) -> Array:
    """Scores float64 [seeds, tasks]: shares of the way from chance to the reference if the section has both."""
    return _normalise(section, np.asarray(section.scores[method]))


def levels(section: UnseenTasks) -> dict[str, Array]:
    """Levels to compare with, float64 [tasks], on the scale of :func:`unseen_scores`."""
    found = {"chance": section.chance, section.reference_name: section.reference}
    return {name: _normalise(section, np.asarray(level)) for name, level in found.items() if level is not None}


def _normalise(section: UnseenTasks, values: Array) -> Array:
    if section.chance is None or section.reference is None:
        return values
    chance, reference = np.asarray(section.chance), np.asarray(section.reference)
    normalised: Array = (values - chance) / (reference - chance)
    return normalised


def average_over_seeds(values: Array) -> Array:
    """Mean over the seeds (axis 0) that have a number, NaN where none has one."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
