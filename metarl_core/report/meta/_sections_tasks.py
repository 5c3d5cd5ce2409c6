"""Sections on the tasks themselves and on the submodels' weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.report.meta._arrays import array, labels, shares
from metarl_core.report.meta._fields import ROUNDING, Setter

__all__ = [
    "AveragingWeights",
    "RoutingWeights",
    "TaskEmbeddings",
    "TaskSimilarity",
    "parameter_labels",
]

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
        own = Setter(self)
        count = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        axes = (("tasks", count), ("tasks", count))
        cosines = own.set("similarity", array(own.at("similarity"), self.similarity, axes, nan=False))
        if np.abs(cosines).max() > 1 + ROUNDING:
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
        own = Setter(self)
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
        weights: float64 [K, T], or [seeds, K, T]; each task's add up to 1, and some may be negative.

    Raises:
        ValueError: Shapes that do not fit, named with the field; or weights that do not add up to 1.
    """

    submodels: Sequence[str]
    tasks: Sequence[str]
    weights: npt.ArrayLike

    def __post_init__(self) -> None:
        """Check all."""
        own = Setter(self)
        submodels = len(own.set("submodels", labels(own.at("submodels"), self.submodels)))
        tasks = len(own.set("tasks", labels(own.at("tasks"), self.tasks)))
        axes = (("submodels", submodels), ("tasks", tasks))
        weights = array(own.at("weights"), self.weights, axes, (("seeds", None), *axes), nan=False)
        own.set("weights", shares(own.at("weights"), weights.reshape(-1, submodels, tasks), axis=-2, signed=True))


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
        own = Setter(self)
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
