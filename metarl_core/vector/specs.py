"""The environments and their parameters: one table that make_vec, env_spec and the command read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["EnvSpec", "ParameterSpec", "env_spec", "list_envs", "shown"]

_MAX_STEPS = 2**31 - 2


def shown(value: Any) -> str:
    """Return ``repr(value)``, shortened for integers of very many digits, which Python refuses to print."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of an environment.

    Attributes:
        name: Keyword for ``make_vec``.
        default: Value when it is not given.
        doc: Meaning, with unit.
        kind: ``"float"``, ``"int"``, ``"bool"``, ``"choice"`` or ``"object"`` (checked by the environment itself).
        low: Smallest legal value, or None.
        high: Largest legal value, or None.
        exclusive: Whether ``low`` itself is illegal.
        choices: The legal values of a ``"choice"``.
        optional: Whether None is legal.
    """

    name: str
    default: Any
    doc: str
    kind: str = "float"
    low: float | None = None
    high: float | None = None
    exclusive: bool = False
    choices: tuple[Any, ...] = ()
    optional: bool = False

    def check(self, value: Any) -> Any:
        """Return ``value`` in its canonical type.

        Raises:
            TypeError: The value has the wrong type.
            ValueError: The value is out of range.
        """
        if value is None and self.optional:
            return None
        if self.kind == "object":
            return value
        if self.kind == "choice":
            if not isinstance(value, str) or value not in self.choices:
                raise ValueError(f"{self.name} is {shown(value)}; must be one of {', '.join(map(repr, self.choices))}")
            return value
        if self.kind == "bool":
            if isinstance(value, (bool, np.bool_)):
                return bool(value)
            raise TypeError(f"{self.name} is {shown(value)}; must be True or False")
        try:
            number = value.__index__() if self.kind == "int" and not isinstance(value, bool) else float(value)
        except OverflowError:
            raise ValueError(f"{self.name} is {shown(value)}; must be {self._expectation()}") from None
        except (AttributeError, TypeError, ValueError):
            raise TypeError(f"{self.name} is {value!r}; must be {self._expectation()}") from None
        if isinstance(value, (bool, str, bytes)):
            raise TypeError(f"{self.name} is {value!r}; must be {self._expectation()}")
        too_low = self.low is not None and (number < self.low or (self.exclusive and number == self.low))
        too_high = self.high is not None and number > self.high
        if too_low or too_high or (self.kind != "int" and not math.isfinite(number)):
            raise ValueError(f"{self.name} is {shown(value)}; must be {self._expectation()}")
        return number

    def _expectation(self) -> str:
        text = "an integer" if self.kind == "int" else "a finite number"
        if self.low is not None:
            text += f" {'>' if self.exclusive else '>='} {self.low:g}"
        if self.high is not None:
            text += f"{' and' if self.low is not None else ''} <= {self.high:g}"
        return text + (" or None" if self.optional else "")


@dataclass(frozen=True)
class EnvSpec:
    """Description of one environment.

    Attributes:
        id: Name for ``make_vec``.
        source: Publication, and the package whose implementation is the reference.
        state: The state's fields, in the order of ``get_state``.
        observation: What the agent sees: shape, dtype, meaning.
        action: What the agent does: shape, dtype, meaning.
        reward: Reward of a step.
        ending: When an episode terminates.
        parameters: Parameter name -> :class:`ParameterSpec`.
    """

    id: str
    source: str
    state: str
    observation: str
    action: str
    reward: str
    ending: str
    parameters: Mapping[str, ParameterSpec]

    @property
    def gymnasium_id(self) -> str:
        """The id that Gymnasium knows it by; its ids have one slash at most."""
        return _PREFIX + self.id.replace("/", "-")

    @property
    def max_episode_steps(self) -> int | None:
        """Default number of steps after which an episode is truncated; None: never."""
        steps: int | None = self.parameters["max_episode_steps"].default
        return steps

    def resolve(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check ``params`` and fill in the defaults.

        Returns:
            A new dict with a value for every parameter.

        Raises:
            TypeError: A parameter is unknown, or a value has the wrong type.
            ValueError: A value is out of range.
        """
        unknown = sorted(set(params) - set(self.parameters))
        if unknown:
            raise TypeError(
                f"{self.id} has no parameter {unknown[0]!r}; valid parameters: {', '.join(sorted(self.parameters))}"
            )
        return {name: spec.check(params.get(name, spec.default)) for name, spec in self.parameters.items()}


def _table(max_episode_steps: int | None, *parameters: ParameterSpec) -> Mapping[str, ParameterSpec]:
    limit = ParameterSpec(
        "max_episode_steps",
        max_episode_steps,
        "Steps after which an episode is truncated; None: never.",
        kind="int",
        low=1,
        high=_MAX_STEPS,
        optional=True,
    )
    return MappingProxyType({p.name: p for p in (*parameters, limit)})


def _positive(name: str, default: float, doc: str) -> ParameterSpec:
    return ParameterSpec(name, default, doc, low=0.0, exclusive=True)


_PRECISION: ParameterSpec = ParameterSpec(
    "precision",
    "float64",
    "Arithmetic of the dynamics: 'float64' as the reference, or 'float32', about twice as fast.",
    kind="choice",
    choices=("float64", "float32"),
)

_SPECS = (
    EnvSpec(
        id="CartPole-v1",
        source="Barto, Sutton and Anderson (1983), equations of Florian (2007); gymnasium CartPole-v1",
        state="x (m), x_dot (m/s), theta (rad), theta_dot (rad/s)",
        observation="float32[4]: the state",
        action="integer in {0, 1}: push left, push right",
        reward="1 a step; with sutton_barto_reward 0 a step and -1 at the end",
        ending="|x| > x_threshold or |theta| > theta_threshold_radians",
        parameters=_table(
            500,
            ParameterSpec("gravity", 9.8, "Gravity, m/s^2."),
            _positive("masscart", 1.0, "Mass of the cart, kg."),
            _positive("masspole", 0.1, "Mass of the pole, kg."),
            _positive("length", 0.5, "Half the length of the pole, m."),
            ParameterSpec("force_mag", 10.0, "Force of a push, N."),
            _positive("tau", 0.02, "Seconds between two steps."),
            _positive("theta_threshold_radians", 12 * 2 * math.pi / 360, "Angle that ends the episode, rad."),
            _positive("x_threshold", 2.4, "Position that ends the episode, m."),
            ParameterSpec("reset_bound", 0.05, "Every field starts uniform in [-bound, bound).", low=0.0),
            ParameterSpec("sutton_barto_reward", False, "Reward 0 a step and -1 at the end.", kind="bool"),
            ParameterSpec(
                "kinematics_integrator",
                "euler",
                "Integration rule.",
                kind="choice",
                choices=("euler", "semi-implicit euler"),
            ),
            _PRECISION,
        ),
    ),
    EnvSpec(
        id="MountainCar-v0",
        source="Moore (1990); gymnasium MountainCar-v0",
        state="position, velocity",
        observation="float32[2]: the state",
        action="integer in {0, 1, 2}: accelerate left, not at all, right",
        reward="-1 a step",
        ending="position >= goal_position and velocity >= goal_velocity",
        parameters=_table(
            200,
            ParameterSpec("min_position", -1.2, "Left wall."),
            ParameterSpec("max_position", 0.6, "Right wall."),
            _positive("max_speed", 0.07, "Largest absolute velocity."),
            ParameterSpec("goal_position", 0.5, "Position of the goal."),
            ParameterSpec("goal_velocity", 0.0, "Least velocity at the goal."),
            ParameterSpec("force", 0.001, "Acceleration of an action."),
            ParameterSpec("gravity", 0.0025, "Acceleration of the steepest slope."),
            ParameterSpec("reset_low", -0.6, "The position starts uniform in [reset_low, reset_high)."),
            ParameterSpec("reset_high", -0.4, "The position starts uniform in [reset_low, reset_high)."),
            _PRECISION,
        ),
    ),
    EnvSpec(
        id="Acrobot-v1",
        source="Sutton (1996); Sutton and Barto, Reinforcement Learning (2018); gymnasium Acrobot-v1",
        state="theta1, theta2 (rad, in [-pi, pi]; theta1 = 0 hangs down), dtheta1, dtheta2 (rad/s)",
        observation="float32[6]: cos and sin of theta1, cos and sin of theta2, dtheta1, dtheta2",
        action="integer in {0, 1, 2}: torque -1, 0, +1 times `torque` at the joint between the links",
        reward="-1 a step, 0 at the end",
        ending="-cos(theta1) - cos(theta1 + theta2) > 1: the tip is above the line",
        parameters=_table(
            500,
            _positive("link_length_1", 1.0, "Length of the first link, m."),
            _positive("link_mass_1", 1.0, "Mass of the first link, kg."),
            _positive("link_mass_2", 1.0, "Mass of the second link, kg."),
            _positive("link_com_pos_1", 0.5, "Distance from joint to centre of mass of the first link, m."),
            _positive("link_com_pos_2", 0.5, "Distance from joint to centre of mass of the second link, m."),
            _positive("link_moi", 1.0, "Moment of inertia of both links, kg m^2."),
            ParameterSpec("gravity", 9.8, "Gravity, m/s^2."),
            _positive("dt", 0.2, "Seconds between two steps."),
            _positive("max_vel_1", 4 * math.pi, "Largest absolute dtheta1, rad/s."),
            _positive("max_vel_2", 9 * math.pi, "Largest absolute dtheta2, rad/s."),
            ParameterSpec("torque", 1.0, "Torque of an action, N m."),
            ParameterSpec("reset_bound", 0.1, "Every field starts uniform in [-bound, bound).", low=0.0),
            ParameterSpec(
                "book_or_nips", "book", "Which form of the equations.", kind="choice", choices=("book", "nips")
            ),
            _PRECISION,
        ),
    ),
    EnvSpec(
        id="Pendulum-v1",
        source="gymnasium Pendulum-v1",
        state="theta (rad, 0 is upright, not wrapped), theta_dot (rad/s)",
        observation="float32[3]: cos(theta), sin(theta), theta_dot",
        action="float32[1]: torque, N m, clipped to [-max_torque, max_torque]",
        reward="-(theta^2 + 0.1 theta_dot^2 + 0.001 torque^2), theta wrapped to [-pi, pi)",
        ending="never",
        parameters=_table(
            200,
            ParameterSpec("g", 10.0, "Gravity, m/s^2."),
            _positive("m", 1.0, "Mass, kg."),
            _positive("l", 1.0, "Length, m."),
            _positive("dt", 0.05, "Seconds between two steps."),
            _positive("max_speed", 8.0, "Largest absolute theta_dot, rad/s."),
            _positive("max_torque", 2.0, "Largest absolute torque, N m."),
            ParameterSpec("x_init", math.pi, "theta starts uniform in [-x_init, x_init).", low=0.0),
            ParameterSpec("y_init", 1.0, "theta_dot starts uniform in [-y_init, y_init).", low=0.0),
            _PRECISION,
        ),
    ),
    EnvSpec(
        id="FrozenLake-v1",
        source="gymnasium FrozenLake-v1",
        state="cell (row * columns + column)",
        observation="int64: the cell",
        action="integer in {0, 1, 2, 3}: left, down, right, up",
        reward="reward_schedule: goal, hole, frozen, by the cell entered",
        ending="in a hole or at the goal",
        parameters=_table(
            100,
            ParameterSpec(
                "desc",
                None,
                "The map, rows of S (start), F (frozen), H (hole), G (goal); None: map_name.",
                kind="object",
            ),
            ParameterSpec("map_name", "4x4", "A map by name.", kind="choice", choices=("4x4", "8x8")),
            ParameterSpec("is_slippery", True, "Whether a move may go to either side.", kind="bool"),
            ParameterSpec(
                "success_rate", 1.0 / 3.0, "Probability of the intended direction on slippery ice.", low=0.0, high=1.0
            ),
            ParameterSpec("reward_schedule", (1, 0, 0), "Rewards of goal, hole and frozen cells.", kind="object"),
            *(
                ParameterSpec(
                    f"{cell}_reward", None, f"Reward of a {cell} cell; None: of reward_schedule.", optional=True
                )
                for cell in ("goal", "hole", "frozen")
            ),
            ParameterSpec(
                "map_seed",
                None,
                "Seed of a random map as large as the one given, which must be square: "
                "gymnasium's generate_random_map(size, seed=map_seed); None: the one given.",
                kind="int",
                low=0,
                high=2**32 - 1,
                optional=True,
            ),
        ),
    ),
    EnvSpec(
        id="DeepSea-v0",
        source="Osband et al., Behaviour suite for reinforcement learning (ICLR 2020); bsuite deep_sea",
        state="row, column, bad_episode, total_bad_episodes, denoised_return",
        observation="float32[size, size]: 1 at the diver's cell; all 0 after the last row",
        action="integer in {0, 1}: right where it equals the cell's action mapping, else left",
        reward="1 for a right move in the last column, -unscaled_move_cost/size for every right move",
        ending="after size steps",
        parameters=_table(
            None,
            ParameterSpec("size", 10, "Rows and columns of the grid.", kind="int", low=1, high=1024),
            ParameterSpec(
                "deterministic",
                True,
                "False: right moves fail with probability 1/size and the last row's ends have N(0, 1) rewards added.",
                kind="bool",
            ),
            ParameterSpec("unscaled_move_cost", 0.01, "Cost of a right move, times size."),
            ParameterSpec(
                "randomize_actions", True, "Whether the action that moves right differs by cell.", kind="bool"
            ),
            ParameterSpec(
                "mapping_seed",
                42,
                "Seed of the action mapping (numpy RandomState, as bsuite draws it); None: a new one each time.",
                kind="int",
                low=0,
                high=2**32 - 1,
                optional=True,
            ),
        ),
    ),
)
# They import from here what they are made of.
from metarl_core.vector.specs_bsuite import BSUITE_SPECS  # noqa: E402
from metarl_core.vector.specs_meta import META_SPECS  # noqa: E402
from metarl_core.vector.specs_minatar import MINATAR_SPECS  # noqa: E402
from metarl_core.vector.specs_minigrid import MINIGRID_SPECS  # noqa: E402
from metarl_core.vector.specs_toy_text import TOY_TEXT_SPECS  # noqa: E402

_BY_ID = {
    spec.id: spec for spec in (*_SPECS, *TOY_TEXT_SPECS, *BSUITE_SPECS, *MINATAR_SPECS, *MINIGRID_SPECS, *META_SPECS)
}
_PREFIX = "metarl_core/"


def add_specs(specs: Iterable[EnvSpec]) -> None:
    """Make environments known; their ids are new."""
    _BY_ID.update((spec.id, spec) for spec in specs)


def list_envs() -> list[str]:
    """Return the ids that ``make_vec`` knows, as a new list."""
    return list(_BY_ID)


def env_spec(id: str) -> EnvSpec:  # noqa: A002 - Gymnasium's name for it
    """Describe an environment.

    Args:
        id: An id of :func:`list_envs`, with or without the prefix ``metarl_core/``.

    Raises:
        ValueError: The id is unknown; the message lists the valid ones.
    """
    spec = _BY_ID.get(id.removeprefix(_PREFIX).replace("MinAtar-", "MinAtar/")) if isinstance(id, str) else None
    if spec is None:
        raise ValueError(f"unknown environment {id!r}; valid ids: {', '.join(_BY_ID)}")
    return spec
