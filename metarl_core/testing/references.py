"""What an environment is compared with: one object per row that runs the thing which defines it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["GymnasiumReference", "RecordingGenerator", "Reference"]

Drawn: TypeAlias = list[tuple[str, Any]]
Fields: TypeAlias = "Sequence[float] | npt.NDArray[np.float64]"


class Reference(Protocol):
    """One environment that :func:`metarl_core.testing.compare_steps` steps beside a row of ours."""

    elapsed: int
    """Steps since the last reset; may be set, so that time limits of the rows come at different times."""

    def reset(self) -> None:
        """Start an episode, with random numbers of its own."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return ``(obs, reward, terminated, truncated, info)``, as Gymnasium does."""

    def get_fields(self) -> Fields:
        """Return the state as our fields, in the order of ``field_names``."""

    def set_fields(self, fields: npt.NDArray[np.float64]) -> None:
        """Put it into the state of our fields; called for ``precision="float32"`` only."""

    def draws(self) -> Sequence[float] | None:
        """Return the random numbers of the last step in our kernel's terms; None if a step draws none."""


class RecordingGenerator:
    """A NumPy generator that remembers what it handed out.

    Attributes:
        drawn: Method name and value of every call since it was last cleared.
    """

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.drawn: Drawn = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.generator, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            value = method(*args, **kwargs)
            self.drawn.append((name, value))
            return value

        return call


class GymnasiumReference:
    """A Gymnasium environment as a :class:`Reference`.

    Args:
        env: The environment, with its ``TimeLimit`` if ours has one.
        seed: Of its first reset, which is done at once.
        get_fields: From ``env.unwrapped`` to our fields. Default: its ``state``.
        set_fields: Puts fields into ``env.unwrapped``. Default: sets ``state``.
        draws: From the state's fields before a step and the calls to ``np_random`` during it, as pairs of method name
            and value, to what our kernel calls draws. None: a step draws nothing.
    """

    def __init__(
        self,
        env: Any,
        seed: int,
        *,
        get_fields: Callable[[Any], Fields] | None = None,
        set_fields: Callable[[Any, npt.NDArray[np.float64]], None] | None = None,
        draws: Callable[[npt.NDArray[np.float64], Drawn], Sequence[float]] | None = None,
    ) -> None:
        self.env = env
        self._get = get_fields or (lambda unwrapped: np.asarray(unwrapped.state, np.float64))
        self._set = set_fields or (lambda unwrapped, fields: setattr(unwrapped, "state", fields.copy()))
        self._draws = draws
        self._before = np.empty(0)
        self._limit = env
        while not hasattr(self._limit, "_elapsed_steps") and self._limit is not env.unwrapped:
            self._limit = self._limit.env
        self._own_count = 0
        env.reset(seed=seed)
        if draws is not None:
            env.unwrapped.np_random = RecordingGenerator(env.unwrapped.np_random)

    @property
    def elapsed(self) -> int:
        """Steps since the last reset, of the time limit's counter where there is one."""
        return int(getattr(self._limit, "_elapsed_steps", self._own_count))

    @elapsed.setter
    def elapsed(self, steps: int) -> None:
        self._own_count = steps
        if hasattr(self._limit, "_elapsed_steps"):
            self._limit._elapsed_steps = steps

    def reset(self) -> None:
        """Start an episode that goes on with the environment's random numbers."""
        self.env.reset()
        self._own_count = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take Gymnasium's step."""
        if self._draws is not None:
            self._before = np.asarray(self.get_fields(), np.float64)
            self.env.unwrapped.np_random.drawn.clear()
        self._own_count += 1
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, float(reward), bool(terminated), bool(truncated), info

    def get_fields(self) -> Fields:
        """Return our fields of the state."""
        return self._get(self.env.unwrapped)

    def set_fields(self, fields: npt.NDArray[np.float64]) -> None:
        """Put the fields in."""
        self._set(self.env.unwrapped, fields)

    def draws(self) -> Sequence[float] | None:
        """Return what the last step drew."""
        return None if self._draws is None else self._draws(self._before, self.env.unwrapped.np_random.drawn)
