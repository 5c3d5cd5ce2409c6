"""Checks of a recorded run: every step against the equations, every ending against its rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .base import Array, require
from .check_worlds import MINIGRID_LIMITS, check_maze, check_minigrid, check_point_robot
from .reference_env import (
    FROZEN_LAKE,
    Step,
    acrobot,
    cartpole,
    catch,
    catch_boards,
    cliff_walking,
    frozen_lake_moves,
    mountain_car,
    pendulum,
    taxi,
)

Reference = Callable[..., Step]
REFERENCES: dict[str, Reference] = {
    "CartPole-v1": cartpole,
    "MountainCar-v0": mountain_car,
    "Acrobot-v1": acrobot,
    "Pendulum-v1": pendulum,
}
# Of observations that are the state itself.
TABLES: dict[str, Reference] = {"CliffWalking-v1": cliff_walking, "Taxi-v4": taxi}
# Observations are float32: one step magnifies their rounding, most in the acrobot (rates up to 28).
TOLERANCE = {"CartPole-v1": 1e-4, "MountainCar-v0": 1e-5, "Acrobot-v1": 5e-3, "Pendulum-v1": 1e-4}
LIMITS = {"MountainCar-v0": 200, "Pendulum-v1": 200, "Taxi-v4": 200, "PointRobot-v0": 100}


@dataclass
class Trace:
    """A recorded run of k steps of n environments.

    Attributes:
        obs: [k + 1, n, ...], beginning with that of the reset.
        actions: [k, n] or [k, n, 1].
        reward: [k, n].
        terminated: [k, n].
        truncated: [k, n].
        autoreset: ``"next_step"`` or ``"same_step"``.
        tasks: Parameters that differ between environments, [n] each.
    """

    obs: Array
    actions: Array
    reward: Array
    terminated: Array
    truncated: Array
    autoreset: str
    tasks: dict[str, Array] | None = None

    @property
    def done(self) -> Array:
        """Where an episode ended, [k, n]."""
        return np.asarray(self.terminated | self.truncated, bool)

    def real_steps(self) -> Array:
        """Where a step was taken rather than a reset (in NEXT_STEP mode the step after an end resets), [k, n]."""
        mask = np.ones(self.done.shape, bool)
        if self.autoreset == "next_step":
            mask[1:] = ~self.done[:-1]
        return mask

    def seen_steps(self) -> Array:
        """Where ``obs[1:]`` is what the step led to: in SAME_STEP mode an end shows the next episode. [k, n]."""
        return self.real_steps() if self.autoreset == "next_step" else ~self.done


def check_trace(
    env_id: str, trace: Trace, size: int = 0, reference: Reference | None = None, own_rules: bool = False
) -> None:
    """Assert that a run follows the environment's rules.

    Args:
        env_id: Which environment.
        trace: The run.
        size: Size of DeepSea.
        reference: The equations, for a library whose own differ in a known way.
        own_rules: For a library whose environment is of the same kind, but not the same: what they share is checked.

    Raises:
        WrongResultError: Naming the environment and what is wrong.
    """
    steps, num_envs = trace.actions.shape[:2]
    require(trace.obs.shape[:2] == (steps + 1, num_envs), f"{env_id}: observations of shape {trace.obs.shape}")
    for name in ("reward", "terminated", "truncated"):
        shape = getattr(trace, name).shape
        require(shape == (steps, num_envs), f"{env_id}: {name} has the shape {shape}, not {(steps, num_envs)}")
    if env_id in REFERENCES:
        _check_equations(env_id, trace, reference or REFERENCES[env_id])
    elif env_id == "FrozenLake-v1":
        _check_frozen_lake(trace)
    elif env_id in TABLES:
        _check_table(env_id, trace, TABLES[env_id])
    elif env_id == "Catch-v0":
        _check_catch(trace)
    elif env_id == "MinAtar/Breakout-v1":
        _check_breakout(trace)
    elif env_id in MINIGRID_LIMITS:
        check_minigrid(env_id, trace, own_rules)
    elif env_id == "Maze-v0":
        check_maze(env_id, trace, ends_at_goal=not own_rules)
    elif env_id == "PointRobot-v0":
        if own_rules:
            require(bool(np.isfinite(trace.obs).all()), f"{env_id}: an observation is not finite")
            return
        check_point_robot(env_id, trace)
    else:
        _check_deep_sea(trace, size)
    limit = LIMITS.get(env_id)
    if limit is not None and steps >= limit:
        alive = ~trace.terminated[:limit].any(0)
        require(not trace.truncated[: limit - 1].any(), f"{env_id}: truncated before {limit} steps")
        require(bool(trace.truncated[limit - 1][alive].all()), f"{env_id}: not truncated after {limit} steps")


def _check_equations(env_id: str, trace: Trace, reference: Reference) -> None:
    real, seen = trace.real_steps(), trace.seen_steps()
    before = trace.obs[:-1][real].astype(np.float64)
    columns = np.nonzero(real)[1]
    tasks = {name: values[columns] for name, values in (trace.tasks or {}).items()}
    after, reward, terminated = reference(before, trace.actions[real].astype(np.float64), **tasks)
    tolerance = TOLERANCE[env_id]
    got = trace.obs[1:][real].astype(np.float64)
    shown = seen[real]
    error = np.abs(got - after)[shown] if shown.any() else np.zeros(1)
    require(bool(np.isfinite(got).all()), f"{env_id}: an observation is not finite")
    require(bool(error.max() <= tolerance), f"{env_id}: an observation is off by {error.max():.2e}")
    # The flag may differ where rounding decides: at a threshold. None of the rules is that close more often than this.
    differing = terminated != trace.terminated[real]
    require(
        bool(differing.mean() <= 1e-3),
        f"{env_id}: 'terminated' differs from the rule in {differing.mean():.1%} of steps",
    )
    reward_error = np.abs(trace.reward[real] - reward)[shown & ~differing]
    require(
        bool(reward_error.size == 0 or reward_error.max() <= 10 * tolerance),
        f"{env_id}: a reward is off by {reward_error.max(initial=0):.2e}",
    )


def _check_table(env_id: str, trace: Trace, table: Reference) -> None:
    real, shown = trace.real_steps(), trace.seen_steps()[trace.real_steps()]
    before = trace.obs[:-1][real].astype(np.int64)
    after, reward, terminated = table(before, trace.actions[real])
    got = trace.obs[1:][real].astype(np.int64)
    require(bool((got == after)[shown].all()), f"{env_id}: an observation is off: a step leads elsewhere")
    require(bool((trace.reward[real] == reward).all()), f"{env_id}: a reward is off")
    require(bool((trace.terminated[real] == terminated).all()), f"{env_id}: 'terminated' differs from the rule")


def _check_catch(trace: Trace) -> None:
    require(trace.obs.shape[2:] == (10, 5), f"Catch-v0: observations of shape {trace.obs.shape[2:]}")
    real, shown = trace.real_steps(), trace.seen_steps()[trace.real_steps()]
    boards = trace.obs[:-1][real].astype(np.float32)
    falling = boards[:, :9].reshape(len(boards), -1)
    before = np.stack([falling.argmax(1) // 5, falling.argmax(1) % 5, boards[:, 9].argmax(1)], 1)
    require(bool((boards == catch_boards(before)).all()), "Catch-v0: an observation is off: not a ball and a paddle")
    after, reward, terminated = catch(before, trace.actions[real])
    got = trace.obs[1:][real]
    require(bool((got == catch_boards(after))[shown].all()), "Catch-v0: an observation is off: a step leads elsewhere")
    require(bool((trace.reward[real] == reward).all()), "Catch-v0: a reward is not that of the ball's end")
    require(bool((trace.terminated[real] == terminated).all()), "Catch-v0: 'terminated' differs from the rule")


def _check_breakout(trace: Trace) -> None:
    name = "MinAtar/Breakout-v1"
    require(trace.obs.shape[2:] == (10, 10, 4), f"{name}: observations of shape {trace.obs.shape[2:]}")
    boards = trace.obs.astype(bool)
    paddle, ball, trail, bricks = (boards[..., channel] for channel in range(4))
    steps, num_envs = trace.actions.shape
    for what, board in (("paddle", paddle), ("ball", ball), ("trail", trail)):
        require(bool((board.sum((2, 3)) == 1).all()), f"{name}: an observation has not exactly one {what}")
    place = paddle[:, :, 9].argmax(2)
    where = ball.reshape(steps + 1, num_envs, 100).argmax(2)
    seen = trace.seen_steps()
    require(bool((trail[1:] == ball[:-1])[seen].all()), f"{name}: the trail is not where the ball was")
    for axis in (where // 10, where % 10):
        require(bool((np.abs(np.diff(axis, axis=0))[seen] <= 1).all()), f"{name}: the ball moves further than a cell")
    moved = np.diff(place, axis=0)
    wanted = np.clip(place[:-1] + np.array([0, -1, 1])[trace.actions], 0, 9) - place[:-1]
    require(bool((np.abs(moved)[seen] <= 1).all()), f"{name}: the paddle moves further than a cell")
    # The package repeats the last action in a tenth of the steps.
    share = float((moved == wanted)[seen].mean()) if seen.any() else 1.0
    require(share > 0.9, f"{name}: only {share:.1%} of the paddle's moves are the action's")
    lost = (bricks[:-1] & ~bricks[1:]).sum((2, 3))
    waves = (bricks[1:] & ~bricks[:-1]).any((2, 3))
    require(bool((trace.reward == lost)[seen & ~waves].all()), f"{name}: a reward is not the number of bricks hit")
    if trace.autoreset == "next_step":
        require(bool((trace.terminated == (where[1:] // 10 == 9))[seen].all()), f"{name}: an end is not a missed ball")


def _check_frozen_lake(trace: Trace) -> None:
    seen = trace.seen_steps()
    before = trace.obs[:-1][seen].astype(np.int64)
    after = trace.obs[1:][seen].astype(np.int64)
    action = trace.actions[seen]
    require(bool(((before >= 0) & (before < 16)).all()), "FrozenLake-v1: a position lies outside the map")
    moves = np.stack([frozen_lake_moves(before, (action + turn) % 4) for turn in (-1, 0, 1)], 1)
    require(bool((moves == after[:, None]).any(1).all()), "FrozenLake-v1: a step led to a tile that it cannot reach")
    distinct = (moves[:, 0] != moves[:, 1]) & (moves[:, 1] != moves[:, 2]) & (moves[:, 0] != moves[:, 2])
    if trace.autoreset == "next_step":
        require(
            bool((trace.terminated[seen] == FROZEN_LAKE[after]).all()),
            "FrozenLake-v1: 'terminated' differs from the map",
        )
        require(
            bool((trace.reward[seen] == (after == 15)).all()), "FrozenLake-v1: the reward is not 1 at the goal alone"
        )
    elif distinct.sum() >= 3000:
        # Ends hide where the step led, and they are not equally likely in each direction: only tiles without one
        # beside them.
        distinct &= ~FROZEN_LAKE[moves].any(1)
    count = int(distinct.sum())
    if count >= 1000:
        share = float((after == moves[:, 1])[distinct].mean())
        allowed = 5 * np.sqrt(2 / 9 / count)
        require(abs(share - 1 / 3) <= allowed, f"FrozenLake-v1: the intended move succeeds with {share:.3f}, not 1/3")


def _check_deep_sea(trace: Trace, size: int) -> None:
    steps, num_envs = trace.actions.shape
    flat = trace.obs.reshape(steps + 1, num_envs, -1)
    require(
        flat.shape[2] == size * size, f"DeepSea-v0: observations of {flat.shape[2]} numbers instead of {size * size}"
    )
    require(bool(((flat == 0) | (flat == 1)).all()), "DeepSea-v0: an observation is not one-hot")
    filled, cell = flat.sum(2), flat.argmax(2)
    real, seen = trace.real_steps(), trace.seen_steps()
    require(bool((filled[:-1][real] == 1).all()), "DeepSea-v0: an observation has not exactly one 1")
    row, column = cell[:-1] // size, cell[:-1] % size
    require(
        bool((trace.terminated[real] == (row == size - 1)[real]).all()), "DeepSea-v0: it does not end at the last row"
    )
    inner = seen & ~trace.terminated
    new_row, new_column = cell[1:] // size, cell[1:] % size
    require(bool((new_row == row + 1)[inner].all()), "DeepSea-v0: a step does not lead one row down")
    right = new_column == np.minimum(column + 1, size - 1)
    left = new_column == np.maximum(column - 1, 0)
    require(bool((right | left)[inner].all()), "DeepSea-v0: a step leads to a column that it cannot reach")
    sure = inner & (right != left)
    cost = np.where(right, -0.01 / size, 0.0)
    require(bool((np.abs(trace.reward - cost)[sure] < 1e-6).all()), "DeepSea-v0: a reward is not the cost of its move")
    # The same action must lead the same way from the same cell, everywhere: the mapping is fixed.
    seen_pairs = np.unique(np.stack([cell[:-1][sure], trace.actions[sure], right[sure]], 1), axis=0)
    keys = seen_pairs[:, 0] * 2 + seen_pairs[:, 1]
    require(len(np.unique(keys)) == len(keys), "DeepSea-v0: one action leads both ways from one cell")
