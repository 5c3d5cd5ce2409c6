"""How a task is given to an environment written in Python."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["ApplyTask", "AttributeTasks", "FunctionTasks", "TaskSetter", "make_setter"]

ApplyTask = Callable[[Any, "dict[str, float]"], Any]


class TaskSetter(ABC):
    """Gives an environment its task.

    Attributes:
        names: The parameters.
        immediate: Whether a task holds from the next step on; else from the next reset on.
    """

    names: tuple[str, ...]
    immediate: bool

    @abstractmethod
    def read(self, env: Any) -> list[float]:
        """Return the parameters that an environment was made with, nan where they cannot be known."""

    def integral(self, env: Any) -> list[bool]:  # noqa: ARG002
        """Whether each parameter takes integers only."""
        return [False] * len(self.names)

    @abstractmethod
    def apply(self, env: Any, values: Mapping[str, float]) -> Any:
        """Give the environment these parameters; return it, or the one to use in its place."""


class AttributeTasks(TaskSetter):
    """Parameters are attributes of the unwrapped environment.

    Args:
        attributes: Parameter -> attribute.
        reals: Parameters that may be any real numbers, even where the attribute is an integer at first.
        afterwards: Called with the unwrapped environment, for what it computed from the attributes when it was made.
    """

    immediate = True

    def __init__(
        self,
        attributes: Mapping[str, str],
        reals: Collection[str] = (),
        afterwards: Callable[[Any], None] | None = None,
    ) -> None:
        self.names = tuple(attributes)
        self._attributes = dict(attributes)
        self._reals = frozenset(reals)
        self._afterwards = afterwards

    def _values(self, env: Any) -> list[Any]:
        plain, values = env.unwrapped, []
        for name, attribute in self._attributes.items():
            value = getattr(plain, attribute, None)
            if not isinstance(value, (numbers.Real, np.bool_)):
                what = "has no such attribute" if not hasattr(plain, attribute) else f"it is {value!r}"
                raise ValueError(
                    f"task_parameters names {name!r}; must be a number of {type(plain).__name__}, but {what}. "
                    "For other tasks give apply_task"
                )
            values.append(value)
        return values

    def read(self, env: Any) -> list[float]:
        """Return the attributes."""
        return [float(value) for value in self._values(env)]

    def integral(self, env: Any) -> list[bool]:
        """Attributes that are integers or bools stay what they are."""
        return [
            name not in self._reals and isinstance(value, (numbers.Integral, np.bool_))
            for name, value in zip(self.names, self._values(env), strict=True)
        ]

    def apply(self, env: Any, values: Mapping[str, float]) -> Any:
        """Set the attributes, each of the type that it has."""
        plain = env.unwrapped
        for name, value in values.items():
            attribute = self._attributes[name]
            setattr(plain, attribute, value if name in self._reals else type(getattr(plain, attribute))(value))
        if self._afterwards is not None:
            self._afterwards(plain)
        return env


class FunctionTasks(TaskSetter):
    """A function gives the environment its task.

    Args:
        names: The parameters.
        function: Called with the environment and the parameters. What it returns, if not None, is used in its place.
    """

    immediate = False

    def __init__(self, names: Sequence[str], function: ApplyTask) -> None:
        self.names = tuple(names)
        self._function = function

    def read(self, env: Any) -> list[float]:  # noqa: ARG002
        """A function does not say what it found."""
        return [float("nan")] * len(self.names)

    def apply(self, env: Any, values: Mapping[str, float]) -> Any:
        """Call the function."""
        made = self._function(env, dict(values))
        return env if made is None else made


def _cart_pole_derived(env: Any) -> None:
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# By the class's full name. The parameters are called as those of the native environment; CartPole computes two numbers
# from its attributes when it is made.
_CART_POLE = _same(
    "gravity",
    "masscart",
    "masspole",
    "length",
    "force_mag",
    "tau",
    "theta_threshold_radians",
    "x_threshold",
)
_ACROBOT = ("link_length_1", "link_mass_1", "link_mass_2", "link_com_pos_1", "link_com_pos_2", "link_moi")
_KNOWN: dict[str, tuple[dict[str, str], Callable[[Any], None] | None]] = {
    "cartpole.CartPoleEnv": (_CART_POLE, _cart_pole_derived),
    "mountain_car.MountainCarEnv": (_same("max_speed", "goal_position", "goal_velocity", "force", "gravity"), None),
    "acrobot.AcrobotEnv": (
        {name: name.upper() for name in (*_ACROBOT, "max_vel_1", "max_vel_2")} | _same("dt"),
        None,
    ),
    "pendulum.PendulumEnv": (_same("g", "m", "l", "dt", "max_speed", "max_torque"), None),
}


def make_setter(env: Any, names: Sequence[str] | None, function: ApplyTask | None) -> TaskSetter:
    """Return how tasks are given to environments such as this one.

    Args:
        env: One of them.
        names: The parameters; None: those that are known for its class.
        function: Gives an environment its task; None: parameters are attributes.
    """
    if function is not None:
        return FunctionTasks(names or (), function)
    known: dict[str, str] = {}
    afterwards = None
    for kind in type(env.unwrapped).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("gymnasium.envs.classic_control.")
        if name in _KNOWN:
            known, afterwards = _KNOWN[name]
            break
    attributes = known if names is None else {name: known.get(name, name) for name in names}
    return AttributeTasks(attributes, known, afterwards)
