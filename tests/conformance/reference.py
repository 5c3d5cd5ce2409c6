"""Steps the packages that define the environments, row by row, beside ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

import metarl_core

ROWS = 128
ENDINGS = ("terminated", "truncated")


class RecordingGenerator:
    """A NumPy generator that remembers what it handed out."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.drawn: list[tuple[str, float]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.generator, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            value = method(*args, **kwargs)
            self.drawn.append((name, value))
            return value

        return call


@dataclass
class Comparison:
    """Largest differences seen, and what was covered."""

    states: int = 0
    worst_state: float = 0.0
    worst_obs: float = 0.0
    worst_reward: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: {"terminated": 0, "truncated": 0, "both": 0})

    def add(self, ours: Sequence[np.ndarray], reference: Sequence[np.ndarray], angles: Sequence[int] = ()) -> None:
        """Compare (state, obs, reward, terminated, truncated) of one batch."""
        difference = np.abs(ours[0] - reference[0])
        for column in angles:  # either end of the circle is right
            difference[:, column] = np.minimum(difference[:, column], np.abs(difference[:, column] - 2 * np.pi))
        self.worst_state = max(self.worst_state, float((difference / np.maximum(1, np.abs(reference[0]))).max()))
        obs, reference_obs = (np.asarray(x[1], np.float64) for x in (ours, reference))
        self.worst_obs = max(
            self.worst_obs, float((np.abs(obs - reference_obs) / np.maximum(1, np.abs(reference_obs))).max())
        )
        scale = np.maximum(1, np.abs(reference[2]))
        self.worst_reward = max(self.worst_reward, float((np.abs(ours[2] - reference[2]) / scale).max()))
        np.testing.assert_array_equal(ours[3], reference[3], err_msg="terminated")
        np.testing.assert_array_equal(ours[4], reference[4], err_msg="truncated")
        self.states += len(ours[2])
        self.counts["terminated"] += int(ours[3].sum())
        self.counts["truncated"] += int(ours[4].sum())
        self.counts["both"] += int((ours[3] & ours[4]).sum())

    def check(self, name: str, minimum: int, tolerance: float, endings: Sequence[str]) -> None:
        """Print the figures and assert them."""
        print(
            f"{name}: {self.states} states, worst relative difference: state {self.worst_state:.2e}, "
            f"obs {self.worst_obs:.2e}, reward {self.worst_reward:.2e}; endings {self.counts}"
        )
        assert self.states >= minimum
        assert self.worst_state <= tolerance
        assert self.worst_reward <= tolerance
        # Observations are float32: the same number, rounded.
        assert self.worst_obs <= max(tolerance, 2.0**-23)
        for ending in endings:
            assert self.counts[ending] > 0, f"no {ending} episode was compared"


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
    """Run Gymnasium's environment; before every step copy its state into ours, then compare one step of both."""
    rng = np.random.default_rng(7)
    references = [gymnasium.make(env_id, disable_env_checker=True, **(reference_params or {})) for _ in range(ROWS)]
    for i, reference in enumerate(references):
        for name, value in (attributes or {}).items():
            setattr(reference.unwrapped, name, value)
        reference.reset(seed=i)
    ours = metarl_core.make_vec(env_id, ROWS, autoreset_mode="disabled", precision=precision, **params)
    ours.reset(seed=0)
    comparison = Comparison()
    # Rows start at different ages, so that time limits come early and not all in one step.
    elapsed = rng.integers(0, ours.max_episode_steps, ROWS).astype(np.int32)
    for reference, age in zip(references, elapsed, strict=True):
        wrapper = reference
        while not isinstance(wrapper, gymnasium.wrappers.TimeLimit):
            wrapper = wrapper.env
        wrapper._elapsed_steps = int(age)
    while comparison.states < states:
        before = np.array([np.asarray(r.unwrapped.state, np.float64) for r in references])
        if precision == "float32":
            before = before.astype(np.float32).astype(np.float64)
            for reference, row in zip(references, before, strict=True):
                reference.unwrapped.state = row.copy()
        actions = policy(before, rng)
        results = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for reference, action in zip(references, actions, strict=True):
                results.append(reference.step(action))
        ours.set_state({"state": before, "elapsed": elapsed, "done": np.zeros(ROWS, np.bool_)})
        obs, reward, terminated, truncated, _ = ours.step(actions)
        comparison.add(
            (ours.get_state()["state"], obs, reward, terminated, truncated),
            (
                np.array([np.asarray(r.unwrapped.state, np.float64) for r in references]),
                np.array([r[0] for r in results]),
                np.array([float(r[1]) for r in results]),
                np.array([r[2] for r in results]),
                np.array([r[3] for r in results]),
            ),
            angles,
        )
        elapsed += 1
        for row in np.flatnonzero(terminated | truncated):
            references[row].reset()
            elapsed[row] = 0
    return comparison
