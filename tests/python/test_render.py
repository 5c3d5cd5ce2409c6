"""render(): what the pictures show, and that drawing changes nothing."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest

from metarl_core import ClosedError, ResetNeededError, list_envs, make_vec
from metarl_core.vector import register_drawing
from metarl_core.vector.numpy_env import NumpyVectorEnv
from metarl_core.vector.render import drawing_of, generic, registry
from metarl_core.vector.render.palette import BLUE, GOLD, GREEN, INK, ORANGE, PURPLE, RED
from metarl_core.vector.specs import env_spec

ALL = list_envs()
DRAWN = [name for name in ALL if drawing_of(name) is not generic.DRAWING]
MODES = ("next_step", "same_step", "disabled")


def actions_for(envs, rng):
    space = envs.single_action_space
    if hasattr(space, "n"):
        return rng.integers(space.n, size=envs.num_envs)
    return rng.uniform(space.low, space.high, (envs.num_envs, *space.shape)).astype(np.float32)


def pictures(env_id, states, num_envs=None, **params):
    """Return the frames of rows in these states."""
    states = np.asarray(states, np.float64)
    envs = make_vec(env_id, num_envs or len(states), render_mode="rgb_array", **params)
    envs.set_state({"state": states})
    return envs.render()


def place_of(frame, colour, tolerance=0):
    """Return the mean (x, y) of the pixels of a colour, and how many there are."""
    rows, columns = np.nonzero((np.abs(frame.astype(int) - colour) <= tolerance).all(axis=-1))
    assert rows.size, "no such colour"
    return columns.mean() + 0.5, rows.mean() + 0.5, rows.size


def has(frame, colour):
    return bool((frame == np.array(colour, np.uint8)).all(axis=-1).any())


def cell_of(frame, cell, row, column):
    return frame[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]


@pytest.mark.parametrize("env_id", ALL)
@pytest.mark.parametrize("mode", MODES)
def test_frames_of_every_environment(env_id, mode):
    envs = make_vec(env_id, 3, seed=5, autoreset_mode=mode, render_mode="rgb_array")
    twin = make_vec(env_id, 3, seed=5, autoreset_mode=mode)
    envs.reset()
    twin.reset()
    rng = np.random.default_rng(0)
    for step in range(24):
        before = envs.get_state()
        frames = envs.render() if step % 12 == 0 else ()
        assert isinstance(frames, tuple)
        assert len(frames) == (3 if step % 12 == 0 else 0)
        for frame in frames:
            assert (frame.dtype, frame.ndim, frame.shape[2]) == (np.uint8, 3, 3)
            assert frame.shape == frames[0].shape
            assert frame.flags.writeable
            assert frame.flags.owndata
            assert frame.std() > 1, "an empty picture"
        for again, frame in zip(envs.render(rows=range(len(frames))), frames, strict=True):
            assert np.array_equal(again, frame)
        after = envs.get_state()
        assert before.keys() == after.keys()
        for key in before:
            assert np.array_equal(before[key], after[key]), key
        if mode == "disabled" and before["done"].any():
            options = {"reset_mask": before["done"]}
            envs.reset(options=options)
            twin.reset(options=options)
            continue
        actions = actions_for(envs, rng)
        for ours, theirs in zip(envs.step(actions)[:4], twin.step(actions)[:4], strict=True):
            for a, b in zip(np.atleast_2d(ours), np.atleast_2d(theirs), strict=True):
                assert np.array_equal(a, b)


def test_every_family_is_drawn():
    families = {"classic_control": 6, "toy_text": 3, "blackjack": 1, "bsuite": 5, "minatar": 10}
    for module, count in families.items():
        names = [name for name in list_envs() if registry._find(registry._MODULES, name) == module]
        assert len(names) == count, module
    assert DRAWN == ALL


@pytest.mark.parametrize("env_id", DRAWN)
def test_rows_in_different_states_look_different(env_id):
    envs = make_vec(env_id, 16, seed=3, render_mode="rgb_array")
    envs.reset()
    rng = np.random.default_rng(1)
    for _ in range(7):
        envs.step(actions_for(envs, rng))
    frames = envs.render()
    seen = {frame.tobytes() for frame in frames}
    if env_id not in ("CliffWalking-v1", "FrozenLake-v1", "Bandit-v0"):  # of which rows can be in one place
        states = {row.tobytes() for row in envs.get_state()["state"]}
        assert len(seen) >= min(len(states), 8) / 2
    assert len(seen) > 1


# --- Classic control -------------------------------------------------------------------------------------------------


def test_cartpole_pole_cart_and_lengths():
    states = [[0.0, 0, 0.0, 0], [1.2, 0, 0.0, 0], [-1.2, 0, 0.15, 0], [0, 0, -0.2, 0]]
    frames = pictures("CartPole-v1", states)
    scale, pivot = 600 / 4.8, 320 - 12 - 34 + 6
    for frame, (x, _, theta, _) in zip(frames, states, strict=True):
        tip = 300 + (x + math.sin(theta)) * scale, pivot - math.cos(theta) * scale
        assert frame[int(tip[1]), int(tip[0])].tolist() == list(RED)
        assert place_of(frame, BLUE)[0] == pytest.approx(300 + x * scale, abs=1.5)
    envs = make_vec("CartPole-v1", 3, render_mode="rgb_array")
    envs.set_tasks({"length": [0.25, 0.5, 1.0], "masscart": [1.0, 1.0, 4.0]})
    envs.set_state({"state": np.zeros((3, 4))})
    for frame, length in zip(envs.render(), (0.25, 0.5, 1.0), strict=True):
        wood = np.nonzero((frame == (196, 136, 78)).all(axis=-1))[0]
        assert wood.max() - wood.min() == pytest.approx(2 * length * scale - 8, abs=9)
    small, _, large = (place_of(frame, BLUE)[2] for frame in envs.render())
    assert large > 2 * small


def test_last_action_is_an_arrow_until_it_is_unknown():
    envs = make_vec("CartPole-v1", 2, render_mode="rgb_array")
    envs.reset(seed=0)
    assert not any(has(frame, ORANGE) for frame in envs.render())
    envs.step(np.array([0, 1]))
    left, right = envs.render()
    assert place_of(left, ORANGE)[0] < place_of(left, BLUE)[0]
    assert place_of(right, ORANGE)[0] > place_of(right, BLUE)[0]
    envs.reset(options={"reset_mask": np.array([True, False])})
    assert [has(frame, ORANGE) for frame in envs.render()] == [False, True]
    state = envs.get_state()
    envs.set_state(state)
    assert not any(has(frame, ORANGE) for frame in envs.render())
    envs.step(np.array([0, 1]))
    envs.rollout("random", 2)
    assert not any(has(frame, ORANGE) for frame in envs.render())
    envs.step(np.array([0, 1]))
    with pytest.raises(ValueError, match="action"):
        envs.step(np.array([1, 7]))
    assert place_of(envs.render()[0], ORANGE)[0] < place_of(envs.render()[0], BLUE)[0]


def test_mountain_car_and_flag_are_on_the_hill():
    scale = 600 / (1.1 * 1.8)

    def height(position):
        return 380 - (0.45 * math.sin(3 * position) + 0.55) * 260

    positions = (-1.0, -0.5, 0.0)
    frames = pictures("MountainCar-v0", [[p, 0.0] for p in positions])
    for frame, position in zip(frames, positions, strict=True):
        x = (position + 1.2 + 0.09) * scale
        # Above the wheels, square to the slope.
        slope = 0.45 * 3 * math.cos(3 * position) * 260 / scale
        middle = x - 16 * slope / math.hypot(1, slope), height(position) - 16 / math.hypot(1, slope)
        assert frame[int(middle[1]), int(middle[0])].tolist() == list(RED)
    envs = make_vec("MountainCar-v0", 2, render_mode="rgb_array")
    envs.set_tasks({"goal_position": [0.5, 0.1]})
    envs.set_state({"state": np.array([[-0.5, 0.0]] * 2)})
    for frame, goal in zip(envs.render(), (0.5, 0.1), strict=True):
        x, y = (goal + 1.29) * scale, height(goal)
        assert frame[int(y - 54), int(x + 8)].tolist() == list(RED)
        assert frame[int(y - 30), int(x)].tolist() == list(INK)
    (continuous,) = pictures("MountainCarContinuous-v0", [[-0.5, 0.0]])
    assert has(continuous, RED)


def test_acrobot_tip_elbow_and_line():
    states = [[0.0, 0, 0, 0], [0.7, -1.2, 0, 0], [2.5, 0.9, 0, 0]]
    for frame, (theta1, theta2, *_) in zip(pictures("Acrobot-v1", states), states, strict=True):
        elbow = 250 + 100 * math.sin(theta1), 250 + 100 * math.cos(theta1)
        tip = elbow[0] + 100 * math.sin(theta1 + theta2), elbow[1] + 100 * math.cos(theta1 + theta2)
        assert frame[int(tip[1]), int(tip[0])].tolist() == list(RED)
        assert frame[int(elbow[1]), int(elbow[0])].tolist() == list(GOLD)
        assert place_of(frame, GREEN)[1] == pytest.approx(150, abs=2)
    envs = make_vec("Acrobot-v1", 2, render_mode="rgb_array")
    envs.set_tasks({"link_length_1": [1.0, 0.5]})
    envs.set_state({"state": np.zeros((2, 4))})
    assert [round(place_of(frame, GOLD)[1]) for frame in envs.render()] == [350, 300]


def test_pendulum_tip_length_and_torque():
    for frame, theta in zip(pictures("Pendulum-v1", [[0.0, 0], [1.0, 0], [-2.5, 0]]), (0.0, 1.0, -2.5), strict=True):
        tip = 250 - 150 * math.sin(theta), 250 - 150 * math.cos(theta)
        x, y, _ = place_of(frame, frame[int(tip[1]), int(tip[0])])
        assert (x, y) == pytest.approx(tip, abs=1.0)
        assert not has(frame, ORANGE)
    envs = make_vec("Pendulum-v1", 4, render_mode="rgb_array")
    envs.set_tasks({"l": [1.0, 1.0, 1.0, 0.5]})
    envs.set_state({"state": np.full((4, 2), [math.pi, 0.0])})
    full, *_, half = envs.render()
    assert np.nonzero((full == RED).all(axis=-1))[0].max() > np.nonzero((half == RED).all(axis=-1))[0].max() + 40
    envs.step(np.array([[2.0], [-2.0], [0.5], [0.0]], np.float32))
    left, right, weak, none = envs.render()
    assert place_of(left, ORANGE)[0] < 250 < place_of(right, ORANGE)[0]
    assert 0 < place_of(weak, ORANGE)[2] < place_of(left, ORANGE)[2]
    assert not has(none, ORANGE)


def test_swingup_shows_the_paying_zone_and_the_time():
    state = [1.5, 0, math.pi, 0, 0, 0, 0, 0, 0]
    early, late = pictures("CartPoleSwingup-v0", [state, [*state[:4], 5.0, *state[5:]]])
    zone = early[100, 300].tolist()
    assert zone != early[100, 30].tolist()
    assert (early[100] == zone).all(axis=-1).sum() == pytest.approx(600 * 2 / 6, abs=2)
    assert place_of(late, GREEN)[2] < 0.6 * place_of(early, GREEN)[2]


# --- Grids -----------------------------------------------------------------------------------------------------------


def test_frozen_lake_cells():
    frames = pictures("FrozenLake-v1", [[cell] for cell in range(16)])
    holes = {5, 7, 11, 12}
    for cell, frame in enumerate(frames):
        assert frame.shape == (400, 400, 3)
        for other in range(16):
            part = cell_of(frame, 100, *divmod(other, 4))
            assert has(part, (28, 66, 120)) == (other in holes)
            assert has(part, GREEN) == (other == 15)
            assert has(part, RED) == (other == cell), (cell, other)
    (tall,) = pictures("FrozenLake-v1", [[3]], desc=["SF", "HF", "FG"])
    assert tall.shape == (399, 266, 3)
    assert has(cell_of(tall, 133, 1, 1), RED)
    # A map made as an array of letters.
    (array,) = pictures("FrozenLake-v1", [[3]], desc=np.array([list("SF"), list("HF"), list("FG")]))
    assert np.array_equal(array, tall)


def test_cliff_walker_is_in_the_cell():
    cells = [36, 0, 17, 47]
    for frame, cell in zip(pictures("CliffWalking-v1", [[cell] for cell in cells]), cells, strict=True):
        for other in (36, 0, 17, 23, 47):
            assert has(cell_of(frame, 60, *divmod(other, 12)), BLUE) == (other == cell)


def test_taxi_passenger_and_destination():
    stands = ((0, 0), (0, 4), (4, 0), (4, 3))

    def part(frame, row, column):
        return frame[20 + 80 * row : 100 + 80 * row, 20 + 80 * column : 100 + 80 * column]

    cases = [(2, 2, p, d) for p in range(5) for d in range(4) if p != d]
    frames = pictures("Taxi-v4", [[((r * 5 + c) * 5 + p) * 4 + d, 0] for r, c, p, d in cases])
    for frame, (row, column, passenger, destination) in zip(frames, cases, strict=True):
        assert has(part(frame, row, column), (246, 196, 28))
        places = [has(part(frame, *stand), PURPLE) for stand in stands]
        assert places == [k in (passenger, destination) for k in range(4)]
        assert has(part(frame, row, column), PURPLE) == (passenger == 4)
    dry, wet = (pictures("Taxi-v4", [[241, 0]], is_rainy=rain)[0] for rain in (False, True))
    assert not np.array_equal(dry, wet)


def test_blackjack_shows_the_hands():
    # Player 15 or 16 of two cards; the dealer's first card; an ace; a busted hand.
    base = [15, 0, 2, 9, 0, 2, 5]
    variants = [base, [16, *base[1:]], [*base[:3], 10, 0, 2, 6], [7, 1, *base[2:]], [24, 0, 3, *base[3:]]]
    frames = pictures("Blackjack-v1", variants)
    assert len({frame.tobytes() for frame in frames}) == 5
    assert [has(frame, RED) for frame in frames] == [False] * 4 + [True]
    # What the player cannot know is not shown before the end.
    hidden = pictures("Blackjack-v1", [base, [*base[:3], 10, 0, 2, 5]])
    assert np.array_equal(*hidden)
    envs = make_vec("Blackjack-v1", 2, autoreset_mode="disabled", render_mode="rgb_array")
    envs.set_state({"state": np.array([[20, 0, 2, 17, 0, 2, 10], [20, 0, 2, 18, 0, 2, 10]])})
    assert np.array_equal(*envs.render())
    envs.step(np.array([0, 0]))
    seventeen, eighteen = envs.render()
    assert not np.array_equal(seventeen, eighteen)
    assert not has(seventeen, BLUE)


# --- bsuite ----------------------------------------------------------------------------------------------------------


def test_deep_sea_diver_goes_down():
    suit = (232, 120, 44)
    cells = [(0, 0), (3, 2), (9, 5), (10, 6)]
    states = [[row, column, 0, 0, 0] for row, column in cells]
    for frame, (row, column) in zip(pictures("DeepSea-v0", states), cells, strict=True):
        x, y, _ = place_of(frame, suit)
        assert x == pytest.approx((column + 0.5) * 40, abs=2)
        assert row * 40 < y < row * 40 + 42
    shapes = {size: pictures("DeepSea-v0", [[0] * 5], size=size)[0].shape for size in (1, 7, 100, 500, 1024)}
    assert shapes == {
        1: (444, 400, 3),
        7: (443, 399, 3),
        100: (444, 400, 3),
        500: (544, 500, 3),
        1024: (1068, 1024, 3),
    }


def test_catch_ball_and_paddle():
    states = [[0, 0, 2, 0], [5, 4, 0, 0], [9, 1, 1, 0], [9, 1, 3, 0]]
    for frame, (row, column, paddle, _) in zip(pictures("Catch-v0", states), states, strict=True):
        caught = row == 9 and column == paddle
        x, y, _ = place_of(frame, GREEN if caught else ORANGE)
        assert (x, y) == pytest.approx(((column + 0.5) * 40, (row + 0.5) * 40), abs=3)
        x, y, _ = place_of(frame, BLUE)
        assert x == pytest.approx((paddle + 0.5) * 40, abs=2)
        assert y > 360


def test_bandit_bars_are_the_means():
    envs = make_vec("Bandit-v0", 2, render_mode="rgb_array", mapping_seed=4)
    envs.reset(seed=0)
    frame = envs.render()[0]
    means = np.linspace(0, 1, 11)[np.random.RandomState(4).choice(11, size=11, replace=False)]
    bars = (frame == GREEN).all(axis=-1).sum(axis=0)
    heights = [bars[int(20 + (arm + 0.5) * 560 / 11)] for arm in range(11)]
    assert heights == pytest.approx(means * 232, abs=1.1)
    envs.step(np.array([2, 6]))
    for arm, frame in zip((2, 6), envs.render(), strict=True):
        assert place_of(frame, ORANGE)[0] == pytest.approx(20 + (arm + 0.5) * 560 / 11, abs=2)


def test_memory_chain_bits_and_answer():
    envs = make_vec(
        "MemoryChain-v0", 4, num_bits=3, memory_length=4, autoreset_mode="disabled", render_mode="rgb_array"
    )
    envs.reset(seed=0)
    state = envs.get_state()
    state["state"][:] = [[0, 1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1, 1], [0, 1, 0, 0, 0, 1, 1], [0, 2, 0, 0, 0, 1, 1]]
    envs.set_state(state)
    a, b, c, d = envs.render()
    assert not np.array_equal(a, b)
    assert np.array_equal(b, c)
    assert np.array_equal(c, d)  # which bit will be asked for is not shown yet
    for _ in range(5):
        envs.step(np.array([0, 0, 1, 1]))
    right, wrong, fine, good = envs.render()
    assert [has(frame, RED) for frame in (right, wrong, fine, good)] == [False, True, False, False]
    assert not np.array_equal(fine, good)


def test_discounting_chain_marker_moves_along_the_chain():
    envs = make_vec("DiscountingChain-v0", 5, mapping_seed=2, render_mode="rgb_array")
    envs.reset(seed=0)
    last = None
    for step in range(20):
        places = [place_of(frame, RED)[:2] for frame in envs.render()]
        if step > 1:
            assert [round(y) for _, y in places] == [90, 155, 220, 285, 350]
            assert all(now[0] > before[0] for now, before in zip(places, last, strict=True))
        last = places
        envs.step(np.arange(5))


# --- MinAtar ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", ["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"])
def test_minatar_cells_are_what_the_channels_say(game):
    envs = make_vec(f"MinAtar/{game}-v1", 8, seed=1, render_mode="rgb_array")
    envs.reset()
    rng = np.random.default_rng(2)
    background, figures = {}, {}
    # Alien directions are channels that cover the aliens' own.
    channels = [c for c in range(envs.single_observation_space.shape[2]) if game != "SpaceInvaders" or c not in (2, 3)]
    for _ in range(30):
        for _ in range(6):
            obs = envs.step(actions_for(envs, rng))[0]
        for frame, seen in zip(envs.render(), obs, strict=True):
            assert frame.shape == (400, 400, 3)
            for row in range(10):
                for column in range(10):
                    inside = cell_of(frame, 40, row, column)[1:-1, 1:-1].tobytes()
                    there = tuple(c for c in channels if seen[row, column, c])
                    if there:
                        figures.setdefault((there, row), set()).add(inside)
                    else:
                        background.setdefault(row, set()).add(inside)
    assert all(len(kinds) == 1 for kinds in background.values())
    for (there, row), kinds in figures.items():
        assert len(kinds) <= 2, there  # facing either way
        assert not kinds & background.get(row, set()), (there, row)
    alone = {there[0]: kinds for (there, row), kinds in figures.items() if len(there) == 1}
    for a in alone:
        for b in alone:
            assert a == b or not alone[a] & alone[b], (a, b)


# --- The interface ---------------------------------------------------------------------------------------------------


def test_tasks_and_modes_after_an_ending():
    envs = make_vec("CartPole-v1", 2, seed=0, autoreset_mode="same_step", render_mode="rgb_array")
    envs.set_tasks({"length": [0.25, 0.75]})
    envs.reset()
    for _ in range(300):
        _, _, terminated, _, _ = envs.step(np.ones(2, np.int64))
        if terminated.any():
            break
    ended = int(np.argmax(terminated))
    assert envs.get_state()["elapsed"][ended] == 0
    frame = envs.render(rows=[ended])[0]
    assert not has(frame, ORANGE)
    copy = make_vec("CartPole-v1", 2, render_mode="rgb_array")
    copy.set_state(envs.get_state())
    assert np.array_equal(copy.render()[ended], frame)
    later = make_vec("CartPole-v1", 1, seed=0, render_mode="rgb_array")
    later.reset()
    while not later.get_state()["done"][0]:
        later.step(np.array([1]))
    last = later.render()[0]
    state = later.get_state()["state"][0]
    assert abs(state[2]) > 0.2
    assert place_of(last, BLUE)[0] == pytest.approx(300 + state[0] * 125, abs=1.5)
    later.step(np.array([1]))
    assert not has(later.render()[0], ORANGE)


def test_rows_choose_the_frames():
    envs = make_vec("CartPole-v1", 5, seed=0, render_mode="rgb_array")
    envs.reset()
    frames = envs.render()
    for rows in ([3, 0, 3], (1,), np.array([4, 2], np.uint8), range(2)):
        some = envs.render(rows=rows)
        assert len(some) == len(rows)
        for row, frame in zip(rows, some, strict=True):
            assert np.array_equal(frame, frames[row])
    assert envs.render(rows=[]) == ()
    with pytest.raises(IndexError, match=r"rows\[1\] is 5; must be in \[0, 5\)"):
        envs.render(rows=[0, 5])
    with pytest.raises(IndexError, match=r"rows\[0\] is -1; must be in \[0, 5\)"):
        envs.render(rows=[-1])
    with pytest.raises(ValueError, match="rows has shape"):
        envs.render(rows=2)
    with pytest.raises(TypeError, match="rows must be integers, got float64"):
        envs.render(rows=[0.5])
    with pytest.raises(TypeError, match="rows must be integers, got bool"):
        envs.render(rows=[True])


def test_render_mode_is_checked_and_kept():
    for bad in ("human", "ansi", "RGB_ARRAY", 3, ["rgb_array"], np.zeros(2)):
        with pytest.raises(ValueError, match=r"render_mode is .*; must be 'rgb_array' or None"):
            make_vec("CartPole-v1", 2, render_mode=bad)
    envs = make_vec("CartPole-v1", 2)
    assert envs.render_mode is None
    envs.reset()
    with pytest.warns(
        UserWarning, match=r"render_mode; give it to make_vec\('CartPole-v1', \.\.\., render_mode='rgb_a"
    ):
        assert envs.render() is None
    envs = make_vec("CartPole-v1", 2, render_mode="rgb_array")
    assert envs.render_mode == "rgb_array"
    assert envs.metadata["render_modes"] == ["rgb_array"]
    with pytest.raises(ResetNeededError, match="render") as raised:
        envs.render()
    assert isinstance(raised.value, gymnasium.error.ResetNeeded)
    envs.reset()
    assert len(envs.render()) == 2
    envs.close()
    with pytest.raises(ClosedError):
        envs.render()


def test_frames_a_second_are_the_references():
    for name in ("CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1"):
        fps = make_vec(name, 1).metadata["render_fps"]
        assert fps == gymnasium.spec(name).make().unwrapped.metadata["render_fps"]
    for name in ("FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "Blackjack-v1"):
        assert make_vec(name, 1).metadata["render_fps"] == 4


def test_through_gymnasium():
    envs = gymnasium.make_vec("metarl_core/CartPole-v1", num_envs=3, render_mode="rgb_array")
    assert envs.render_mode == "rgb_array"
    assert envs.spec.kwargs["render_mode"] == "rgb_array"
    reference = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array")] * 3)
    assert set(envs.metadata) >= {"render_modes", "render_fps", "autoreset_mode"}
    assert envs.metadata["render_fps"] == reference.metadata["render_fps"]
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    envs.reset(seed=1)
    frames = envs.render()
    assert len(frames) == 3
    # As Gymnasium's: 400 x 600.
    assert np.array(frames).shape == (3, 400, 600, 3)
    again = gymnasium.make_vec(envs.unwrapped.spec)
    assert again.render_mode == "rgb_array"
    ours = make_vec("CartPole-v1", 2, render_mode="rgb_array")
    assert gymnasium.make_vec(ours.spec, num_envs=2).render_mode == "rgb_array"


@pytest.mark.parametrize(
    ("env_id", "task", "others"),
    [
        ("FrozenLake-v1", {"map_seed": 5}, {"map_seed": 6}),
        ("FrozenLake-v1", {}, {"map_seed": 6}),
        ("Bandit-v0", {"mapping_seed": 3}, {"mapping_seed": 4}),
        ("DiscountingChain-v0", {"mapping_seed": 3}, {"mapping_seed": 4}),
    ],
)
def test_rows_show_the_maps_and_orders_of_their_tasks(env_id, task, others):
    envs = make_vec(env_id, 2, render_mode="rgb_array")
    envs.set_tasks({name: [task.get(name, np.nan), seed] for name, seed in others.items()})
    envs.reset(seed=0)
    alone = make_vec(env_id, 1, render_mode="rgb_array", **task)
    alone.reset(seed=[0])
    mine, other = envs.render()
    np.testing.assert_array_equal(mine, alone.render()[0])
    assert (mine != other).any()


@pytest.mark.skipif(importlib.util.find_spec("moviepy") is None, reason="RecordVideo needs moviepy")
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_record_video(mode, tmp_path):
    envs = make_vec("CartPole-v1", 4, seed=0, autoreset_mode=mode, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recorded = gymnasium.wrappers.vector.RecordVideo(
            envs, str(tmp_path), video_length=12, step_trigger=lambda t: t == 0
        )
        recorded.reset(seed=0)
        for _ in range(15):
            recorded.step(recorded.action_space.sample())
        recorded.close()
    (film,) = tmp_path.glob("*.mp4")
    from moviepy.video.io.VideoFileClip import VideoFileClip  # in versions 1 and 2

    with VideoFileClip(str(film)) as clip:
        assert clip.fps == 50
        assert tuple(clip.size) == (1200, 800)
        frame = clip.get_frame(0)
    envs = make_vec("CartPole-v1", 4, seed=0, autoreset_mode=mode, render_mode="rgb_array")
    envs.reset(seed=0)
    first, second, third, fourth = envs.render()
    mosaic = np.block([[[first], [second]], [[third], [fourth]]])
    assert np.abs(frame.astype(int) - mosaic).mean() < 4  # but for the film's compression


def test_without_gymnasium():
    envs = NumpyVectorEnv(env_spec("Taxi-v4"), 2, 1, "next_step", 0, False, {}, "rgb_array")
    envs.reset()
    ours = envs.render()
    other = make_vec("Taxi-v4", 2, render_mode="rgb_array")
    other.reset()
    assert all(map(np.array_equal, ours, other.render()))


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, metarl_core; envs = metarl_core.make_vec('CartPole-v1', 2); envs.reset(); "
        "mine = [m for m in sys.modules if m.startswith('metarl_core.vector.render.')]; "
        "assert mine == ['metarl_core.vector.render.registry'], mine"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Environments that nobody has drawn, and drawings of one's own ----------------------------------------------------


@pytest.mark.parametrize("env_id", ALL)
def test_any_environment_has_a_picture(env_id, monkeypatch):
    monkeypatch.setitem(registry._DRAWINGS, env_id, generic.DRAWING)
    envs = make_vec(env_id, 3, seed=2, render_mode="rgb_array")
    envs.reset()
    rng = np.random.default_rng(0)
    first = envs.render()
    for _ in range(4):
        envs.step(actions_for(envs, rng))
    frames = envs.render()
    assert all(frame.shape == (400, 600, 3) for frame in frames)
    assert all(not np.array_equal(a, b) for a, b in zip(first, frames, strict=True))  # the number of the step


def test_bars_show_sign_and_size(monkeypatch):
    monkeypatch.setitem(registry._DRAWINGS, "CartPole-v1", generic.DRAWING)
    numbers = [0.0, 0.5, -0.5, 1e300]
    for frame, number in zip(pictures("CartPole-v1", [[n, 0, 0, 0] for n in numbers]), numbers, strict=True):
        blue, red = (int((frame == colour).all(axis=-1).sum()) for colour in (BLUE, RED))
        assert (blue > 0, red > 0) == (number > 0, number < 0)
    sizes = [place_of(f, BLUE)[2] for f in pictures("CartPole-v1", [[n, 0, 0, 0] for n in (0.1, 1, 10, 1e30)])]
    assert sizes == sorted(set(sizes))


def test_a_drawing_of_ones_own(monkeypatch):
    monkeypatch.setattr(registry, "_DRAWINGS", {})
    monkeypatch.setattr(registry, "_OWN_FPS", {})
    scenes = []

    def draw(scene, canvas):
        scenes.append(scene)
        canvas.disc(scene.state["x"] * 10 + 20, 15, 5, (1, 2, 3))

    register_drawing("CartPole-*", draw, lambda params: (30, int(params["gravity"] * 10)), fps=7)
    envs = make_vec("CartPole-v1", 2, gravity=5.0, render_mode="rgb_array")
    envs.set_tasks({"length": [0.3, 0.6]})
    envs.set_state({"state": np.array([[0.0, 0, 0, 0], [1.0, 0, 0, 0]])})
    frames = envs.render()
    assert envs.metadata["render_fps"] == 7
    assert [frame.shape for frame in frames] == [(30, 50, 3)] * 2
    assert [place_of(frame, (1, 2, 3))[0] for frame in frames] == pytest.approx([20, 30])
    assert [scene.params["length"] for scene in scenes] == [0.3, 0.6]
    assert scenes[0].common["length"] == 0.5
    assert [scene.observation.tolist() for scene in scenes] == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert (scenes[0].id, scenes[0].action, scenes[0].elapsed, scenes[0].done) == ("CartPole-v1", None, 0, False)
    # The exact id goes before the beginning of several.
    register_drawing("CartPole-v1", lambda scene, canvas: None, (4, 5))
    assert envs.render()[0].shape == (4, 5, 3)
    assert (envs.render()[0] == 255).all()


@pytest.mark.parametrize(
    ("env_id", "params", "state"),
    [
        ("CartPole-v1", {"x_threshold": 1e9}, [1e8, 0, 0, 0]),
        ("CartPole-v1", {"length": 1e6, "masscart": 1e9, "masspole": 1e9}, [0, 0, 1, 0]),
        ("CartPole-v1", {"x_threshold": 1e-6, "length": 1e-9}, [1e300, 0, 1e300, 0]),
        ("Pendulum-v1", {"l": 1e9, "m": 1e12, "max_torque": 1e9}, [1e6, 1]),
        ("Acrobot-v1", {"link_length_1": 1e9}, [1, 1, 0, 0]),
        ("MountainCar-v0", {"min_position": -1e6, "max_position": 1e6}, [3e5, 0]),
        ("CartPoleSwingup-v0", {"x_threshold": 1e6, "max_time": 1e-9}, [0, 0, 1, 0, 1, 0, 0, 0, 0]),
        ("Catch-v0", {"rows": 1024, "columns": 1}, [5, 0, 0, 2**31 - 1]),
        ("Catch-v0", {"rows": 2, "columns": 1024}, [0, 1000, 3, 0]),
        ("FrozenLake-v1", {"desc": ["S" * 300]}, [299]),
        ("FrozenLake-v1", {"desc": ["S"]}, [0]),
        ("DeepSea-v0", {"size": 1}, [1, 0, 0, 0, 0]),
    ],
)
def test_extreme_parameters(env_id, params, state):
    (frame,) = pictures(env_id, [state], **params)
    assert frame.std() > 0


@pytest.mark.parametrize("bits", [1, 17, 64, 65, 1024])
def test_memory_chain_of_any_size(bits):
    for length in (1, 40, 41, 10**6):
        envs = make_vec("MemoryChain-v0", 1, num_bits=bits, memory_length=length, render_mode="rgb_array")
        envs.reset(seed=0)
        first = envs.render()[0]
        for _ in range(2):
            envs.step(np.array([0]))
        assert not np.array_equal(first, envs.render()[0])


@pytest.mark.parametrize("arms", [1, 2, 28, 29, 128])
def test_bandit_of_any_size(arms):
    envs = make_vec("Bandit-v0", 1, num_actions=arms, render_mode="rgb_array")
    envs.reset(seed=0)
    frame = envs.render()[0]
    assert has(frame, GOLD)
