"""Families of tasks for the environments whose parameters can differ between rows.

The ranges are after Packer et al., "Assessing generalization in deep reinforcement learning" (2018): what is called
extreme there is the outer part here.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from metarl_core.tasks.distributions import UniformTasks

__all__ = ["task_families", "task_family"]

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
    }
)


def task_families() -> list[str]:
    """Return the ids of the environments that have a family of tasks."""
    return sorted(_RANGES)


def task_family(
    env_id: str, *, split: str = "extrapolation", fractions: Sequence[float] = (0.6, 0.2, 0.2)
) -> UniformTasks:
    """Return the family of tasks of an environment.

    Args:
        env_id: One of :func:`task_families`.
        split: As of :class:`UniformTasks`.
        fractions: As of :class:`UniformTasks`.

    Raises:
        ValueError: There is none, or ``split`` or ``fractions`` is out of range.
    """
    if env_id not in _RANGES:
        raise ValueError(f"env_id is {env_id!r}; must be one of {', '.join(map(repr, task_families()))}")
    return UniformTasks(_RANGES[env_id], split=split, fractions=fractions)
