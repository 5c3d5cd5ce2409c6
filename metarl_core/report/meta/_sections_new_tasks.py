"""Sections on new tasks: scores without training, adaptation, transfer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metarl_core.report.meta._arrays import array, by_method, labels, rising
from metarl_core.report.meta._fields import Setter, one_of, subject_of, with_tasks

__all__ = [
    "Adaptation",
    "TransferCurves",
    "UnseenTasks",
]


@dataclasses.dataclass(frozen=True, eq=False)
class UnseenTasks:
    """Scores on tasks that were not trained on, of several methods or aggregations of submodels.

    With both ``chance`` and ``reference`` scores are normalised for each task, to 0 at chance and 1 at the reference,
    before tasks are averaged. Without them they are averaged as they are: their scales must then be equal.

    Attributes:
        tasks: Labels [tasks].
        scores: For each method float64 [seeds, tasks], higher is better. A seed with a NaN is left out, which the page
            says.
        chance: float64 [tasks]: score of random actions.
        reference: float64 [tasks]: score of what could be reached, such as a policy trained on the task itself.
        reference_name: What that is.
        score_name: What is measured.
        paired: Row s of all methods comes from the same training, as that of several aggregations of the same
            submodels does: differences are then taken seed by seed. Numbers of seeds must be equal.
        subject: The method that is compared with the others; None: the first.

    Raises:
        ValueError: Shapes that do not fit, named with the field; or a task whose reference equals chance.
    """

    tasks: Sequence[str]
    scores: Mapping[str, npt.ArrayLike]
    chance: npt.ArrayLike | None = None
    reference: npt.ArrayLike | None = None
    reference_name: str = "reference"
    score_name: str = "return"
    paired: bool = False
    subject: str | None = None

    def __post_init__(self) -> None:
        """Check all."""
        own = Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        scores = own.set("scores", by_method(own.at("scores"), self.scores, (("seeds", None), ("tasks", count))))
        for name, values in (("chance", self.chance), ("reference", self.reference)):
            if values is not None:
                own.set(name, array(own.at(name), values, (("tasks", count),), nan=False))
        if self.chance is not None and self.reference is not None:
            bad = ~(np.asarray(self.reference) > np.asarray(self.chance))
            if bad.any():
                task = int(bad.argmax())
                level, chance = float(np.asarray(self.reference)[task]), float(np.asarray(self.chance)[task])
                raise ValueError(
                    f"{own.at('reference')}[{task}] is {level}, and chance on {self.tasks[task]!r} is {chance}; the "
                    "reference must be above chance"
                )
        seeds = {method: len(values) for method, values in scores.items()}
        if self.paired and len(set(seeds.values())) > 1:
            raise ValueError(f"{own.at('scores')} has {seeds} seeds; must be equal, as paired is True")
        own.set("subject", subject_of(own.at("subject"), self.subject, scores))

    @property
    def normalised(self) -> bool:
        """Whether scores are averaged as shares of the way from chance to the reference."""
        return self.chance is not None and self.reference is not None


@dataclasses.dataclass(frozen=True, eq=False)
class Adaptation:
    """Performance on new tasks by number of episodes of adaptation.

    Attributes:
        episodes: float64 [points], rising: 0 for zero-shot.
        curves: For each method float64 [seeds, points] or [seeds, tasks, points].
        chance: Level of random actions.
        reference: Level that could be reached.
        reference_name: What that is.
        score_name: What is measured.
        statistic: ``iqm`` or ``mean``, over the seeds and tasks of one point.
        unit: What the first axis counts, in the singular: ``seed``, or ``adaptation`` where one trained agent met the
            task several times. Intervals hold the spread of these.

    Raises:
        ValueError: Shapes that do not fit, named with the field; or there is no such statistic.
    """

    episodes: npt.ArrayLike
    curves: Mapping[str, npt.ArrayLike]
    chance: float | None = None
    reference: float | None = None
    reference_name: str = "reference"
    score_name: str = "return"
    statistic: str = "iqm"
    unit: str = "seed"

    def __post_init__(self) -> None:
        """Check all."""
        own = Setter(self)
        if self.statistic not in ("iqm", "mean"):
            raise ValueError(f"{own.at('statistic')} is {self.statistic!r}; expected 'iqm' or 'mean'")
        episodes = own.set("episodes", rising(own.at("episodes"), self.episodes, ("points", None)))
        own.set("curves", with_tasks(own.at("curves"), self.curves, len(episodes)))


@dataclasses.dataclass(frozen=True, eq=False)
class TransferCurves:
    """Learning curves on target tasks after transfer, and from scratch.

    Attributes:
        steps: float64 [points]: environment steps on the target task, rising.
        curves: For each method float64 [seeds, points] or [seeds, tasks, points].
        scratch: Which of them started from scratch.
        threshold: Performance whose time is asked for; None: not asked for.
        last: Number of last points that are averaged as the asymptotic performance.
        score_name: What is measured.

    Raises:
        ValueError: Shapes that do not fit, named with the field; or ``scratch`` is none of the curves.
    """

    steps: npt.ArrayLike
    curves: Mapping[str, npt.ArrayLike]
    scratch: str
    threshold: float | None = None
    last: int = 1
    score_name: str = "return"

    def __post_init__(self) -> None:
        """Check all."""
        own = Setter(self)
        steps = own.set("steps", rising(own.at("steps"), self.steps, ("points", None)))
        curves = own.set("curves", with_tasks(own.at("curves"), self.curves, len(steps)))
        one_of(own.at("scratch"), self.scratch, curves)
        tasks = {method: curve.shape[1] for method, curve in curves.items()}
        if len(set(tasks.values())) > 1:
            raise ValueError(f"{own.at('curves')} has {tasks} tasks; expected one number for all methods")
        if not 1 <= self.last <= len(steps):
            raise ValueError(f"{own.at('last')} is {self.last}; must be in [1, {len(steps)}], the number of points")
