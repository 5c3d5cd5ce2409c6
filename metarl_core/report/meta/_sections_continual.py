"""Sections on learning one task after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metarl_core.report.meta._arrays import array, by_method, labels, rising
from metarl_core.report.meta._fields import ROUNDING, Setter, numbers, one_of, subject_of

__all__ = [
    "ContinualResults",
    "EvaluationCurves",
]


@dataclasses.dataclass(frozen=True, eq=False)
class ContinualResults:
    """Performance p_i(t) on each task i at each checkpoint t of learning one task after another.

    Attributes:
        tasks: Labels [tasks].
        performance: For each method float64 [seeds, checkpoints, tasks], higher is better, NaN where it was not
            measured. Numbers of seeds may differ between methods. A seed whose performance at the end, or at the end
            of a task's own training, is NaN is left out of the measures that need it, which the page says.
        task_ends: int [tasks]: the checkpoint at which each task's training had ended; None: checkpoint i for task i.
        steps: float64 [checkpoints]: environment steps at each checkpoint; None: they are numbered.
        joint: Methods that learn all tasks at once: nothing ends, so that forgetting is not defined for them.
        auc: For some methods float64 [seeds, tasks] <= 1: area under each task's learning curve while it was trained
            (``metarl_core.stats.area_under_curve``). With ``scratch_auc``, for forward transfer.
        scratch_auc: float64 [seeds, tasks] <= 1: the same of training on each task alone from scratch; its mean over
            the seeds is the baseline.
        subject: The method that is compared with the others; None: the first.
        learned: For some methods float64 [seeds, tasks]: what each task had come to by the end of its training, from
            which forgetting is counted, where that is not the performance at ``task_ends``: of a method that does
            something of its own when a task ends, before it.

    Raises:
        ValueError: Shapes that do not fit, named with the field.
    """

    tasks: Sequence[str]
    performance: Mapping[str, npt.ArrayLike]
    task_ends: npt.ArrayLike | None = None
    steps: npt.ArrayLike | None = None
    joint: Sequence[str] = ()
    auc: Mapping[str, npt.ArrayLike] | None = None
    scratch_auc: npt.ArrayLike | None = None
    subject: str | None = None
    learned: Mapping[str, npt.ArrayLike] | None = None

    def __post_init__(self) -> None:
        """Check all."""
        own = Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        axes = (("seeds", None), ("checkpoints", None), ("tasks", count))
        matrices = own.set("performance", by_method(own.at("performance"), self.performance, axes))
        times = {method: matrix.shape[1] for method, matrix in matrices.items()}
        if len(set(times.values())) > 1:
            raise ValueError(f"{own.at('performance')} has {times} checkpoints; expected one number for all methods")
        checkpoints = next(iter(times.values()))
        own.set("task_ends", _ends(own.at("task_ends"), self.task_ends, count, checkpoints))
        if self.steps is not None:
            own.set("steps", rising(own.at("steps"), self.steps, ("checkpoints", checkpoints)))
        own.set("joint", tuple(self.joint))
        for method in (*self.joint, *(self.auc or ())):
            one_of(own.at("joint" if method in self.joint else "auc"), method, matrices)
        if (self.auc is None) != (self.scratch_auc is None):
            raise ValueError(f"{own.at('auc')} and scratch_auc belong together; got only one of them")
        if self.auc is not None and self.scratch_auc is not None:
            areas = (("seeds", None), ("tasks", count))
            own.set("auc", by_method(own.at("auc"), self.auc, areas))
            own.set("scratch_auc", array(own.at("scratch_auc"), self.scratch_auc, areas, nan=False))
            for name, values in (*self.auc.items(), ("scratch_auc", self.scratch_auc)):
                if np.nanmax(np.append(values, 0.0)) > 1 + ROUNDING:
                    raise ValueError(f"{own.at('auc')}: {name} holds {np.nanmax(values)}; areas must be <= 1")
        if self.learned is not None:
            heights = own.set(
                "learned", by_method(own.at("learned"), self.learned, (("seeds", None), ("tasks", count)))
            )
            for method, values in heights.items():
                one_of(own.at("learned"), method, matrices)
                if len(values) != len(matrices[method]):
                    raise ValueError(
                        f"{own.at('learned')}: {method} has {len(values)} seeds; performance has "
                        f"{len(matrices[method])}"
                    )
        own.set("subject", subject_of(own.at("subject"), self.subject, matrices))


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationCurves:
    """Performance on each task while learning one after another.

    Attributes:
        tasks: Labels [tasks].
        steps: float64 [points]: environment steps of the evaluations, rising.
        curves: For each method float64 [seeds, points, tasks]; NaN where it was not measured.
        phase_starts: float64 [phases]: environment steps at which training switched to another task, the first
            included, rising; None: no switches.
        phase_tasks: int [phases]: number of the task that each phase trains.
        score_name: What is measured.

    Raises:
        ValueError: Shapes that do not fit, named with the field.
    """

    tasks: Sequence[str]
    steps: npt.ArrayLike
    curves: Mapping[str, npt.ArrayLike]
    phase_starts: npt.ArrayLike | None = None
    phase_tasks: npt.ArrayLike | None = None
    score_name: str = "performance"

    def __post_init__(self) -> None:
        """Check all."""
        own = Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        steps = own.set("steps", rising(own.at("steps"), self.steps, ("points", None)))
        axes = (("seeds", None), ("points", len(steps)), ("tasks", count))
        own.set("curves", by_method(own.at("curves"), self.curves, axes))
        if (self.phase_starts is None) != (self.phase_tasks is None):
            raise ValueError(f"{own.at('phase_starts')} and phase_tasks belong together; got only one of them")
        if self.phase_starts is not None and self.phase_tasks is not None:
            starts = own.set("phase_starts", rising(own.at("phase_starts"), self.phase_starts, ("phases", None)))
            own.set("phase_tasks", numbers(own.at("phase_tasks"), self.phase_tasks, ("phases", len(starts)), count))


def _ends(where: str, ends: npt.ArrayLike | None, tasks: int, checkpoints: int) -> npt.NDArray[np.int64]:
    if ends is not None:
        return numbers(where, ends, ("tasks", tasks), checkpoints)
    if checkpoints != tasks:
        raise ValueError(
            f"{where} is None, but performance has {checkpoints} checkpoints and {tasks} tasks; give the checkpoint at "
            "which training of each task had ended"
        )
    return np.arange(tasks)
