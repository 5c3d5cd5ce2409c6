"""Task embeddings: where a task lies among others, by its transitions under one common policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.agents.imt.features import BLOCK, fourier_weights, transition_size, transition_vectors
from metarl_core.agents.imt.reliability import Reliability, measure
from metarl_core.tasks import TaskDataset
from metarl_core.vector.checks import checked_integer

__all__ = ["TaskEmbedding"]

_Floats = npt.NDArray[np.float64]

_PRESETS: Mapping[str, Mapping[str, bool]] = {
    "corrected": {"use_std": True, "center": True, "scale": False, "whiten": False},
    "as_written": {"use_std": False, "center": False, "scale": False, "whiten": False},
}
_MIN_TASKS = 3
_WINDOWS = 16  # that each fitted task is cut into to see the noise
_SHRINKAGE = 0.1  # of the noise's covariance towards its mean variance
_FLAT = 1e-9  # of a spread that is rounding: relative to the size of the numbers
_ARRAYS = (
    "input_mean",
    "input_scale",
    "weights",
    "phases",
    "center",
    "scale",
    "noise_axes",
    "noise_gains",
    "train_embeddings",
)


class TaskEmbedding:
    """Embedding of tasks by random features of their transitions.

    x = [s, a, r, s' - s] of a transition (what is discrete one-hot), standardized by mean and standard deviation over
    all transitions of the tasks that were fitted; psi = cos(W x + b) with W and b drawn once; the task's raw vector is
    u = [mean psi, std psi] over its transitions, and its embedding u minus the mean u of the fitted tasks, divided by
    its length. The mean of psi is an estimate of the kernel mean embedding of the transitions' distribution (random
    features: Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007; mean embeddings: Smola,
    Gretton, Song and Schoelkopf, "A Hilbert space embedding for distributions", ALT 2007). Without centring all raw
    vectors point in nearly the same direction, and their cosines say nothing.

    Fit it on meta-training tasks only, and record all datasets under one and the same policy (``TaskDataset.record``
    with ``"random"``): otherwise it embeds the policies.

    Args:
        num_features: F, number of random features, >= 1.
        bandwidth: Standard deviation of W's elements, > 0. None: 1 / sqrt(D) for D numbers in x. Two standardized
            transitions differ by about sqrt(2 D) in length, so that this sets the kernel's width 1 / bandwidth to the
            typical distance over sqrt(2): the rule of the median distance, without looking at the data.
        use_std: Whether u has the second half, std psi.
        center: Whether the mean over the fitted tasks is taken off; then at least 3 tasks are needed, as two centred
            vectors always are opposite.
        scale: Whether each coordinate of the centred vectors is divided by its standard deviation over the fitted
            tasks.
        whiten: Whether directions are shrunk in which parts of one task's data differ, as those of chance (where an
            episode started): each fitted task is cut into 16 windows, and with C the covariance of the windows' vectors
            within tasks, a direction of variance v is multiplied by sqrt(l / (v + l)), l = 0.1 trace(C) / E. That is
            the whitening of linear discriminant analysis, with shrinkage. Needs ``center``.
        seed: Key of W and b, in [0, 2^64).
        features: In place of cos(W x + b): function of standardized x, float64 ``(B, D)``, to features ``(B, F)`` of
            finite numbers, such as a common layer. It must treat rows one by one, and is not part of the state.
        preset: What the four switches are where they are None. ``"corrected"``: ``use_std`` and ``center`` True.
            ``"as_written"``: the features of the common layer itself, which ``features`` must give, and their mean: all
            False.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A value is out of range, or the preset ``"as_written"`` has no ``features``.
    """

    def __init__(
        self,
        num_features: int = 256,
        *,
        bandwidth: float | None = None,
        use_std: bool | None = None,
        center: bool | None = None,
        scale: bool | None = None,
        whiten: bool | None = None,
        seed: int = 0,
        features: Callable[[_Floats], npt.ArrayLike] | None = None,
        preset: str = "corrected",
    ) -> None:
        if preset not in _PRESETS:
            raise ValueError(f"preset is {preset!r}; must be one of {', '.join(map(repr, _PRESETS))}")
        if features is not None and not callable(features):
            raise TypeError(f"features is a {type(features).__name__}; must be a function or None")
        if preset == "as_written" and features is None:
            raise ValueError("preset is 'as_written', but features is None; must be the common layer")
        if bandwidth is not None and not (math.isfinite(bandwidth) and bandwidth > 0):
            raise ValueError(f"bandwidth is {bandwidth!r}; must be finite and > 0, or None")
        self.num_features = checked_integer("num_features", num_features, 1, None)
        self.bandwidth = None if bandwidth is None else float(bandwidth)
        self.seed = checked_integer("seed", seed, 0, 2**64 - 1)
        self.preset = preset
        self.features = features
        chosen = {"use_std": use_std, "center": center, "scale": scale, "whiten": whiten}
        for name, value in chosen.items():
            if value is not None and not isinstance(value, bool | np.bool_):
                raise TypeError(f"{name} is {value!r}; must be a bool or None")
        options = {name: _PRESETS[preset][name] if value is None else bool(value) for name, value in chosen.items()}
        if center is False:  # what goes with the centre goes with it
            options = {name: value and chosen[name] is not None for name, value in options.items()}
            options["use_std"] = _PRESETS[preset]["use_std"] if use_std is None else bool(use_std)
        self.use_std, self.center = options["use_std"], options["center"]
        self.scale, self.whiten = options["scale"], options["whiten"]
        for name in ("scale", "whiten"):
            if options[name] and not self.center:
                raise ValueError(f"{name} is True, but center is False; it works around the tasks' mean only")
        self._arrays: dict[str, _Floats] = {}
        self._spaces: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` or :meth:`load_state_dict` has been called."""
        return bool(self._arrays)

    @property
    def train_embeddings(self) -> _Floats:
        """Embeddings of the fitted tasks, in their order: float64 ``(T, E)``.

        Raises:
            RuntimeError: Nothing was fitted.
        """
        embeddings: _Floats = self._fitted("train_embeddings").copy()
        return embeddings

    def _fitted(self, name: str) -> _Floats:
        if not self._arrays:
            raise RuntimeError("the embedding knows no tasks yet; call fit first")
        return self._arrays[name]

    def fit(self, datasets: Sequence[TaskDataset]) -> TaskEmbedding:
        """Take the inputs' scale and the tasks' centre from meta-training tasks.

        Args:
            datasets: One for each task, of equal spaces; every transition counts the same for the inputs' mean and
                standard deviation, every task the same for the centre. At least 3 tasks, 1 without ``center``; with
                ``whiten`` at least 4 transitions each, and better thousands.

        Returns:
            Itself.

        Raises:
            TypeError: One is no :class:`metarl_core.tasks.TaskDataset`.
            ValueError: There are too few, their spaces differ, the features are not finite or not ``(B, F)``, or the
                tasks cannot be told apart.

        Nothing is changed when it raises.
        """
        least = _MIN_TASKS if self.center else 1
        if len(datasets) < least:
            why = ": of two centred tasks one is always the opposite of the other" if self.center else ""
            raise ValueError(f"datasets has {len(datasets)} tasks; must have at least {least}{why}")
        spaces = None
        for i, dataset in enumerate(datasets):
            spaces = _checked_spaces(f"datasets[{i}]", dataset, spaces)
        size = transition_size(datasets[0])
        arrays = dict(zip(("input_mean", "input_scale"), _mean_and_scale(datasets), strict=True))
        if self.features is None:
            bandwidth = 1 / math.sqrt(size) if self.bandwidth is None else self.bandwidth
            arrays["weights"], arrays["phases"] = fourier_weights(self.num_features, size, bandwidth, self.seed)
        raw = np.stack([self._raw(dataset, arrays) for dataset in datasets])
        arrays["center"] = raw.mean(axis=0) if self.center else np.zeros(raw.shape[1])
        arrays["scale"] = _scale(raw.std(axis=0), np.abs(raw).max(axis=0)) if self.scale else np.ones(raw.shape[1])
        if self.whiten:
            noise = [self._windows(f"datasets[{i}]", dataset, arrays) for i, dataset in enumerate(datasets)]
            arrays["noise_axes"], arrays["noise_gains"] = _noise(np.concatenate(noise), len(datasets))
        arrays["train_embeddings"] = np.stack([_unit(f"datasets[{i}]", row, arrays) for i, row in enumerate(raw)])
        self._arrays, self._spaces = arrays, spaces
        return self

    def inputs(self, dataset: TaskDataset) -> _Floats:
        """Standardized x of every transition, float64 ``(M, D)``: what the features are computed from.

        Raises:
            RuntimeError: Nothing was fitted.
            TypeError, ValueError: It is no dataset of the fitted tasks' spaces.
        """
        self._fitted("input_mean")
        _checked_spaces("dataset", dataset, self._spaces)
        return _standardized(dataset, self._arrays)

    def embed(self, dataset: TaskDataset) -> _Floats:
        """Embed a task, one of the fitted or another one.

        Args:
            dataset: Its transitions; 2048 or more tell most tasks apart (docs/imt.md). Their order does not matter.

        Returns:
            float64 ``(E,)`` of length 1, with E = 2 F, or F without ``use_std``.

        Raises:
            RuntimeError: Nothing was fitted.
            TypeError: It is no dataset.
            ValueError: Its spaces differ from those of the fitted tasks, features are not finite, or the embedding is
                zero.
        """
        self._fitted("input_mean")
        _checked_spaces("dataset", dataset, self._spaces)
        return _unit("dataset", self._raw(dataset, self._arrays), self._arrays)

    def vector(self, dataset: TaskDataset) -> _Floats:
        """Centred vector of a task before it is divided by its length.

        Its first half, of mean psi, is for a mixture of tasks' transitions the same mixture of their vectors (all of it
        without ``use_std``): standard deviations do not mix so, nor do halves that ``whiten`` has mingled.

        Returns:
            float64 ``(E,)``. Raises as :meth:`embed`.
        """
        self._fitted("input_mean")
        _checked_spaces("dataset", dataset, self._spaces)
        return _centred(self._raw(dataset, self._arrays), self._arrays)

    def embed_all(self, datasets: Sequence[TaskDataset]) -> _Floats:
        """Embed several tasks: float64 ``(T, E)``, a row each. Raises as :meth:`embed`, and ValueError for none."""
        if not len(datasets):
            raise ValueError("datasets is empty; must hold at least one task")
        return np.stack([self.embed(dataset) for dataset in datasets])

    def similarity_matrix(
        self, datasets: Sequence[TaskDataset] | None = None, others: Sequence[TaskDataset] | None = None
    ) -> _Floats:
        """Cosine of the embeddings of every two tasks.

        Args:
            datasets: The rows' tasks; None: those that were fitted.
            others: The columns' tasks; None: the rows'.

        Returns:
            float64 ``(T, T)`` or ``(T, number of others)``, in [-1, 1].

        Raises:
            RuntimeError, TypeError, ValueError: As of :meth:`embed`.
        """
        rows = self._fitted("train_embeddings") if datasets is None else self.embed_all(datasets)
        columns = rows if others is None else self.embed_all(others)
        cosines: _Floats = np.clip(rows @ columns.T, -1.0, 1.0)
        return cosines

    def split_half_reliability(
        self, datasets: Sequence[TaskDataset], transitions: int | None = None, seed: int = 0
    ) -> Reliability:
        """Measure how much of the embeddings is the task, and how much chance.

        Every dataset's episodes are dealt out at random into two halves, and each half is cut into windows of
        ``transitions`` rows. A task's reliability is the mean cosine of a window of the first half and one of the
        second. Identification: of a window of the second half, how often the nearest of one window a task of the first
        half is its own task's.

        Args:
            datasets: One a task, at least 2, of 2 or more episodes each; recorded anew, not those that were fitted.
            transitions: Length of a window; None: the shortest half.
            seed: Of the dealing, >= 0.

        Raises:
            RuntimeError, TypeError: As of :meth:`embed`.
            ValueError: There are fewer than 2 tasks, a dataset has 1 episode, or one half is shorter than
                ``transitions``; or as of :meth:`embed`.
        """
        return measure(self.embed, datasets, transitions, seed)

    def state_dict(self) -> dict[str, Any]:
        """Return all that :meth:`embed` needs but ``features``: numbers, strings, tuples and copies of arrays."""
        options = ("num_features", "bandwidth", "use_std", "center", "scale", "whiten", "seed", "preset")
        return {
            "options": {name: getattr(self, name) for name in options},
            "spaces": self._spaces,
            "arrays": {name: array.copy() for name, array in self._arrays.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; equal datasets then get equal embeddings, bit for bit.

        Args:
            state: From :meth:`state_dict` of an embedding that was made with the same arguments.

        Raises:
            KeyError: An entry is missing.
            ValueError: It was made with other arguments, or arrays do not fit together. Nothing is changed then.
        """
        own = self.state_dict()["options"]
        for name, value in own.items():
            if state["options"][name] != value:
                raise ValueError(f"the state has {name}={state['options'][name]!r}; must be {value!r}")
        arrays = {name: np.array(array, np.float64) for name, array in state["arrays"].items()}
        spaces = state["spaces"]
        if arrays:
            self._check_arrays(arrays)
            spaces = tuple(tuple(int(extent) for extent in space) for space in spaces)
        self._arrays, self._spaces = arrays, spaces

    def _check_arrays(self, arrays: Mapping[str, _Floats]) -> None:
        drawn = self.features is None
        size, width = arrays["input_mean"].size, arrays["center"].size
        expected: dict[str, tuple[int, ...]] = {
            "input_mean": (size,),
            "input_scale": (size,),
            "center": (width,),
            "scale": (width,),
        }
        if drawn:
            expected |= {"weights": (self.num_features, size), "phases": (self.num_features,)}
        if self.whiten:
            count = arrays["noise_gains"].size
            expected |= {"noise_axes": (count, width), "noise_gains": (count,)}
        expected["train_embeddings"] = (len(arrays["train_embeddings"]), width)
        for name in _ARRAYS:
            if name not in expected:
                continue
            shape = expected[name]
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"the state's {name} has shape {arrays[name].shape}; must be finite and {shape}")

    def _raw(self, dataset: TaskDataset, arrays: Mapping[str, _Floats]) -> _Floats:
        """[mean psi, std psi] of a task, ``(E,)``."""
        return self._moments(_standardized(dataset, arrays), arrays)

    def _windows(self, name: str, dataset: TaskDataset, arrays: Mapping[str, _Floats]) -> _Floats:
        """How the windows of one task differ from their mean, ``(W, E)``."""
        if len(dataset) < 4:
            raise ValueError(f"{name} has {len(dataset)} transitions; must have at least 4 with whiten")
        parts = np.array_split(_standardized(dataset, arrays), min(_WINDOWS, len(dataset) // 2))
        vectors = np.stack([self._moments(part, arrays) for part in parts]) / arrays["scale"]
        differences: _Floats = vectors - vectors.mean(axis=0)
        return differences

    def _moments(self, x: _Floats, arrays: Mapping[str, _Floats]) -> _Floats:
        """[mean psi, std psi] over rows, in blocks so that memory does not grow with them."""
        shift = self._psi(x[:1], arrays)[0]  # sums of squares around something near the mean lose no digits
        total, square = np.zeros_like(shift), np.zeros_like(shift)
        for start in range(0, len(x), BLOCK):
            away = self._psi(x[start : start + BLOCK], arrays) - shift
            total += away.sum(axis=0)
            square += (away * away).sum(axis=0)
        mean: _Floats = total / len(x)
        mean_psi: _Floats = shift + mean
        if not self.use_std:
            return mean_psi
        return np.concatenate([mean_psi, np.sqrt(np.maximum(square / len(x) - mean * mean, 0.0))])

    def _psi(self, x: _Floats, arrays: Mapping[str, _Floats]) -> _Floats:
        if self.features is None:
            drawn: _Floats = np.cos(x @ arrays["weights"].T + arrays["phases"])
            return drawn
        psi = np.asarray(self.features(x), np.float64)
        if psi.ndim != 2 or len(psi) != len(x):
            raise ValueError(f"features returned the shape {psi.shape} for {len(x)} rows; must be ({len(x)}, F)")
        if not np.isfinite(psi).all():
            raise ValueError("features returned numbers that are not finite")
        return psi


def _checked_spaces(
    name: str, dataset: Any, expected: tuple[tuple[int, ...], tuple[int, ...]] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What must be equal of two tasks' spaces: (n,) of a Discrete one, (0, *shape) of a Box."""
    if not isinstance(dataset, TaskDataset):
        raise TypeError(f"{name} is a {type(dataset).__name__}; must be a TaskDataset")
    observation, action = (
        (int(space.n),) if hasattr(space, "n") else (0, *map(int, space.shape))
        for space in (dataset.observation_space, dataset.action_space)
    )
    if expected is not None and (observation, action) != expected:
        raise ValueError(
            f"{name} has the spaces {dataset.observation_space} and {dataset.action_space}; must be those of the other "
            "tasks: the embedding compares transitions number by number"
        )
    return observation, action


def _mean_and_scale(datasets: Sequence[TaskDataset]) -> tuple[_Floats, _Floats]:
    """Mean and standard deviation over all transitions of all tasks."""
    count = sum(map(len, datasets))
    mean = np.sum([transition_vectors(dataset).sum(axis=0) for dataset in datasets], axis=0) / count
    squares = [((transition_vectors(dataset) - mean) ** 2).sum(axis=0) for dataset in datasets]
    deviation: _Floats = np.sqrt(np.sum(squares, axis=0) / count)
    return mean, _scale(deviation, np.abs(mean))


def _scale(spread: _Floats, size: _Floats) -> _Floats:
    """The spread, and 1 where it is nothing but rounding."""
    return np.where(spread > _FLAT * np.maximum(size, 1e-3), spread, 1.0)


def _noise(differences: _Floats, tasks: int) -> tuple[_Floats, _Floats]:
    """Principal directions of the noise within tasks, ``(K, E)``, and what each is multiplied by, ``(K,)``."""
    _, singular, axes = np.linalg.svd(differences, full_matrices=False)
    variances = singular**2 / (len(differences) - tasks)
    floor = _SHRINKAGE * variances.sum() / differences.shape[1]
    keep = variances > _FLAT * floor
    gains: _Floats = np.sqrt(floor / (variances[keep] + floor))
    return axes[keep], gains


def _standardized(dataset: TaskDataset, arrays: Mapping[str, _Floats]) -> _Floats:
    x: _Floats = (transition_vectors(dataset) - arrays["input_mean"]) / arrays["input_scale"]
    return x


def _centred(raw: _Floats, arrays: Mapping[str, _Floats]) -> _Floats:
    """The affine map from a raw vector to what only its length is taken off."""
    vector: _Floats = (raw - arrays["center"]) / arrays["scale"]
    if "noise_axes" in arrays:
        axes = arrays["noise_axes"]
        vector += ((arrays["noise_gains"] - 1) * (axes @ vector)) @ axes
    return vector


def _unit(name: str, raw: _Floats, arrays: Mapping[str, _Floats]) -> _Floats:
    vector = _centred(raw, arrays)
    length = float(np.linalg.norm(vector))
    if not length > _FLAT * max(1.0, float(np.linalg.norm(raw))):
        raise ValueError(
            f"{name} has an embedding of length {length:.1e}: nothing tells it from the mean of the fitted tasks"
        )
    unit: _Floats = vector / length
    return unit
