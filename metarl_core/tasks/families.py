"""Families of tasks for the environments whose parameters can differ between rows.

The ranges of classic control are after Packer et al., "Assessing generalization in deep reinforcement learning" (2018):
what is called extreme there is the outer part here. Goals are drawn as by Finn et al. (MAML, 2017) and Rakelly et al.
(PEARL, 2019); mazes, bandits and decision processes are generated from seeds, as are the maps of FrozenLake, the
levels of MiniGrid and the action mappings of DeepSea.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

from metarl_core._names import unknown_name
from metarl_core.tasks.distributions import SPLITS, SeedTasks, TaskDistribution, UniformTasks, _checked_fractions

__all__ = ["family_env_id", "family_name", "task_families", "task_family"]

_RANGES = MappingProxyType(
    {
        "CartPole-v1": {"force_mag": (5.0, 20.0), "length": (0.05, 1.0), "masspole": (0.01, 1.0)},
        "MountainCar-v0": {"force": (0.0006, 0.005), "gravity": (0.001, 0.005)},
        "Acrobot-v1": {
            "link_length_1": (0.5, 1.5),
            "link_mass_1": (0.5, 1.5),
            "link_mass_2": (0.5, 1.5),
            "link_moi": (0.5, 1.5),
        },
        "Pendulum-v1": {"m": (0.5, 1.5), "l": (0.5, 1.5), "g": (5.0, 15.0)},
        "PointRobot-v0": {"goal_x": (-0.5, 0.5), "goal_y": (-0.5, 0.5)},
        "SparsePointRobot-v0": {"goal_angle": (0.0, math.pi)},
    }
)
_SEEDS = MappingProxyType(
    {
        "BernoulliBandit-v0": "task_seed",
        "GaussianBandit-v0": "task_seed",
        "TabularMDP-v0": "task_seed",
        "Maze-v0": "map_seed",
        "FrozenLake-v1": "map_seed",
        "DeepSea-v0": "mapping_seed",
        "MiniGrid-DoorKey-5x5-v0": "map_seed",
        "MiniGrid-FourRooms-v0": "map_seed",
        "MiniGrid-SimpleCrossingS9N1-v0": "map_seed",
    }
)
_NUM_SEEDS = 100_000


def task_families() -> list[str]:
    """Return the ids of the environments that have a family of tasks."""
    return sorted((*_RANGES, *_SEEDS))


def family_name(env_id: str) -> str:
    """Return the name of an environment's family: ``"CartPole-tasks"`` of ``"CartPole-v1"``."""
    return f"{env_id.rpartition('-v')[0] or env_id}-tasks"


def family_env_id(name: str) -> str:
    """Return the id of a family's environment.

    Args:
        name: Of a family, such as ``"CartPole-tasks"``, or already the environment's id.

    Raises:
        ValueError: There is no such family; the message lists them.
    """
    plain = name.removeprefix("metarl_core/")
    for env_id in task_families():
        if plain in (env_id, family_name(env_id)):
            return env_id
    raise ValueError(unknown_name("family", name, map(family_name, task_families())))


def task_family(
    env_id: str, *, split: str | None = None, fractions: Sequence[float] = (0.6, 0.2, 0.2)
) -> TaskDistribution:
    """Return the family of tasks of an environment.

    Mazes, bandits, decision processes, FrozenLake's maps, MiniGrid's levels and DeepSea's action mappings are
    :class:`SeedTasks` of 100,000 seeds, the others :class:`UniformTasks`.

    Args:
        env_id: One of :func:`task_families`, or the name of its family (:func:`family_name`).
        split: As of :class:`UniformTasks`; None: ``"extrapolation"``. Seeds have no order: ``"random"`` or None.
        fractions: Shares of train, val and test.

    Raises:
        ValueError: There is none, or ``split`` or ``fractions`` is out of range.
    """
    if env_id.endswith("-tasks"):
        env_id = family_env_id(env_id)
    if env_id in _SEEDS:
        if split not in (None, "random"):
            raise ValueError(f"split is {split!r}; must be None or 'random', as the tasks of {env_id} are seeds")
        counts = [round(fraction * _NUM_SEEDS) for fraction in _checked_fractions(fractions)]
        return SeedTasks(_SEEDS[env_id], **dict(zip(SPLITS, counts, strict=True)))
    if env_id not in _RANGES:
        raise ValueError(f"env_id is {env_id!r}; must be one of {', '.join(map(repr, task_families()))}")
    return UniformTasks(_RANGES[env_id], split="extrapolation" if split is None else split, fractions=fractions)
