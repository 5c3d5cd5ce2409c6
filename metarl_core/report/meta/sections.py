"""What a report about several tasks can show: plain arrays and labels, checked when they are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metarl_core.report.meta._arrays import Array, array, by_method, labels, rising, shares

__all__ = [
    "Adaptation",
    "AveragingWeights",
    "ContinualResults",
    "EvaluationCurves",
    "MetaReportData",
    "MethodCost",
    "RoutingWeights",
    "TaskEmbeddings",
    "TaskSimilarity",
    "TransferCurves",
    "UnseenTasks",
    "parameter_labels",
]

_ROUNDING = 1e-6  # of cosines and areas that come out of sums
_PARTS = ("train", "val", "test")


def parameter_labels(parameters: Mapping[str, npt.ArrayLike]) -> tuple[str, ...]:
    """Label tasks by their parameters, such as ``length=0.5, masscart=1``: with as many digits as tell them apart.

    Args:
        parameters: For each parameter its value in each task, [T].

    Raises:
        ValueError: No parameter, or numbers of tasks that differ.
    """
    columns = {name: np.asarray(values) for name, values in parameters.items()}
    shapes = {name: values.shape for name, values in columns.items()}
    if not columns or len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"parameters have shapes {shapes}; expected at least one parameter, all of shape (tasks,)")
    rows = list(zip(*columns.values(), strict=True))
    found: tuple[str, ...] = ()
    for digits in (3, 5, 8, 17):
        found = tuple(
            ", ".join(f"{name}={_plain(value, digits)}" for name, value in zip(columns, row, strict=True))
            for row in rows
        )
        if len(set(found)) == len(found):
            break
    return found


def _plain(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, (float, np.floating)) else str(value)


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

    matrices: dict[str, Array] = dataclasses.field(init=False, repr=False)
    ends: npt.NDArray[np.int64] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check all."""
        own = _Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        axes = (("seeds", None), ("checkpoints", None), ("tasks", count))
        matrices = own.set("matrices", by_method(own.at("performance"), self.performance, axes))
        times = {method: matrix.shape[1] for method, matrix in matrices.items()}
        if len(set(times.values())) > 1:
            raise ValueError(f"{own.at('performance')} has {times} checkpoints; expected one number for all methods")
        checkpoints = next(iter(times.values()))
        own.set("ends", _ends(own.at("task_ends"), self.task_ends, count, checkpoints))
        if self.steps is not None:
            own.set("steps", rising(own.at("steps"), self.steps, ("checkpoints", checkpoints)))
        own.set("joint", tuple(self.joint))
        for method in (*self.joint, *(self.auc or ())):
            _one_of(own.at("joint" if method in self.joint else "auc"), method, matrices)
        if (self.auc is None) != (self.scratch_auc is None):
            raise ValueError(f"{own.at('auc')} and scratch_auc belong together; got only one of them")
        if self.auc is not None and self.scratch_auc is not None:
            areas = (("seeds", None), ("tasks", count))
            own.set("auc", by_method(own.at("auc"), self.auc, areas))
            own.set("scratch_auc", array(own.at("scratch_auc"), self.scratch_auc, areas, nan=False))
            for name, values in (*self.auc.items(), ("scratch_auc", self.scratch_auc)):
                if np.nanmax(np.append(values, 0.0)) > 1 + _ROUNDING:
                    raise ValueError(f"{own.at('auc')}: {name} holds {np.nanmax(values)}; areas must be <= 1")
        own.set("subject", _subject(own.at("subject"), self.subject, matrices))


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
        own = _Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        steps = own.set("steps", rising(own.at("steps"), self.steps, ("points", None)))
        axes = (("seeds", None), ("points", len(steps)), ("tasks", count))
        own.set("curves", by_method(own.at("curves"), self.curves, axes))
        if (self.phase_starts is None) != (self.phase_tasks is None):
            raise ValueError(f"{own.at('phase_starts')} and phase_tasks belong together; got only one of them")
        if self.phase_starts is not None and self.phase_tasks is not None:
            starts = own.set("phase_starts", rising(own.at("phase_starts"), self.phase_starts, ("phases", None)))
            own.set("phase_tasks", _numbers(own.at("phase_tasks"), self.phase_tasks, ("phases", len(starts)), count))


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
        own = _Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        scores = own.set("scores", by_method(own.at("scores"), self.scores, (("seeds", None), ("tasks", count))))
        for name, values in (("chance", self.chance), ("reference", self.reference)):
            if values is not None:
                own.set(name, array(own.at(name), values, (("tasks", count),), nan=False))
        if self.chance is not None and self.reference is not None:
            equal = np.asarray(self.chance) == np.asarray(self.reference)
            if equal.any():
                task = int(equal.argmax())
                level = float(np.asarray(self.reference)[task])
                raise ValueError(
                    f"{own.at('reference')}[{task}] is {level}, the chance level of {self.tasks[task]!r}; "
                    "they must differ"
                )
        seeds = {method: len(values) for method, values in scores.items()}
        if self.paired and len(set(seeds.values())) > 1:
            raise ValueError(f"{own.at('scores')} has {seeds} seeds; must be equal, as paired is True")
        own.set("subject", _subject(own.at("subject"), self.subject, scores))

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

    Raises:
        ValueError: Shapes that do not fit, named with the field.
    """

    episodes: npt.ArrayLike
    curves: Mapping[str, npt.ArrayLike]
    chance: float | None = None
    reference: float | None = None
    reference_name: str = "reference"
    score_name: str = "return"

    def __post_init__(self) -> None:
        """Check all."""
        own = _Setter(self)
        episodes = own.set("episodes", rising(own.at("episodes"), self.episodes, ("points", None)))
        own.set("curves", _with_tasks(own.at("curves"), self.curves, len(episodes)))


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
        own = _Setter(self)
        steps = own.set("steps", rising(own.at("steps"), self.steps, ("points", None)))
        curves = own.set("curves", _with_tasks(own.at("curves"), self.curves, len(steps)))
        _one_of(own.at("scratch"), self.scratch, curves)
        tasks = {method: curve.shape[1] for method, curve in curves.items()}
        if len(set(tasks.values())) > 1:
            raise ValueError(f"{own.at('curves')} has {tasks} tasks; expected one number for all methods")
        if not 1 <= self.last <= len(steps):
            raise ValueError(f"{own.at('last')} is {self.last}; must be in [1, {len(steps)}], the number of points")


@dataclasses.dataclass(frozen=True, eq=False)
class TaskSimilarity:
    """Cosines of every two tasks' embeddings.

    Attributes:
        tasks: Labels [K]; :func:`parameter_labels` makes them from parameters.
        similarity: float64 [K, K], in [-1, 1].

    Raises:
        ValueError: Shapes that do not fit, named with the field; or numbers that are no cosines.
    """

    tasks: Sequence[str]
    similarity: npt.ArrayLike

    def __post_init__(self) -> None:
        """Check all."""
        own = _Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        axes = (("tasks", count), ("tasks", count))
        cosines = own.set("similarity", array(own.at("similarity"), self.similarity, axes, nan=False))
        if np.abs(cosines).max() > 1 + _ROUNDING:
            raise ValueError(f"{own.at('similarity')} holds {cosines.ravel()[np.abs(cosines).argmax()]}; not a cosine")


@dataclasses.dataclass(frozen=True, eq=False)
class AveragingWeights:
    """Weights with which the submodels were averaged into the common trunk, by round.

    Attributes:
        submodels: Labels [K].
        weights: float64 [rounds, K], or [seeds, rounds, K]; each round adds up to 1.

    Raises:
        ValueError: Shapes that do not fit, named with the field; or weights that are negative or do not add up to 1.
    """

    submodels: Sequence[str]
    weights: npt.ArrayLike

    def __post_init__(self) -> None:
        """Check all."""
        own = _Setter(self)
        count = len(own.set("submodels", labels(own.at("submodels"), self.submodels)))
        axes = (("rounds", None), ("submodels", count))
        weights = array(own.at("weights"), self.weights, axes, (("seeds", None), *axes), nan=False)
        own.set("weights", shares(own.at("weights"), weights.reshape(-1, *weights.shape[-2:]), axis=-1))


@dataclasses.dataclass(frozen=True, eq=False)
class RoutingWeights:
    """Weights of the submodels on each new task.

    Attributes:
        submodels: Labels [K].
        tasks: Labels [T] of the new tasks.
        weights: float64 [K, T], or [seeds, K, T]; each task's add up to 1.

    Raises:
        ValueError: As of :class:`AveragingWeights`.
    """

    submodels: Sequence[str]
    tasks: Sequence[str]
    weights: npt.ArrayLike

    def __post_init__(self) -> None:
        """Check all."""
        own = _Setter(self)
        submodels = len(own.set("submodels", labels(own.at("submodels"), self.submodels)))
        tasks = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        axes = (("submodels", submodels), ("tasks", tasks))
        weights = array(own.at("weights"), self.weights, axes, (("seeds", None), *axes), nan=False)
        own.set("weights", shares(own.at("weights"), weights.reshape(-1, submodels, tasks), axis=-2))


@dataclasses.dataclass(frozen=True, eq=False)
class TaskEmbeddings:
    """Embeddings of tasks, of one seed.

    Attributes:
        tasks: Labels [T].
        embeddings: float64 [T, E], T >= 2.
        parameters: For each parameter of the tasks its values float64 [T]; the map is drawn once for each, in its
            colours.
        parts: For each task ``train``, ``val`` or ``test``; None: not said.

    Raises:
        ValueError: Shapes that do not fit, named with the field; or a part of another name.
    """

    tasks: Sequence[str]
    embeddings: npt.ArrayLike
    parameters: Mapping[str, npt.ArrayLike] = dataclasses.field(default_factory=dict)
    parts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Check all."""
        own = _Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        if count < 2:
            raise ValueError(f"{own.at('tasks')} has one task; a map needs at least two")
        axes = (("tasks", count), ("features", None))
        own.set("embeddings", array(own.at("embeddings"), self.embeddings, axes, nan=False))
        values = {
            name: array(f"{own.at('parameters')}[{name!r}]", column, (("tasks", count),), nan=False)
            for name, column in self.parameters.items()
        }
        own.set("parameters", values)
        if self.parts is not None:
            own.set("parts", tuple(self.parts))
            if len(self.parts) != count or not set(self.parts) <= set(_PARTS):
                raise ValueError(
                    f"{own.at('parts')} is {list(self.parts)}; expected one of {', '.join(_PARTS)} for each of "
                    f"{count} tasks"
                )


class MethodCost(NamedTuple):
    """What a method used: a row of a table. None where it is not known."""

    method: str
    environment_steps: int | None = None
    """In training, all tasks together."""
    parameters: int | None = None
    """Of all networks that are kept for acting."""
    stored_bytes: int | None = None
    """Transitions, networks and whatever else is kept of old tasks."""
    task_identity_at_test: bool | None = None
    """Whether the method is told which task it acts on."""


@dataclasses.dataclass(frozen=True, eq=False)
class MetaReportData:
    """Everything for one page; each section may be left out.

    Attributes:
        title: Above the page, such as the family of tasks.
        about: A sentence or two on what was run.
        commands: Commands that make the results again.
        continual: Performance matrices.
        curves: Evaluations by environment steps.
        unseen: Scores on tasks that were not trained on.
        adaptation: Performance by episodes of adaptation.
        transfer: Learning curves after transfer and from scratch.
        similarity: Of the tasks' embeddings.
        averaging: Weights by round.
        routing: Weights on new tasks.
        embeddings: Of tasks.
        costs: Steps, parameters and bytes of each method.
    """

    title: str
    about: str = ""
    commands: Sequence[str] = ()
    continual: ContinualResults | None = None
    curves: EvaluationCurves | None = None
    unseen: UnseenTasks | None = None
    adaptation: Adaptation | None = None
    transfer: TransferCurves | None = None
    similarity: TaskSimilarity | None = None
    averaging: AveragingWeights | None = None
    routing: RoutingWeights | None = None
    embeddings: TaskEmbeddings | None = None
    costs: Sequence[MethodCost] = ()


class _Setter:
    """Puts checked values into a frozen dataclass, and names its fields."""

    def __init__(self, section: Any) -> None:
        self._section = section

    def at(self, field: str) -> str:
        return f"{type(self._section).__name__}.{field}"

    def set(self, field: str, value: Any) -> Any:
        object.__setattr__(self._section, field, value)
        return value


def _with_tasks(where: str, curves: Mapping[str, npt.ArrayLike], points: int) -> dict[str, Array]:
    """Bring curves to [seeds, tasks, points]; those without tasks get one."""
    short, full = (("seeds", None), ("points", points)), (("seeds", None), ("tasks", None), ("points", points))
    found = by_method(where, curves, short, full)
    return {method: curve[:, None] if curve.ndim == 2 else curve for method, curve in found.items()}


def _subject(where: str, subject: str | None, methods: Mapping[str, Array]) -> str:
    return next(iter(methods)) if subject is None else _one_of(where, subject, methods)


def _one_of(where: str, method: str, methods: Mapping[str, Array]) -> str:
    if method not in methods:
        raise ValueError(f"{where} is {method!r}; expected one of {', '.join(map(repr, methods))}")
    return method


def _numbers(where: str, values: npt.ArrayLike, axis: tuple[str, int], below: int) -> npt.NDArray[np.int64]:
    numbers = array(where, values, (axis,), nan=False)
    if (numbers != np.floor(numbers)).any() or (numbers < 0).any() or (numbers >= below).any():
        raise ValueError(f"{where} is {numbers.tolist()}; expected integers in [0, {below})")
    return numbers.astype(np.int64)


def _ends(where: str, ends: npt.ArrayLike | None, tasks: int, checkpoints: int) -> npt.NDArray[np.int64]:
    if ends is not None:
        return _numbers(where, ends, ("tasks", tasks), checkpoints)
    if checkpoints != tasks:
        raise ValueError(
            f"{where} is None, but performance has {checkpoints} checkpoints and {tasks} tasks; give the checkpoint at "
            "which training of each task had ended"
        )
    return np.arange(tasks)
