"""From checked parameters to what the compiled core and the spaces need, one function an environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.vector.frozen_lake_map import frozen_lake_map
from metarl_core.vector.specs import shown

__all__ = ["BuildPlan", "build_plan", "frozen_lake_desc"]


@dataclass(frozen=True)
class BuildPlan:
    """How to make one environment.

    Attributes:
        numbers: Options of the core, by name.
        observation_low: Lower bounds of the observation, of its dtype (None: a Discrete observation).
        observation_high: Upper bounds.
        observation_shape: Shape of one observation.
        num_observations: Size of a Discrete observation space.
        observation_tuple: Sizes of the Discrete spaces of a Tuple observation, which the core keeps in one row.
        num_actions: Number of actions; 0: floats in [action_low, action_high].
        action_size: Number of floats of a continuous action.
        action_low: Lower bound of a continuous action.
        action_high: Upper bound of a continuous action.
        bsuite_info: bsuite's bookkeeping from the fields of ``get_state``, or None.
        missions: MiniGrid: the mission by colour number of the target, or None.
        table: uint8 matrix of the core (DeepSea: action mapping; FrozenLake: map).
        row_bytes: Rough memory of one environment without its observation.
    """

    numbers: Mapping[str, float]
    observation_shape: tuple[int, ...] = ()
    observation_low: npt.NDArray[np.float32 | np.bool_ | np.uint8] | None = None
    observation_high: npt.NDArray[np.float32 | np.bool_ | np.uint8] | None = None
    num_observations: int = 0
    observation_tuple: tuple[int, ...] = ()
    num_actions: int = 0
    action_size: int = 1
    action_low: float = 0.0
    action_high: float = 0.0
    bsuite_info: Callable[[npt.NDArray[np.float64]], dict[str, npt.NDArray[Any]]] | None = None
    missions: tuple[str, ...] | None = None
    table: npt.NDArray[np.uint8] | None = field(default=None)
    row_bytes: int = 64

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return () if self.num_actions else (self.action_size,)


def _numbers(params: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: float(value) for name, value in params.items() if isinstance(value, (bool, int, float))}
    numbers["float32"] = float(params.get("precision") == "float32")
    return numbers


def _cartpole(params: Mapping[str, Any]) -> BuildPlan:
    numbers = _numbers(params)
    numbers["semi_implicit"] = float(params["kinematics_integrator"] != "euler")
    # Twice the limits, so that the observation that ends an episode is within the space.
    high = np.array([params["x_threshold"] * 2, np.inf, params["theta_threshold_radians"] * 2, np.inf], np.float32)
    return BuildPlan(numbers, (4,), -high, high, num_actions=2)


def _mountain_car(params: Mapping[str, Any]) -> BuildPlan:
    low, high = params["min_position"], params["max_position"]
    if not low < high:
        raise ValueError(f"min_position is {low!r}; must be < max_position, which is {high!r}")
    _check_reset_range(params)
    return BuildPlan(
        _numbers(params),
        (2,),
        np.array([low, -params["max_speed"]], np.float32),
        np.array([high, params["max_speed"]], np.float32),
        num_actions=3,
    )


def _check_reset_range(params: Mapping[str, Any]) -> None:
    if not params["min_position"] <= params["reset_low"] <= params["reset_high"] <= params["max_position"]:
        raise ValueError(
            f"reset_low is {params['reset_low']!r} and reset_high {params['reset_high']!r}; "
            "must be min_position <= reset_low <= reset_high <= max_position"
        )


def _acrobot(params: Mapping[str, Any]) -> BuildPlan:
    numbers = _numbers(params)
    numbers["nips"] = float(params["book_or_nips"] == "nips")
    high = np.array([1, 1, 1, 1, params["max_vel_1"], params["max_vel_2"]], np.float32)
    return BuildPlan(numbers, (6,), -high, high, num_actions=3)


def _pendulum(params: Mapping[str, Any]) -> BuildPlan:
    high = np.array([1, 1, params["max_speed"]], np.float32)
    torque = params["max_torque"]
    return BuildPlan(_numbers(params), (3,), -high, high, action_low=-torque, action_high=torque)


_MAPS = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": (
        "SFFFFFFF",
        "FFFFFFFF",
        "FFFHFFFF",
        "FFFFFHFF",
        "FFFHFFFF",
        "FHHFFFHF",
        "FHFFHFHF",
        "FFFHFFFG",
    ),
}


def _map_rows(desc: Any) -> list[str]:
    def text(letters: Any) -> str:
        return letters.decode("latin-1") if isinstance(letters, bytes) else str(letters)

    if isinstance(desc, (str, bytes)) or not isinstance(desc, (Sequence, np.ndarray)):
        raise TypeError(f"desc is {shown(desc)}; must be a sequence of rows or an array of letters")
    rows = []
    for row in desc:
        if not isinstance(row, (str, bytes, Sequence, np.ndarray)):
            raise TypeError(f"desc has the row {shown(row)}; must be a string or a sequence of letters")
        rows.append(text(row) if isinstance(row, (str, bytes)) else "".join(map(text, row)))
    return rows


def frozen_lake_desc(params: Mapping[str, Any]) -> list[str]:
    """Return the map of ``desc`` or ``map_name``, row by row.

    Raises:
        TypeError: ``desc`` is no sequence of rows.
        ValueError: It is no map.
    """
    desc = params["desc"] if params["desc"] is not None else _MAPS[params["map_name"]]
    rows = _map_rows(desc)
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError(f"desc is {desc!r}; must be rows of equal length, at least one cell")
    wrong = sorted(set("".join(rows)) - set("SFHG"))
    if wrong or "S" not in "".join(rows):
        what = f"has the letter {wrong[0]!r}" if wrong else "has no S"
        raise ValueError(f"desc {what}; must be made of S (start, at least one), F (frozen), H (hole) and G (goal)")
    return rows


def _frozen_lake(params: Mapping[str, Any]) -> BuildPlan:
    rows = frozen_lake_desc(params)
    if params["map_seed"] is not None:
        if not len(rows) == len(rows[0]) >= 2:
            raise ValueError(
                f"map_seed is {params['map_seed']}; must be None, as the map has {len(rows)} rows and {len(rows[0])} "
                "columns and those of seeds are square"
            )
        rows = frozen_lake_map(params["map_seed"], len(rows))
    schedule = params["reward_schedule"]
    try:
        rewards = () if isinstance(schedule, (str, bytes)) else tuple(float(reward) for reward in schedule)
    except (TypeError, ValueError, OverflowError):
        rewards = ()
    if len(rewards) != 3 or not np.isfinite(rewards).all():
        raise ValueError(f"reward_schedule is {schedule!r}; must be three finite numbers: goal, hole, frozen")
    numbers = _numbers(params)
    for name, reward in zip(("goal_reward", "hole_reward", "frozen_reward"), rewards, strict=True):
        numbers["own_" + name] = numbers.get(name, reward)
    table = np.array([[ord(letter) for letter in row] for row in rows], np.uint8)
    return BuildPlan(numbers, (), num_observations=table.size, num_actions=4, table=table, row_bytes=64 + table.size)


def _deep_sea(params: Mapping[str, Any]) -> BuildPlan:
    size = params["size"]
    if params["randomize_actions"]:
        # bsuite's own draw, so that a mapping seed names the same environment there and here.
        mapping = np.random.RandomState(params["mapping_seed"]).binomial(1, 0.5, [size, size])
    else:
        mapping = np.ones((size, size), np.int64)
    zeros = np.zeros((size, size), np.float32)

    def info(fields: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
        return {"total_bad_episodes": fields[:, 3].astype(np.int64), "denoised_return": fields[:, 4].copy()}

    return BuildPlan(
        _numbers(params),
        (size, size),
        zeros,
        zeros + np.float32(1),
        num_actions=2,
        bsuite_info=info,
        table=mapping.astype(np.uint8),
        row_bytes=96 + size * size,
    )


_BUILDERS: dict[str, Callable[[Mapping[str, Any]], BuildPlan]] = {
    "CartPole-v1": _cartpole,
    "MountainCar-v0": _mountain_car,
    "Acrobot-v1": _acrobot,
    "Pendulum-v1": _pendulum,
    "FrozenLake-v1": _frozen_lake,
    "DeepSea-v0": _deep_sea,
}
# They import from here what they are made of.
from metarl_core.vector.builders_bsuite import BSUITE_BUILDERS  # noqa: E402
from metarl_core.vector.builders_meta import META_BUILDERS  # noqa: E402
from metarl_core.vector.builders_minatar import MINATAR_BUILDERS  # noqa: E402
from metarl_core.vector.builders_minigrid import MINIGRID_BUILDERS  # noqa: E402
from metarl_core.vector.builders_toy_text import TOY_TEXT_BUILDERS  # noqa: E402

_BUILDERS |= {**TOY_TEXT_BUILDERS, **BSUITE_BUILDERS, **MINATAR_BUILDERS, **MINIGRID_BUILDERS, **META_BUILDERS}


def build_plan(id: str, params: Mapping[str, Any]) -> BuildPlan:  # noqa: A002
    """Plan an environment from parameters that ``EnvSpec.resolve`` has checked.

    Raises:
        ValueError: The parameters contradict each other.
    """
    return _BUILDERS[id](params)


def add_builder(id: str, builder: Callable[[Mapping[str, Any]], BuildPlan]) -> None:  # noqa: A002
    """Make the plan of another environment known."""
    _BUILDERS[id] = builder
