"""Meta-World's environments with what a row of a vector needs of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

__all__ = ["MetaWorldRow"]


class MetaWorldRow(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment with its tasks, which ``reset(seed=...)`` seeds: Meta-World's own ignores the seed.

    Args:
        env: Meta-World's.
        tasks: Its tasks, by number.
        space: What it observes, the same for all classes of a benchmark.
    """

    def __init__(self, env: Any, tasks: Mapping[int, Any], space: Any) -> None:
        super().__init__(env)
        self.tasks = tasks
        self.observation_space = space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode of the task that was set."""
        if seed is not None:
            self.env.seed(seed)  # type: ignore[attr-defined]
        return self.env.reset(options=options)
