"""What every vector environment promises, whatever it simulates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.testing.comparison import require

__all__ = ["check_vector_env"]

Make = Callable[..., Any]
_ROWS = 37  # no multiple of a vector's width


def _arrays(obs: Any) -> list[npt.NDArray[Any]]:
    if isinstance(obs, list):
        return obs
    if isinstance(obs, dict):
        return [obs[key] for key in sorted(obs)]
    return list(obs) if isinstance(obs, tuple) else [obs]


def _equal(ours: Any, other: Any) -> bool:
    pairs = zip(_arrays(ours), _arrays(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def _actions(envs: Any, steps: int, rows: int) -> npt.NDArray[Any]:
    """Draw ``steps`` of actions by row, the same whatever the number of rows beyond it."""
    space = envs.single_action_space
    by_row = []
    for row in range(rows):
        rng = np.random.default_rng([row, 11])
        if hasattr(space, "n"):
            by_row.append(rng.integers(space.n, size=steps))
        else:
            low, high = (np.clip(x, -10, 10) for x in (space.low, space.high))
            by_row.append(rng.uniform(low, high, (steps, *space.shape)).astype(np.float32))
    return np.stack(by_row, axis=1)


def _check_outputs(make: Make, steps: int) -> None:
    envs = make(num_envs=_ROWS, seed=3)
    obs, info = envs.reset()
    require(obs in envs.observation_space, "the first observation is not in observation_space")
    require(isinstance(info, dict), "info is no dict")
    for actions in _actions(envs, steps, _ROWS):
        require(actions.shape == envs.action_space.sample().shape, "action_space does not fit single_action_space")
        obs, reward, terminated, truncated, info = envs.step(actions)
        require(obs in envs.observation_space, "an observation is not in observation_space")
        for name, array, dtype in (
            ("reward", reward, np.float64),
            ("terminated", terminated, np.bool_),
            ("truncated", truncated, np.bool_),
        ):
            require(array.dtype == dtype, f"{name} has dtype {array.dtype}; must be {np.dtype(dtype)}")
            require(array.shape == (_ROWS,), f"{name} has shape {array.shape}; must be ({_ROWS},)")
        require(np.isfinite(reward).all(), "a reward is not finite")
        require(isinstance(info, dict), "info is no dict")
    envs.close()


def _state(envs: Any) -> dict[str, Any]:
    """Return the state; of environments that have none to show, nothing."""
    return envs.get_state() if hasattr(envs, "get_state") else {}


def _rollout(make: Make, steps: int, rows: int = _ROWS, **arguments: Any) -> list[Any]:
    envs = make(num_envs=rows, **arguments)
    taken = [envs.reset()[0], *(envs.step(actions)[:4] for actions in _actions(envs, steps, rows))]
    taken.append(_state(envs).get("state", np.zeros(0)))
    envs.close()
    return taken


def _same(name: str, ours: list[Any], other: list[Any]) -> None:
    for number, (a, b) in enumerate(zip(ours, other, strict=True)):
        pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
        require(all(_equal(x, y) for x, y in pairs), f"{name}: step {number} differs")


def _check_same_bits(make: Make, steps: int, threads: tuple[int, ...]) -> None:
    rows = 2_000  # a number that is worth several threads
    first = _rollout(make, steps, rows, seed=5, num_threads=threads[0])
    for number in threads[1:]:
        _same(f"{threads[0]} and {number} threads", first, _rollout(make, steps, rows, seed=5, num_threads=number))
    alone = _rollout(make, steps, _ROWS, seed=5)
    for number, (few, many) in enumerate(zip(alone, first, strict=True)):
        pairs = zip(few, many, strict=True) if isinstance(few, tuple) else [(few, many)]
        for a, b in pairs:
            cut = [x[:_ROWS] for x in _arrays(b)]
            same = _equal(_arrays(a), cut)
            require(same, f"a row depends on the number of rows: step {number} differs")


def _check_seeds(make: Make, steps: int) -> None:
    envs = make(num_envs=_ROWS, seed=1)
    seeds = [row % 4 for row in range(_ROWS)]
    all_actions = _actions(envs, steps, 1)
    for repeat in range(2):
        obs, _ = envs.reset(seed=seeds)
        seen = [obs]
        for actions in all_actions:
            seen.append(envs.step(np.repeat(actions, _ROWS, axis=0))[0])
        if repeat == 0:
            first = seen
    for number, (a, b) in enumerate(zip(first, seen, strict=True)):
        require(_equal(a, b), f"seed: the second time differs in step {number}")
        for array in _arrays(a):
            for row in range(4, _ROWS):
                same = np.array_equal(array[row], array[row % 4], equal_nan=array.dtype.kind == "f")
                require(same, f"seed: rows {row % 4} and {row} have equal seeds and differ in step {number}")
    envs.close()


def _episodes(make: Make, mode: str, steps: int) -> list[list[bytes]]:
    """Return what every row saw, resets left out, with actions that depend on the row's count of transitions."""
    envs = make(num_envs=_ROWS, autoreset_mode=mode, seed=8)
    plan = _actions(envs, steps, _ROWS)
    count = np.zeros(_ROWS, np.int64)
    seen: list[list[bytes]] = [[] for _ in range(_ROWS)]
    ended = np.zeros(_ROWS, np.bool_)

    def remember(row: int, *values: Any) -> None:
        seen[row].append(b"".join(np.ascontiguousarray(v).tobytes() for v in values))

    obs, _ = envs.reset()
    for row in range(_ROWS):
        remember(row, *(x[row] for x in _arrays(obs)))
    for _ in range(steps):
        actions = plan[count % steps, np.arange(_ROWS)]
        obs, reward, terminated, truncated, _ = envs.step(actions)
        arrays, ends = _arrays(obs), terminated | truncated
        last = arrays
        if mode == "same_step" and ends.any():
            last = _arrays(envs.final_obs_dense()[0])
        for row in range(_ROWS):
            if mode == "next_step" and ended[row]:
                remember(row, *(x[row] for x in arrays))
                continue
            source = last if mode == "same_step" and ends[row] else arrays
            remember(row, *(x[row] for x in source), reward[row], terminated[row], truncated[row])
            if mode == "same_step" and ends[row]:
                remember(row, *(x[row] for x in arrays))
            count[row] += 1
        if mode == "disabled" and ends.any():
            obs, _ = envs.reset(options={"reset_mask": ends})
            for row in np.flatnonzero(ends).tolist():
                remember(row, *(x[row] for x in _arrays(obs)))
        ended = ends
    envs.close()
    return seen


def _check_autoreset_modes(make: Make, steps: int) -> None:
    reference = _episodes(make, "disabled", steps)
    for mode in ("next_step", "same_step"):
        for row, (ours, other) in enumerate(zip(_episodes(make, mode, steps), reference, strict=True)):
            length = min(len(ours), len(other))
            require(ours[:length] == other[:length], f"{mode}: row {row} plays other episodes than with 'disabled'")


def _check_outputs_are_kept(make: Make, steps: int) -> None:
    plain, given = (make(num_envs=_ROWS, seed=2) for _ in range(2))
    buffers = given.make_buffers()
    plain.reset()
    given.reset()
    kept = []
    for actions in _actions(plain, steps, _ROWS):
        result, other = plain.step(actions)[:4], given.step(actions, out=buffers)[:4]
        for a, b in zip(result, other, strict=True):
            require(_equal(a, b), "step(out=...) gives other values than step()")
        kept.append((result, [[x.copy() for x in _arrays(a)] for a in result]))
    for result, copies in kept:
        for a, before in zip(result, copies, strict=True):
            require(
                all(np.array_equal(x, y) for x, y in zip(_arrays(a), before, strict=True)),
                "an array that step returned changed later",
            )


def _check_state(make: Make, steps: int) -> None:
    envs, other = make(num_envs=_ROWS, seed=2), make(num_envs=_ROWS, seed=99)
    if not hasattr(envs, "get_state"):
        return
    envs.reset()
    actions = _actions(envs, 2 * steps, _ROWS)
    for row in actions[:steps]:
        envs.step(row)
    other.set_state(envs.get_state())
    for row in actions[steps:]:
        for a, b in zip(envs.step(row)[:4], other.step(row)[:4], strict=True):
            require(_equal(a, b), "an environment that took over a state with set_state goes on differently")


def _check_bad_actions(make: Make) -> None:
    envs = make(num_envs=_ROWS, seed=2)
    envs.reset()
    before = _state(envs)
    good = _actions(envs, 1, _ROWS)[0]
    bad = good.copy()
    bad[-1] = getattr(envs.single_action_space, "n", np.nan)
    for wrong in (bad, good[:-1]):
        try:
            envs.step(wrong)
        except ValueError:
            pass
        else:
            raise AssertionError(f"step accepted the actions {wrong!r}")
    after = _state(envs)
    require(all(np.array_equal(before[key], after[key]) for key in before), "a refused step changed the state")


def _check_tasks(make: Make, steps: int) -> None:
    plain, given = (make(num_envs=_ROWS, seed=6) for _ in range(2))
    if not given.task_parameters:
        return
    given.set_tasks(given.get_tasks())
    _same(
        "rows that are given the environment's own parameters",
        [plain.reset()[0], *(plain.step(a)[:4] for a in _actions(plain, steps, _ROWS))],
        [given.reset()[0], *(given.step(a)[:4] for a in _actions(given, steps, _ROWS))],
    )


def check_vector_env(make: Make, *, steps: int = 100, threads: tuple[int, ...] = (1, 2, 8)) -> None:
    """Check what an environment promises beside its dynamics.

    Outputs are in their spaces, finite, and never change after they were returned; the same seed gives the same bits at
    any number of threads and rows; equal seeds of a list play equal episodes; the three autoreset modes play the same
    episodes; ``out=`` gives what ``step`` gives; a state that was taken goes on exactly elsewhere; wrong actions are
    refused with nothing changed; rows whose task is the environment's own parameters play as without tasks. Of wrapped
    environments, which have no ``get_state``, the state is not checked.

    Args:
        make: Makes the environment; called with ``num_envs``, ``seed``, ``autoreset_mode`` and ``num_threads``, as
            ``functools.partial(metarl_core.make_vec, "CartPole-v1")`` takes them.
        steps: Steps of each check; enough for some episodes to end.
        threads: Numbers of threads to compare.

    Raises:
        AssertionError: Names the promise that is broken.
    """
    _check_outputs(make, steps)
    _check_same_bits(make, steps, threads)
    _check_seeds(make, steps)
    _check_autoreset_modes(make, steps)
    _check_outputs_are_kept(make, steps)
    _check_state(make, steps)
    _check_bad_actions(make)
    _check_tasks(make, steps)
