"""From environment observations to network inputs, by what the observation space itself declares."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.images import Features, ImageFeatures
from metarl_core.agents.common.options import ConfigError

__all__ = ["ObservationEncoder", "is_discrete", "is_image"]

UNBOUNDED = 1e6
"""Bounds at least this large count as none (CartPole declares velocities up to the largest float)."""


def is_discrete(space: Any) -> bool:
    """Whether a space is a ``Discrete`` (MultiBinary has an ``n`` too, but a shape with it)."""
    return hasattr(space, "n") and tuple(space.shape) == ()


def is_image(space: Any) -> bool:
    """Whether a space is a Box [H, W, C] of bool or uint8."""
    return hasattr(space, "low") and len(space.shape) == 3 and space.dtype in (np.bool_, np.uint8)


class ObservationEncoder:
    """Flattens Box observations and maps bounded components to [-1, 1]; hands out Discrete ones as one-hot indices.

    Images (three-dimensional Boxes of bool or uint8) keep shape and dtype, so that the replay stores a byte a
    component; the networks turn them into planes on their device.

    The bounds are those of the space, nothing is estimated from data. Components declared in [0, 1] (one-hot and binary
    ones) and unbounded components pass unchanged.

    Args:
        space: a Gymnasium ``Box`` or ``Discrete`` observation space of one instance.
        normalize: whether to map bounded components.
        one_hot: a Box observation is one-hot or all zero; hand out its index (``size`` for all zero).
        image: what to do with an image; None: flatten it like any Box. ``shape`` and ``kind`` of it are filled in.
        context_size: width of what describes the task, appended to every observation.

    Attributes:
        size: width of the (one-hot) feature vector, context included; number of components of an image.
        features: what the networks read: ``size``, or the images' description.
        one_hot: what comes out are indices.
        shape: of one encoded observation, () or (size,) or that of an image.
        dtype: int32 for indices, bool or uint8 for images, else float32.
        start: smallest Discrete observation.
        affine: scale and shift of flattened components, float32 [size] each; None: they pass unchanged.
        symbol_limits: what the symbols of an image's channels lie below; None: there are no symbols.

    Raises:
        ConfigError: the space is not supported, or does not fit the other arguments.
    """

    def __init__(
        self,
        space: Any,
        normalize: bool = True,
        one_hot: bool = False,
        image: ImageFeatures | None = None,
        context_size: int = 0,
    ) -> None:
        self.discrete = is_discrete(space)
        self.context_size = context_size
        self.features: Features
        self.start = 0
        self.affine: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self.symbol_limits: NDArray[np.int64] | None = None
        if image is not None and not one_hot and is_image(space):
            self._setup_image(space, image)
            return
        self.image: ImageFeatures | None = None
        self.one_hot = one_hot or self.discrete
        self.dtype: Any = np.int32 if self.one_hot else np.float32
        if self.discrete:
            self.size = int(space.n)
            self.start = int(getattr(space, "start", 0))
        elif hasattr(space, "low"):
            low = np.asarray(space.low, dtype=np.float64).reshape(-1)
            high = np.asarray(space.high, dtype=np.float64).reshape(-1)
            self.size = low.size
            if normalize and not one_hot:
                self.affine = _unit_map(low, high)
        else:
            raise ConfigError(f"observation space {space}: only Box and Discrete are supported")
        if self.one_hot and context_size:
            raise ConfigError(
                "context: one-hot observations are kept as an index; set one_hot_obs=false (or context=none)"
            )
        self.size += context_size
        self.features = self.size
        self.shape: tuple[int, ...] = () if self.one_hot else (self.size,)

    def _setup_image(self, space: Any, image: ImageFeatures) -> None:
        if self.context_size:
            raise ConfigError("context: images take no context yet; set image_encoding=flat (or context=none)")
        height, width, channels = (int(extent) for extent in space.shape)
        kind = "binary" if space.dtype == np.bool_ else image.kind
        if kind == "symbols" and channels != len(image.cardinalities):
            raise ConfigError(
                f"image_encoding='symbols': needs {len(image.cardinalities)} channels (type, colour, state), the "
                f"observations have {channels}; set image_encoding=bytes"
            )
        self.image = dataclasses.replace(image, shape=(height, width, channels), kind=kind)
        reach = len(image.filters) * (image.kernel - 1) + 1
        if min(height, width) < reach:
            raise ConfigError(
                f"conv_filters={image.filters}, conv_kernel={image.kernel}: need {reach} x {reach} or more; "
                f"the observations are {height} x {width}; use fewer or smaller ones"
            )
        self.features = self.image
        self.size = height * width * channels
        self.one_hot = False
        self.shape = (height, width, channels)
        self.dtype = space.dtype
        self.symbol_limits = np.array(self.image.cardinalities) if kind == "symbols" else None

    def __call__(self, obs: NDArray[Any], context: NDArray[np.float32] | None = None) -> NDArray[Any]:
        """Encode a batch of observations.

        Args:
            obs: [num_envs, ...] as the vector environment gives it.
            context: float32 [num_envs, context_size] where there is one.

        Returns:
            A new array [num_envs, *shape] of ``dtype``.

        Raises:
            ConfigError: ``one_hot_obs`` was asked for and an observation is neither one-hot nor all zero, or a symbol
                of an image is out of range.
        """
        if self.image is not None:
            if self.symbol_limits is not None and (obs >= self.symbol_limits).any():
                raise ConfigError(self.complaint())
            return np.array(obs, dtype=self.dtype)
        if self.discrete:
            return (obs - self.start).astype(np.int32)
        flat = obs.reshape(len(obs), -1)
        if self.one_hot:
            return self._indices(flat)
        encoded = flat.astype(np.float32)
        if self.affine is not None:
            encoded *= self.affine[0]
            encoded += self.affine[1]
        return encoded if context is None else np.concatenate((encoded, context), axis=1)

    def complaint(self) -> str:
        """What is wrong where the content of observations does not fit the options."""
        if self.image is None:
            return "one_hot_obs=True: an observation is neither one-hot nor all zero"
        return (
            f"image_encoding='symbols': a symbol is outside its range {self.image.cardinalities}; set "
            "image_encoding=bytes"
        )

    def _indices(self, flat: NDArray[Any]) -> NDArray[np.int32]:
        rows, columns = np.nonzero(flat)
        if len(rows) and (np.any(rows[1:] == rows[:-1]) or np.any(flat[rows, columns] != 1)):
            raise ConfigError(self.complaint())
        indices = np.full(len(flat), self.size, dtype=np.int32)
        indices[rows] = columns
        return indices


def _unit_map(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift that map [low, high] to [-1, 1] where bounded and not already [0, 1]."""
    bounded = (np.abs(low) < UNBOUNDED) & (np.abs(high) < UNBOUNDED) & (high > low)
    mapped = bounded & ~((low == 0) & (high == 1))
    span = np.where(mapped, np.where(mapped, high, 1.0) - np.where(mapped, low, -1.0), 2.0)
    shift = np.where(mapped, -(np.where(mapped, high, 0.0) + np.where(mapped, low, 0.0)) / span, 0.0)
    return (2.0 / span).astype(np.float32), shift.astype(np.float32)
