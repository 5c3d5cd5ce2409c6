"""Drawings of grid worlds and point robots from hand-made scenes: each thing is where the state says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metarl_core.vector.render.canvas import Canvas
from metarl_core.vector.render.palette import BLUE, GOLD, GREEN, ORANGE, RED
from metarl_core.vector.render.registry import drawing_of
from metarl_core.vector.render.scene import Scene

AGENT, FLOOR = (240, 76, 66), (42, 46, 60)
# MiniGrid's cells: kind, 16 times the colour, 128 where nothing is seen behind.
WALL, EMPTY, GOAL, LAVA = 210, 1, 24, 9


def frame_of(env_id, state, params=None, actions=None, observation=None, done=False):
    params = params or {}
    scene = Scene(env_id, state, params, params, {}, None, actions, 1, done, lambda: observation)
    drawing = drawing_of(env_id)
    canvas = Canvas(*drawing.size_for(params))
    drawing.draw(scene, canvas)
    return canvas.pixels


def place_of(frame, colour):
    rows, columns = np.nonzero((frame == np.array(colour, np.uint8)).all(axis=-1))
    assert rows.size, "no such colour"
    return columns.mean() + 0.5, rows.mean() + 0.5


def level(cells, agent=(1, 1), direction=0, carrying=1, observation=None):
    """Return the frame of a MiniGrid level of 5 x 5 cells, walls around; ``cells``: (column, row) to cell."""
    state = {"agent_x": agent[0], "agent_y": agent[1], "direction": direction, "carrying": carrying}
    for row in range(5):
        for column in range(5):
            border = row in (0, 4) or column in (0, 4)
            state[f"cell_{column}_{row}"] = cells.get((column, row), WALL if border else EMPTY)
    seen = np.zeros((7, 7, 3), np.uint8) if observation is None else observation
    return frame_of("MiniGrid-Any-v0", state, observation=seen)


def tile(frame, column, row):
    return frame[row * 80 : (row + 1) * 80, column * 80 : (column + 1) * 80]


@pytest.mark.parametrize("direction", range(4))
def test_minigrid_agent_points_where_it_looks(direction):
    frame = level({}, (2, 3), direction)
    body = (tile(frame, 2, 3) == AGENT).all(axis=-1)
    assert body.sum() == (frame == AGENT).all(axis=-1).sum() > 400
    ahead = ((1, 0), (0, 1), (-1, 0), (0, -1))[direction]
    tip = 40 + 24 * ahead[0], 40 + 24 * ahead[1]
    tail = 40 - 24 * ahead[0], 40 - 24 * ahead[1]
    assert body[tip[1], tip[0]]
    assert not body[tail[1], tail[0]]


def test_minigrid_things_are_in_their_cells():
    red, yellow = 0, 4
    things = {
        (3, 3): GOAL,
        (2, 1): LAVA,
        (1, 3): 5 + 16 * yellow,
        (2, 3): 6 + 16 * red,
        (3, 1): 140 + 16 * yellow,
        (3, 2): 139 + 16 * yellow,
        (2, 2): 4 + 16 * yellow,
    }
    frame = level(things, (1, 1))
    pictures = {place: tile(frame, *place).tobytes() for place in things}
    assert len(set(pictures.values())) == len(things)
    plain = level({}, (1, 1))
    for row in range(5):
        for column in range(5):
            same = np.array_equal(tile(frame, column, row), tile(plain, column, row))
            assert same == ((column, row) not in things)
    for place, cell in things.items():  # the same thing looks the same anywhere
        moved = level({(3, 2): cell}, (1, 1))
        assert tile(moved, 3, 2).tobytes() == pictures[place]
    for colour in range(6):
        pictures[colour] = tile(level({(3, 3): 6 + 16 * colour}), 3, 3).tobytes()
    assert len({pictures[colour] for colour in range(6)}) == 6
    ball = tile(level({}, (1, 1), carrying=6 + 16 * 2), 1, 1)
    assert not np.array_equal(ball, tile(plain, 1, 1))
    assert (ball == (72, 132, 230)).all(axis=-1).any()


def test_minigrid_lights_what_the_agent_sees():
    # Its own cell is column 3, row 6 of what it sees; of the cell ahead and the one to its right of that.
    seen = np.zeros((7, 7, 3), np.uint8)
    seen[3, 6, 0] = seen[3, 5, 0] = seen[4, 5, 0] = 1
    dark = {direction: level({}, (2, 2), direction) for direction in range(4)}
    expected = {0: {(2, 2), (3, 2), (3, 3)}, 1: {(2, 2), (2, 3), (1, 3)}, 2: {(2, 2), (1, 2), (1, 1)}}
    expected[3] = {(2, 2), (2, 1), (3, 1)}
    for direction, cells in expected.items():
        lit = level({}, (2, 2), direction, observation=seen)
        changed = {
            (column, row)
            for row in range(5)
            for column in range(5)
            if not np.array_equal(tile(lit, column, row), tile(dark[direction], column, row))
        }
        assert changed == cells
        assert (lit.astype(int) >= dark[direction]).all()


def test_maze_walls_goal_and_agent():
    # Bit c - 1 of a row is column c. 5 x 5 cells, all open but the middle one.
    state = {"row": 1, "column": 1, "goal_row": 3, "goal_column": 3, "last_action": 1, "time": 4, "view": 0}
    state |= {"last_reward": 0.0, "walls_0": 7, "walls_1": 0, "walls_2": 2, "walls_3": 0, "walls_4": 7}
    frame = frame_of("Maze-v0", state, {"size": 5})
    cell = 420 // 5
    assert place_of(frame, GREEN) == pytest.approx((3.5 * cell, 3.5 * cell), abs=2)
    assert place_of(frame, GOLD) == pytest.approx((3.5 * cell, 3.5 * cell), abs=2)
    x, y = place_of(frame, RED)
    assert (x, y) == pytest.approx((1.5 * cell, 1.5 * cell), abs=3)
    wall, path = (58, 64, 84), (246, 240, 226)
    near_wall, near_path = (98, 106, 134), (255, 226, 140)
    for row in range(5):
        for column in range(5):
            is_wall = row in (0, 4) or column in (0, 4) or (row, column) == (2, 2)
            near = row <= 2 and column <= 2
            expected = (near_wall if is_wall else near_path) if near else (wall if is_wall else path)
            assert tuple(frame[row * cell + 3, column * cell + 3]) == expected
    blocked = frame_of("Maze-v0", {**state, "walls_3": 2}, {"size": 5})
    assert tuple(blocked[3 * cell + 3, 2 * cell + 3]) == wall
    all_walls = frame_of("Maze-v0", {**state, "walls_2": -1}, {"size": 5})  # as a signed field may hold it
    assert tuple(all_walls[2 * cell + 3, 3 * cell + 3]) == wall


def test_point_robots_and_their_goals():
    params = {"goal_range": 0.5, "goal_tolerance": 0.01, "max_step": 0.1}
    scale = 400 / 1.5
    for x, y in ((0.0, 0.0), (0.3, -0.4), (-0.6, 0.5)):
        state = {"x": x, "y": y, "goal_x": 0.4, "goal_y": 0.3}
        frame = frame_of("PointRobot-v0", state, params, actions=(0.05, 9.0))
        assert place_of(frame, BLUE) == pytest.approx((200 + x * scale, 200 - y * scale), abs=1)
        assert place_of(frame, GREEN) == pytest.approx((200 + 0.4 * scale, 200 - 0.3 * scale), abs=1)
    away = frame_of("PointRobot-v0", {"x": 40.0, "y": 0.0, "goal_x": 0.4, "goal_y": 0.3}, params)
    assert place_of(away, BLUE)[0] > 370
    params = {"circle_radius": 1.0, "goal_radius": 0.2, "max_step": 0.1}
    scale = 480 / 2.7
    goal = {"goal_x": math.cos(2.0), "goal_y": math.sin(2.0)}
    frames = [
        frame_of("SparsePointRobot-v0", {"x": 0.2, "y": 0.6, **goal}, {**params, "goal_radius": radius})
        for radius in (0.2, 0.3)
    ]
    for frame in frames:
        assert place_of(frame, BLUE) == pytest.approx((240 + 0.2 * scale, 264 - 0.6 * scale), abs=1)
        expected = 240 + goal["goal_x"] * scale, 264 - goal["goal_y"] * scale
        assert place_of(frame, GREEN) == pytest.approx(expected, abs=1)
    small, large = ((frame == (179, 217, 188)).all(axis=-1).sum() for frame in frames)
    assert large / small == pytest.approx(2.25, rel=0.1)


@pytest.mark.parametrize("env_id", ["BernoulliBandit-v0", "GaussianBandit-v0"])
def test_bandit_of_many_pulls(env_id):
    state = {"pulls": 3, "last_action": 1, "last_reward": 1.0, "mean_0": 0.25, "mean_1": 0.5, "mean_2": 1.0}
    frame = frame_of(env_id, state, {"num_arms": 3, "horizon": 10})
    blue, orange = ((frame == np.array(colour)).all(axis=-1) for colour in (BLUE, ORANGE))
    heights = [blue.sum(axis=0)[113], orange.sum(axis=0)[300], blue.sum(axis=0)[487]]
    assert heights == pytest.approx([246 * 0.25, 246 * 0.5, 246], abs=3)
    below = frame_of(env_id, {**state, "mean_0": -1.0}, {"num_arms": 3, "horizon": 10})
    # From -1 to 1 there are 246 pixels, and this one hangs from the middle to the bottom.
    rows = np.nonzero((below[:, 113] == BLUE).all(axis=-1))[0]
    assert (rows.min(), rows.max()) == pytest.approx((84 + 123, 84 + 246), abs=2)


def test_tabular_process_marks_the_state_and_the_action():
    state = {"step": 13, "last_action": 2, "last_reward": -0.5, "mdp_name_low": 1, "mdp_name_high": 2}
    params = {"num_states": 10, "num_actions": 5, "horizon": 10}
    for which in range(10):
        frame = frame_of("TabularMDP-v0", {**state, "state": which}, params)
        angle = 2 * math.pi * which / 10 - math.pi / 2
        expected = 200 + 150 * math.cos(angle), 200 + 150 * math.sin(angle)
        assert place_of(frame[:, :380], RED) == pytest.approx(expected, abs=4)
    for action in range(5):
        frame = frame_of("TabularMDP-v0", {**state, "state": 1, "last_action": action}, params)
        x, y = place_of(frame, ORANGE)
        assert (x - 400) // 40 == action % 3
        assert (y - 172) // 40 == action // 3
    largest = frame_of("TabularMDP-v0", {**state, "state": 255}, {"num_states": 256, "num_actions": 128, "horizon": 10})
    assert place_of(largest[:, :380], RED)[0] < 200
