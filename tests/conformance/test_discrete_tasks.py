"""Rows with maps, mappings, rewards and probabilities of their own, against Gymnasium's and bsuite's environments."""

from __future__ import annotations

import warnings
from functools import partial
from itertools import chain

import gymnasium
import numpy as np
import pytest
from bsuite.environments import bandit, deep_sea, discounting_chain
from gymnasium.envs.toy_text.frozen_lake import generate_random_map

import metarl_core
from metarl_core.tasks import frozen_lake_map, task_family
from metarl_core.testing import check_vector_env

from .test_deep_sea import compare as compare_deep_sea
from .test_distributions import chi_square
from .test_toy_text import possible_states

SEEDS = [0, 1, 2, 3, 1000, 2**31, 2**32 - 1]


def table_of(reference, states, fields_of):
    """Every outcome of a reference's table that is possible: fields before, action, draw, and what must come."""
    before, actions, draws, after = [], [], [], []
    for state in states:
        for action in range(reference.action_space.n):
            low = 0.0
            for probability, following, reward, terminated in reference.P[state][action]:
                if probability > 0:
                    before.append(fields_of(state))
                    actions.append(action)
                    draws.append(low + probability / 2)
                    after.append((following, reward, terminated, probability))
                low += probability
    return before, actions, draws, after


def compare_tables(env_id, params, tasks, references, states, fields_of, draws_per_row):
    """One step from every state by every action to every outcome, in one batch of all tasks."""
    tables = [table_of(reference, states, fields_of) for reference in references]
    counts = [len(actions) for _, actions, _, _ in tables]
    before, actions, draws, after = (list(chain.from_iterable(t[k] for t in tables)) for k in range(4))
    envs = metarl_core.make_vec(env_id, len(actions), autoreset_mode="disabled", **params)
    envs.set_tasks({name: np.repeat(values, counts) for name, values in tasks.items()})
    envs.set_state({"state": before})
    if draws_per_row:
        every = np.zeros((len(actions), draws_per_row))
        every[:, 0] = draws
        envs._core.set_draws(every)
    obs, reward, terminated, truncated, info = envs.step(np.array(actions))
    following, rewards, ends, probabilities = (np.array(column) for column in zip(*after, strict=True))
    np.testing.assert_array_equal(obs, following)
    np.testing.assert_array_equal(reward, rewards)
    np.testing.assert_array_equal(terminated, ends)
    np.testing.assert_array_equal(info["prob"], probabilities)
    assert not truncated.any()
    print(f"{env_id} {params}: {len(actions)} outcomes of {len(references)} tasks")


@pytest.mark.parametrize("size", [2, 3, 4, 8, 20])
def test_map_seeds_are_gymnasiums(size):
    seeds = [*SEEDS, *range(10, 200 if size < 20 else 20)]
    for seed in seeds:
        expected = generate_random_map(size, seed=seed)
        assert frozen_lake_map(seed, size) == expected
    # What the core makes of a seed: the kinds of cells, seen by standing on each and by stepping onto each.
    cells = size * size
    envs = metarl_core.make_vec("FrozenLake-v1", cells, desc=["S" * size] * size, autoreset_mode="disabled")
    for seed in seeds[:40]:
        letters = "".join(frozen_lake_map(seed, size))
        envs.set_tasks({"map_seed": seed})
        envs.set_state({"state": np.arange(cells)[:, None], "done": np.zeros(cells, bool)})
        obs, _, terminated, _, _ = envs.step(np.zeros(cells, np.int64))
        np.testing.assert_array_equal(terminated, [letters[cell] in "HG" for cell in obs])
        stays = np.array([letter in "HG" for letter in letters])
        np.testing.assert_array_equal(obs[stays], np.flatnonzero(stays))
        assert (envs.reset(seed=0)[0] == 0).all()


@pytest.mark.parametrize("map_name", ["4x4", "8x8"])
@pytest.mark.parametrize("slippery", [True, False])
def test_every_outcome_of_lakes_of_many_kinds(map_name, slippery):
    rows, rng = 24, np.random.default_rng(3)
    size = int(map_name[0])
    tasks = {
        "is_slippery": rng.random(rows) < 0.7 if slippery else np.zeros(rows, bool),
        "success_rate": rng.choice([0.0, 0.25, 1 / 3, 0.7, 1.0], rows),
        "goal_reward": np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows)),
        "hole_reward": rng.normal(size=rows),
        "frozen_reward": np.where(rng.random(rows) < 0.5, np.nan, rng.normal(size=rows)),
        "map_seed": np.where(rng.random(rows) < 0.25, np.nan, rng.integers(2**32, size=rows)),
    }
    own = {"map_name": map_name, "reward_schedule": (3, -2, -0.125)}
    references = []
    for row in range(rows):
        task = {name: values[row] for name, values in tasks.items()}
        rewards = [task["goal_reward"], task["hole_reward"], task["frozen_reward"]]
        schedule = tuple(own["reward_schedule"][k] if np.isnan(r) else float(r) for k, r in enumerate(rewards))
        seeded = not np.isnan(task["map_seed"])
        lake = {"desc": generate_random_map(size, seed=int(task["map_seed"]))} if seeded else {"map_name": map_name}
        reference = gymnasium.make(
            "FrozenLake-v1",
            is_slippery=bool(task["is_slippery"]),
            success_rate=float(task["success_rate"]),
            reward_schedule=schedule,
            **lake,
        )
        references.append(reference.unwrapped)
    params = {**own, "is_slippery": slippery}
    states = range(size * size)
    compare_tables("FrozenLake-v1", params, tasks, references, states, lambda cell: [cell], int(slippery))


def test_slips_of_rows_are_as_likely_as_their_tasks_say():
    # Also where the environment itself is not slippery: all numbers are the rows' own.
    rates = np.array([0.1, 1 / 3, 0.6, 0.95])
    envs = metarl_core.make_vec("FrozenLake-v1", 4 * 50_000, is_slippery=False, autoreset_mode="disabled")
    envs.set_tasks({"is_slippery": 1, "success_rate": np.repeat(rates, 50_000)})
    envs.reset(seed=1)
    envs.set_state({"state": np.full((len(envs.task_id), 1), 9)})
    obs = envs.step(np.full(envs.num_envs, 2))[0].reshape(4, -1)  # right of cell 9; down and up are the sides
    for rate, cells in zip(rates, obs, strict=True):
        counts = np.array([(cells == cell).sum() for cell in (13, 10, 5)])
        z = chi_square(counts, np.array([(1 - rate) / 2, rate, (1 - rate) / 2]) * 50_000)
        print(f"FrozenLake, success_rate {rate:.2f} of a row: z = {z:.2f}")
        assert counts.sum() == 50_000
        assert abs(z) < 4


def test_rewards_and_map_seed_as_parameters_of_an_environment():
    envs = metarl_core.make_vec(
        "FrozenLake-v1", 1, map_name="8x8", map_seed=7, hole_reward=-4, reward_schedule=(2, 1, 0)
    )
    fixed = metarl_core.make_vec("FrozenLake-v1", 1, desc=generate_random_map(8, seed=7), reward_schedule=(2, -4, 0))
    for env in (envs, fixed):
        env.reset(seed=3)
    for action in np.random.default_rng(0).integers(4, size=300):
        for mine, theirs in zip(envs.step([action])[:4], fixed.step([action])[:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    got = {name: values[0] for name, values in envs.get_tasks().items()}
    assert got["map_seed"] == 7
    assert got["hole_reward"] == -4
    assert np.isnan(got["goal_reward"])


@pytest.mark.parametrize("size", [1, 2, 7, 10, 30])
def test_mapping_seeds_of_rows_are_bsuites(size):
    cells = size * size
    fields = np.zeros((cells, 5))
    fields[:, 0], fields[:, 1] = np.divmod(np.arange(cells), size)
    envs = metarl_core.make_vec("DeepSea-v0", cells * len(SEEDS), size=size, autoreset_mode="disabled")
    envs.set_tasks({"mapping_seed": np.repeat(SEEDS, cells)})
    envs.reset(seed=0)
    envs.set_state({"state": np.tile(fields, (len(SEEDS), 1))})
    mappings = [deep_sea.DeepSea(size, mapping_seed=seed)._action_mapping.ravel() for seed in SEEDS]
    envs.step(np.concatenate(mappings))  # the action that the reference's mapping names moves right
    expected = np.minimum(fields[:, 1] + 1, size - 1)
    np.testing.assert_array_equal(envs.get_state()["state"][:, 1], np.tile(expected, len(SEEDS)))


def test_seas_of_many_kinds_equal_bsuites():
    rng, rows = np.random.default_rng(8), 64
    tasks = {
        "deterministic": rng.random(rows) < 0.3,
        "unscaled_move_cost": rng.uniform(-0.1, 0.5, rows),
        "randomize_actions": rng.random(rows) < 0.8,
        "mapping_seed": rng.integers(2**32, size=rows),
    }
    compare_deep_sea({"size": 6, "deterministic": False}, 60_000, tasks)


def test_chances_of_taxis_in_the_rain():
    rates = [0.0, 0.55, 0.8, 1.0]
    references = [gymnasium.make("Taxi-v4", is_rainy=True, rainy_probability=rate).unwrapped for rate in rates]
    states = possible_states("Taxi-v4")
    compare_tables(
        "Taxi-v4",
        {"is_rainy": True},
        {"rainy_probability": rates},
        references,
        states,
        lambda state: [state, 0],
        draws_per_row=2,
    )


def test_moods_of_passengers_by_row():
    rates, rows = np.array([0.0, 0.2, 0.7, 1.0]), 50_000
    envs = metarl_core.make_vec("Taxi-v4", 4 * rows, fickle_passenger=True)
    envs.set_tasks({"fickle_probability": np.repeat(rates, rows)})
    envs.reset(seed=6)
    fickle = envs.get_state()["state"][:, 1].reshape(4, rows).mean(axis=1)
    z = (fickle - rates) / np.sqrt(np.maximum(rates * (1 - rates), 1e-12) / rows)
    print(f"Taxi, passengers that are fickle: {fickle}, z = {z}")
    assert fickle[0] == 0
    assert fickle[3] == 1
    assert (np.abs(z[1:3]) < 4).all()


@pytest.mark.parametrize("slippery", [True, False])
def test_every_outcome_of_cliffs_of_both_kinds(slippery):
    references = [gymnasium.make("CliffWalking-v1", is_slippery=kind).unwrapped for kind in (False, True)]
    states = possible_states("CliffWalking-v1")
    both = {"is_slippery": [False, True]}
    if not slippery:  # no draws to set: what an environment that is not slippery draws is tested by its likelihood
        references, both = references[:1], {"is_slippery": [False]}
    params = {"is_slippery": slippery}
    compare_tables("CliffWalking-v1", params, both, references, states, lambda state: [state], int(slippery))
    if slippery:
        return
    envs = metarl_core.make_vec("CliffWalking-v1", 90_000, autoreset_mode="disabled")
    envs.set_tasks({"is_slippery": 1})
    envs.reset(seed=3)
    envs.set_state({"state": np.full((90_000, 1), 17)})
    cells, counts = np.unique(envs.step(np.full(90_000, 1))[0], return_counts=True)
    assert cells.tolist() == [5, 18, 29]
    assert abs(chi_square(counts, np.full(3, 30_000.0))) < 4


def test_rules_of_blackjack_by_row():
    hands = [(a, b) for a in range(1, 11) for b in range(1, 11)]
    value = {hand: sum(hand) + (10 if 1 in hand else 0) for hand in hands}
    deals = [(player, dealer) for player in hands for dealer in hands if value[dealer] >= 17]
    rules = [(natural, sab) for natural in (False, True) for sab in (False, True)]
    expected, fields = [], []
    for natural, sab in rules:
        reference = gymnasium.make("Blackjack-v1", natural=natural, sab=sab).unwrapped
        reference.reset(seed=0)
        for player, dealer in deals:
            reference.player, reference.dealer = list(player), list(dealer)
            expected.append(reference.step(0)[1])
            fields.append([*(x for hand in (player, dealer) for x in (sum(hand), int(1 in hand), 2)), dealer[0]])
    envs = metarl_core.make_vec("Blackjack-v1", len(fields), autoreset_mode="disabled")
    natural, sab = np.repeat(np.array(rules), len(deals), axis=0).T
    envs.set_tasks({"natural": natural, "sab": sab})
    envs.set_state({"state": fields})
    np.testing.assert_array_equal(envs.step(np.zeros(len(fields), np.int64))[1], expected)
    assert set(expected) == {-1.0, 0.0, 1.0, 1.5}


@pytest.mark.parametrize("arms", [1, 2, 11, 128])
def test_orders_of_arms_are_bsuites(arms):
    envs = metarl_core.make_vec("Bandit-v0", len(SEEDS) * arms, num_actions=arms, noise_scale=1.0)
    scale = np.linspace(-2, 3, len(SEEDS))
    noise = np.linspace(0, 2, len(SEEDS))
    by_arm = partial(np.repeat, repeats=arms)
    envs.set_tasks({"mapping_seed": by_arm(SEEDS), "reward_scale": by_arm(scale), "noise_scale": by_arm(noise)})
    envs.reset(seed=0)
    draws = np.random.default_rng(0).normal(size=len(SEEDS) * arms)
    envs._core.set_draws(draws)
    reward = envs.step(np.tile(np.arange(arms), len(SEEDS)))[1]
    means = np.concatenate([bandit.SimpleBandit(seed, arms)._rewards for seed in SEEDS])
    np.testing.assert_array_equal(reward, means * by_arm(scale) + by_arm(noise) * draws)
    np.testing.assert_allclose(envs.bsuite_info()["total_regret"], 1 - means, rtol=1e-15)


def test_chains_that_pay_more_are_bsuites():
    pairs = [(seed, chain) for seed in (*range(7), 2**32 - 1) for chain in range(5)]
    envs = metarl_core.make_vec("DiscountingChain-v0", len(pairs), mapping_seed=3)
    envs.set_tasks({"mapping_seed": [seed for seed, _ in pairs]})
    envs.reset(seed=0)
    references = [discounting_chain.DiscountingChain(mapping_seed=seed) for seed, _ in pairs]
    for reference in references:
        reference.reset()
    paid = np.zeros(len(pairs))
    for _ in range(100):
        obs, reward, *_ = envs.step(np.array([chain for _, chain in pairs]))
        steps = [reference.step(chain) for reference, (_, chain) in zip(references, pairs, strict=True)]
        np.testing.assert_array_equal(reward, [step.reward for step in steps])
        np.testing.assert_array_equal(obs, np.array([step.observation for step in steps]))
        paid += reward
    assert sorted(set(paid)) == [1.0, 1.1]


# Values of each row's parameters, drawn by a generator.
TASKS = {
    "FrozenLake-v1": {
        "is_slippery": lambda rng: bool(rng.random() < 0.7),
        "success_rate": lambda rng: rng.random(),
        "goal_reward": lambda rng: rng.normal(),
        "hole_reward": lambda rng: rng.normal(),
        "frozen_reward": lambda rng: rng.normal(),
        "map_seed": lambda rng: int(rng.integers(2**32)),
    },
    "DeepSea-v0": {
        "deterministic": lambda rng: bool(rng.random() < 0.4),
        "unscaled_move_cost": lambda rng: rng.normal(),
        "randomize_actions": lambda rng: bool(rng.random() < 0.8),
        "mapping_seed": lambda rng: int(rng.integers(2**32)),
    },
    "CliffWalking-v1": {"is_slippery": lambda rng: bool(rng.random() < 0.5)},
    "Taxi-v4": {"rainy_probability": lambda rng: rng.random(), "fickle_probability": lambda rng: rng.random()},
    "Blackjack-v1": {"natural": lambda rng: bool(rng.random() < 0.5), "sab": lambda rng: bool(rng.random() < 0.5)},
    "Bandit-v0": {
        "noise_scale": lambda rng: rng.random() * (rng.random() < 0.7),
        "reward_scale": lambda rng: rng.normal(),
        "mapping_seed": lambda rng: int(rng.integers(2**32)),
    },
    "DiscountingChain-v0": {"mapping_seed": lambda rng: int(rng.integers(2**32))},
    "CartPole-v1": {
        "sutton_barto_reward": lambda rng: bool(rng.random() < 0.5),
        "length": lambda rng: rng.uniform(0.2, 1),
    },
    **{
        f"MinAtar/{game}-v1": {
            "sticky_action_prob": lambda rng: rng.random(),
            "difficulty_ramping": lambda rng: bool(rng.random() < 0.5),
        }
        for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
    },
}
COMMON = {"Taxi-v4": {"is_rainy": True, "fickle_passenger": True}, "DeepSea-v0": {"size": 6}}
# Long enough for a game to get harder, and an episode's end in all.
STEPS = {"MinAtar/Asterix-v1": 700, "MinAtar/Seaquest-v1": 700, "MinAtar/SpaceInvaders-v1": 700}


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@pytest.mark.parametrize("env_id", TASKS)
def test_every_row_plays_as_an_environment_made_with_its_parameters(env_id, mode):
    rows, rng = 12, np.random.default_rng(4)
    tasks = [{name: draw(rng) for name, draw in TASKS[env_id].items()} for _ in range(rows)]
    params = {"autoreset_mode": mode, **COMMON.get(env_id, {})}
    if not env_id.startswith("MinAtar"):
        params["max_episode_steps"] = 30
    envs = metarl_core.make_vec(env_id, rows, **params)
    envs.set_tasks({name: [task[name] for task in tasks] for name in tasks[0]})
    alone = [metarl_core.make_vec(env_id, 1, **{**params, **task}) for task in tasks]
    first = [env.reset(seed=[row])[0] for row, env in enumerate(alone)]
    as_arrays = partial(np.stack, axis=1) if env_id == "Blackjack-v1" else np.asarray
    obs = as_arrays(envs.reset(seed=list(range(rows)))[0])
    np.testing.assert_array_equal(obs, np.concatenate([as_arrays(o) for o in first]))
    ends, rewards = 0, set()
    for _ in range(STEPS.get(env_id, 200)):
        actions = rng.integers(envs.single_action_space.n, size=rows)
        results = [env.step(actions[row : row + 1]) for row, env in enumerate(alone)]
        mine = envs.step(actions)
        obs = np.concatenate([as_arrays(result[0]) for result in results])
        np.testing.assert_array_equal(as_arrays(mine[0]), obs)
        for k in (1, 2, 3):
            np.testing.assert_array_equal(mine[k], np.concatenate([result[k] for result in results]))
        if "prob" in mine[4]:
            np.testing.assert_array_equal(mine[4]["prob"], [result[4]["prob"][0] for result in results])
        ends += int((mine[2] | mine[3]).sum())
        rewards |= set(mine[1].tolist())
    np.testing.assert_array_equal(envs.get_state()["state"], np.concatenate([e.get_state()["state"] for e in alone]))
    assert ends > 0 or env_id == "MinAtar/Freeway-v1"
    assert len(rewards) > 1


@pytest.mark.parametrize("env_id", TASKS)
def test_promises(env_id):
    check_vector_env(partial(metarl_core.make_vec, env_id, **COMMON.get(env_id, {}), max_episode_steps=17), steps=60)


@pytest.mark.parametrize("env_id", TASKS)
def test_a_snapshot_holds_what_the_tasks_stand_for(env_id):
    rows, rng = 40, np.random.default_rng(6)
    make = partial(metarl_core.make_vec, env_id, rows, **COMMON.get(env_id, {}), max_episode_steps=12)
    envs = make()
    table = [{name: draw(rng) for name, draw in TASKS[env_id].items()} for _ in range(15)]
    envs.sample_tasks_at_reset({name: [float(task[name]) for task in table] for name in table[0]})
    envs.reset(seed=2)
    actions = rng.integers(envs.single_action_space.n, size=(50, rows))
    for step in actions[:18]:
        envs.step(step)
    restored, placed = make(), make()
    restored.restore(envs.snapshot())
    half = np.arange(0, rows, 2)
    placed.reset(seed=9)
    placed.set_state(envs.get_state(rows=half), rows=half)
    placed.set_state(envs.get_state(rows=half + 1), rows=half + 1)
    same, compared = ~envs.get_state()["done"], 0  # it has no table to draw from: rows that were not reset since
    for step in actions[18:]:
        expected = envs.step(step)
        for k, value in enumerate(restored.step(step)[:4]):
            np.testing.assert_array_equal(value, expected[k])
        np.testing.assert_array_equal(restored.task_id, envs.task_id)
        for mine, theirs in zip(placed.step(step)[:4], expected[:4], strict=True):
            if env_id == "Blackjack-v1" and isinstance(mine, tuple):
                mine, theirs = np.stack(mine, 1), np.stack(theirs, 1)
            np.testing.assert_array_equal(mine[same], theirs[same])
        compared += int(same.sum())
        same &= ~(expected[2] | expected[3])
    assert compared > 0


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "DeepSea-v0"])
def test_drawn_maps_do_not_depend_on_threads(env_id):
    def play(num_threads, seed=5):
        envs = metarl_core.make_vec(env_id, 3000, num_threads=num_threads, **COMMON.get(env_id, {}))
        envs.sample_tasks_at_reset(task_family(env_id).sample_tasks(100, "test", seed=3))
        envs.reset(seed=seed)
        rng = np.random.default_rng(0)
        steps = [envs.step(rng.integers(2, size=3000)) for _ in range(40)]
        return [np.concatenate([np.ravel(step[k]) for step in steps]) for k in range(4)]

    one, many, other = play(1), play(8), play(1, 6)
    for mine, theirs in zip(many, one, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (one[0] != other[0]).any()


def test_families_of_maps_have_disjoint_seeds():
    for env_id, name in (("FrozenLake-v1", "map_seed"), ("DeepSea-v0", "mapping_seed")):
        family = task_family(env_id, fractions=(0.5, 0.3, 0.2))
        parts = {split: set(family.sample_tasks(5000, split)[name].tolist()) for split in ("train", "val", "test")}
        assert len(set.union(*parts.values())) == 15_000
        assert family.parameters == (name,)


@pytest.mark.parametrize(
    ("env_id", "params", "tasks", "match"),
    [
        ("FrozenLake-v1", {}, {"map_seed": [1, -1]}, r"map_seed\[1\] is -1.0; must be >= 0"),
        ("FrozenLake-v1", {}, {"map_seed": [1, 1.5]}, r"map_seed\[1\] is 1.5; must be an integer"),
        ("FrozenLake-v1", {}, {"map_seed": 2.0**32}, r"map_seed\[0\] is 4294967296.0; must be <= "),
        (
            "FrozenLake-v1",
            {"desc": ["SF", "FF", "FG"]},
            {"map_seed": [np.nan, 4]},
            r"map_seed\[1\] is 4.0; must be NaN",
        ),
        ("FrozenLake-v1", {"desc": ["S"]}, {"map_seed": 4}, "has 1 rows and 1 columns and those of seeds are square"),
        ("FrozenLake-v1", {}, {"success_rate": [0.5, 1.2]}, r"success_rate\[1\] is 1.2; must be <= 1"),
        ("FrozenLake-v1", {}, {"is_slippery": 2}, r"is_slippery\[0\] is 2.0; must be 0 or 1"),
        ("FrozenLake-v1", {}, {"hole_reward": [np.inf, 0]}, r"hole_reward\[0\] is inf; must be finite or NaN"),
        ("DeepSea-v0", {}, {"deterministic": 0.5}, r"deterministic\[0\] is 0.5; must be 0 or 1"),
        ("DeepSea-v0", {}, {"unscaled_move_cost": np.nan}, r"unscaled_move_cost\[0\] is nan; must be finite"),
        (
            "DeepSea-v0",
            {"randomize_actions": False, "mapping_seed": None},
            {"randomize_actions": [0, 1]},
            r"mapping_seed\[1\] is nan; must be a seed",
        ),
        ("Taxi-v4", {}, {"rainy_probability": [0.5, -0.1]}, r"rainy_probability\[1\] is -0.1; must be >= 0"),
        ("Blackjack-v1", {}, {"sab": [1, 3]}, r"sab\[1\] is 3.0; must be 0 or 1"),
        ("Bandit-v0", {}, {"noise_scale": [-1, 1]}, r"noise_scale\[0\] is -1.0; must be >= 0"),
        ("MinAtar/Asterix-v1", {}, {"sticky_action_prob": 1.5}, r"sticky_action_prob\[0\] is 1.5; must be <= 1"),
        (
            "MinAtar/Asterix-v1",
            {"difficulty_ramping": False},
            {"difficulty_ramping": [0, 1]},
            r"difficulty_ramping\[1\] is 1.0; must be 0, as the environment was made without",
        ),
    ],
)
def test_tasks_that_cannot_be(env_id, params, tasks, match):
    envs = metarl_core.make_vec(env_id, 2, **params)
    with pytest.raises(ValueError, match=match):
        envs.set_tasks(tasks)
    with pytest.raises(ValueError, match=match):
        envs.sample_tasks_at_reset(tasks)
    assert envs.task_id.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"map_seed": -1}, ValueError, "map_seed is -1; must be an integer >= 0"),
        ({"map_seed": 1.5}, TypeError, "map_seed is 1.5; must be an integer"),
        ({"map_seed": 3, "desc": ["SF", "FF", "FG"]}, ValueError, "map_seed is 3; must be None, as the map has 3 rows"),
        ({"goal_reward": np.inf}, ValueError, "goal_reward is inf; must be a finite number or None"),
    ],
)
def test_parameters_that_cannot_be(params, error, match):
    with pytest.raises(error, match=match):
        metarl_core.make_vec("FrozenLake-v1", 2, **params)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((-1, 4), ValueError, r"map_seed is -1; must be in \[0, 2\*\*32\)"),
        ((2**32, 4), ValueError, "map_seed is 4294967296"),
        ((0, 1), ValueError, "size is 1; must be >= 2"),
        ((0.5, 4), TypeError, "integer"),
    ],
)
def test_maps_that_cannot_be(arguments, error, match):
    with pytest.raises(error, match=match):
        frozen_lake_map(*arguments)


def test_a_new_mapping_each_time_stays_that_of_rows_without_a_seed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        envs = metarl_core.make_vec("DeepSea-v0", 36, size=6, mapping_seed=None, autoreset_mode="disabled")
    fields = np.zeros((36, 5))
    fields[:, 0], fields[:, 1] = np.divmod(np.arange(36), 6)

    def columns():
        envs.set_state({"state": fields, "done": np.zeros(36, bool)})
        envs.step(np.zeros(36, np.int64))
        return envs.get_state()["state"][:, 1]

    envs.reset(seed=0)
    before = columns()
    envs.set_tasks({"unscaled_move_cost": 0.5})
    np.testing.assert_array_equal(columns(), before)
    envs.set_tasks({"mapping_seed": 5})
    assert (columns() != before).any()
