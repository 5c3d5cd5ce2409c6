"""Point robots, bandits over a trial, random decision processes and mazes against plain NumPy."""

from __future__ import annotations

import copy
import itertools
from functools import partial

import numpy as np
import pytest

import metarl_core
from metarl_core.tasks import mdp_tables as task_tables
from metarl_core.tasks import task_family
from metarl_core.testing import check_vector_env, compare_steps

from .reference import ROWS
from .reference_families import (
    MOVES,
    Bandit,
    Maze,
    PointRobot,
    SparsePointRobot,
    TabularMDP,
    bandit_means,
    mdp_name,
    mdp_tables,
    philox,
    seeded_map,
    transition_probabilities,
    ways,
)
from .test_distributions import SAMPLES, chi_square, normal_cdf, uniform_distance

STATES = 25_000


def test_the_oracles_random_numbers_are_philox():
    # Known answers of Random123.
    assert philox(0, (0, 0, 0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 2**32 - 1
    assert philox(2**64 - 1, (ones,) * 4) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


# ---- one step from equal states


def to_the_goal(state, rng):
    """Half of the rows go to their goals; the others anywhere, also with steps that are too long."""
    direct = state[:, 2:] - state[:, :2]
    random = rng.uniform(-0.15, 0.15, (ROWS, 2))
    return np.where(np.arange(ROWS)[:, None] % 2 == 0, direct, random).astype(np.float32)


def around_the_goal(state, rng):
    """Steps that stay about the edge of what is near the goal."""
    return (to_the_goal(state, rng) + rng.normal(0, 0.08, (ROWS, 2))).astype(np.float32)


ROBOTS = [
    ("PointRobot-v0", PointRobot, {}, {}, to_the_goal),
    (
        "PointRobot-v0",
        PointRobot,
        {"max_step": 0.03, "goal_tolerance": 0.05, "max_episode_steps": 30},
        {"max_step": 0.03, "goal_tolerance": 0.05, "limit": 30},
        around_the_goal,
    ),
    ("SparsePointRobot-v0", SparsePointRobot, {}, {}, around_the_goal),
    (
        "SparsePointRobot-v0",
        SparsePointRobot,
        {"goal_radius": 0.5, "max_step": 0.2, "circle_radius": 0.5},
        {"goal_radius": 0.5, "max_step": 0.2, "circle_radius": 0.5},
        around_the_goal,
    ),
    ("SparsePointRobot-v0", SparsePointRobot, {"dense_reward": True}, {"dense": True}, to_the_goal),
]


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("env_id", "reference", "params", "others", "policy"), ROBOTS)
def test_steps_of_the_point_robots(env_id, reference, params, others, policy, precision):
    compare_robots(env_id, reference, params, others, policy, precision, STATES)


def compare_robots(env_id, reference, params, others, policy, precision, states):
    envs = metarl_core.make_vec(env_id, ROWS, autoreset_mode="disabled", precision=precision, **params)
    comparison = compare_steps(envs, [reference(row, **others) for row in range(ROWS)], policy, states=states)
    endings = ("terminated", "truncated") if env_id == "PointRobot-v0" else ("truncated",)
    comparison.check(f"{env_id} {precision} {params}", states, {"float64": 1e-13, "float32": 1e-5}[precision], endings)


def random_of(count):
    return lambda state, rng: rng.integers(count, size=len(state))


TABLES = [
    ("BernoulliBandit-v0", Bandit, {}, {}),
    (
        "BernoulliBandit-v0",
        Bandit,
        {"num_arms": 2, "horizon": 7, "max_episode_steps": 5},
        {"arms": 2, "horizon": 7, "limit": 5},
    ),
    ("GaussianBandit-v0", Bandit, {}, {"gaussian": True}),
    (
        "GaussianBandit-v0",
        Bandit,
        {"reward_scale": 0.2, "num_arms": 128},
        {"gaussian": True, "reward_scale": 0.2, "arms": 128},
    ),
    ("TabularMDP-v0", TabularMDP, {}, {}),
    ("TabularMDP-v0", TabularMDP, {"observation": "history", "num_episodes": 3}, {"history": True, "episodes": 3}),
    (
        "TabularMDP-v0",
        TabularMDP,
        {"num_states": 4, "num_actions": 3, "horizon": 1, "num_episodes": 9, "max_episode_steps": 8, "mean_loc": -2.0},
        {"states": 4, "actions": 3, "horizon": 1, "episodes": 9, "limit": 8, "loc": -2.0},
    ),
    (
        "TabularMDP-v0",
        TabularMDP,
        {"num_states": 13, "num_actions": 1, "mean_scale": 3.0, "reward_scale": 0.1},
        {"states": 13, "actions": 1, "scale": 3.0, "noise": 0.1},
    ),
]


@pytest.mark.parametrize(("env_id", "reference", "params", "others"), TABLES)
def test_steps_of_bandits_and_decision_processes(env_id, reference, params, others):
    compare_tables(env_id, reference, params, others, 10_000 if env_id == "TabularMDP-v0" else STATES)


def compare_tables(env_id, reference, params, others, states):
    envs = metarl_core.make_vec(env_id, ROWS, autoreset_mode="disabled", **params)
    # Rewards of an episode are observed: no row may start in the midst of one whose steps its reference has not taken.
    comparison = compare_steps(
        envs,
        [reference(row, **others) for row in range(ROWS)],
        random_of(envs.single_action_space.n),
        states=states,
        first_elapsed=1,
    )
    ending = "truncated" if "max_episode_steps" in params else "terminated"
    # The arms' means and transitions are equal bit for bit; normal numbers differ by our logarithm and cosine.
    comparison.check(f"{env_id} {params}", states, 1e-13, (ending,))


def maze_policy(state, rng):
    """Half of the rows walk along the left wall, which leads through every maze to its goal."""
    actions = rng.integers(4, size=ROWS)
    view, last = state[:, 6].astype(int), state[:, 4].astype(int)
    for row in range(0, ROWS, 2):
        for turn in (3, 0, 1, 2):  # left, ahead, right, back
            action = (max(last[row], 0) + turn) % 4
            down, right = MOVES[action]
            if not view[row] >> (4 + 3 * down + right) & 1:
                actions[row] = action
                break
    return actions


MAZES = [
    ({}, {}),
    (
        {
            "size": 7,
            "goal_reward": 10.0,
            "step_reward": -0.1,
            "bump_reward": -0.7,
            "shaping": 0.3,
            "max_episode_steps": 25,
        },
        {"size": 7, "goal": 10.0, "step": -0.1, "bump": -0.7, "shaping": 0.3, "limit": 25},
    ),
    ({"size": 5}, {"size": 5}),
    ({"size": 25, "max_episode_steps": 700}, {"size": 25, "limit": 700}),
    ({"size": 27, "shaping": 0.5, "max_episode_steps": 700}, {"size": 27, "shaping": 0.5, "limit": 700}),
]


@pytest.mark.parametrize(("params", "others"), MAZES)
def test_steps_of_mazes(params, others):
    compare_mazes(params, others, STATES)


def compare_mazes(params, others, states):
    envs = metarl_core.make_vec("Maze-v0", ROWS, autoreset_mode="disabled", **params)
    references = [Maze(row, **others) for row in range(ROWS)]
    comparison = compare_steps(envs, references, maze_policy, states=states)
    comparison.check(
        f"Maze-v0 {params}", states, 0.0 if "shaping" not in params else 1e-15, ("terminated", "truncated")
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "env_id", ["PointRobot-v0", "SparsePointRobot-v0", *dict.fromkeys(t[0] for t in TABLES), "Maze-v0"]
)
def test_a_million_steps_equal_the_oracles(env_id):
    million = 1_000_000
    robots, tables = [r for r in ROBOTS if r[0] == env_id], [t for t in TABLES if t[0] == env_id]
    for precision in ("float64", "float32") if robots else ():
        compare_robots(*robots[0], precision, million)
    if tables:
        compare_tables(*tables[0], million)
    if env_id == "Maze-v0":
        compare_mazes({}, {}, million)


# ---- what is generated


@pytest.mark.parametrize("size", [5, 7, 11, 25, 27, 51])
def test_seeded_maps_are_the_oracles_and_perfect(size):
    seeds = np.concatenate([np.arange(20), [2**53, 2**40 + 1]]).astype(np.float64)
    envs = metarl_core.make_vec("Maze-v0", len(seeds), size=size)
    envs.set_tasks({"map_seed": seeds})
    envs.reset(seed=3)
    state = envs.get_state()["state"]
    rooms = (size - 1) // 2
    for seed, fields in zip(seeds, state, strict=True):
        walls, goal = seeded_map(int(seed), size)
        np.testing.assert_array_equal(fields[8:], walls[:, 1:-1] @ 2.0 ** np.arange(size - 2))
        assert tuple(fields[2:4]) == goal
        assert goal != (1, 1)
        assert tuple(fields[:2]) != goal
        assert walls[0].all()
        assert walls[-1].all()
        assert walls[:, [0, -1]].all()
        # A perfect maze: connected, and with one passage fewer than rooms.
        assert (~walls[1::2, 1::2]).all()
        assert (~walls).sum() == 2 * rooms**2 - 1
        if size <= 11:
            cells = (~walls).sum()
            assert {len(found) for found in ways(walls).values()} == {cells}
    # Of four rooms there are four perfect mazes, of nine 192.
    distinct = len({fields[8:].tobytes() for fields in state})
    assert distinct == {5: 4}.get(size, distinct)
    assert distinct == len(seeds) or size < 11


def test_mazes_of_episodes_differ_and_their_places_are_uniform():
    rows = 30_000
    envs = metarl_core.make_vec("Maze-v0", rows, size=7)
    envs.reset(seed=1)
    first = envs.get_state()["state"]
    envs.reset()
    second = envs.get_state()["state"]
    assert ((first[:, 8:] == second[:, 8:]).all(axis=1)).mean() < 0.05
    room = [(first[:, k] // 2 * 3 + first[:, k + 1] // 2).astype(int) for k in (0, 2)]
    goals = np.bincount(room[1], minlength=9)
    assert goals[0] == 0
    z = chi_square(goals[1:], np.full(8, rows / 8))
    pairs = np.bincount(9 * room[1] + room[0], minlength=81).reshape(9, 9)[1:]
    assert (pairs[np.arange(8), np.arange(1, 9)] == 0).all()
    z_pairs = chi_square(pairs[pairs > 0], np.full(64, rows / 64))
    print(f"goals: z = {z:.2f}, starts given the goal: z = {z_pairs:.2f}")
    assert abs(z) < 3.3
    assert abs(z_pairs) < 3.3
    # The first choices of the search: every direction from the middle room.
    middle = first[:, 8:].astype(int)
    passages = np.stack([middle[:, 2] >> 2, middle[:, 3] >> 3, middle[:, 4] >> 2, middle[:, 3] >> 1]) & 1
    shares = 1 - passages.mean(axis=1)
    print(f"passages beside the middle room: {shares}")
    assert np.ptp(shares) < 5 * np.sqrt(0.5 / rows)
    # Opposite rooms are as far apart in every direction: the search favours none.
    fixed = metarl_core.make_vec("Maze-v0", 50, random_start=False, goal_row=9, goal_column=3)
    fixed.reset(seed=2)
    np.testing.assert_array_equal(fixed.get_state()["state"][:, :4], [[1, 1, 9, 3]] * 50)


def test_a_maze_that_teleports_goes_on():
    rows = 4_000
    envs = metarl_core.make_vec("Maze-v0", rows, teleport=True, map_seed=5, max_episode_steps=2_000)
    walls, goal = seeded_map(5, 11)
    envs.reset(seed=0)
    state = envs.get_state()
    way = next(m for m, (down, right) in enumerate(MOVES) if not walls[goal[0] + down, goal[1] + right])
    down, right = MOVES[way]
    beside = (goal[0] + down, goal[1] + right)
    view = (walls[beside[0] - 1 : beside[0] + 2, beside[1] - 1 : beside[1] + 2].ravel() * 2 ** np.arange(9)).sum()
    state["state"][:, [0, 1, 6]] = [*beside, view]
    envs.set_state(state)
    obs, reward, terminated, truncated, _ = envs.step(np.full(rows, (way + 2) % 4))
    assert (reward == 1).all()
    assert not terminated.any()
    assert not truncated.any()
    np.testing.assert_array_equal(obs[:, 13], 1)
    after = envs.get_state()["state"]
    np.testing.assert_array_equal(after[:, 2:4], [goal] * rows)
    room = (after[:, 0] // 2 * 5 + after[:, 1] // 2).astype(int)
    counts = np.delete(np.bincount(room, minlength=25), goal[0] // 2 * 5 + goal[1] // 2)
    assert counts.sum() == rows
    z = chi_square(counts, np.full(24, rows / 24))
    print(f"teleports: z = {z:.2f}")
    assert abs(z) < 3.3
    for row in range(20):
        np.testing.assert_array_equal(
            obs[row, :9], walls[int(after[row, 0]) - 1 :, int(after[row, 1]) - 1 :][:3, :3].ravel()
        )


def test_point_robots_goals():
    envs = metarl_core.make_vec("PointRobot-v0", SAMPLES)
    envs.reset(seed=5)
    state = envs.get_state()["state"]
    assert (state[:, :2] == 0).all()
    distances = [uniform_distance(state[:, column], -0.5, 0.5) for column in (2, 3)]
    assert abs(np.corrcoef(state[:, 2:].T)[0, 1]) < 4 / np.sqrt(SAMPLES)
    sparse = metarl_core.make_vec("SparsePointRobot-v0", SAMPLES, circle_radius=2.0)
    sparse.reset(seed=5)
    goals = sparse.get_state()["state"][:, 2:]
    np.testing.assert_allclose(np.hypot(*goals.T), 2, rtol=1e-15)
    distances.append(uniform_distance(np.arctan2(goals[:, 1], goals[:, 0]), 0, np.pi))
    print("KS sqrt(n) D: " + ", ".join(f"{d:.2f}" for d in distances))
    assert max(distances) < 1.95


def test_arms_and_their_rewards():
    arms, rows = 10, 10_000
    envs = metarl_core.make_vec("BernoulliBandit-v0", rows, num_arms=arms, horizon=1000)
    envs.reset(seed=6)
    means = envs.get_state()["state"][:, 3:]
    distance = uniform_distance(means.ravel(), 0, 1)
    # Every row pulls one arm 200 times: standardised counts.
    arm = np.arange(rows) % arms
    total = sum(envs.step(arm)[1] for _ in range(200))
    p = means[np.arange(rows), arm]
    usual = (p > 0.05) & (p < 0.95)
    z = ((total - 200 * p) / np.sqrt(200 * p * (1 - p)))[usual]
    statistic = ((z**2).sum() - len(z)) / np.sqrt(2 * len(z))
    print(f"Bernoulli: arms KS {distance:.2f}; counts: mean z {z.mean():.3f}, chi-square {statistic:.2f} sigma")
    assert distance < 1.95
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs(statistic) < 4
    gaussian = metarl_core.make_vec("GaussianBandit-v0", rows, mean_loc=1.5, mean_scale=0.5, reward_scale=0.1)
    gaussian.reset(seed=6)
    means = gaussian.get_state()["state"][:, 3:]
    noise = (gaussian.step(arm)[1] - means[np.arange(rows), arm]) / 0.1
    for values in ((means.ravel() - 1.5) / 0.5, noise):
        distance = uniform_distance(normal_cdf(values), 0, 1)
        print(f"Gaussian: KS {distance:.2f}")
        assert distance < 1.95


@pytest.mark.parametrize("gaussian", [False, True])
def test_seeded_arms_are_the_oracles(gaussian):
    env_id = "GaussianBandit-v0" if gaussian else "BernoulliBandit-v0"
    names = ("mean_loc", "mean_scale") if gaussian else ("mean_low", "mean_high")
    envs = metarl_core.make_vec(env_id, 3, num_arms=7, **dict(zip(names, (0.25, 0.5), strict=True)))
    envs.set_tasks({"task_seed": [4, 2**53, 4]})
    for _ in range(2):
        envs.reset()
        for fields, seed in zip(envs.get_state()["state"], (4, 2**53, 4), strict=True):
            np.testing.assert_allclose(fields[3:], bandit_means(seed, 7, gaussian, 0.25, 0.5), rtol=1e-14)


def test_processes_are_drawn_from_a_flat_dirichlet_and_a_normal_distribution():
    probabilities, means = [], []
    for seed in range(200):
        cuts, mean = mdp_tables(mdp_name(seed), 5, 4)
        probabilities.append(transition_probabilities(cuts))
        means.append(mean)
    p, means = np.array(probabilities).reshape(-1, 5), np.ravel(means)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    # A part of a flat Dirichlet distribution of five is Beta(1, 4).
    distances = [uniform_distance(1 - (1 - p[:, k]) ** 4, 0, 1) for k in range(5)]
    distances.append(uniform_distance(normal_cdf(means), 0, 1))
    print("KS sqrt(n) D: " + ", ".join(f"{d:.2f}" for d in distances))
    assert max(distances) < 1.95


@pytest.mark.parametrize("states", [1, 2, 4, 5, 6, 13])
def test_tables_for_users_are_the_oracles(states):
    names = np.array([mdp_name(seed) for seed in range(3)])
    transitions, rewards = task_tables(names, states, 3, mean_loc=-1.0, mean_scale=0.5)
    assert transitions.shape == (3, states, 3, states)
    for name, p, r in zip(names.tolist(), transitions, rewards, strict=True):
        cuts, means = mdp_tables(name, states, 3)
        np.testing.assert_array_equal(p, transition_probabilities(cuts))
        np.testing.assert_allclose(r, -1 + 0.5 * means, rtol=1e-14, atol=1e-15)
    for bad, match in (
        ([1, 2], r"names has shape \(2,\)"),
        ([[0, 2**32]], r"in \[0, 2\*\*32\)"),
        ([[0.5, 1]], "integers"),
    ):
        with pytest.raises(ValueError, match=match):
            task_tables(bad)
    with pytest.raises(ValueError, match="num_states is 0; must be >= 1"):
        task_tables(names, 0)


def test_transitions_and_rewards_of_a_seeded_process():
    states, actions, rows = 6, 3, 20_000
    envs = metarl_core.make_vec(
        "TabularMDP-v0", rows, num_states=states, num_actions=actions, task_seed=11, autoreset_mode="disabled"
    )
    envs.reset(seed=4)
    cuts, means = mdp_tables(mdp_name(11), states, actions)
    p = transition_probabilities(cuts)
    start = envs.get_state()["state"]
    np.testing.assert_array_equal(start[:, 4:], [mdp_name(11)] * rows)
    scores, noise = [], []
    for state, action in itertools.product(range(states), range(actions)):
        start[:, 0] = state
        envs.set_state({"state": start, "done": np.zeros(rows, bool)})
        obs, reward, *_ = envs.step(np.full(rows, action))
        counts = np.bincount(obs, minlength=states)
        often = p[state, action] * rows > 5
        scores.append(chi_square(counts[often], p[state, action][often] * rows))
        noise.append(uniform_distance(normal_cdf(reward - 1 - means[state, action]), 0, 1))
    print(f"{len(scores)} (s, a) pairs: largest z = {max(scores):.2f}; noise: largest KS {max(noise):.2f}")
    assert max(scores) < 4
    assert abs(np.mean(scores)) < 4 / np.sqrt(len(scores))
    assert max(noise) < 2.3


# ---- tasks by row

TASKS = {
    "PointRobot-v0": {
        "goal_x": (-0.5, 0.5),
        "goal_y": (-0.5, 0.5),
        "max_step": (0.02, 0.1),
        "goal_tolerance": (0.0, 0.1),
    },
    "SparsePointRobot-v0": {
        "goal_angle": (0, 3),
        "circle_radius": (0.3, 1),
        "max_step": (0.05, 0.1),
        "goal_radius": (0.1, 1),
    },
    "BernoulliBandit-v0": {"task_seed": None, "mean_low": (0, 0.5), "mean_high": (0.5, 1)},
    "GaussianBandit-v0": {"task_seed": None, "mean_loc": (-1, 1), "mean_scale": (0, 2), "reward_scale": (0, 2)},
    "TabularMDP-v0": {"task_seed": None, "mean_loc": (-1, 1), "mean_scale": (0, 2), "reward_scale": (0, 2)},
    "Maze-v0": {
        "map_seed": None,
        "goal_reward": (1, 5),
        "step_reward": (-1, 0),
        "bump_reward": (-1, 0),
        "shaping": (0, 1),
    },
}


OTHER_TASKS = {
    "MountainCarContinuous-v0": {"power": (0.001, 0.003), "gravity": (0.001, 0.004), "goal_position": (-0.3, 0.5)},
    "CartPoleSwingup-v0": {
        "height_threshold": (-0.9, 0.9),
        "move_cost": (0, 0.2),
        "timescale": (0.005, 0.03),
        "init_range": (0.0, 0.05),
        "mass_cart": (0.5, 2),
        "mass_pole": (0.05, 0.5),
        "length": (0.2, 1),
        "force_mag": (5, 20),
        "gravity": (3, 15),
    },
}


@pytest.mark.parametrize("env_id", [*TASKS, *OTHER_TASKS])
def test_every_row_plays_as_an_environment_made_with_its_parameters(env_id):
    rows, steps, rng = 12, 120, np.random.default_rng(2)
    tasks = {
        name: rng.integers(2**53, size=rows).astype(float) if bounds is None else rng.uniform(*bounds, rows)
        for name, bounds in {**TASKS, **OTHER_TASKS}[env_id].items()
    }
    params = {"max_episode_steps": 30}
    envs = metarl_core.make_vec(env_id, rows, **params)
    envs.set_tasks(tasks)
    for name, values in envs.get_tasks().items():
        if name in tasks:
            np.testing.assert_array_equal(values, tasks[name])
    obs, info = envs.reset(seed=list(range(rows)))
    np.testing.assert_array_equal(info["task_id"], np.arange(rows))
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(steps)]
    own = [
        {name: int(values[row]) if name.endswith("seed") else values[row] for name, values in tasks.items()}
        for row in range(rows)
    ]
    alone = [metarl_core.make_vec(env_id, 1, **params, **task) for task in own]
    for row, env in enumerate(alone):
        np.testing.assert_array_equal(env.reset(seed=[row])[0][0], obs[row])
    for action in actions:
        results = [env.step(action[row : row + 1]) for row, env in enumerate(alone)]
        for k, value in enumerate(envs.step(action)[:4]):
            np.testing.assert_array_equal(value, np.concatenate([result[k] for result in results]))


@pytest.mark.parametrize("env_id", TASKS)
def test_tasks_that_are_drawn_at_resets(env_id):
    rows = 300
    envs = metarl_core.make_vec(env_id, rows, max_episode_steps=5)
    tasks = task_family(env_id).sample_tasks(7)
    envs.sample_tasks_at_reset(tasks)
    _, info = envs.reset(seed=1)
    envs.action_space.seed(0)
    seen, before = {}, info["task_id"]
    for _ in range(20):
        fields, ids = envs.get_state()["state"], envs.task_id
        for name, values in tasks.items():
            np.testing.assert_array_equal(envs.get_tasks()[name], values[ids])
        generated = {"Maze-v0": slice(8, None), "TabularMDP-v0": slice(4, None)}.get(
            env_id, slice(2, None) if "Robot" in env_id else slice(3, None)
        )
        for task, row in zip(ids.tolist(), fields[:, generated], strict=True):
            np.testing.assert_array_equal(seen.setdefault(task, row), row)  # a task is the same in every row
        *_, info = envs.step(envs.action_space.sample())
        before = info["task_id"]
    assert sorted(seen) == list(range(7))
    assert len({row.tobytes() for row in seen.values()}) == 7
    assert before.max() < 7


@pytest.mark.parametrize("env_id", TASKS)
def test_promises(env_id):
    check_vector_env(partial(metarl_core.make_vec, env_id, max_episode_steps=17), steps=60)


def test_random_goals_beside_given_ones():
    envs = metarl_core.make_vec("PointRobot-v0", 3)
    assert np.isnan(envs.get_tasks()["goal_x"]).all()
    envs.set_tasks({"goal_x": [0.25, np.nan, np.nan], "goal_y": [np.nan, 0.5, np.nan]})
    plain = metarl_core.make_vec("PointRobot-v0", 3)
    envs.reset(seed=3)
    plain.reset(seed=3)
    given, drawn = (e.get_state()["state"][:, 2:] for e in (envs, plain))
    np.testing.assert_array_equal(given[:, 0], [0.25, drawn[1, 0], drawn[2, 0]])
    np.testing.assert_array_equal(given[:, 1], [drawn[0, 1], 0.5, drawn[2, 1]])
    other = metarl_core.make_vec("PointRobot-v0", 3)
    other.set_state(envs.get_state())
    np.testing.assert_array_equal(other.get_tasks()["goal_x"], [0.25, np.nan, np.nan])


@pytest.mark.parametrize(
    ("env_id", "params", "tasks", "match"),
    [
        ("PointRobot-v0", {}, {"max_step": [0.1, 0.2]}, r"max_step\[1\] is 0.2; must be <= 0.1, the environment's own"),
        ("PointRobot-v0", {}, {"goal_x": [np.inf, 0]}, r"goal_x\[0\] is inf; must be finite or NaN, which means None"),
        ("PointRobot-v0", {}, {"goal_range": [np.nan, 1]}, r"goal_range\[0\] is nan; must be finite"),
        ("SparsePointRobot-v0", {}, {"goal_angle": -0.1}, r"goal_angle\[0\] is -0.1; must be >= 0"),
        ("SparsePointRobot-v0", {}, {"dense_reward": [1, 0.5]}, r"dense_reward\[1\] is 0.5; must be 0 or 1"),
        ("BernoulliBandit-v0", {}, {"task_seed": [1, 0.5]}, r"task_seed\[1\] is 0.5; must be an integer"),
        ("BernoulliBandit-v0", {}, {"task_seed": [1, -2]}, r"task_seed\[1\] is -2.0; must be >= -1"),
        ("BernoulliBandit-v0", {"mean_low": 0.5}, {"mean_high": 0.4}, r"mean_low\[0\] is 0.5; must be <= mean_high"),
        ("BernoulliBandit-v0", {}, {"mean_high": 1.5}, r"mean_high\[0\] is 1.5; must be <= 1"),
        ("TabularMDP-v0", {}, {"task_seed": 2.0**54}, r"task_seed\[0\] is 1.8014398509481984e\+16; must be <= 9"),
        ("Maze-v0", {}, {"goal_row": 3}, r"goal_column\[0\] is -1.0; must be odd and in \[1, 9\], or both -1"),
        ("Maze-v0", {}, {"goal_row": 3, "goal_column": [1, 4]}, r"goal_column\[1\] is 4.0; must be odd"),
        ("Maze-v0", {}, {"goal_row": 11, "goal_column": 1}, r"goal_row\[0\] is 11.0; must be odd and in \[1, 9\]"),
        ("Maze-v0", {"random_start": False}, {"goal_row": 1, "goal_column": 1}, r"elsewhere than the start at"),
    ],
)
def test_tasks_that_cannot_be(env_id, params, tasks, match):
    envs = metarl_core.make_vec(env_id, 2, **params)
    with pytest.raises(ValueError, match=match):
        envs.set_tasks(tasks)
    assert envs.task_id.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("env_id", "params", "match"),
    [
        ("Maze-v0", {"size": 8}, "size is 8; must be odd"),
        ("Maze-v0", {"size": 53}, "size is 53; must be an integer >= 5 and <= 51"),
        ("Maze-v0", {"goal_row": 2, "goal_column": 1}, r"goal_row is 2; must be odd and in \[1, 9\], or both be -1"),
        ("Maze-v0", {"goal_row": 1, "goal_column": 1, "random_start": False}, "where the start is"),
        ("BernoulliBandit-v0", {"mean_low": 0.5, "mean_high": 0.4}, "mean_low is 0.5; must be <= mean_high"),
        ("BernoulliBandit-v0", {"num_arms": 129}, "num_arms is 129; must be an integer >= 1 and <= 128"),
        ("PointRobot-v0", {"goal_x": np.nan}, "goal_x is nan; must be a finite number or None"),
        ("TabularMDP-v0", {"observation": "all"}, "observation is 'all'; must be one of 'state', 'history'"),
    ],
)
def test_parameters_that_cannot_be(env_id, params, match):
    with pytest.raises(ValueError, match=match):
        metarl_core.make_vec(env_id, 2, **params)


def test_actions_of_two_numbers():
    envs = metarl_core.make_vec("PointRobot-v0", 3)
    envs.reset()
    before = envs.get_state()["state"]
    actions = np.zeros((3, 2))
    actions[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"actions\[2, 1\] is nan; must be finite"):
        envs.step(actions)
    with pytest.raises(ValueError, match=r"actions: expected shape \(3, 2\), got \(3, 1\)"):
        envs.step(np.zeros((3, 1)))
    np.testing.assert_array_equal(envs.get_state()["state"], before)
    assert envs.single_action_space.shape == (2,)
    assert envs.action_space.shape == (3, 2)
    np.testing.assert_array_equal(envs.single_action_space.high, np.float32(0.1))
    wide = metarl_core.make_vec("PointRobot-v0", 3)
    wide.reset()
    actions = np.random.default_rng(0).uniform(-0.2, 0.2, (3, 2))
    np.testing.assert_array_equal(envs.step(actions.astype(np.float32))[0], wide.step(actions)[0])


@pytest.mark.parametrize(
    ("env_id", "params", "column", "value"),
    [
        ("Maze-v0", {}, 0, 0),
        ("Maze-v0", {}, 2, 10),
        ("Maze-v0", {}, 4, 4),
        ("Maze-v0", {}, 6, 0),
        ("Maze-v0", {}, 8, 0),
        ("Maze-v0", {}, 12, 2**9),
        ("Maze-v0", {}, 12, 0.5),
        ("Maze-v0", {"size": 27}, 7, 1e300),
        ("BernoulliBandit-v0", {}, 3, 1.1),
        ("BernoulliBandit-v0", {}, 0, 101),
        ("GaussianBandit-v0", {}, 1, 10),
        ("TabularMDP-v0", {}, 0, 10),
        ("TabularMDP-v0", {}, 4, 2**32),
        ("PointRobot-v0", {}, 0, 1e39),
    ],
)
def test_states_that_cannot_be(env_id, params, column, value):
    envs = metarl_core.make_vec(env_id, 2, **params)
    envs.reset()
    state = envs.get_state()["state"]
    envs.set_state({"state": state})
    state[1, column] = value
    with pytest.raises(ValueError, match=rf"state\[1\] is not a state of {env_id}"):
        envs.set_state({"state": state})


@pytest.mark.parametrize("env_id", TASKS)
def test_snapshots_go_through_a_checkpoint_format(env_id):
    envs = metarl_core.make_vec(env_id, 5)
    envs.sample_tasks_at_reset(task_family(env_id).sample_tasks(4))
    envs.reset(seed=1)
    snapshot = copy.deepcopy(envs.snapshot())
    # Numbers that were read from a file are other objects.
    snapshot["parameters"] = {name: float(repr(number)) for name, number in snapshot["parameters"].items()}
    other = metarl_core.make_vec(env_id, 5)
    other.restore(snapshot)
    envs.action_space.seed(0)
    for _ in range(60):
        actions = envs.action_space.sample()
        for mine, theirs in zip(other.step(actions)[:4], envs.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
