"""Gymnasium's environments beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

import metarl_core
from metarl_core.testing import Comparison, GymnasiumReference, RecordingGenerator, compare_steps

__all__ = ["ROWS", "Comparison", "RecordingGenerator", "compare_dynamics", "gymnasium_references"]

ROWS = 128


def gymnasium_references(
    env_id: str, params: dict[str, Any] | None = None, attributes: dict[str, Any] | None = None, **adapter: Any
) -> list[GymnasiumReference]:
    """Make `ROWS` of Gymnasium's environments; `adapter`: how their state becomes ours."""
    references = []
    for row in range(ROWS):
        env = gymnasium.make(env_id, disable_env_checker=True, **(params or {}))
        for name, value in (attributes or {}).items():
            setattr(env.unwrapped, name, value)
        references.append(GymnasiumReference(env, row, **adapter))
    return references


def compare_dynamics(
    env_id: str,
    policy: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    *,
    states: int,
    precision: str = "float64",
    angles: Sequence[int] = (),
    reference_params: dict[str, Any] | None = None,
    attributes: dict[str, Any] | None = None,
    **params: Any,
) -> Comparison:
    """Compare steps of an environment whose state Gymnasium keeps in `state`."""
    references = gymnasium_references(env_id, reference_params, attributes)
    ours = metarl_core.make_vec(env_id, ROWS, autoreset_mode="disabled", precision=precision, **params)
    return compare_steps(ours, references, policy, states=states, angles=angles)
