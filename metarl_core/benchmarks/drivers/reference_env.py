"""One step of every measured environment in NumPy float64, written from the published equations.

Each function takes observations [n, ...] and actions [n] and returns the next observation, the reward and whether the
episode terminates, each [n]. They judge what the libraries return; the conformance tests compare ours with the
reference packages far more strictly.
"""

from __future__ import annotations

import numpy as np

from .base import Array

Step = tuple[Array, Array, Array]
FROZEN_LAKE = np.array([[c in "HG" for c in row] for row in ("SFFF", "FHFH", "FFFH", "HFFG")]).reshape(-1)


def cartpole(
    obs: Array,
    action: Array,
    gravity: Array | float = 9.8,
    masscart: Array | float = 1.0,
    masspole: Array | float = 0.1,
    length: Array | float = 0.5,
    force_mag: Array | float = 10.0,
) -> Step:
    """Barto, Sutton and Anderson 1983 as in Gymnasium's CartPole-v1: explicit Euler, 0.02 s."""
    x, x_dot, theta, theta_dot = obs.T
    force = np.where(action == 1, force_mag, -np.asarray(force_mag))
    cos, sin = np.cos(theta), np.sin(theta)
    mass, moment = masscart + masspole, masspole * length
    temp = (force + moment * theta_dot**2 * sin) / mass
    theta_acc = (gravity * sin - cos * temp) / (length * (4.0 / 3.0 - masspole * cos**2 / mass))
    x_acc = temp - moment * theta_acc * cos / mass
    after = np.stack(
        [x + 0.02 * x_dot, x_dot + 0.02 * x_acc, theta + 0.02 * theta_dot, theta_dot + 0.02 * theta_acc], 1
    )
    terminated = (np.abs(after[:, 0]) > 2.4) | (np.abs(after[:, 2]) > 12 * 2 * np.pi / 360)
    return after, np.ones(len(x)), terminated


def mountain_car(obs: Array, action: Array) -> Step:
    """Moore 1990 as in Gymnasium's MountainCar-v0."""
    position, velocity = obs.T
    velocity = np.clip(velocity + (action - 1) * 0.001 - 0.0025 * np.cos(3 * position), -0.07, 0.07)
    position = np.clip(position + velocity, -1.2, 0.6)
    velocity = np.where((position == -1.2) & (velocity < 0), 0.0, velocity)
    return np.stack([position, velocity], 1), -np.ones(len(position)), (position >= 0.5) & (velocity >= 0)


def _acrobot_rates(state: Array, torque: Array) -> Array:
    """Sutton 1996 with the equations of the book; masses and lengths 1, centres at 0.5, inertia 1."""
    theta1, theta2, rate1, rate2 = state.T
    d1 = 0.25 + (1 + 0.25 + np.cos(theta2)) + 2
    d2 = 0.25 + 0.5 * np.cos(theta2) + 1
    phi2 = 0.5 * 9.8 * np.cos(theta1 + theta2 - np.pi / 2)
    phi1 = (
        -0.5 * rate2**2 * np.sin(theta2)
        - rate2 * rate1 * np.sin(theta2)
        + 1.5 * 9.8 * np.cos(theta1 - np.pi / 2)
        + phi2
    )
    acc2 = (torque + d2 / d1 * phi1 - 0.5 * rate1**2 * np.sin(theta2) - phi2) / (0.25 + 1 - d2**2 / d1)
    return np.stack([rate1, rate2, -(d2 * acc2 + phi1) / d1, acc2], 1)


def acrobot(obs: Array, action: Array) -> Step:
    """Gymnasium's Acrobot-v1: one Runge-Kutta step of 0.2 s."""
    state = np.stack([np.arctan2(obs[:, 1], obs[:, 0]), np.arctan2(obs[:, 3], obs[:, 2]), obs[:, 4], obs[:, 5]], 1)
    torque, h = action - 1.0, 0.2
    k1 = _acrobot_rates(state, torque)
    k2 = _acrobot_rates(state + h / 2 * k1, torque)
    k3 = _acrobot_rates(state + h / 2 * k2, torque)
    k4 = _acrobot_rates(state + h * k3, torque)
    theta1, theta2, rate1, rate2 = (state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)).T
    rate1, rate2 = np.clip(rate1, -4 * np.pi, 4 * np.pi), np.clip(rate2, -9 * np.pi, 9 * np.pi)
    terminated = -np.cos(theta1) - np.cos(theta2 + theta1) > 1
    after = np.stack([np.cos(theta1), np.sin(theta1), np.cos(theta2), np.sin(theta2), rate1, rate2], 1)
    return after, np.where(terminated, 0.0, -1.0), terminated


def _pendulum(obs: Array, action: Array, clip_first: bool) -> Step:
    theta, rate = np.arctan2(obs[:, 1], obs[:, 0]), obs[:, 2]
    torque = np.clip(action.reshape(len(theta)), -2.0, 2.0)
    cost = theta**2 + 0.1 * rate**2 + 0.001 * torque**2
    unclipped = rate + (15.0 * np.sin(theta) + 3.0 * torque) * 0.05
    rate = np.clip(unclipped, -8.0, 8.0)
    theta = theta + (rate if clip_first else unclipped) * 0.05
    return np.stack([np.cos(theta), np.sin(theta), rate], 1), -cost, np.zeros(len(theta), bool)


def pendulum(obs: Array, action: Array) -> Step:
    """Gymnasium's Pendulum-v1: g = 10, m = l = 1, 0.05 s; it never terminates."""
    return _pendulum(obs, action, clip_first=True)


def pendulum_clipped_late(obs: Array, action: Array) -> Step:
    """The same, with the angle moved by the rate before it is limited to 8 (as envpool 1.2 does)."""
    return _pendulum(obs, action, clip_first=False)


def frozen_lake_moves(position: Array, action: Array) -> Array:
    """Return where a move leads on the 4x4 map (0 left, 1 down, 2 right, 3 up), int64[n]."""
    row, column = position // 4, position % 4
    row = np.clip(row + (action == 1) - (action == 3), 0, 3)
    column = np.clip(column + (action == 2) - (action == 0), 0, 3)
    return np.asarray(row * 4 + column, np.int64)


def cliff_walking(cell: Array, action: Array) -> Step:
    """Gymnasium's CliffWalking-v1 (0 up, 1 right, 2 down, 3 left); cells instead of observations."""
    row = np.clip(cell // 12 + (action == 2) - (action == 0), 0, 3)
    column = np.clip(cell % 12 + (action == 1) - (action == 3), 0, 11)
    falls = (row == 3) & (column > 0) & (column < 11)
    after = np.where(falls, 36, row * 12 + column)
    return after, np.where(falls, -100.0, -1.0), after == 47


# Where a wall stands to the east of a cell of the taxi's city.
_WALL_EAST = np.zeros((5, 5), bool)
_WALL_EAST[:2, 1] = _WALL_EAST[3:, 0] = _WALL_EAST[3:, 2] = _WALL_EAST[:, 4] = True
_STANDS = np.array([0, 4, 20, 23])


def taxi(state: Array, action: Array) -> Step:
    """Gymnasium's Taxi-v4 without rain (Taxi-v3 elsewhere); states instead of observations."""
    row, column, place, goal = state // 100, state // 20 % 5, state // 4 % 5, state % 4
    east = (action == 2) & ~_WALL_EAST[row, column]
    west = (action == 3) & (column > 0) & ~_WALL_EAST[row, np.maximum(column - 1, 0)]
    new_row = np.clip(row + (action == 0) - (action == 1), 0, 4)
    new_column = column + east - west
    at = (row * 5 + column)[:, None] == _STANDS
    stand = np.where(at.any(1), at.argmax(1), -1)
    picks = (action == 4) & (place == stand)
    drops = (action == 5) & (place == 4) & (stand >= 0)
    ends = drops & (stand == goal)
    new_place = np.where(picks, 4, np.where(drops, stand, place))
    illegal = ((action == 4) & ~picks) | ((action == 5) & ~drops)
    reward = np.where(ends, 20.0, np.where(illegal, -10.0, -1.0))
    return ((new_row * 5 + new_column) * 5 + new_place) * 4 + goal, reward, ends


def catch(state: Array, action: Array) -> Step:
    """Bsuite's Catch, 10 x 5: states are the ball's row and column and the paddle's column, [n, 3]."""
    row, column = state[:, 0] + 1, state[:, 1]
    paddle = np.clip(state[:, 2] + action - 1, 0, 4)
    ends = row == 9
    reward = np.where(ends, np.where(paddle == column, 1.0, -1.0), 0.0)
    return np.stack([row, column, paddle], 1), reward, ends


def catch_boards(state: Array) -> Array:
    """Return what states of Catch look like, float32[n, 10, 5]."""
    boards = np.zeros((len(state), 10, 5), np.float32)
    every = np.arange(len(state))
    boards[every, state[:, 0], state[:, 1]] = 1
    boards[every, 9, state[:, 2]] = 1
    return boards
