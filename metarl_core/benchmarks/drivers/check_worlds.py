"""Checks of a recorded run in worlds that are seen in part: MiniGrid, mazes, the point robot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import Array, require

if TYPE_CHECKING:
    from .check_env import Trace

MINIGRID_LIMITS = {"MiniGrid-Empty-8x8-v0": 256, "MiniGrid-DoorKey-8x8-v0": 640}
# MiniGrid's numbers of the objects of these levels: unseen, empty, wall, door, key, goal.
MINIGRID_OBJECTS = (0, 1, 2, 4, 5, 8)
# xminigrid's: outside the world, floor, wall, goal, key, locked, closed and open door.
XMINIGRID_OBJECTS = (0, 1, 2, 6, 7, 8, 9, 10)
DONE = 6
MOVES = (1, 5, 7, 3)  # up, right, down, left of the middle of a 3 x 3 view
ROBOT_STEP = 0.1


def ages(trace: Trace) -> Array:
    """Return how many steps of its episode each step completes, [k, n]; 0 where it was a reset."""
    age = np.zeros(trace.actions.shape[1], np.int64)
    real, done, found = trace.real_steps(), trace.done, []
    for k in range(len(real)):
        age = np.where(real[k], age + 1, 0)
        found.append(age.copy())
        if trace.autoreset == "same_step":
            age = np.where(done[k], 0, age)
    return np.stack(found)


def check_minigrid(env_id: str, trace: Trace, own_rules: bool = False) -> None:
    """Images are MiniGrid's, the reward is that of the episode's age, ``done`` changes nothing.

    With ``own_rules`` they are xminigrid's: rows and columns exchanged, two numbers a cell, no action ``done``.
    """
    shape, known = ((7, 7, 2), XMINIGRID_OBJECTS) if own_rules else ((7, 7, 3), MINIGRID_OBJECTS)
    require(trace.obs.shape[2:] == shape, f"{env_id}: observations of shape {trace.obs.shape[2:]}")
    objects = trace.obs[..., 0]
    require(bool(np.isin(objects, known).all()), f"{env_id}: an image has an object the level has not")
    here = objects[:, :, 6, 3] if own_rules else objects[:, :, 3, 6]
    require(bool((here != 2).all()), f"{env_id}: the agent stands in a wall")
    limit, age, real, seen = MINIGRID_LIMITS[env_id], ages(trace), trace.real_steps(), trace.seen_steps()
    expected = np.where(trace.terminated, 1 - 0.9 * age / limit, 0.0)
    require(bool((np.abs(trace.reward - expected)[real] < 1e-6).all()), f"{env_id}: a reward is not 1 - 0.9 t / limit")
    idle = seen & (trace.actions == DONE) & (not own_rules)
    same = (trace.obs[1:] == trace.obs[:-1]).all((2, 3, 4))
    require(bool(same[idle].all()), f"{env_id}: the action 'done' changed the image")
    require(seen.sum() < 7000 or not same[seen].all(), f"{env_id}: no action changes the image")
    cut = (trace.truncated & ~trace.terminated)[real]
    require(bool((cut == ((age >= limit) & ~trace.terminated)[real]).all()), f"{env_id}: not truncated after {limit}")


def check_maze(env_id: str, trace: Trace, ends_at_goal: bool) -> None:
    """Walls stop moves, and the observation repeats the last action and reward."""
    require(trace.obs.shape[2:] == (15,), f"{env_id}: observations of shape {trace.obs.shape[2:]}")
    walls, last = trace.obs[..., :9], trace.obs[..., 9:13]
    require(bool(np.isin(walls, (0, 1)).all()), f"{env_id}: a wall is neither there nor not")
    seen = trace.seen_steps()
    require(bool((last[1:].argmax(2) == trace.actions)[seen].all()), f"{env_id}: the last action is another one")
    ahead = np.take_along_axis(walls[:-1], np.array(MOVES)[trace.actions][..., None], 2)[..., 0] == 1
    same = (walls[1:] == walls[:-1]).all(2)
    require(bool(same[seen & ahead].all()), f"{env_id}: a move went through a wall")
    if ends_at_goal:
        require(bool(((trace.reward > 0) == trace.terminated).all()), f"{env_id}: the goal does not end an episode")


def check_point_robot(env_id: str, trace: Trace) -> None:
    """It moves as it is told, and its reward is the negative distance of one goal an episode."""
    require(trace.obs.shape[2:] == (2,), f"{env_id}: observations of shape {trace.obs.shape[2:]}")
    seen = trace.seen_steps()
    position = trace.obs.astype(np.float64)
    moved = position[1:] - position[:-1]
    error = np.abs(moved - np.clip(trace.actions, -ROBOT_STEP, ROBOT_STEP)).max(2)[seen]
    require(bool(error.max(initial=0) < 1e-5), f"{env_id}: an observation is off: it moved by something else")
    # A distance cannot change by more than the step.
    both = seen[1:] & seen[:-1] & trace.real_steps()[1:] & ~trace.done[:-1]
    change = np.abs(np.diff(trace.reward, axis=0)) - np.linalg.norm(moved[1:], axis=2)
    require(bool((change[both] < 1e-5).all()), f"{env_id}: a reward is no distance from a goal")
    require(bool((trace.reward <= 0).all()), f"{env_id}: a reward is positive")
    require(float(np.ptp(trace.reward)) > 0.1 or trace.reward.size < 100, f"{env_id}: all rewards are the same")
