"""Pictures of the meta-learning environments: point robots, bandits of many pulls, tabular processes, mazes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from metarl_core.vector.render.canvas import Canvas, Colour
from metarl_core.vector.render.figures import star
from metarl_core.vector.render.palette import (
    BLUE,
    CREAM,
    DARK,
    GOLD,
    GREEN,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    PURPLE,
    RED,
    WHITE,
    mixed,
)
from metarl_core.vector.render.registry import Drawing
from metarl_core.vector.render.scene import Scene

__all__ = ["DRAWINGS"]


def _field(canvas: Canvas, scale: float, origin: tuple[float, float], spacing: float) -> None:
    """Draw a plane with lines every ``spacing`` units, those through (0, 0) darker."""
    canvas.rectangle(0, 0, canvas.width, canvas.height, CREAM)
    for axis, size in ((0, canvas.width), (1, canvas.height)):
        first = -math.floor(origin[axis] / (spacing * scale))
        for k in range(first, first + math.floor(size / (spacing * scale)) + 2):
            at = round(origin[axis] + k * spacing * scale)
            box = (at, 0, 1, canvas.height) if axis == 0 else (0, at, canvas.width, 1)
            canvas.rectangle(*box, GREY if k == 0 else LIGHT)


def _robot(scene: Scene, canvas: Canvas, scale: float, origin: tuple[float, float]) -> None:
    """Draw the robot; one that has left the picture is an arrow at its edge."""
    x, y = origin[0] + scene.state["x"] * scale, origin[1] - scene.state["y"] * scale
    inside = min(max(x, 22.0), canvas.width - 22.0), min(max(y, 22.0), canvas.height - 22.0)
    if (x, y) != inside and not (-8 < x < canvas.width + 8 and -8 < y < canvas.height + 8):
        away = np.array([x - inside[0], y - inside[1]])
        away /= np.hypot(*away)
        canvas.arrow(np.array(inside) - away * 14, np.array(inside) + away * 20, 9, BLUE)
        return
    if scene.actions is not None:
        # The step that led here.
        most = scene.params["max_step"]
        move = np.clip(scene.actions, -most, most) * (scale, -scale)
        canvas.line([(x - move[0], y - move[1]), (x, y)], 4, mixed(BLUE, WHITE, 0.5))
    canvas.disc(x, y, 11, BLUE)
    canvas.disc(x, y, 4, WHITE)


def _draw_point_robot(scene: Scene, canvas: Canvas) -> None:
    goal = scene.state["goal_x"], scene.state["goal_y"]
    reach = 1.5 * max(scene.common["goal_range"], abs(goal[0]), abs(goal[1]), 1e-6)
    scale, origin = canvas.width / (2 * reach), (canvas.width / 2, canvas.height / 2)
    _field(canvas, scale, origin, reach / 3)
    x, y = origin[0] + goal[0] * scale, origin[1] - goal[1] * scale
    half = max(scene.params["goal_tolerance"] * scale, 3.0)
    canvas.disc(x, y, 18, mixed(GREEN, WHITE, 0.6))
    canvas.rectangle(x - half, y - half, 2 * half, 2 * half, GREEN)
    _robot(scene, canvas, scale, origin)


@lru_cache(maxsize=64)
def _half_circle(height: int, width: int, reach: float, radius: float) -> Canvas:
    """Return the plane with the goals of a radius, from a picture's height and width and half the width it shows."""
    canvas = Canvas(height, width)
    scale, origin = width / (2 * reach), (width / 2, height * 0.88)
    _field(canvas, scale, origin, reach / 4)
    angle = np.linspace(0, math.pi, 60)
    circle = np.stack([origin[0] + radius * scale * np.cos(angle), origin[1] - radius * scale * np.sin(angle)], axis=1)
    canvas.line(circle, 3, GREY)
    return canvas


def _draw_sparse_point_robot(scene: Scene, canvas: Canvas) -> None:
    radius, near = scene.params["circle_radius"], scene.params["goal_radius"]
    reach = 1.35 * max(scene.common["circle_radius"], radius)
    scale, origin = canvas.width / (2 * reach), (canvas.width / 2, canvas.height * 0.88)
    canvas.paste(0, 0, _half_circle(canvas.height, canvas.width, reach, radius))
    x, y = origin[0] + scene.state["goal_x"] * scale, origin[1] - scene.state["goal_y"] * scale
    # Only within this disc there is a reward.
    canvas.disc(x, y, max(near * scale, 4.0), mixed(GREEN, WHITE, 0.6))
    canvas.disc(x, y, 7, GREEN)
    _robot(scene, canvas, scale, origin)


_TOP, _BOTTOM = 84.0, 330.0


def _draw_bandit(scene: Scene, canvas: Canvas) -> None:
    count = int(scene.params["num_arms"])
    means = np.array([scene.state[f"mean_{arm}"] for arm in range(count)])
    last = int(scene.state["last_action"])
    # Means below 0 hang down from the line.
    low, high = min(float(means.min()), 0.0), max(float(means.max()), 1.0)
    unit = (_BOTTOM - _TOP) / (high - low)
    ground = _TOP + high * unit
    canvas.rectangle(0, 0, canvas.width, canvas.height, CREAM)
    canvas.text(24, 20, f"PULL {int(scene.state['pulls'])} OF {int(scene.params['horizon'])}", 14, INK)
    if last >= 0:
        reward = scene.state["last_reward"]
        text = f"ARM {last}: {reward:.3g}"
        canvas.text(canvas.width - 24, 20, text, 14, GREEN if reward > 0 else RED, align="right", weight=0.17)
    room = (canvas.width - 40) / count
    wide = min(room * 0.7, 60.0)
    best = int(np.argmax(means))
    for arm, mean in enumerate(means.tolist()):
        # Whole pixels, which are drawn ten times faster.
        x, end = round(20 + (arm + 0.5) * room - wide / 2), round(20 + (arm + 0.5) * room + wide / 2)
        pulled = arm == last
        canvas.rectangle(x, _TOP - 4, end - x, _BOTTOM - _TOP + 8, mixed(ORANGE, WHITE, 0.55) if pulled else LIGHT)
        top, base = sorted((round(ground), round(ground - mean * unit)))
        canvas.rectangle(x, top, end - x, base - top, ORANGE if pulled else BLUE)
        if room >= 16:
            size = min(room * 0.3, 14.0)
            canvas.text((x + end) / 2, _BOTTOM + 16, str(arm), size, INK, align="centre")
    canvas.rectangle(20, round(ground) - 1, canvas.width - 40, 2, DARK)
    star(canvas, 20 + (best + 0.5) * room, _TOP - 18, 11, GOLD)


def _draw_tabular_mdp(scene: Scene, canvas: Canvas) -> None:
    count, actions = int(scene.params["num_states"]), int(scene.params["num_actions"])
    state, last = int(scene.state["state"]), int(scene.state["last_action"])
    horizon = int(scene.params["horizon"])
    canvas.paste(0, 0, _states(count))
    x, y, radius = _state_place(state, count)
    canvas.disc(x, y, radius * 1.25, RED)
    if count <= 40:
        canvas.text(x, y - radius * 0.4, str(state), radius * 0.8, WHITE, align="centre", weight=0.18)
    step = int(scene.state["step"])
    canvas.text(400, 40, f"STEP {step % horizon} OF {horizon}", 13, INK)
    canvas.text(400, 66, f"EPISODE {step // horizon + (not scene.done)}", 13, INK)
    reward = scene.state["last_reward"]
    if last >= 0:
        canvas.text(400, 104, f"REWARD {reward:.3g}", 13, GREEN if reward > 0 else RED)
    canvas.text(400, 150, "ACTIONS", 10, DARK)
    across = math.ceil(math.sqrt(actions))
    cell = min(180 / across, 40.0)
    for action in range(actions):
        row, column = divmod(action, across)
        colour = ORANGE if action == last else LIGHT
        canvas.rectangle(400 + column * cell, 172 + row * cell, cell - 3, cell - 3, colour)
        if cell >= 24:
            middle = 400 + column * cell + (cell - 3) / 2, 172 + row * cell + cell * 0.3
            canvas.text(*middle, str(action), cell * 0.34, INK, align="centre")


def _state_place(state: int, count: int) -> tuple[float, float, float]:
    """Return where a state is on the circle of states, and the radius of its disc."""
    radius = min(150 * math.sin(math.pi / max(count, 2)) * 0.8, 26.0)
    angle = 2 * math.pi * state / count - math.pi / 2
    return 200 + 150 * math.cos(angle), 200 + 150 * math.sin(angle), max(radius, 1.5)


@lru_cache(maxsize=8)
def _states(count: int) -> Canvas:
    canvas = Canvas(400, 600, CREAM)
    canvas.ring(200, 200, 151, 149, LIGHT)
    for state in range(count):
        x, y, radius = _state_place(state, count)
        canvas.disc(x, y, radius, PURPLE if state == 0 else BLUE)
        if count <= 40:
            canvas.text(x, y - radius * 0.4, str(state), radius * 0.8, WHITE, align="centre", weight=0.16)
    x, y, radius = _state_place(0, count)
    canvas.text(x, y - radius - 16, "START", 9, PURPLE, align="centre")
    return canvas


_MAZE_SIDE = 420


def _draw_maze(scene: Scene, canvas: Canvas) -> None:
    size = int(scene.params["size"])
    cell = canvas.width // size
    edge = (canvas.width - size * cell) // 2
    wall: Colour = (58, 64, 84)
    canvas.rectangle(0, 0, canvas.width, canvas.height, wall)
    walls = np.ones((size, size), np.bool_)
    for row in range(1, size - 1):
        bits = int(scene.state[f"walls_{row}"])
        walls[row, 1:-1] = [bits >> column & 1 for column in range(size - 2)]
    board = np.where(walls[..., None], np.array(wall, np.uint8), np.array((246, 240, 226), np.uint8))
    row, column = int(scene.state["row"]), int(scene.state["column"])
    # The agent sees the nine cells around.
    near = board[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    near[:] = np.where(near == np.array(wall, np.uint8), (98, 106, 134), (255, 226, 140)).astype(np.uint8)
    region = canvas.pixels[edge : edge + size * cell, edge : edge + size * cell]
    region[:] = board.repeat(cell, axis=0).repeat(cell, axis=1)
    x, y = (edge + (scene.state[name] + 0.5) * cell for name in ("goal_column", "goal_row"))
    canvas.rounded(x - cell * 0.42, y - cell * 0.42, cell * 0.84, cell * 0.84, cell * 0.15, GREEN)
    star(canvas, x, y, cell * 0.34, GOLD)
    x, y = edge + (column + 0.5) * cell, edge + (row + 0.5) * cell
    canvas.disc(x, y, cell * 0.34, RED)
    last = int(scene.state["last_action"])
    if last >= 0:
        # Looks where it went: up, right, down, left.
        across, down = ((0, -1), (1, 0), (0, 1), (-1, 0))[last]
        canvas.disc(x + across * cell * 0.16, y + down * cell * 0.16, cell * 0.11, WHITE)


DRAWINGS = {
    "PointRobot-v0": Drawing(_draw_point_robot, (400, 400)),
    "SparsePointRobot-v0": Drawing(_draw_sparse_point_robot, (300, 480)),
    "BernoulliBandit-v0": Drawing(_draw_bandit),
    "GaussianBandit-v0": Drawing(_draw_bandit),
    "TabularMDP-v0": Drawing(_draw_tabular_mdp),
    "Maze-v0": Drawing(_draw_maze, (_MAZE_SIDE, _MAZE_SIDE)),
}
