"""Environments of dm_env (bsuite's, dm_control's) as Gymnasium's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

__all__ = ["DmEnvAdapter"]


def _space(spec: Any) -> spaces.Space[Any]:
    if isinstance(spec, Mapping):
        return spaces.Dict({key: _space(part) for key, part in spec.items()})
    if isinstance(spec, (list, tuple)):
        return spaces.Tuple([_space(part) for part in spec])
    dtype = np.dtype(spec.dtype)
    if hasattr(spec, "num_values"):
        return spaces.Discrete(int(spec.num_values))
    if dtype.kind not in "fiub":
        raise TypeError(f"a spec has dtype {dtype}; must be of numbers")
    low: Any = getattr(spec, "minimum", None)
    high: Any = getattr(spec, "maximum", None)
    if low is None or high is None:
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else (0, 1)
        if dtype.kind in "iu":
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    shape = tuple(spec.shape)
    low, high = (np.broadcast_to(np.asarray(bound, dtype), shape) for bound in (low, high))
    return spaces.Box(low, high, shape, dtype.type)


class DmEnvAdapter(gymnasium.Env[Any, Any]):
    """An environment of dm_env behind Gymnasium's interface.

    ``terminated`` is a last step with discount 0, ``truncated`` one with another discount, as dm_env means them. A
    reward of None is 0. dm_env has no seeds: ``reset(seed=...)`` makes the environment anew.

    Args:
        make: Makes an environment from a seed in [0, 2^32), such as ``lambda seed: Catch(seed=seed)``.
        seed: Of the environment before the first ``reset(seed=...)``.

    Attributes:
        environment: The one in use.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's

    def __init__(self, make: Callable[[int], Any], seed: int = 0) -> None:
        self._make = make
        self.environment = make(seed)
        self.observation_space = _space(self.environment.observation_spec())
        self.action_space = _space(self.environment.action_spec())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.environment.close()
            self.environment = self._make(seed % 2**32)
        return self.environment.reset().observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        step = self.environment.step(action)
        reward = 0.0 if step.reward is None else float(step.reward)
        last = bool(step.last())
        ended = last and step.discount == 0
        return step.observation, reward, bool(ended), last and not ended, {}

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()
