"""Figures of tasks: how similar they are, and where their embeddings lie. They have matplotlib's current style."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from metarl_core.report._figures import COLORS

__all__ = ["embedding_map", "principal_components", "similarity_heatmap"]

_MOST_NUMBERS = 16  # tasks up to which every cell has its number


def similarity_heatmap(
    similarity: npt.ArrayLike, labels: Sequence[str], title: str = "Similarity of task embeddings"
) -> Figure:
    """Draw cosines of every two tasks, -1 to 1.

    Args:
        similarity: ``(T, T)``, as of ``TaskEmbedding.similarity_matrix``.
        labels: The tasks' names.
        title: Above it.

    Returns:
        A figure; ``figure.savefig(path)`` writes it.

    Raises:
        ValueError: The matrix is not square, or has another number of tasks than there are names.
    """
    matrix = np.asarray(similarity, np.float64)
    count = len(labels)
    if matrix.shape != (count, count) or count == 0:
        raise ValueError(f"similarity has shape {matrix.shape}; must be ({count}, {count}), with one label a task")
    side = min(11.0, 3.0 + 0.45 * count)
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.subplots()
    # Orange to blue: told apart with any common colour vision, and white where tasks have nothing in common.
    image = axes.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr")
    axes.set_xticks(range(count), labels, rotation=45, ha="right")
    axes.set_yticks(range(count), labels)
    axes.grid(visible=False)
    axes.set_title(title)
    if count <= _MOST_NUMBERS:
        for row, column in np.ndindex(count, count):
            value = matrix[row, column]
            ink = "white" if abs(value) > 0.7 else "#1f2933"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    figure.colorbar(image, ax=axes, label="cosine", shrink=0.8)
    return figure


def embedding_map(
    embeddings: npt.ArrayLike,
    labels: Sequence[str],
    values: npt.ArrayLike | None = None,
    value_name: str = "",
    title: str = "Task embeddings",
) -> Figure:
    """Draw embeddings in their first two principal components.

    Args:
        embeddings: ``(T, E)``, T >= 2.
        labels: The tasks' names.
        values: ``(T,)``: number of every task that its colour shows, such as one of its parameters; None: one colour.
        value_name: What it is.
        title: Above it.

    Returns:
        A figure; ``figure.savefig(path)`` writes it.

    Raises:
        ValueError: Shapes differ from these.
    """
    points = np.asarray(embeddings, np.float64)
    count = len(labels)
    if points.ndim != 2 or len(points) != count or count < 2:
        raise ValueError(f"embeddings has shape {points.shape}; must be (T, E) with T = {count} labels, at least 2")
    place, shares = principal_components(points)
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    if values is None:
        axes.scatter(place[:, 0], place[:, 1], s=60, color=COLORS[0], edgecolor="white")
    else:
        shown = np.asarray(values, np.float64)
        if shown.shape != (count,):
            raise ValueError(f"values has shape {shown.shape}; must be ({count},)")
        drawn = axes.scatter(place[:, 0], place[:, 1], s=60, c=shown, cmap="cividis", edgecolor="white")
        figure.colorbar(drawn, ax=axes, label=value_name)
    for (x, y), label in zip(place, labels, strict=True):
        axes.annotate(label, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=9)
    axes.set_xlabel(f"first component ({100 * shares[0]:.0f}% of the variance)")
    axes.set_ylabel(f"second component ({100 * shares[1]:.0f}%)")
    axes.margins(0.12)
    axes.set_title(title)
    return figure


def principal_components(points: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """Project points ``(T, E)`` to their first two principal components.

    Returns:
        float64 ``(T, 2)``, and the share of the variance that each of the two explains. A component that the points
        do not have is 0.
    """
    centred = points - points.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    place = np.zeros((len(points), 2))
    place[:, : len(singular)] = (left * singular)[:, :2]
    total = float((singular**2).sum())
    first, second = (float(s**2) / total if total > 0 else 0.0 for s in (*singular, 0.0)[:2])
    return place, (first, second)
