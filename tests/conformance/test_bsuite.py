"""Catch, Bandit, MemoryChain, DiscountingChain and CartPoleSwingup against bsuite."""

from __future__ import annotations

import numpy as np
import pytest

import metarl_core

from .bsuite_reference import fields_of, make, observation_of, quietly, set_episode
from .reference import ROWS, Comparison, RecordingGenerator
from .test_distributions import SAMPLES, chi_square, normal_cdf, uniform_distance

CASES = [
    ("Catch-v0", {}),
    ("Catch-v0", {"rows": 7, "columns": 4}),
    ("Catch-v0", {"rows": 2, "columns": 1}),
    ("Bandit-v0", {}),
    ("Bandit-v0", {"num_actions": 5, "mapping_seed": 3}),
    ("Bandit-v0", {"noise_scale": 0.7, "mapping_seed": 2**32 - 1}),
    ("Bandit-v0", {"reward_scale": -3.5, "num_actions": 128}),
    ("MemoryChain-v0", {}),
    ("MemoryChain-v0", {"memory_length": 1}),
    ("MemoryChain-v0", {"memory_length": 2, "num_bits": 40}),
    ("DiscountingChain-v0", {}),
    ("DiscountingChain-v0", {"mapping_seed": 13}),
    ("CartPoleSwingup-v0", {}),
    ("CartPoleSwingup-v0", {"height_threshold": 0.95, "x_reward_threshold": 0.05, "move_cost": 0.3, "max_time": 1.0}),
    ("CartPoleSwingup-v0", {"timescale": 0.03, "x_threshold": 1.5, "theta_dot_threshold": 3.0}),
]
NAMES = ["-".join([env_id, *(f"{k}={v}" for k, v in params.items())]) for env_id, params in CASES]
cases = pytest.mark.parametrize(("env_id", "params"), CASES, ids=NAMES)


def clever(env_id, fields, rng):
    """Actions that come to the ends that random ones rarely see."""
    if env_id == "Catch-v0":
        return 1 + np.sign(fields[:, 1] - fields[:, 2]).astype(int)
    if env_id == "CartPoleSwingup-v0":
        return np.full(len(fields), 2) if rng.random() < 0.5 else 1 + np.sign(fields[:, 3]).astype(int)
    if env_id == "MemoryChain-v0":
        return fields[np.arange(len(fields)), 4 + fields[:, 1].astype(int)].astype(int)
    return np.zeros(len(fields), int)


def swing_anywhere(env, rng, params):
    """A state of the swing-up anywhere, often upright."""
    fields = [
        rng.uniform(-1, 1) * params.get("x_threshold", 3.0),
        rng.uniform(-2, 2),
        rng.choice([rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 4]),
        rng.uniform(-3, 3),
        rng.uniform(0, params.get("max_time", 10.0)),
    ]
    set_episode("CartPoleSwingup-v0", env, np.array(fields))


def compare(env_id, params, states, precision="float64"):
    rng = np.random.default_rng(5)
    references = [make(env_id, seed=i, **params) for i in range(ROWS)]
    noise = "noise_scale" in params
    for reference in references:
        reference.reset()
        if noise:
            reference._rng = RecordingGenerator(reference._rng)
    extra = {"precision": precision} if env_id == "CartPoleSwingup-v0" else {}
    envs = metarl_core.make_vec(env_id, ROWS, autoreset_mode="disabled", **params, **extra)
    envs.reset(seed=0)
    assert envs.single_action_space.n == references[0].action_spec().num_values
    assert envs.single_observation_space.shape == references[0].observation_spec().shape
    comparison = Comparison()
    while comparison.states < states:
        before = np.array([fields_of(env_id, r) for r in references], np.float64)
        if precision == "float32":
            before = before.astype(np.float32).astype(np.float64)
            for reference, row in zip(references, before, strict=True):
                set_episode(env_id, reference, row)
        random = rng.integers(0, envs.single_action_space.n, ROWS)
        actions = np.where(rng.random(ROWS) < np.linspace(0, 1, ROWS), clever(env_id, before, rng), random)
        for reference in references if noise else []:
            reference._rng.drawn.clear()
        steps = [quietly(r.step, int(a)) for r, a in zip(references, actions, strict=True)]
        envs.set_state({"state": before, "done": np.zeros(ROWS, np.bool_)})
        if noise:
            assert all([name for name, _ in r._rng.drawn] == ["randn"] for r in references)
            envs._core.set_draws(np.array([r._rng.drawn[0][1] for r in references]))
        obs, reward, terminated, truncated, info = envs.step(actions)
        assert info == {}
        last = np.array([s.last() for s in steps])
        comparison.add(
            (envs.get_state()["state"], obs, reward, terminated, truncated),
            (
                np.array([fields_of(env_id, r) for r in references], np.float64),
                np.array([s.observation for s in steps]),
                np.array([float(s.reward) for s in steps]),
                last,
                np.zeros(ROWS, bool),
            ),
            (2,) if env_id == "CartPoleSwingup-v0" else (),
        )
        if precision == "float64":
            ours, theirs = envs.bsuite_info(), [r.bsuite_info() for r in references]
            assert set(ours) == set(theirs[0])
            for key, value in ours.items():
                np.testing.assert_allclose(value, [float(x[key]) for x in theirs], rtol=1e-13, atol=1e-13)
        for row in np.flatnonzero(last):
            references[row].reset()
            if env_id == "CartPoleSwingup-v0" and rng.random() < 0.7:
                swing_anywhere(references[row], rng, params)
    tolerance = {"float32": 1e-5}.get(precision, 1e-13 if env_id in ("Bandit-v0", "CartPoleSwingup-v0") else 0.0)
    comparison.check(f"{env_id} {params} {precision}", states, tolerance, ("terminated",))


@cases
def test_steps_equal_bsuites(env_id, params):
    compare(env_id, params, 60_000 if env_id == "DiscountingChain-v0" else 20_000)


def test_steps_of_the_float32_swing_up():
    compare("CartPoleSwingup-v0", {}, 25_000, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("params", [params for env_id, params in CASES if env_id == "CartPoleSwingup-v0"], ids=str)
def test_a_million_steps_of_the_float32_swing_up(params):
    compare("CartPoleSwingup-v0", params, 1_000_000, "float32")


@pytest.mark.slow
@cases
def test_a_million_steps_equal_bsuites(env_id, params):
    compare(env_id, params, 1_000_000)


@cases
def test_whole_episodes_with_bsuites_own_resets(env_id, params):
    # bsuite resets in the step after the last, as NEXT_STEP does, whose action and reward are none. What the resets
    # chose is copied from ours; everything else must come out by itself.
    rows, rng = 24, np.random.default_rng(8)
    envs = metarl_core.make_vec(env_id, rows, seed=3, **params)
    obs, _ = envs.reset()
    own = envs.make_buffers()
    references = [make(env_id, seed=i, **params) for i in range(rows)]
    for reference, row in zip(references, envs.get_state()["state"], strict=True):
        reference.reset()
        set_episode(env_id, reference, row)
    noise = "noise_scale" in params
    episodes = 0
    for step in range(260):
        fields = np.array([fields_of(env_id, r) for r in references], np.float64)
        random = rng.integers(0, envs.single_action_space.n, rows)
        actions = np.where(rng.random(rows) < np.linspace(0, 1, rows), clever(env_id, fields, rng), random)
        steps = [quietly(r.step, int(a)) for r, a in zip(references, actions, strict=True)]
        obs, reward, terminated, _, _ = envs.step(actions, out=own if step % 50 < 40 else None)
        ours = envs.get_state()["state"]
        for row, (reference, taken) in enumerate(zip(references, steps, strict=True)):
            if taken.first():
                set_episode(env_id, reference, ours[row])
                expected = observation_of(env_id, reference)
            else:
                expected = taken.observation
            np.testing.assert_allclose(obs[row], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(terminated, [s.last() for s in steps])
        if not noise:
            np.testing.assert_allclose(reward, [s.reward or 0.0 for s in steps], rtol=1e-9)
        theirs = [r.bsuite_info() for r in references]
        for key, value in envs.bsuite_info().items():
            np.testing.assert_allclose(value, [float(x[key]) for x in theirs], rtol=1e-9, atol=1e-9)
        episodes += int(terminated.sum())
    print(f"{env_id} {params}: {260 * rows} steps, {episodes} episodes")
    assert episodes > 0 or (env_id, params) == CASES[12]  # 1001 steps
    if env_id != "DiscountingChain-v0":
        assert envs.bsuite_info()


@pytest.mark.parametrize("count", [1, 2, 11, 50])
@pytest.mark.parametrize("mapping_seed", [0, 1, 42, 2**32 - 1])
def test_arms_are_bsuites(count, mapping_seed):
    reference = make("Bandit-v0", num_actions=count, mapping_seed=mapping_seed)
    envs = metarl_core.make_vec("Bandit-v0", count, num_actions=count, mapping_seed=mapping_seed)
    envs.reset()
    np.testing.assert_array_equal(envs.step(np.arange(count))[1], reference._rewards)


@pytest.mark.parametrize("mapping_seed", range(6))
def test_the_chain_with_the_bonus_is_bsuites(mapping_seed):
    reference = make("DiscountingChain-v0", mapping_seed=mapping_seed)
    envs = metarl_core.make_vec("DiscountingChain-v0", 5, mapping_seed=mapping_seed)
    envs.reset()
    total = sum(envs.step(np.arange(5))[1] for _ in range(100))
    np.testing.assert_array_equal(total, reference._rewards)


def test_seeds_that_are_none_differ_between_environments():
    def arms():
        envs = metarl_core.make_vec("Bandit-v0", 11, mapping_seed=None)
        envs.reset()
        return envs.step(np.arange(11))[1].tobytes()

    assert len({arms() for _ in range(5)}) > 1
    chains = {metarl_core.make_vec("DiscountingChain-v0", 1, mapping_seed=None).params["mapping_seed"]}
    assert chains == {None}


# --- random numbers of our own ---------------------------------------------------------------------------------------


def test_balls_start_in_any_column():
    envs = metarl_core.make_vec("Catch-v0", SAMPLES, columns=7)
    envs.reset(seed=1)
    fields = envs.get_state()["state"]
    z = chi_square(np.bincount(fields[:, 1].astype(int), minlength=7), np.full(7, SAMPLES / 7))
    print(f"Catch starts: z = {z:.2f}")
    assert abs(z) < 3.3
    assert (fields[:, [0, 2, 3]] == [0, 3, 0]).all()


def test_noise_of_the_bandit_is_normal():
    envs = metarl_core.make_vec("Bandit-v0", SAMPLES, noise_scale=2.0, reward_scale=3.0, seed=4)
    envs.reset()
    actions = np.arange(SAMPLES) % 11
    first = envs.step(actions)[1]
    means = make("Bandit-v0")._rewards[actions]
    noise = np.sort((first - 3.0 * means) / 2.0)
    cdf = normal_cdf(noise)
    n = SAMPLES
    distance = max(np.max(np.arange(1, n + 1) / n - cdf), np.max(cdf - np.arange(n) / n)) * np.sqrt(n)
    envs.step(actions)
    second = envs.step(actions)[1]
    correlation = np.corrcoef(first, second)[0, 1]
    print(f"Bandit noise: KS sqrt(n) D = {distance:.2f}, std {noise.std():.4f}, next episode's r = {correlation:.4f}")
    assert distance < 1.95
    assert abs(np.corrcoef(first - 3 * means, second - 3 * means)[0, 1]) < 4 / np.sqrt(n)


def test_bits_of_the_memory_chain_are_fair_and_independent():
    bits, rows = 300, 50_000
    envs = metarl_core.make_vec("MemoryChain-v0", rows, num_bits=bits, seed=6)
    envs.reset()
    fields = envs.get_state()["state"]
    context = fields[:, 4:]
    shares = (context.mean(0) - 0.5) * 2 * np.sqrt(rows)
    correlation = np.abs(np.corrcoef(context.T) - np.eye(bits)).max() * np.sqrt(rows)
    z = chi_square(np.bincount(fields[:, 1].astype(int), minlength=bits), np.full(bits, rows / bits))
    print(f"MemoryChain: largest z of a bit {np.abs(shares).max():.2f}, of a pair {correlation:.2f}, query z = {z:.2f}")
    assert np.abs(shares).max() < 4.5
    assert correlation < 5.5
    assert abs(z) < 3.3


def test_queries_of_few_bits_are_independent_of_them():
    envs = metarl_core.make_vec("MemoryChain-v0", SAMPLES, num_bits=3, seed=7)
    envs.reset()
    envs.reset()
    fields = envs.get_state()["state"].astype(int)
    joint = np.bincount(fields[:, 1] * 8 + fields[:, 4] * 4 + fields[:, 5] * 2 + fields[:, 6], minlength=24)
    z = chi_square(joint, np.full(24, SAMPLES / 24))
    print(f"MemoryChain, query and three bits: z = {z:.2f}")
    assert abs(z) < 3.3


@pytest.mark.parametrize("init_range", [0.05, 0.4])
def test_the_swing_up_starts_uniform(init_range):
    envs = metarl_core.make_vec("CartPoleSwingup-v0", SAMPLES, init_range=init_range, seed=2)
    envs.reset()
    fields = envs.get_state()["state"]
    assert (fields[:, 4:] == 0).all()
    starts = fields[:, :4] - [0, 0, np.pi, 0]
    for column in range(4):
        distance = uniform_distance(starts[:, column], -init_range - 1e-15, init_range + 1e-15)
        print(f"CartPoleSwingup, field {column}: KS sqrt(n) D = {distance:.2f}")
        assert distance < 1.95
    assert np.abs(np.corrcoef(starts.T) - np.eye(4)).max() < 4 / np.sqrt(SAMPLES)


# --- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "row"),
    [
        ("Catch-v0", [10, 0, 0, 0]),
        ("Catch-v0", [0, 5, 0, 0]),
        ("Catch-v0", [0, 0, -1, 0]),
        ("Catch-v0", [0, 0, 0, 0.5]),
        ("Bandit-v0", [-0.1]),
        ("MemoryChain-v0", [12, 0, 0, 0, 0]),
        ("MemoryChain-v0", [0, 1, 0, 0, 0]),
        ("MemoryChain-v0", [0, 0, 0, 0, 2]),
        ("MemoryChain-v0", [0, 0, -1, 0, 1]),
        ("DiscountingChain-v0", [101, 0]),
        ("DiscountingChain-v0", [0, 0]),
        ("DiscountingChain-v0", [1, -1]),
        ("DiscountingChain-v0", [1, 5]),
        ("CartPoleSwingup-v0", [0, 0, 6.3, 0, 0, 0, 0, 0, 0]),
        ("CartPoleSwingup-v0", [0, 0, -0.1, 0, 0, 0, 0, 0, 0]),
        ("CartPoleSwingup-v0", [0, 0, 0, 0, -1, 0, 0, 0, 0]),
    ],
)
def test_impossible_states_are_refused(env_id, row):
    envs = metarl_core.make_vec(env_id, 1)
    with pytest.raises(ValueError, match=rf"state\[0\] is not a state of {env_id}"):
        envs.set_state({"state": [row]})


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@cases
def test_states_that_occur_go_back_in(env_id, params, mode):
    envs = metarl_core.make_vec(env_id, 50, autoreset_mode=mode, max_episode_steps=37, **params)
    envs.reset()
    rng = np.random.default_rng(0)
    for _ in range(250):
        obs = envs.step(rng.integers(0, envs.single_action_space.n, 50))[0]
        envs.set_state(envs.get_state())
        np.testing.assert_array_equal(envs.observe(), obs)


@pytest.mark.parametrize(
    ("env_id", "row"),
    [("Catch-v0", [9, 2, 2, 4]), ("MemoryChain-v0", [11, 0, 3, 4, 1]), ("DiscountingChain-v0", [100, 2])],
)
def test_the_last_state_ends_again_when_it_is_set(env_id, row):
    envs = metarl_core.make_vec(env_id, 1, autoreset_mode="disabled")
    envs.set_state({"state": [row]})
    obs, reward, terminated, _, _ = envs.step([0])
    assert terminated.all()
    assert reward[0] == 0
    np.testing.assert_array_equal(envs.get_state()["state"], [row])
    np.testing.assert_array_equal(obs, envs.observe())
