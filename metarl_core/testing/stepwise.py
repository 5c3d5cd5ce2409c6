"""One step from equal states, many times."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.testing.comparison import Comparison
from metarl_core.testing.references import Reference
from metarl_core.vector.base import VectorEnvMethods

__all__ = ["compare_steps"]

Policy = Callable[[npt.NDArray[np.float64], np.random.Generator], npt.NDArray[Any]]


def _copy_states(envs: VectorEnvMethods, references: Sequence[Reference], fields: npt.NDArray[np.float64]) -> None:
    rows = len(references)
    elapsed = np.array([r.elapsed for r in references], np.int32)
    envs.set_state({"state": fields, "elapsed": elapsed, "done": np.zeros(rows, np.bool_)})


def _fields(references: Sequence[Reference]) -> npt.NDArray[np.float64]:
    return np.array([np.asarray(r.get_fields(), np.float64) for r in references])


def _step_all(references: Sequence[Reference], actions: npt.NDArray[Any]) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [r.step(a) for r, a in zip(references, actions, strict=True)]


def compare_steps(
    envs: Any,
    references: Sequence[Reference],
    policy: Policy,
    *,
    states: int,
    seed: int = 7,
    angles: Sequence[int] = (),
    same_info: Sequence[str] = (),
    first_elapsed: int | None = None,
    after_reset: Callable[[int, np.random.Generator], None] | None = None,
) -> Comparison:
    """Before every step copy the references' states into ours, then compare one step of both.

    Differences do not add up: after each step ours go on from the references' states.

    Args:
        envs: What ``make_vec`` returned, with ``autoreset_mode="disabled"`` and as many rows as ``references``.
        references: One a row, reset once already.
        policy: From our fields, float64 ``(rows, fields)``, and a generator to the actions. It should drive rows to
            each ending: random actions never finish MountainCar.
        states: Steps to compare, all rows together.
        seed: Of the generator.
        angles: Columns of the state that are angles in rad: they may differ by a full turn.
        same_info: Keys of ``info`` that must be equal.
        first_elapsed: The rows start at ages drawn from [0, first_elapsed), so that time limits come early and not all
            in one step. Default: the environment's own limit.
        after_reset: Called with the row's number after its reference's reset, to put it into a rarer state.

    Returns:
        The largest differences; ``check`` asserts them.

    Raises:
        ValueError: The numbers of rows differ, or the mode is another one.
        AssertionError: An ending or an info differs.
    """
    rows = len(references)
    if envs.num_envs != rows:
        raise ValueError(f"envs has {envs.num_envs} rows and references {rows}; must be equal")
    if envs.metadata["autoreset_mode"].name != "DISABLED":
        raise ValueError("envs must be made with autoreset_mode='disabled'")
    rng = np.random.default_rng(seed)
    single = envs.params.get("precision") == "float32"
    limit = envs.max_episode_steps if first_elapsed is None else first_elapsed
    envs.reset(seed=seed)
    for reference in references:
        reference.elapsed = int(rng.integers(0, limit)) if limit else 0
    comparison = Comparison()
    while comparison.states < states:
        before = _fields(references)
        if single:
            before = before.astype(np.float32).astype(np.float64)
            for reference, row in zip(references, before, strict=True):
                reference.set_fields(row)
        _copy_states(envs, references, before)
        actions = policy(before, rng)
        results = _step_all(references, actions)
        draws = [r.draws() for r in references]
        if draws[0] is not None:
            envs._core.set_draws(np.array(draws, np.float64))
        obs, reward, terminated, truncated, info = envs.step(actions)
        comparison.add(
            (envs.get_state()["state"], obs, reward, terminated, truncated),
            (_fields(references), *(np.array([r[k] for r in results]) for k in range(4))),
            angles,
        )
        for key in same_info:
            np.testing.assert_array_equal(info[key], [r[4][key] for r in results], err_msg=f"info[{key!r}]")
        for row in np.flatnonzero(terminated | truncated).tolist():
            references[row].reset()
            references[row].elapsed = 0
            if after_reset is not None:
                after_reset(row, rng)
    return comparison
