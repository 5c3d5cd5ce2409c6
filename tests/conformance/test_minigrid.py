"""MiniGrid's environments against the package: every step, every view, and how often each level comes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("minigrid", reason="the package minigrid 3.2 needs Python 3.11")

import gymnasium
from minigrid.core.world_object import Door, Goal, Key, Lava, Wall
from minigrid.wrappers import ImgObsWrapper

import metarl_core
from metarl_core.testing import Comparison

from . import minigrid_levels as mg

families = pytest.mark.parametrize("family", mg.FAMILIES)
every_id = pytest.mark.parametrize("env_id", mg.IDS)


def compare_family(family, states):
    ids = mg.FAMILIES[family]
    seen = Counter()
    for number, env_id in enumerate(ids):
        each = -(-states // len(ids))
        comparison, successes = mg.compare_episodes(env_id, each, seed=100 + number)
        comparison.check(env_id, each, 0.0, ())
        seen.update(comparison.counts, successes=successes)
    assert seen["truncated"] > 0
    assert seen["successes"] > 0
    assert (seen["terminated"] > seen["successes"]) == (family == "LavaCrossing")


@families
def test_every_step_is_the_packages(family):
    compare_family(family, 6_000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@families
def test_a_million_steps_are_the_packages(family):
    compare_family(family, 1_000_000)


def scramble(reference, rng):
    """Put things of all kinds all over the level, and one into the hand."""
    env = reference.env
    place = tuple(int(v) for v in env.agent_pos)
    colours = list(mg.COLOURS)
    for x in range(env.width):
        for y in range(env.height):
            if rng.random() > 0.4 or (x, y) in (place, tuple(reference.target[:2])):
                continue
            colour = str(rng.choice(colours))
            kinds = [None, None, Wall(), Key(colour), Lava(), Goal()]
            kinds += [Door(colour), Door(colour, is_open=True), Door(colour, is_locked=True)]
            env.grid.set(x, y, kinds[rng.integers(len(kinds))])
    env.agent_dir = int(rng.integers(4))
    env.carrying = [None, Key(str(rng.choice(colours)))][rng.integers(2)]
    if hasattr(env, "door") and rng.random() < 0.5:
        env.door.is_open, env.door.is_locked = bool(rng.integers(2)), False


@pytest.mark.parametrize(
    "env_id", [f"MiniGrid-{name}-v0" for name in ("DoorKey-6x6", "Empty-5x5", "FourRooms", "Unlock", "KeyCorridorS6R3")]
)
def test_steps_from_scrambled_levels_are_the_packages(env_id):
    rng = np.random.default_rng(3)
    reference, count = mg.Reference(env_id, 5), 1_500
    before, elapsed, actions, after, images, results = [], [], [], [], np.empty((count, 2, 7, 7, 3), np.uint8), []
    for k in range(count):
        if k % 3 == 0:
            reference.reset()
            scramble(reference, rng)
        env = reference.env
        x, y = (int(v) for v in env.agent_pos)
        dx, dy = mg.AHEAD[env.agent_dir]
        if not (0 <= x + dx < env.width and 0 <= y + dy < env.height):  # the package has no step from here
            env.agent_dir = (env.agent_dir + 2) % 4
        action = int(rng.choice([2, 2, 3, 4, 5, 5, 5, 0, 1]))
        before.append(reference.row())
        elapsed.append(env.step_count)
        actions.append(action)
        images[k, 0] = env.gen_obs()["image"]
        obs, reward, terminated, truncated, _ = env.step(action)
        after.append(reference.row())
        images[k, 1] = obs["image"]
        results.append((reward, terminated, truncated))
    comparison = Comparison()
    mg.compare_batch(comparison, env_id, before, elapsed, actions, after, images, results)
    comparison.check(f"{env_id}, scrambled", count, 0.0, ("terminated",))
    changed = (np.array(before) != np.array(after)).any(1).mean()
    print(f"{env_id}: {changed:.2f} of {count} steps changed something")
    assert changed > 0.3


@every_id
def test_spaces_limit_mission_and_direction_are_the_packages(env_id):
    reference = mg.Reference(env_id, 3)
    wrapped = ImgObsWrapper(reference.env)
    ours = metarl_core.make_vec(env_id, 2)
    assert ours.single_observation_space == wrapped.observation_space
    assert ours.single_action_space == wrapped.action_space
    assert ours.max_episode_steps == reference.env.max_steps
    for _ in range(3):
        obs = reference.reset()
        ours.set_state({"state": [reference.row()] * 2})
        info = ours.minigrid_info()
        assert info["mission"].tolist() == [obs["mission"]] * 2
        assert info["direction"].dtype == np.int64
        assert info["direction"].tolist() == [int(obs["direction"])] * 2
        assert ours.observe() in ours.observation_space


def test_gymnasium_makes_them():
    envs = gymnasium.make_vec("metarl_core/MiniGrid-DoorKey-8x8-v0", num_envs=3)
    obs, _ = envs.reset(seed=1)
    assert obs.shape == (3, 7, 7, 3)
    assert obs.dtype == np.uint8
    assert envs.spec.max_episode_steps == 640


def test_other_environments_have_no_mission():
    with pytest.raises(RuntimeError, match="none of MiniGrid's"):
        metarl_core.make_vec("CartPole-v1", 1).minigrid_info()


def test_reward_follows_the_limit():
    for limit, expected in ((10, 1 - 0.9 * (1 / 10)), (None, 1.0)):
        envs = metarl_core.make_vec("MiniGrid-Empty-5x5-v0", 1, max_episode_steps=limit)
        envs.reset()
        state = envs.get_state()["state"]
        state[0, :3] = [2, 3, 0]
        envs.set_state({"state": state})
        _, reward, terminated, _, _ = envs.step([mg.FORWARD])
        assert reward.tolist() == [expected]
        assert terminated.tolist() == [True]


# Bytes of everything that a level's whole life hands out, at 1, 2 and 8 threads; prints one hash for each id.
GOLDEN_SCRIPT = """
import hashlib
import sys
import numpy as np
from metarl_core import make_vec

for env_id in sys.argv[1:]:
    hashes = []
    for threads in (1, 2, 8):
        digest = hashlib.sha256()
        rows = 1_801  # work for eight threads
        envs = make_vec(env_id, rows, num_threads=threads, seed=2024, max_episode_steps=30)
        digest.update(envs.reset()[0].tobytes())
        rng = np.random.Generator(np.random.Philox(5))
        for step in range(70):
            result = envs.step(rng.integers(0, 7, rows))
            for array in result[: 4 if step % 8 == 0 else 0] + result[1:3]:
                digest.update(array.tobytes())
        digest.update(envs.get_state()["state"].astype(np.uint8).tobytes())
        hashes.append(digest.hexdigest()[:16])
    assert len(set(hashes)) == 1, (env_id, hashes)
    print(hashes[0])
"""
GOLDEN = {
    "MiniGrid-Empty-8x8-v0": "5df5f06229557306",
    "MiniGrid-DoorKey-8x8-v0": "4cf827441948ae65",
    "MiniGrid-MultiRoom-N6-v0": "1dd7540d93133f92",
    "MiniGrid-KeyCorridorS6R3-v0": "0bf1254e041bc351",
    "MiniGrid-FourRooms-v0": "fc13d570623bf7e1",
    "MiniGrid-Unlock-v0": "bdfb27a8270be97c",
    "MiniGrid-LavaCrossingS11N5-v0": "d7d66fdefd77d21c",
}


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_golden_hashes_at_every_instruction_set_and_thread_count(isa):
    if isa not in metarl_core.build_info()["isa_levels"]:
        pytest.skip(f"{isa} is not compiled in")
    environ = {**os.environ, "METARL_ISA": isa}
    active = "import metarl_core; print(metarl_core.build_info()['isa_active'])"
    if run_python(environ, active) != [isa]:
        pytest.skip(f"this CPU lacks {isa}")
    hashes = run_python(environ, GOLDEN_SCRIPT, *GOLDEN)
    assert dict(zip(GOLDEN, hashes, strict=True)) == GOLDEN


def run_python(environ, code, *args):
    done = subprocess.run(
        [sys.executable, "-c", code, *args], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def features(row, width):
    """What can be counted of a level, by name."""
    level = mg.Level(row, width)
    cells = np.array(level.cells).reshape(-1, width)
    walls, blocked = cells == mg.WALL, (cells == mg.WALL) | (cells == mg.LAVA)
    columns, rows = (np.flatnonzero(blocked.mean(axis) > 0.5).tolist() for axis in (0, 1))
    seen = {
        "agent": (level.x, level.y),
        "agent and direction": (level.x + level.y, level.direction),
        "target": level.target,
        "target and agent": (level.target[0] > level.x, level.target[1] > level.y, level.direction),
        "target number": int(row[6]),
        "walls": int(walls.sum()),
        "blocked columns": tuple(columns),
        "blocked rows": tuple(rows),
        "gap in the second column": tuple(np.flatnonzero(~blocked[:, columns[1]]).tolist()) if len(columns) > 1 else (),
        "gap in the second row": tuple(np.flatnonzero(~blocked[rows[1]]).tolist()) if len(rows) > 1 else (),
        "free cells": level.cells.count(mg.EMPTY),
    }
    # MiniGrid draws a first room anywhere, so that walls are many; others have few ways to be.
    seen["all walls"] = hash(walls.tobytes()) if width < 25 else walls[::4, ::4].sum()
    for name, kind in (("key", mg.KEY), ("locked", mg.LOCKED_DOOR), ("ball", mg.BALL)):
        places = level.find(kind)
        seen[name] = tuple(places)
        seen[f"{name} colour"] = tuple(level.at(*place) >> 4 for place in places)
        seen[f"{name} and target"] = tuple(x + y for x, y in places), sum(level.target)
    closed = level.find(mg.CLOSED_DOOR)
    colours = [level.at(*place) >> 4 & 7 for place in closed]
    seen["closed"] = len(closed)
    seen["closed places"] = tuple(closed) if width < 25 else (min(closed)[0], max(closed)[1]) if closed else ()
    seen["closed colours"] = tuple(sorted(Counter(colours).values()))
    seen["first colours"] = tuple(colours[:2])
    return seen


def two_samples(ours, theirs):
    """Chi-square of two samples of one feature as a z-score; rare values are taken together. None: one value only."""
    a, b = Counter(ours), Counter(theirs)
    total, share = len(ours) + len(theirs), len(theirs) / (len(ours) + len(theirs))
    rows, rest = [], np.zeros(2)
    for value in sorted(set(a) | set(b), key=repr):
        pair = np.array([a[value], b[value]], float)
        if pair.sum() * share < 5:
            rest += pair
        else:
            rows.append(pair)
    if rest.sum() * share >= 5:
        rows.append(rest)
    if len(rows) < 2:
        assert a.keys() == b.keys() or rest.sum() > 0
        return None
    table = np.array(rows)
    expected = np.outer(table.sum(1), [1 - share, share]) * (table.sum() / total)
    statistic, freedom = float(((table - expected) ** 2 / expected).sum()), len(rows) - 1
    return ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom))


def cells_score(ours, theirs):
    """The largest z-score of how often a cell is what, of two samples' cells; rare things are left out."""
    worst, a, b = 0.0, len(ours), len(theirs)
    for number in np.unique(ours):
        first, second = (ours == number).mean(0), (theirs == number).mean(0)
        both = (a * first + b * second) / (a + b)
        common = (both * b > 8) & ((1 - both) * b > 8)
        error = np.sqrt(both * (1 - both) * (1 / a + 1 / b))
        worst = max(worst, *(np.abs(first - second)[common] / error[common]), 0.0)
    return worst


def compare_levels(env_id, count, times):
    reference = mg.Reference(env_id, 7)
    width = reference.env.width
    theirs = []
    for _ in range(count):
        theirs.append(reference.row())
        reference.reset()
    envs = metarl_core.make_vec(env_id, times * count)
    envs.reset(seed=8)
    ours, theirs = envs.get_state()["state"].astype(np.int64), np.array(theirs)
    assert set(np.unique(ours)) == set(np.unique(theirs))
    a, b = ([features(row, width) for row in rows] for rows in (ours, theirs))
    scores = {name: two_samples([one[name] for one in a], [one[name] for one in b]) for name in a[0]}
    scores = {name: z for name, z in scores.items() if z is not None}
    cells = cells_score(ours[:, mg.HEADER :], theirs[:, mg.HEADER :])
    worst = max(scores, key=scores.get, default=None)
    print(f"{env_id}: {len(scores)} features, largest z {scores.get(worst, 0):.2f} ({worst}), of a cell {cells:.2f}")
    assert all(z < 4.0 for z in scores.values()), scores
    assert cells < 5.0


@pytest.mark.parametrize(
    ("env_id", "count"),
    [
        ("MiniGrid-Empty-Random-6x6-v0", 800),
        ("MiniGrid-DoorKey-8x8-v0", 1500),
        ("MiniGrid-MultiRoom-N2-S4-v0", 600),
        ("MiniGrid-MultiRoom-N6-v0", 300),
        ("MiniGrid-KeyCorridorS3R3-v0", 800),
        ("MiniGrid-KeyCorridorS4R3-v0", 500),
        ("MiniGrid-FourRooms-v0", 800),
        ("MiniGrid-Unlock-v0", 800),
        ("MiniGrid-LavaCrossingS9N2-v0", 800),
        ("MiniGrid-SimpleCrossingS11N5-v0", 800),
    ],
)
def test_levels_come_as_often_as_the_packages(env_id, count):
    compare_levels(env_id, count, times=2)


@pytest.mark.slow
@every_id
def test_many_levels_come_as_often_as_the_packages(env_id):
    compare_levels(env_id, 8_000, times=4)


@every_id
def test_new_levels_can_be_solved(env_id):
    rows = 20
    envs = metarl_core.make_vec(env_id, rows, autoreset_mode="disabled", max_episode_steps=None)
    envs.reset(seed=21)
    width = mg.package_env(env_id).width
    plans, solved = [[] for _ in range(rows)], np.zeros(rows, bool)
    for _ in range(400):
        state = envs.get_state()
        for row in np.flatnonzero(~solved):
            if not plans[row]:
                plans[row] = mg.Level(state["state"][row], width).plan()
                assert plans[row] is not None, f"row {row} has no way on"
        actions = [plans[row].pop(0) if not solved[row] else mg.DONE for row in range(rows)]
        _, reward, terminated, _, _ = envs.step(actions)
        assert (reward[terminated & ~solved] > 0).all()
        solved |= terminated
        if solved.all():
            return
        envs.set_state({"done": np.zeros(rows, bool)})
    raise AssertionError(f"rows {np.flatnonzero(~solved)} were not solved")


def levels_of(envs):
    return envs.get_state()["state"]


def test_a_map_seed_names_a_level():
    env_id = "MiniGrid-MultiRoom-N6-v0"
    fixed = metarl_core.make_vec(env_id, 5, map_seed=3, seed=1, max_episode_steps=2)
    fixed.reset()
    first = levels_of(fixed)
    assert (first == first[0]).all()
    for _ in range(3):
        fixed.step(np.full(5, mg.DONE))
    np.testing.assert_array_equal(levels_of(fixed), first)
    fixed.reset(seed=99)
    np.testing.assert_array_equal(levels_of(fixed), first)
    other = metarl_core.make_vec(env_id, 5, map_seed=4)
    other.reset()
    assert (levels_of(other)[0] != first[0]).any()


def test_map_seeds_of_rows():
    env_id = "MiniGrid-FourRooms-v0"
    envs = metarl_core.make_vec(env_id, 6, seed=2)
    assert envs.task_parameters == ("map_seed",)
    envs.set_tasks({"map_seed": [0, 1, 2, 0, 2**31 - 1, -1]})
    envs.reset()
    levels = levels_of(envs)
    named = metarl_core.make_vec(env_id, 1, map_seed=2**31 - 1)
    named.reset()
    np.testing.assert_array_equal(levels[4], levels_of(named)[0])
    np.testing.assert_array_equal(levels[0], levels[3])
    assert len({level.tobytes() for level in levels}) == 5
    envs.reset()
    np.testing.assert_array_equal(levels_of(envs)[:5], levels[:5])
    assert (levels_of(envs)[5] != levels[5]).any()
    assert envs.get_tasks()["map_seed"].tolist() == [0, 1, 2, 0, 2**31 - 1, -1]
    for bad in (0.5, -2, 2**31):
        with pytest.raises(ValueError, match=r"map_seed\[0\] is"):
            envs.set_tasks({"map_seed": bad})


def test_map_seeds_drawn_at_resets():
    envs = metarl_core.make_vec("MiniGrid-DoorKey-8x8-v0", 200, seed=2)
    envs.sample_tasks_at_reset({"map_seed": [5, 6, 7]})
    envs.reset()
    by_task = {}
    for _ in range(3):
        for level, task in zip(levels_of(envs), envs.task_id, strict=True):
            by_task.setdefault(int(task), set()).add(level.tobytes())
        envs.reset()
    assert sorted(by_task) == [0, 1, 2]
    assert all(len(levels) == 1 for levels in by_task.values())


@every_id
def test_states_that_occur_go_back_in_and_others_do_not(env_id):
    envs = metarl_core.make_vec(env_id, 50, seed=4)
    envs.reset()
    rng = np.random.default_rng(0)
    for _ in range(40):
        envs.step(rng.integers(0, 7, 50))
        envs.set_state(envs.get_state())
    state = envs.get_state()["state"]
    for column in range(mg.HEADER + 3):
        for bad in (-1.0, 0.5, 200.0, 256.0, np.nan):
            changed = state.copy()
            changed[7, column] = bad
            with pytest.raises(ValueError, match=rf"state\[7\] is not a state of {env_id}"):
                envs.set_state({"state": changed})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Empty-5x5", {"agent_x": 0}),  # in a wall
        ("Empty-5x5", {"cell_2_2": 11}),  # a closed door that one can see through
        ("Empty-5x5", {"cell_2_2": 130}),  # a red wall
        ("Empty-5x5", {"cell_2_2": 8}),  # a red goal
        ("Empty-5x5", {"cell_2_2": 6}),  # a ball
        ("Empty-5x5", {"cell_2_2": 7}),  # a box
        ("Empty-5x5", {"cell_3_3": 1}),  # no goal
        ("Empty-5x5", {"carrying": 24}),
        ("Empty-5x5", {"carrying": 6}),
        ("Empty-5x5", {"target": 6}),
        ("Unlock", {"target": 24}),
        ("Unlock", {"target_x": 1}),
        ("KeyCorridorS3R1", {"carrying": 6}),  # two balls
        ("KeyCorridorS3R1", {"target": 24}),
    ],
)
def test_impossible_states_are_refused(name, changes):
    envs = metarl_core.make_vec(f"MiniGrid-{name}-v0", 1)
    envs.reset(seed=1)
    state = envs.get_state()["state"]
    for field, value in changes.items():
        state[0, envs.field_names.index(field)] = value
    with pytest.raises(ValueError, match=r"state\[0\] is not a state of"):
        envs.set_state({"state": state})


def test_beyond_the_edge_is_a_wall():
    envs = metarl_core.make_vec("MiniGrid-Empty-5x5-v0", 4, autoreset_mode="disabled")
    envs.reset()
    state = envs.get_state()["state"]
    names = envs.field_names
    for row, (x, y) in enumerate(((4, 2), (2, 4), (0, 2), (2, 0))):  # at the edge, facing out
        state[row, :4] = [x, y, row, 5]
        state[row, names.index(f"cell_{x}_{y}")] = mg.EMPTY
    envs.set_state({"state": state})
    assert (envs.observe()[:, :, :6] == [2, 5, 0]).all()
    for action in (mg.FORWARD, mg.PICKUP, mg.DROP, mg.TOGGLE):
        envs.step(np.full(4, action))
        np.testing.assert_array_equal(levels_of(envs), state)
